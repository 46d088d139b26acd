import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import { useResource } from '../../api/resource';
import type { PatientRecord } from '../../api/schema';
import { Icon } from '../../parts/icons';
import { ProblemNote } from '../../parts/problem';
import { useUser } from '../../parts/session';
import { useWords } from '../../words';
import { number } from '../../words/dates';
import { Who } from './demographics';
import { RecordPanel } from './RecordPanel';

/** Patients' records: one found by name or number, and beside it what can be put right. */
export function RecordsPage() {
  const { t, language } = useWords();
  const { facilities } = useUser();
  const search = useRecordSearch();
  const [chosen, setChosen] = useState('');
  const { page } = search;
  return (
    <>
      <div className="admin-table">
        <div className="room-head">
          <h1>{t('admin.records.title')}</h1>
          <RecordSearch search={search} />
          {facilities.length > 1 && (
            <select aria-label={t('study.facility')} value={search.facility} onChange={(event) => search.setFacility(event.target.value)}>
              <option value="">{t('worklist.anyFacility')}</option>
              {facilities.map((f) => (
                <option key={f.code} value={f.code}>
                  {f.name}
                </option>
              ))}
            </select>
          )}
        </div>
        <p className="secondary lead">{t('admin.records.lead')}</p>
        <ProblemNote error={page.error} retry={() => void page.reload()} />
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
        <section className="table-scroll" tabIndex={0} aria-label={t('admin.records.title')}>
          <table>
            <thead>
              <tr>
                <th scope="col">{t('patient.banner')}</th>
                <th scope="col">{t('patient.pinfl')}</th>
                <th scope="col">{t('study.facility')}</th>
                <th scope="col">{t('status.studies')}</th>
                <th scope="col">
                  <span className="hidden">{t('do.actions')}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {search.records.map((record) => (
                <tr key={record.id} data-selected={record.id === chosen || undefined}>
                  <td>
                    <Who demographics={record.demographics} /> <Marks record={record} />
                  </td>
                  <td className="figures">{record.demographics.pinfl}</td>
                  <td>{record.facility.name}</td>
                  <td className="figures">{number(record.studies, language)}</td>
                  <td className="c-action">
                    <button
                      type="button"
                      className="icon-button"
                      aria-label={t('admin.editNamed', { name: record.demographics.name || record.demographics.patient_id || record.id })}
                      title={t('do.open')}
                      onClick={() => setChosen(record.id)}
                    >
                      <Icon name="pen" />
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          {search.q === '' ? <p className="empty">{t('records.searchFirst')}</p> : page.data && search.records.length === 0 && <p className="empty">{t('patients.notFound')}</p>}
        </section>
        {search.next && (
          <button type="button" onClick={() => void search.more()}>
            {t('do.more')}
          </button>
        )}
      </div>
      {chosen && <RecordPanel key={chosen} id={chosen} onOpen={setChosen} onChanged={() => void page.reload()} onClose={() => setChosen('')} />}
    </>
  );
}

/** What is special about a record: an ID that others have too, a correction. */
export function Marks({ record }: { record: PatientRecord }) {
  const { t } = useWords();
  return (
    <>
      {record.shared_id && <span className="amended">{t('records.sharedId')}</span>} {record.corrected && <span className="amended">{t('records.corrected')}</span>}
    </>
  );
}

/** A search for patients' records that waits until the typing pauses. */
export function useRecordSearch(only = '') {
  const [typed, setTyped] = useState('');
  const [q, setQ] = useState('');
  const [facility, setFacility] = useState(only);
  const [further, setFurther] = useState<{ key: string; records: PatientRecord[]; next?: string }>();
  useEffect(() => {
    const timer = setTimeout(() => setQ(typed.trim()), 250);
    return () => clearTimeout(timer);
  }, [typed]);
  const key = `records ${facility} ${q}`;
  const page = useResource(q === '' ? undefined : key, () => api.patientRecords({ q, facility, limit: 50 }));
  const mine = further?.key === key ? further : undefined;
  const records = q === '' ? [] : [...(page.data?.patients ?? []), ...(mine?.records ?? [])];
  const next = q === '' ? undefined : mine ? mine.next : page.data?.next;
  const more = async () => {
    const answer = await api.patientRecords({ q, facility, limit: 50, after: next });
    setFurther({ key, records: [...(mine?.records ?? []), ...answer.patients], next: answer.next });
  };
  return { typed, setTyped, q, facility, setFacility, page, records, next, more };
}

export function RecordSearch({ search }: { search: ReturnType<typeof useRecordSearch> }) {
  const { t } = useWords();
  return (
    <div className="search">
      <Icon name="search" />
      <input type="search" placeholder={t('records.search')} aria-label={t('records.search')} value={search.typed} onChange={(event) => search.setTyped(event.target.value)} />
    </div>
  );
}
