import { useState } from 'react';
import { api } from '../../api/client';
import { useResource } from '../../api/resource';
import type { Demographics, PatientDetail, PatientOperation, PatientRecord, PatientStudy } from '../../api/schema';
import { Icon } from '../../parts/icons';
import { ProblemNote } from '../../parts/problem';
import { useWords } from '../../words';
import { dicomDate, moment, number } from '../../words/dates';
import { Ask } from './Ask';
import { changes, DemographicsFields, personName, Who } from './demographics';
import { Marks, RecordSearch, useRecordSearch } from './RecordsPage';
import { StudyCare } from './StudyCare';

type Asked = { kind: 'correct'; to: Demographics } | { kind: 'merge' } | { kind: 'split'; studies: string[] } | { kind: 'move'; study: PatientStudy } | { kind: 'undo'; operation: PatientOperation };

interface PanelProps {
  id: string;
  onOpen: (id: string) => void;
  onChanged: () => void;
  onClose: () => void;
}

/** One patient's record: who they are, their studies, what was done to the record. */
export function RecordPanel({ id, onOpen, onChanged, onClose }: PanelProps) {
  const { t } = useWords();
  const detail = useResource(`record ${id}`, () => api.patientRecord(id));
  const [asked, setAsked] = useState<Asked>();
  const [chosen, setChosen] = useState<string[]>([]);
  const d = detail.data;
  const done = (answer: PatientDetail) => {
    setChosen([]);
    onChanged();
    if (answer.patient.id === id) detail.set(answer);
    else onOpen(answer.patient.id);
  };
  return (
    <aside className="side-panel wide" aria-label={t('admin.records.title')}>
      <header>
        <h2>
          <bdi>{personName(d?.patient.demographics.name) || t('records.nameless')}</bdi>
        </h2>
        <button type="button" className="icon-button" aria-label={t('do.close')} title={t('do.close')} onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <ProblemNote error={detail.error} retry={() => void detail.reload()} />
      {d && (
        <div className="stacked">
          <p>
            <Who demographics={d.patient.demographics} /> <Marks record={d.patient} />
          </p>
          {d.received && Object.keys(changes(d.received, d.patient.demographics)).length > 0 && (
            <p className="secondary">
              {t('records.cameAs')} <Who demographics={d.received} />
            </p>
          )}
          <Correction key={d.patient.revision} record={d.patient} onCorrect={(to) => setAsked({ kind: 'correct', to })} />
          <section className="stacked" aria-labelledby="record-studies">
            <h3 id="record-studies">{t('status.studies')}</h3>
            {d.studies.length === 0 && <p className="empty">{t('records.noStudies')}</p>}
            <ul className="care-list">
              {d.studies.map((study) => (
                <StudyCare
                  key={study.study_uid}
                  study={study}
                  chosen={chosen.includes(study.study_uid)}
                  onChoose={(on) => setChosen(on ? [...chosen, study.study_uid] : chosen.filter((uid) => uid !== study.study_uid))}
                  onMove={() => setAsked({ kind: 'move', study })}
                />
              ))}
            </ul>
            <div className="actions start">
              <button type="button" disabled={chosen.length === 0 || chosen.length === d.studies.length} onClick={() => setAsked({ kind: 'split', studies: chosen })}>
                {t('records.split')}
              </button>
              <button type="button" onClick={() => setAsked({ kind: 'merge' })}>
                {t('records.merge')}
              </button>
            </div>
          </section>
          {d.linked.length > 0 && (
            <section className="stacked" aria-labelledby="record-linked">
              <h3 id="record-linked">{t('records.linked')}</h3>
              <ul className="care-list">
                {d.linked.map((other) => (
                  <li key={other.id}>
                    <button type="button" className="quiet" onClick={() => onOpen(other.id)}>
                      <Who demographics={other.demographics} /> {other.facility.name}
                    </button>
                  </li>
                ))}
              </ul>
            </section>
          )}
          <History history={d.history} onUndo={(operation) => setAsked({ kind: 'undo', operation })} />
        </div>
      )}
      {d && asked && <Question asked={asked} detail={d} onDone={done} onClose={() => setAsked(undefined)} />}
    </aside>
  );
}

/** Fields that show the record as it is; the button asks for the reason once something differs. */
function Correction({ record, onCorrect }: { record: PatientRecord; onCorrect: (to: Demographics) => void }) {
  const { t } = useWords();
  const [value, setValue] = useState<Demographics>(record.demographics);
  const [open, setOpen] = useState(false);
  const changed = changes(record.demographics, value);
  if (!open) {
    return (
      <div className="actions start">
        <button type="button" onClick={() => setOpen(true)}>
          <Icon name="pen" /> {t('records.correct')}
        </button>
      </div>
    );
  }
  return (
    <form
      className="stacked"
      onSubmit={(event) => {
        event.preventDefault();
        onCorrect(changed);
      }}
    >
      <DemographicsFields value={value} onChange={setValue} />
      <div className="actions start">
        <button type="submit" className="primary" disabled={Object.keys(changed).length === 0}>
          {t('records.correct')}
        </button>
        <button
          type="button"
          onClick={() => {
            setValue(record.demographics);
            setOpen(false);
          }}
        >
          {t('do.cancel')}
        </button>
      </div>
    </form>
  );
}

/** The question before an operation: what it will do, to whom, and why. */
function Question({ asked, detail, onDone, onClose }: { asked: Asked; detail: PatientDetail; onDone: (answer: PatientDetail) => void; onClose: () => void }) {
  const { t, language } = useWords();
  const { patient } = detail;
  const name = personName(patient.demographics.name) || patient.demographics.patient_id || '';
  const [other, setOther] = useState<PatientRecord>();
  const [person, setPerson] = useState<Demographics>({});
  const missing = new Error(t('records.chooseFirst'));
  switch (asked.kind) {
    case 'correct':
      return (
        <Ask
          title={t('records.correctAsk', { name })}
          meaning={t('records.correctMeaning')}
          act={t('records.correct')}
          onClose={onClose}
          onAct={async (why) => onDone(await api.correctPatient(patient.id, asked.to, why, patient.revision))}
        />
      );
    case 'merge':
      return (
        <Ask
          title={t('records.mergeAsk', { name })}
          meaning={t('records.mergeMeaning')}
          act={t('records.mergeDo')}
          onClose={onClose}
          onAct={async (why) => {
            if (!other) throw missing;
            onDone(await api.mergePatient(patient.id, other.id, why, patient.revision));
          }}
        >
          <Chooser facility={patient.facility.code} not={patient.id} chosen={other} onChoose={setOther} />
        </Ask>
      );
    case 'move':
      return (
        <Ask
          title={t('records.moveAsk', { study: `${dicomDate(asked.study.date)} ${asked.study.modalities.join(' ')}` })}
          meaning={t('records.moveMeaning')}
          act={t('records.moveDo')}
          onClose={onClose}
          onAct={async (why) => {
            if (!other) throw missing;
            onDone(await api.moveStudy(asked.study.study_uid, other.id, why));
          }}
        >
          <Chooser facility={patient.facility.code} not={patient.id} chosen={other} onChoose={setOther} />
        </Ask>
      );
    case 'split':
      return (
        <Ask
          title={t('records.splitAsk', { count: number(asked.studies.length, language) })}
          meaning={t('records.splitMeaning')}
          act={t('records.splitDo')}
          onClose={onClose}
          onAct={async (why) => onDone(await api.splitPatient(patient.id, asked.studies, person, why, patient.revision))}
        >
          <DemographicsFields value={person} onChange={setPerson} />
        </Ask>
      );
    case 'undo':
      return (
        <Ask
          title={t('records.undoAsk', { what: t(`records.kinds.${asked.operation.kind}`) })}
          meaning={t('records.undoMeaning')}
          act={t('records.undo')}
          onClose={onClose}
          onAct={async (why) => onDone(await api.undoOperation(asked.operation.id, why))}
        />
      );
  }
}

/** Finds the other patient of a merge or a move, in the same facility. */
function Chooser({ facility, not, chosen, onChoose }: { facility: string; not: string; chosen: PatientRecord | undefined; onChoose: (record: PatientRecord) => void }) {
  const { t } = useWords();
  const search = useRecordSearch(facility);
  const records = search.records.filter((record) => record.id !== not).slice(0, 8);
  return (
    <fieldset className="stacked">
      <legend>{t('records.other')}</legend>
      <RecordSearch search={search} />
      <ProblemNote error={search.page.error} />
      {records.map((record) => (
        <label key={record.id} className="check">
          <input type="radio" name="other" checked={chosen?.id === record.id} onChange={() => onChoose(record)} />
          <span>
            <Who demographics={record.demographics} />
          </span>
        </label>
      ))}
      {search.q !== '' && search.page.data && records.length === 0 && <p className="empty">{t('patients.notFound')}</p>}
    </fieldset>
  );
}

function History({ history, onUndo }: { history: PatientOperation[]; onUndo: (operation: PatientOperation) => void }) {
  const { t, language } = useWords();
  if (history.length === 0) return null;
  return (
    <section className="stacked" aria-labelledby="record-history">
      <h3 id="record-history">{t('records.history')}</h3>
      <ol className="care-list">
        {history.map((operation) => (
          <li key={operation.id}>
            <div>
              <strong>{t(`records.kinds.${operation.kind}`)}</strong>{' '}
              <span className="secondary figures">
                {moment(operation.at)}, {operation.who}
              </span>
              {operation.undone_by && <span className="secondary"> · {t('records.undone')}</span>}
              <br />
              {operation.why}
              {operation.kind === 'correct' && operation.before && operation.after && (
                <small className="secondary">
                  <Who demographics={operation.before} /> → <Who demographics={operation.after} />
                </small>
              )}
              {operation.studies && operation.studies.length > 0 && <small className="secondary"> {t('records.studyCount', { count: number(operation.studies.length, language) })}</small>}
            </div>
            {operation.undoable && (
              <button type="button" onClick={() => onUndo(operation)}>
                {t('records.undo')}
              </button>
            )}
          </li>
        ))}
      </ol>
    </section>
  );
}
