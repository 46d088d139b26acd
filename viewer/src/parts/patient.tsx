import type { ReactNode } from 'react';
import type { Patient, Study } from '../api/schema';
import { useWords } from '../words';
import { dicomDate } from '../words/dates';

export function Sex({ sex }: { sex: Patient['sex'] }) {
  const { t } = useWords();
  if (sex !== 'M' && sex !== 'F') return null;
  const word = t(sex === 'M' ? 'patient.male' : 'patient.female');
  return (
    <span className="sex" role="img" aria-label={word} title={word}>
      {sex === 'M' ? '♂' : '♀'}
    </span>
  );
}

// What modalities are called in descriptions, in the languages of those who write them.
const alsoCalled: Record<string, string[]> = { CT: ['KT', 'КТ'], MR: ['MRI', 'MRT', 'МРТ'], US: ['UZI', 'УЗИ', 'UTT', 'УТТ'], MG: ['MMG', 'ММГ'] };

/** What was examined, without the modality that stands before it anyway: "CT" + "CT head" is "CT head". */
export function describe(study: Pick<Study, 'description' | 'modalities'>, nameless: string): string {
  const { description, modalities } = study;
  const first = description.split(/\s+/, 1)[0];
  const rest = description.slice(first.length).trim();
  const names = modalities.flatMap((modality) => [modality, ...(alsoCalled[modality] ?? [])]);
  return (rest && names.includes(first.toUpperCase()) ? rest : description) || nameless;
}

/** The last four digits are enough to tell people apart on a screen that others can see. */
export const shortNumber = (pinfl: string) => `…${pinfl.slice(-4)}`;

/**
 * Who this is: at the same place on every screen that shows pictures or a
 * report. The name stands as the study has it, the other script beneath.
 */
export function PatientBanner({ study, before, after }: { study: Study; before?: ReactNode; after?: ReactNode }) {
  const { t } = useWords();
  const { patient } = study;
  return (
    <section className="banner" aria-label={t('patient.banner')}>
      {before}
      <div className="banner-name">
        <strong>
          <bdi>{patient.name}</bdi> <Sex sex={patient.sex} />
        </strong>
        {patient.name_other && <small>{patient.name_other}</small>}
      </div>
      <dl className="banner-facts">
        {patient.age !== undefined && <Fact label={t('patient.age')} value={String(patient.age)} />}
        {patient.birth_date && <Fact label={t('patient.born')} value={dicomDate(patient.birth_date)} />}
        <Fact label={t('patient.id')} value={patient.id} />
        {patient.pinfl && <Fact label={t('patient.pinfl')} value={shortNumber(patient.pinfl)} />}
        <Fact label={study.modalities.join(' ')} value={describe(study, t('study.noDescription'))} wide />
        <Fact label={t('study.date')} value={dicomDate(study.date)} />
        <Fact label={t('study.facility')} value={study.facility.name} wide />
      </dl>
      {after}
    </section>
  );
}

function Fact({ label, value, wide }: { label: string; value: string; wide?: boolean }) {
  return (
    <div className={wide ? 'fact wide' : 'fact'}>
      <dt>{label}</dt>
      <dd title={value}>{value}</dd>
    </div>
  );
}
