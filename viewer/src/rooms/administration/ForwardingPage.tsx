import { useState } from 'react';
import { api } from '../../api/client';
import { useResource } from '../../api/resource';
import { type ForwardRule, type ForwardTrial, forwardOccasions, forwardPriorities } from '../../api/schema';
import { explain } from '../../parts/problem';
import { href } from '../../parts/route';
import { useUser } from '../../parts/session';
import { useWords } from '../../words';
import { dicomDate, number } from '../../words/dates';
import { personName } from './demographics';
import { ForwardTargets } from './ForwardTargets';
import { SyntaxChoices } from './SyntaxChoices';
import { Choices, Field, TablePage } from './TablePage';

const variables = {
  study: ['modalities', 'description', 'body_part', 'facility', 'sex', 'patient_age', 'instances', 'senders'].map((v) => `study.${v}`),
  series: ['modality', 'description', 'body_part', 'instances', 'senders'].map((v) => `series.${v}`),
};
const weekdays = ['1', '2', '3', '4', '5', '6', '0'];

type What = 'study' | 'series' | 'priors';
const whatOf = (rule: ForwardRule): What => (rule.priors ? 'priors' : rule.level);

/** Rules by which studies are sent elsewhere, and where to. */
export function ForwardingPage() {
  const { t, language } = useWords();
  const { facilities } = useUser();
  const targets = useResource('forward targets', async () => (await api.forwardTargets()).targets);
  const devices = useResource('forward devices', async () => ((await api.devices()).devices ?? []).filter((d) => d.destination));
  const nodes = (targets.data ?? []).filter((target) => target.kind === 'node');
  const first = devices.data?.[0]?.ae_title;
  return (
    <TablePage<ForwardRule>
      name="forwarding"
      load={async () => (await api.forwardRules()).rules}
      keyOf={(r) => r.id ?? r.name}
      nameOf={(r) => r.name}
      make={() => ({
        name: '',
        enabled: true,
        occasion: 'complete',
        level: 'study',
        facilities: [],
        condition: '',
        target: first || !nodes.length ? { kind: 'device', name: first ?? '' } : { kind: 'node', name: nodes[0].name },
        priority: 'normal',
        retry_hours: 72,
      })}
      save={async (item, old) => {
        await (old ? api.putForwardRule(item) : api.addForwardRule(item));
        await targets.reload();
      }}
      remove={(r) => api.deleteForwardRule(r.id ?? '')}
      columns={[
        { head: t('admin.name'), cell: (r) => r.name },
        { head: t('forwarding.occasion'), cell: (r) => t(`forwarding.occasions.${r.occasion}`) },
        {
          head: t('forwarding.sends'),
          cell: (r) => (r.priors ? t('forwarding.priors', { count: number(r.priors.count, language) }) : t(`forwarding.what.${r.level}`)),
        },
        { head: t('admin.condition'), cell: (r) => (r.condition ? <code>{r.condition}</code> : <span className="secondary">{t('admin.always')}</span>) },
        { head: t('forwarding.target'), cell: (r) => <code>{r.target.name}</code> },
        { head: t('forwarding.time'), cell: (r) => <span className="figures">{r.window ? `${r.window.from}–${r.window.until}` : ''}</span> },
        {
          head: t('queue.state'),
          cell: (r) =>
            !r.enabled ? (
              <span className="secondary">{t('admin.off')}</span>
            ) : r.paused ? (
              <span className="problem">{t('forwarding.paused')}</span>
            ) : (
              <span className="fine">{t('forwarding.on')}</span>
            ),
        },
      ]}
      form={(r, change) => (
        <>
          <Field label={t('admin.name')}>
            <input value={r.name} required maxLength={200} onChange={(e) => change({ name: e.target.value })} />
          </Field>
          <Field label={t('forwarding.sends')}>
            <select
              value={whatOf(r)}
              onChange={(e) => {
                const what = e.target.value as What;
                change({
                  level: what === 'series' ? 'series' : 'study',
                  priors: what === 'priors' ? { count: 3, years: 5 } : undefined,
                  occasion: what !== 'priors' && r.occasion === 'order' ? 'complete' : r.occasion,
                });
              }}
            >
              {(['study', 'series', 'priors'] as const).map((what) => (
                <option key={what} value={what}>
                  {t(`forwarding.what.${what}`)}
                </option>
              ))}
            </select>
          </Field>
          {r.priors && <PriorsFields priors={r.priors} onChange={(priors) => change({ priors })} />}
          <Field label={t('forwarding.occasion')}>
            <select value={r.occasion} onChange={(e) => change({ occasion: e.target.value as ForwardRule['occasion'] })}>
              {forwardOccasions
                .filter((occasion) => occasion !== 'order' || r.priors)
                .map((occasion) => (
                  <option key={occasion} value={occasion}>
                    {t(`forwarding.occasions.${occasion}`)}
                  </option>
                ))}
            </select>
          </Field>
          <Field label={t('forwarding.target')}>
            <select
              value={r.target.name && `${r.target.kind} ${r.target.name}`}
              required
              onChange={(e) => {
                const [kind, ...name] = e.target.value.split(' ');
                // A node gets images as they are kept.
                change({ target: { kind: kind as 'device' | 'node', name: name.join(' ') }, ...(kind === 'node' && { transfer_syntaxes: [] }) });
              }}
            >
              <option value="" disabled>
                –
              </option>
              <optgroup label={t('forwarding.devices')}>
                {devices.data?.map((d) => (
                  <option key={d.ae_title} value={`device ${d.ae_title}`}>
                    {d.ae_title}
                  </option>
                ))}
              </optgroup>
              <optgroup label={t('forwarding.nodes')}>
                {nodes.map((node) => (
                  <option key={node.id} value={`node ${node.name}`}>
                    {node.name}
                  </option>
                ))}
              </optgroup>
            </select>
          </Field>
          <Field label={t('forwarding.condition')} hint={t('forwarding.conditionHint', { variables: [...variables.study, ...(r.level === 'series' ? variables.series : [])].join(', ') })}>
            <textarea className="code" rows={3} spellCheck={false} value={r.condition ?? ''} onChange={(e) => change({ condition: e.target.value })} />
          </Field>
          <Try rule={r} />
          <Choices
            legend={t('forwarding.facilities')}
            hint={t('forwarding.facilitiesHint')}
            all={facilities.map((f) => f.code)}
            chosen={r.facilities ?? []}
            onChange={(chosen) => change({ facilities: chosen })}
            nameOf={(code) => facilities.find((f) => f.code === code)?.name ?? code}
          />
          <WindowFields rule={r} change={change} />
          <Field label={t('forwarding.priority')}>
            <select value={r.priority} onChange={(e) => change({ priority: e.target.value as ForwardRule['priority'] })}>
              {forwardPriorities.map((p) => (
                <option key={p} value={p}>
                  {t(`forwarding.priorities.${p}`)}
                </option>
              ))}
            </select>
          </Field>
          <Field label={t('forwarding.retries')} hint={t('forwarding.retriesHint')}>
            <input type="number" min={0} max={720} required value={r.retry_hours} onChange={(e) => change({ retry_hours: Number(e.target.value) })} />
          </Field>
          {r.target.kind === 'device' && (
            <details open={(r.transfer_syntaxes?.length ?? 0) > 0}>
              <summary>{t('devices.advanced')}</summary>
              <SyntaxChoices legend={t('forwarding.syntaxes')} hint={t('forwarding.syntaxesHint')} chosen={r.transfer_syntaxes ?? []} onChange={(chosen) => change({ transfer_syntaxes: chosen })} />
            </details>
          )}
          <label className="check">
            <input type="checkbox" checked={r.enabled} onChange={(e) => change({ enabled: e.target.checked })} />
            <span>{t('forwarding.enabled')}</span>
          </label>
          <label className="check">
            <input type="checkbox" checked={r.paused ?? false} onChange={(e) => change({ paused: e.target.checked })} />
            <span>{t('forwarding.pause')}</span>
          </label>
        </>
      )}
      below={<ForwardTargets targets={targets} />}
    />
  );
}

function PriorsFields({ priors, onChange }: { priors: NonNullable<ForwardRule['priors']>; onChange: (priors: NonNullable<ForwardRule['priors']>) => void }) {
  const { t } = useWords();
  return (
    <fieldset>
      <legend>{t('forwarding.what.priors')}</legend>
      <Field label={t('forwarding.count')}>
        <input type="number" min={1} max={50} required value={priors.count} onChange={(e) => onChange({ ...priors, count: Number(e.target.value) })} />
      </Field>
      <Field label={t('forwarding.years')} hint={t('forwarding.yearsHint')}>
        <input type="number" min={0} max={150} required value={priors.years ?? 0} onChange={(e) => onChange({ ...priors, years: Number(e.target.value) })} />
      </Field>
      <label className="check">
        <input type="checkbox" checked={priors.same_modality ?? false} onChange={(e) => onChange({ ...priors, same_modality: e.target.checked })} />
        <span>{t('forwarding.sameModality')}</span>
      </label>
      <label className="check">
        <input type="checkbox" checked={priors.same_body_part ?? false} onChange={(e) => onChange({ ...priors, same_body_part: e.target.checked })} />
        <span>{t('forwarding.sameBodyPart')}</span>
      </label>
    </fieldset>
  );
}

function WindowFields({ rule, change }: { rule: ForwardRule; change: (patch: Partial<ForwardRule>) => void }) {
  const { t } = useWords();
  const { window } = rule;
  return (
    <>
      <label className="check">
        <input type="checkbox" checked={window !== undefined} onChange={(e) => change({ window: e.target.checked ? { from: '20:00', until: '06:00', days: [], zone: 'Asia/Tashkent' } : undefined })} />
        <span>{t('forwarding.windowed')}</span>
      </label>
      {window && (
        <fieldset>
          <legend>{t('forwarding.windowed')}</legend>
          <Field label={t('forwarding.from')}>
            <input type="time" required value={window.from} onChange={(e) => change({ window: { ...window, from: e.target.value } })} />
          </Field>
          <Field label={t('forwarding.until')} hint={t('forwarding.untilHint')}>
            <input type="time" required value={window.until} onChange={(e) => change({ window: { ...window, until: e.target.value } })} />
          </Field>
          <Choices
            legend={t('forwarding.days')}
            hint={t('forwarding.daysHint')}
            all={weekdays}
            chosen={(window.days ?? []).map(String)}
            onChange={(days) => change({ window: { ...window, days: days.map(Number) } })}
            nameOf={(day) => t(`forwarding.weekdays.${day}`)}
          />
          <Field label={t('forwarding.zone')}>
            <input value={window.zone ?? ''} spellCheck={false} onChange={(e) => change({ window: { ...window, zone: e.target.value } })} />
          </Field>
        </fieldset>
      )}
    </>
  );
}

/** What a rule as it is written would have matched. */
function Try({ rule }: { rule: ForwardRule }) {
  const { t, language } = useWords();
  const [found, setFound] = useState<ForwardTrial>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    setError(undefined);
    setFound(undefined);
    try {
      // A rule need have no name to be tried.
      setFound(await api.tryForwardRule({ ...rule, name: rule.name || '–' }));
    } catch (err) {
      setError(err);
    } finally {
      setBusy(false);
    }
  };
  return (
    <div className="stacked" aria-live="polite" aria-busy={busy}>
      <button type="button" disabled={busy} onClick={() => void run()}>
        {t('forwarding.try')}
      </button>
      {error !== undefined && <p className="problem">{explain(t, error)}</p>}
      {found && (
        <>
          <p>
            {t('forwarding.tried', { studies: number(found.studies, language), looked: `${number(found.looked, language)}${found.more ? '+' : ''}` })}
            {rule.level === 'series' ? ` ${t('forwarding.triedSeries', { count: number(found.series, language) })}` : ''}
            {found.failed > 0 ? ` ${t('forwarding.tryFailed', { count: number(found.failed, language) })}` : ''}
          </p>
          <ul className="samples">
            {found.samples.map((sample) => (
              <li key={sample.study_uid}>
                <a href={href('study', sample.study_uid)} className="figures">
                  {dicomDate(sample.date)} {sample.modalities.join(' ')} <bdi>{personName(sample.patient)}</bdi> {sample.description}
                </a>
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}
