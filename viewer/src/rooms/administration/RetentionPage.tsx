import { useState } from 'react';
import { api } from '../../api/client';
import { useResource } from '../../api/resource';
import { type LegalHold, type RetentionPolicy, type RetentionPreview, retentionActions } from '../../api/schema';
import { FacilitySelect } from '../../parts/facility';
import { Icon } from '../../parts/icons';
import { explain, ProblemNote } from '../../parts/problem';
import { href } from '../../parts/route';
import { useUser } from '../../parts/session';
import { useWords } from '../../words';
import { bytes, dicomDate, moment, number } from '../../words/dates';
import { personName } from './demographics';
import { Field, TablePage } from './TablePage';

/** How long studies are kept, what that has done, and what nothing may touch. */
export function RetentionPage() {
  const { t, language } = useWords();
  const { facilities } = useUser();
  const facilityName = (code: string) => facilities.find((f) => f.code === code)?.name ?? code;
  return (
    <TablePage<RetentionPolicy>
      name="retention"
      load={async () => [...(await api.policies()).policies].sort((a, b) => (a.position ?? 0) - (b.position ?? 0))}
      keyOf={(p) => p.id ?? p.name}
      nameOf={(p) => p.name}
      make={() => ({ position: 1, name: '', facility: '', modality: '', days: 3650, action: 'move_to_cold', enabled: false })}
      save={async (item, old) => {
        const { previewed: _, ...policy } = item;
        await (old ? api.putPolicy(policy) : api.addPolicy(policy));
      }}
      remove={(p) => api.deletePolicy(p.id ?? '')}
      columns={[
        { head: '№', cell: (p) => <span className="figures">{p.position}</span> },
        { head: t('admin.name'), cell: (p) => p.name },
        { head: t('study.facility'), cell: (p) => (p.facility ? facilityName(p.facility) : t('retention.any')) },
        { head: t('retention.modality'), cell: (p) => p.modality || t('retention.any') },
        { head: t('retention.after'), cell: (p) => <span className="figures">{t('storage.days', { count: number(p.days, language) })}</span> },
        { head: t('retention.action'), cell: (p) => t(`retention.actions.${p.action}`) },
        { head: t('retention.enabled'), cell: (p) => (p.enabled ? <span className="fine">{t('retention.on')}</span> : <span className="secondary">{t('admin.off')}</span>) },
      ]}
      form={(p, change, isNew) => (
        <>
          <Field label={t('admin.name')}>
            <input value={p.name} required maxLength={100} onChange={(e) => change({ name: e.target.value })} />
          </Field>
          <Field label={t('admin.position')} hint={t('admin.positionHint')}>
            <input type="number" min={1} value={p.position ?? 1} onChange={(e) => change({ position: Number(e.target.value) })} />
          </Field>
          <Field label={t('study.facility')}>
            <FacilitySelect value={p.facility ?? ''} none={t('retention.any')} onChange={(facility) => change({ facility })} />
          </Field>
          <Field label={t('retention.modality')} hint={t('retention.modalityHint')}>
            <input value={p.modality ?? ''} maxLength={16} spellCheck={false} onChange={(e) => change({ modality: e.target.value.toUpperCase() })} />
          </Field>
          <Field label={t('retention.days')} hint={t('retention.daysHint')}>
            <input type="number" min={1} required value={p.days} onChange={(e) => change({ days: Number(e.target.value) })} />
          </Field>
          <Field label={t('retention.action')} hint={t(`retention.meaning.${p.action}`)}>
            <select value={p.action} onChange={(e) => change({ action: e.target.value as RetentionPolicy['action'] })}>
              {retentionActions.map((action) => (
                <option key={action} value={action}>
                  {t(`retention.actions.${action}`)}
                </option>
              ))}
            </select>
          </Field>
          {isNew || !p.id ? (
            <p className="secondary">{t('retention.newHint')}</p>
          ) : (
            <>
              <Preview key={p.id} policy={p.id} onPreviewed={() => change({ previewed: true })} />
              <label className="check">
                <input type="checkbox" checked={p.enabled ?? false} disabled={!p.enabled && !p.previewed} onChange={(e) => change({ enabled: e.target.checked })} />
                <span>
                  {t('retention.enable')} <small className="secondary">{t('retention.enableHint')}</small>
                </span>
              </label>
            </>
          )}
        </>
      )}
      below={
        <>
          <Holds />
          <Runs />
        </>
      }
    />
  );
}

/** The dry run of a policy as it is saved. */
function Preview({ policy, onPreviewed }: { policy: string; onPreviewed: () => void }) {
  const { t, language } = useWords();
  const [preview, setPreview] = useState<RetentionPreview>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    setError(undefined);
    try {
      setPreview(await api.previewPolicy(policy));
      onPreviewed();
    } catch (err) {
      setError(err);
    } finally {
      setBusy(false);
    }
  };
  return (
    <div className="stacked" aria-live="polite">
      <button type="button" disabled={busy} onClick={() => void run()}>
        {t('retention.preview')}
      </button>
      {error !== undefined && <p className="problem">{explain(t, error)}</p>}
      {preview && (
        <>
          <p>
            {t('retention.previewed', { studies: number(preview.studies, language), instances: number(preview.instances, language), size: bytes(preview.bytes, language) })}
            {preview.held > 0 ? ` ${t('retention.held', { count: number(preview.held, language) })}` : ''}
          </p>
          <ul className="samples">
            {preview.samples.slice(0, 10).map((sample) => (
              <li key={sample.study_uid}>
                <a href={href('study', sample.study_uid)} className="figures">
                  {dicomDate(sample.date)} {(sample.modalities ?? []).join(' ')} <bdi>{personName(sample.patient)}</bdi> {bytes(sample.bytes, language)}
                </a>
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}

function Holds() {
  const { t } = useWords();
  const list = useResource('holds', async () => (await api.holds()).holds);
  const [error, setError] = useState<unknown>();
  const lift = async (hold: LegalHold) => {
    setError(undefined);
    try {
      await api.liftHold(hold.study_uid);
      await list.reload();
    } catch (err) {
      setError(err);
    }
  };
  return (
    <section aria-labelledby="holds">
      <h2 id="holds">{t('retention.holds')}</h2>
      <p className="secondary lead">{t('retention.holdsLead')}</p>
      <ProblemNote error={error ?? list.error} retry={() => void list.reload()} />
      {list.data?.length === 0 && <p className="empty">{t('retention.noHolds')}</p>}
      {list.data && list.data.length > 0 && (
        <table>
          <tbody>
            {list.data.map((hold) => (
              <tr key={hold.study_uid}>
                <td>
                  <a href={href('study', hold.study_uid)}>
                    <bdi>{personName(hold.patient) || hold.study_uid}</bdi> {dicomDate(hold.date)} {hold.description}
                  </a>
                </td>
                <td>{hold.why}</td>
                <td className="secondary figures">
                  {hold.who}, {moment(hold.at)}
                </td>
                <td className="c-action">
                  <button type="button" onClick={() => void lift(hold)}>
                    {t('retention.lift')}
                  </button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Runs() {
  const { t, language } = useWords();
  const list = useResource('retention runs', async () => (await api.retentionRuns()).runs);
  return (
    <section aria-labelledby="runs">
      <h2 id="runs">{t('retention.runs')}</h2>
      <ProblemNote error={list.error} retry={() => void list.reload()} />
      {list.data?.length === 0 && <p className="empty">{t('retention.noRuns')}</p>}
      {list.data && list.data.length > 0 && (
        <table>
          <tbody>
            {list.data.map((run) => (
              <tr key={run.id}>
                <td className="figures">{moment(run.started_at)}</td>
                <td>{run.policy}</td>
                <td>{t(`retention.actions.${run.action}`)}</td>
                <td className="figures">{t('retention.done', { studies: number(run.studies, language), size: bytes(run.bytes, language) })}</td>
                <td>
                  {run.finished_at ? <Icon name="check" /> : <Icon name="clock" />}
                  {run.failed > 0 && <span className="problem"> {t('retention.failed', { count: number(run.failed, language) })}</span>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
