import { useState } from 'react';
import { api } from '../../api/client';
import { usePages, useSettled } from '../../api/resource';
import type { PatientRecord } from '../../api/schema';
import { FacilitySelect } from '../../parts/facility';
import { Icon } from '../../parts/icons';
import { ProblemNote } from '../../parts/problem';
import { useUser } from '../../parts/session';
import { TableScroll } from '../../parts/table';
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
          {facilities.length > 1 && <FacilitySelect label={t('study.facility')} none={t('worklist.anyFacility')} value={search.facility} onChange={search.setFacility} />}
        </div>
        <p className="secondary lead">{t('admin.records.lead')}</p>
        <ProblemNote error={page.error} retry={() => void page.reload()} />
        <TableScroll label={t('admin.records.title')}>
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
        </TableScroll>
        {search.more && (
          <button type="button" onClick={() => void search.more?.()}>
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
  const [facility, setFacility] = useState(only);
  const q = useSettled(typed).trim();
  const page = usePages(
    q === '' ? undefined : `records ${facility} ${q}`,
    (after) => api.patientRecords({ q, facility, limit: 50, after }),
    (answer) => answer.patients,
  );
  // What was found before is not shown to who has typed nothing.
  return { typed, setTyped, q, facility, setFacility, page, records: q === '' ? [] : page.items, more: q === '' ? undefined : page.more };
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
