import { useUser } from './session';

interface FacilitySelectProps {
  value: string;
  onChange: (code: string) => void;
  /** What no facility means; without it one must be chosen. */
  none?: string;
  /** Where no label stands beside it. */
  label?: string;
}

/** A choice of the facilities that one may see. */
export function FacilitySelect({ value, onChange, none, label }: FacilitySelectProps) {
  const { facilities } = useUser();
  return (
    <select aria-label={label} value={value} required={none === undefined} onChange={(event) => onChange(event.target.value)}>
      {none !== undefined && <option value="">{none}</option>}
      {facilities.map((f) => (
        <option key={f.code} value={f.code}>
          {f.name}
        </option>
      ))}
    </select>
  );
}
