import { useState } from 'react';
import { api } from '../../api/client';
import { usePages } from '../../api/resource';
import { type Demographics, type Quarantined, quarantineReasons, type Released } from '../../api/schema';
import { FacilitySelect } from '../../parts/facility';
import { Icon } from '../../parts/icons';
import { explain, ProblemNote } from '../../parts/problem';
import { useUser } from '../../parts/session';
import { More, TableScroll } from '../../parts/table';
import { useWords } from '../../words';
import { bytes, dicomDate, moment, number } from '../../words/dates';
import { Ask } from './Ask';
import { DemographicsFields, Who } from './demographics';
import { Field } from './TablePage';

/** What a data set that does not say what it is usually is. The names are the standard's. */
const sopClasses = [
  ['1.2.840.10008.5.1.4.1.1.1', 'Computed Radiography Image'],
  ['1.2.840.10008.5.1.4.1.1.1.1', 'Digital X-Ray Image - For Presentation'],
  ['1.2.840.10008.5.1.4.1.1.1.2', 'Digital Mammography X-Ray Image - For Presentation'],
  ['1.2.840.10008.5.1.4.1.1.2', 'CT Image'],
  ['1.2.840.10008.5.1.4.1.1.4', 'MR Image'],
  ['1.2.840.10008.5.1.4.1.1.6.1', 'Ultrasound Image'],
  ['1.2.840.10008.5.1.4.1.1.3.1', 'Ultrasound Multi-frame Image'],
  ['1.2.840.10008.5.1.4.1.1.12.1', 'X-Ray Angiographic Image'],
  ['1.2.840.10008.5.1.4.1.1.12.2', 'X-Ray Radiofluoroscopic Image'],
  ['1.2.840.10008.5.1.4.1.1.20', 'Nuclear Medicine Image'],
  ['1.2.840.10008.5.1.4.1.1.128', 'Positron Emission Tomography Image'],
  ['1.2.840.10008.5.1.4.1.1.77.1.1.1', 'Video Endoscopic Image'],
  ['1.2.840.10008.5.1.4.1.1.7', 'Secondary Capture Image'],
  ['1.2.840.10008.5.1.4.1.1.104.1', 'Encapsulated PDF'],
] as const;

/** What was received and can't be indexed: why, and what to do about it. */
export function QuarantinePage() {
  const { t, language } = useWords();
  const { facilities } = useUser();
  const [facility, setFacility] = useState('');
  const [reason, setReason] = useState('');
  const [chosen, setChosen] = useState<string[]>([]);
  const page = usePages(
    `quarantine ${facility} ${reason}`,
    (after) => api.quarantine({ facility, reason, limit: 100, after }),
    (answer) => answer.items,
  );
  const { items } = page;
  const selected = items.filter((item) => chosen.includes(item.id));

  const restart = () => {
    setChosen([]);
    return page.restart();
  };
  const filter = (set: (value: string) => void) => (value: string) => {
    setChosen([]);
    set(value);
  };

  return (
    <>
      <div className="admin-table">
        <div className="room-head">
          <h1>{t('admin.quarantine.title')}</h1>
          <span className="spread" />
          <select aria-label={t('quarantine.reason')} value={reason} onChange={(event) => filter(setReason)(event.target.value)}>
            <option value="">{t('quarantine.anyReason')}</option>
            {quarantineReasons.map((name) => (
              <option key={name} value={name}>
                {t(`quarantine.reasons.${name}`)}
              </option>
            ))}
          </select>
          {facilities.length > 1 && <FacilitySelect label={t('study.facility')} none={t('worklist.anyFacility')} value={facility} onChange={filter(setFacility)} />}
        </div>
        <p className="secondary lead">{t('admin.quarantine.lead')}</p>
        {page.data && (
          <p className="figures" data-bad={page.data.bytes > 0.8 * page.data.quota || undefined}>
            {t('quarantine.usage', { count: number(page.data.total, language), used: bytes(page.data.bytes, language), quota: bytes(page.data.quota, language) })}
          </p>
        )}
        <ProblemNote error={page.error} retry={() => void page.reload()} />
        <TableScroll label={t('admin.quarantine.title')}>
          <table>
            <thead>
              <tr>
                <th scope="col">
                  <input
                    type="checkbox"
                    aria-label={t('quarantine.chooseAll')}
                    checked={items.length > 0 && selected.length === items.length}
                    onChange={(event) => setChosen(event.target.checked ? items.map((item) => item.id) : [])}
                  />
                </th>
                <th scope="col">{t('quarantine.received')}</th>
                <th scope="col">{t('quarantine.reason')}</th>
                <th scope="col">{t('patient.banner')}</th>
                <th scope="col">{t('study.title')}</th>
                <th scope="col">{t('quarantine.sender')}</th>
              </tr>
            </thead>
            <tbody>
              {items.map((item) => (
                <tr key={item.id} data-selected={chosen.includes(item.id) || undefined}>
                  <td>
                    <input
                      type="checkbox"
                      aria-label={t('quarantine.choose', { at: moment(item.received_at), sender: item.sender || item.channel })}
                      checked={chosen.includes(item.id)}
                      onChange={(event) => setChosen(event.target.checked ? [...chosen, item.id] : chosen.filter((id) => id !== item.id))}
                    />
                  </td>
                  <td className="figures">{moment(item.received_at)}</td>
                  <td>{t(`quarantine.reasons.${item.reason}`)}</td>
                  <td>
                    <Who demographics={item.patient} />
                  </td>
                  <td>
                    <span className="modality">{item.modality}</span> {item.description} <small className="secondary figures">{dicomDate(item.study_date)}</small>
                  </td>
                  <td>
                    {item.facility.name} <code>{item.sender}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          {page.data && items.length === 0 && <p className="empty">{t('quarantine.empty')}</p>}
        </TableScroll>
        <More page={page} />
      </div>
      {selected.length > 0 && <ReleasePanel key={selected.map((item) => item.id).join()} items={selected} onDone={restart} onClose={() => setChosen([])} />}
    </>
  );
}

/** What is wrong with the chosen ones, and the form that lets them in. */
function ReleasePanel({ items, onDone, onClose }: { items: Quarantined[]; onDone: () => Promise<void>; onClose: () => void }) {
  const { t, language } = useWords();
  const { facilities } = useUser();
  const [first] = items;
  const [facility, setFacility] = useState('');
  const [patient, setPatient] = useState<Demographics>();
  const [newStudy, setNewStudy] = useState(false);
  const [sopClass, setSopClass] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const [outcome, setOutcome] = useState<Released>();
  const [asking, setAsking] = useState(false);
  const stays = items.every((item) => item.unreleasable);
  const needsClass = items.some((item) => item.needs_sop_class);
  const title = items.length === 1 ? t(`quarantine.reasons.${first.reason}`) : t('quarantine.chosen', { count: number(items.length, language) });

  const release = async () => {
    setBusy(true);
    setError(undefined);
    try {
      const answer = await api.releaseQuarantined({
        ids: items.map((item) => item.id),
        ...(facility && { facility }),
        ...(patient && { patient }),
        ...(newStudy && { new_study: true }),
        ...(sopClass && { sop_class: sopClass }),
      });
      if (answer.refused.length === 0) await onDone();
      else setOutcome(answer);
    } catch (err) {
      setError(err);
    } finally {
      setBusy(false);
    }
  };

  return (
    <aside className="side-panel" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <button type="button" className="icon-button" aria-label={t('do.close')} title={t('do.close')} onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      {items.length === 1 && <Facts item={first} />}
      <form
        className="stacked"
        onSubmit={(event) => {
          event.preventDefault();
          void release();
        }}
      >
        <h3>{t('quarantine.release')}</h3>
        <p className="secondary">{t(stays ? 'quarantine.stays' : 'quarantine.releaseMeaning')}</p>
        {!stays && needsClass && (
          <Field label={t('quarantine.sopClass')} hint={t('quarantine.sopClassHint')}>
            <select value={sopClass} required onChange={(event) => setSopClass(event.target.value)}>
              <option value="" />
              {sopClasses.map(([uid, name]) => (
                <option key={uid} value={uid}>
                  {name}
                </option>
              ))}
            </select>
          </Field>
        )}
        {!stays && facilities.length > 1 && (
          <Field label={t('study.facility')}>
            <FacilitySelect value={facility} none={t('quarantine.asReceived')} onChange={setFacility} />
          </Field>
        )}
        {!stays && (
          <label className="check">
            <input type="checkbox" checked={patient !== undefined} onChange={(event) => setPatient(event.target.checked ? { ...first.patient } : undefined)} />
            <span>{t('quarantine.otherPatient')}</span>
          </label>
        )}
        {patient && (
          <>
            {first.belongs_to && (
              <button type="button" onClick={() => setPatient({ ...first.belongs_to })}>
                {t('quarantine.asStudy')}
              </button>
            )}
            <DemographicsFields value={patient} onChange={setPatient} />
          </>
        )}
        {!stays && (
          <label className="check">
            <input type="checkbox" checked={newStudy} onChange={(event) => setNewStudy(event.target.checked)} />
            <span>
              {t('quarantine.newStudy')} <small className="secondary">{t('quarantine.newStudyHint')}</small>
            </span>
          </label>
        )}
        {error !== undefined && (
          <p className="problem" role="alert">
            {explain(t, error)}
          </p>
        )}
        {outcome && (
          <div role="alert">
            <p>{t('quarantine.outcome', { released: number(outcome.released.length, language), refused: number(outcome.refused.length, language) })}</p>
            <ul>
              {outcome.refused.slice(0, 5).map((refusal) => (
                <li key={refusal.id} className="problem">
                  {refusal.message}
                </li>
              ))}
            </ul>
            <button type="button" onClick={() => void onDone()}>
              {t('do.close')}
            </button>
          </div>
        )}
        <div className="actions start">
          {!stays && (
            <button type="submit" className="primary" disabled={busy}>
              {t('quarantine.releaseDo')}
            </button>
          )}
          <span className="spread" />
          <button type="button" className="danger" onClick={() => setAsking(true)}>
            {t('quarantine.discard')}
          </button>
        </div>
      </form>
      {asking && (
        <Ask
          title={t('quarantine.discardAsk', { count: number(items.length, language) })}
          meaning={t('quarantine.discardMeaning')}
          act={t('quarantine.discard')}
          danger
          onAct={async (why) => {
            await api.discardQuarantined(
              items.map((item) => item.id),
              why,
            );
            await onDone();
          }}
          onClose={() => setAsking(false)}
        />
      )}
    </aside>
  );
}

function Facts({ item }: { item: Quarantined }) {
  const { t, language } = useWords();
  const uids = [
    ['Study Instance UID', item.study_uid],
    ['Series Instance UID', item.series_uid],
    ['SOP Instance UID', item.sop_uid],
  ].filter(([, value]) => value);
  return (
    <div className="stacked">
      <p>{t(`quarantine.advice.${item.reason}`)}</p>
      <p className="secondary" lang="en">
        {item.message}
      </p>
      {item.unreleasable && (
        <p className="secondary" lang="en">
          {item.unreleasable}
        </p>
      )}
      {item.belongs_to && (
        <dl>
          <dt>{t('quarantine.belongsTo')}</dt>
          <dd>
            <Who demographics={item.belongs_to} />
          </dd>
        </dl>
      )}
      {uids.length > 0 && (
        <dl className="uids">
          {uids.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>
                <code>{value}</code>
              </dd>
            </div>
          ))}
        </dl>
      )}
      <a className="button" href={api.quarantinedPath(item.id)} download={`${item.id}.dcm`}>
        <Icon name="file" /> {t('quarantine.download', { size: bytes(item.bytes, language) })}
      </a>
    </div>
  );
}
