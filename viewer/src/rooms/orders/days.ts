const two = (n: number) => String(n).padStart(2, '0');

/** A day as a date field has it: 2026-11-22. */
const fieldDay = (d: Date) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;

/** Today by this computer, which stands in the facility. */
export const today = () => fieldDay(new Date());

export function addDays(day: string, n: number): string {
  const [year, month, date] = day.split('-').map(Number);
  return fieldDay(new Date(year, month - 1, date + n));
}

/** When a new order begins that nobody says more of: the next five minutes today, eight o'clock on other days. */
export function nextStart(day: string, now = new Date()): string {
  if (day !== fieldDay(now)) return `${day}T08:00`;
  const rounded = new Date(now.getFullYear(), now.getMonth(), now.getDate(), now.getHours(), Math.ceil((now.getMinutes() + 1) / 5) * 5);
  return `${fieldDay(rounded)}T${two(rounded.getHours())}:${two(rounded.getMinutes())}`;
}

/** 09:30, from 2026-11-22T09:30:00. */
export const clockOf = (start: string) => start.slice(11, 16);

/** 22.11.2026, from 2026-11-22T09:30:00. */
export const dayOf = (start: string) => `${start.slice(8, 10)}.${start.slice(5, 7)}.${start.slice(0, 4)}`;

/** What orders are entered for, the commonest first. */
export const modalities = ['CT', 'MR', 'CR', 'DX', 'US', 'MG', 'RF', 'XA', 'NM', 'PT', 'OT'];
