import { type FormEvent, useEffect, useRef, useState } from 'react';
import { ApiError, api } from '../../api/client';
import { useResource, useSettled } from '../../api/resource';
import type { Demographics, KnownPatient, Order, OrderEntry, OrderStep, Priority } from '../../api/schema';
import { FacilitySelect } from '../../parts/facility';
import { Icon } from '../../parts/icons';
import { chord } from '../../parts/keys';
import { explain } from '../../parts/problem';
import { useUser } from '../../parts/session';
import { useWords } from '../../words';
import { DemographicsFields, personName, Who } from '../administration/demographics';
import { Field } from '../administration/TablePage';
import { modalities, nextStart } from './days';

interface FormProps {
  day: string;
  facility: string;
  /** The order that is changed; undefined: a new one. */
  order?: Order;
  onSaved: (order: Order) => void;
  onCancel: () => void;
}

/** What was chosen last, for the next patient in the queue. */
let lastModality = 'CT';

/** DICOM's form of a name that is written with spaces. */
const dicomName = (text: string) => text.trim().split(/\s+/).join('^');

/** Enters an order, or changes one. Enter goes on; Ctrl+Enter saves from anywhere. */
export function OrderForm({ day, facility: first, order, onSaved, onCancel }: FormProps) {
  const { t } = useWords();
  const { facilities } = useUser();
  const [facility, setFacility] = useState(order?.facility.code ?? first);
  const [patient, setPatient] = useState<Demographics | undefined>(order?.patient);
  const [isNew, setNew] = useState(false);
  const [entry, setEntry] = useState<OrderEntry>(
    order ?? { patient: {}, priority: 'routine', reason: '', question: '', physician: '', department: '', steps: [{ modality: lastModality, stations: [], start: nextStart(day), description: '' }] },
  );
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const stations = useResource(`order stations ${facility}`, async () => (await api.orderStations({ facility })).stations);
  const step = entry.steps[0];
  const set = (patch: Partial<OrderEntry>) => setEntry({ ...entry, ...patch });
  const setStep = (patch: Partial<OrderStep>) => set({ steps: [{ ...step, ...patch }, ...entry.steps.slice(1)] });

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (!patient || busy) return;
    setBusy(true);
    setError(undefined);
    const body: OrderEntry = { ...entry, patient };
    lastModality = step.modality;
    try {
      onSaved(order ? await api.putOrder(order.id, body) : await api.addOrder(facility, body));
    } catch (err) {
      setError(err);
      setBusy(false);
    }
  };

  if (!patient) {
    return (
      <>
        {facilities.length > 1 && (
          <div className="stacked">
            <Field label={t('study.facility')}>
              <FacilitySelect value={facility} onChange={setFacility} />
            </Field>
          </div>
        )}
        <FindPatient
          facility={facility}
          onFound={(known) => {
            setPatient(known.patient);
            setFacility(known.facility.code);
          }}
          onNew={(name) => {
            setPatient({ name });
            setNew(true);
          }}
        />
      </>
    );
  }
  return (
    <form
      ref={form}
      className="stacked"
      onSubmit={(event) => void submit(event)}
      onKeyDown={(event) => {
        if (chord(event.nativeEvent) === 'Ctrl+Enter') {
          event.preventDefault();
          form.current?.requestSubmit();
        }
      }}
    >
      {isNew || order ? (
        <DemographicsFields value={patient} onChange={setPatient} />
      ) : (
        <p className="chosen-patient">
          <Who demographics={patient} />
        </p>
      )}
      {!order && (
        <div className="actions start">
          <button
            type="button"
            onClick={() => {
              setPatient(undefined);
              setNew(false);
            }}
          >
            {t('orders.otherPatient')}
          </button>
        </div>
      )}
      <div className="pair">
        <Field label={t('orders.modality')}>
          {/* biome-ignore lint/a11y/noAutofocus: the receptionist goes on typing where the patient was found */}
          <select value={step.modality} autoFocus={!isNew && !order} onChange={(event) => setStep({ modality: event.target.value })}>
            {[...new Set([...modalities, step.modality])].map((code) => (
              <option key={code}>{code}</option>
            ))}
          </select>
        </Field>
        <Field label={t('worklist.priority')}>
          <select value={entry.priority} onChange={(event) => set({ priority: event.target.value as Priority })}>
            {(['routine', 'urgent', 'stat'] as const).map((p) => (
              <option key={p} value={p}>
                {t(`priority.${p}`)}
              </option>
            ))}
          </select>
        </Field>
      </div>
      <Field label={t('orders.description')}>
        <input value={step.description ?? ''} maxLength={64} onChange={(event) => setStep({ description: event.target.value })} />
      </Field>
      <div className="pair">
        <Field label={t('orders.start')}>
          <input type="datetime-local" required value={step.start.slice(0, 16)} onChange={(event) => setStep({ start: event.target.value })} />
        </Field>
        <Field label={t('orders.station')}>
          <select value={step.stations?.[0] ?? ''} onChange={(event) => setStep({ stations: event.target.value ? [event.target.value] : [] })}>
            <option value="">{t('orders.anyStation')}</option>
            {(stations.data ?? []).map((s) => (
              <option key={s.ae_title} value={s.ae_title}>
                {s.ae_title}
                {s.description && ` · ${s.description}`}
              </option>
            ))}
            {step.stations?.[0] && !stations.data?.some((s) => s.ae_title === step.stations?.[0]) && <option>{step.stations[0]}</option>}
          </select>
        </Field>
      </div>
      <Field label={t('orders.reason')}>
        <input value={entry.reason ?? ''} maxLength={2000} onChange={(event) => set({ reason: event.target.value })} />
      </Field>
      <Field label={t('orders.question')}>
        <textarea rows={2} value={entry.question ?? ''} maxLength={2000} onChange={(event) => set({ question: event.target.value })} />
      </Field>
      <div className="pair">
        <Field label={t('orders.physician')}>
          <input defaultValue={personName(entry.physician)} maxLength={64} onChange={(event) => set({ physician: dicomName(event.target.value) })} />
        </Field>
        <Field label={t('orders.department')}>
          <input value={entry.department ?? ''} maxLength={64} onChange={(event) => set({ department: event.target.value })} />
        </Field>
      </div>
      <details>
        <summary>{t('orders.more')}</summary>
        <div className="stacked">
          <Field label={t('orders.accession')} hint={t('orders.accessionHint')}>
            <input value={entry.accession ?? ''} maxLength={16} spellCheck={false} autoComplete="off" onChange={(event) => set({ accession: event.target.value })} />
          </Field>
          <Field label={t('orders.placer')}>
            <input value={entry.placer ?? ''} maxLength={64} spellCheck={false} autoComplete="off" onChange={(event) => set({ placer: event.target.value })} />
          </Field>
          <Field label={t('orders.location')}>
            <input value={step.location ?? ''} maxLength={16} onChange={(event) => setStep({ location: event.target.value })} />
          </Field>
          <Field label={t('orders.medication')}>
            <input value={step.medication ?? ''} maxLength={64} onChange={(event) => setStep({ medication: event.target.value })} />
          </Field>
        </div>
      </details>
      {error !== undefined && (
        <p className="problem" role="alert">
          {error instanceof ApiError && error.problem.reason === 'stale_revision' ? t('orders.stale') : explain(t, error)}
        </p>
      )}
      <div className="actions start">
        <button type="submit" className="primary" disabled={busy}>
          {t('do.save')} <kbd>Ctrl ↵</kbd>
        </button>
        <button type="button" onClick={onCancel}>
          {t('do.cancel')}
        </button>
      </div>
    </form>
  );
}

interface FindProps {
  facility: string;
  onFound: (known: KnownPatient) => void;
  /** With what was typed as the name, in DICOM's form. */
  onNew: (name: string) => void;
}

/** Who is to be examined: somebody known, or somebody new. */
function FindPatient({ facility, onFound, onNew }: FindProps) {
  const { t } = useWords();
  const [typed, setTyped] = useState('');
  const q = useSettled(typed).trim();
  const found = useResource(q === '' ? undefined : `order patients ${facility} ${q}`, async () => (await api.orderPatients({ q, facility })).patients);
  const list = q === '' ? [] : (found.data ?? []);
  const ready = q === typed.trim() && !found.loading;
  // Enter may come before the answer: it waits for it.
  const [wanted, setWanted] = useState(false);
  useEffect(() => {
    if (!wanted || !ready) return;
    setWanted(false);
    if (list.length > 0) onFound(list[0]);
  });
  const beginNew = () => onNew(/\d/.test(typed) ? '' : dicomName(typed));
  return (
    <form
      className="stacked"
      onSubmit={(event) => {
        event.preventDefault();
        if (typed.trim() !== '') setWanted(true);
      }}
    >
      <Field label={t('orders.find')} hint={t('orders.findHint')}>
        {/* biome-ignore lint/a11y/noAutofocus: the panel was opened to type here */}
        <input type="search" value={typed} autoFocus autoComplete="off" onChange={(event) => setTyped(event.target.value)} />
      </Field>
      {found.error !== undefined && (
        <p className="problem" role="alert">
          {explain(t, found.error)}
        </p>
      )}
      {list.length > 0 && (
        <ul className="care-list">
          {list.map((known) => (
            <li key={`${known.facility.code} ${known.patient.issuer} ${known.patient.patient_id}`}>
              <button type="button" className="quiet" onClick={() => onFound(known)}>
                <Who demographics={known.patient} />
              </button>
            </li>
          ))}
        </ul>
      )}
      {q !== '' && ready && list.length === 0 && found.error === undefined && <p className="empty">{t('orders.nobody')}</p>}
      <div className="actions start">
        <button type="button" onClick={beginNew}>
          <Icon name="person" /> {t('orders.newPatient')}
        </button>
      </div>
    </form>
  );
}
