import type { Demographics } from '../../api/schema';
import { useWords } from '../../words';
import { dicomDate } from '../../words/dates';
import { Field } from './TablePage';

/** Karimov Ali Baxtiyorovich, from Karimov^Ali^Baxtiyorovich. */
export const personName = (name: string | undefined) => (name ?? '').split('=')[0].replaceAll('^', ' ').replace(/\s+/g, ' ').trim();

/** Who this is, in one line; what is not known is left out. */
export function Who({ demographics }: { demographics: Demographics | undefined }) {
  const { t } = useWords();
  if (!demographics) return <span className="secondary">–</span>;
  const { name, patient_id, birth_date, sex } = demographics;
  const rest = [patient_id, dicomDate(birth_date), sex === 'M' ? t('patient.male') : sex === 'F' ? t('patient.female') : ''].filter(Boolean);
  return (
    <span className="who">
      <bdi>{personName(name) || t('records.nameless')}</bdi>
      {rest.length > 0 && <small className="secondary figures">{rest.join(' · ')}</small>}
    </span>
  );
}

const nameParts = ['family', 'given', 'middle'] as const;

/** Fields for who somebody is. The name's parts are asked for one by one, because DICOM keeps them apart. */
export function DemographicsFields({ value, onChange }: { value: Demographics; onChange: (value: Demographics) => void }) {
  const { t } = useWords();
  const [alphabetic, ...groups] = (value.name ?? '').split('=');
  const parts = alphabetic.split('^');
  const rename = (index: number, text: string) => {
    const changed = [...parts];
    while (changed.length <= index) changed.push('');
    changed[index] = text.replace(/[\^=\\]/g, ' ');
    onChange({ ...value, name: [changed.join('^').replace(/\^+$/, ''), ...groups].join('=') });
  };
  const set = (patch: Demographics) => onChange({ ...value, ...patch });
  return (
    <>
      {nameParts.map((part, index) => (
        <Field key={part} label={t(`records.${part}`)}>
          <input value={parts[index] ?? ''} maxLength={64} autoComplete="off" onChange={(event) => rename(index, event.target.value)} />
        </Field>
      ))}
      <Field label={t('patient.id')}>
        <input value={value.patient_id ?? ''} maxLength={64} autoComplete="off" spellCheck={false} onChange={(event) => set({ patient_id: event.target.value })} />
      </Field>
      <Field label={t('patient.born')}>
        <input type="date" value={(value.birth_date ?? '').replace(/^(\d{4})(\d{2})(\d{2})$/, '$1-$2-$3')} onChange={(event) => set({ birth_date: event.target.value.replaceAll('-', '') })} />
      </Field>
      <Field label={t('records.sex')}>
        <select value={value.sex ?? ''} onChange={(event) => set({ sex: event.target.value as Demographics['sex'] })}>
          <option value="">{t('records.sexUnknown')}</option>
          <option value="F">{t('patient.female')}</option>
          <option value="M">{t('patient.male')}</option>
          <option value="O">{t('records.sexOther')}</option>
        </select>
      </Field>
      <Field label={t('patient.pinfl')}>
        <input value={value.pinfl ?? ''} inputMode="numeric" pattern="\d{14}" onChange={(event) => set({ pinfl: event.target.value })} />
      </Field>
    </>
  );
}

/** What has changed between two descriptions of one person: only that is sent. */
export function changes(from: Demographics, to: Demographics): Demographics {
  const out: Record<string, string> = {};
  for (const key of ['name', 'patient_id', 'issuer', 'birth_date', 'sex', 'pinfl'] as const) {
    if ((to[key] ?? '') !== (from[key] ?? '')) out[key] = to[key] ?? '';
  }
  return out;
}
