// Own tables: browsers have no Uzbek in Latin script ("2026 M09 15"), and
// dates must read the same on every screen.
import type { Language } from '../api/schema';

const two = (n: number) => String(n).padStart(2, '0');

/** 21.11.2026, from DICOM's YYYYMMDD; empty or malformed input comes back as it is. */
export function dicomDate(value: string | undefined): string {
  if (!value || !/^\d{8}$/.test(value)) return value ?? '';
  return `${value.slice(6)}.${value.slice(4, 6)}.${value.slice(0, 4)}`;
}

/** 08:45, from DICOM's HHMMSS.ffffff. */
export function dicomTime(value: string | undefined): string {
  if (!value || !/^\d{4}/.test(value)) return '';
  return `${value.slice(0, 2)}:${value.slice(2, 4)}`;
}

/** 21.11.2026 in the computer's time zone. */
export function date(value: string | number | Date): string {
  const d = new Date(value);
  return Number.isNaN(d.getTime()) ? '' : `${two(d.getDate())}.${two(d.getMonth() + 1)}.${d.getFullYear()}`;
}

/** 14:02, 24 hours. */
export function time(value: string | number | Date): string {
  const d = new Date(value);
  return Number.isNaN(d.getTime()) ? '' : `${two(d.getHours())}:${two(d.getMinutes())}`;
}

/** 14:02 when it was today, else 21.11.2026 14:02. */
export function moment(value: string | number | Date, now: number = Date.now()): string {
  return date(value) === date(now) ? time(value) : `${date(value)} ${time(value)}`;
}

const months: Record<Language, string[]> = {
  'uz-Latn': ['yanvar', 'fevral', 'mart', 'aprel', 'may', 'iyun', 'iyul', 'avgust', 'sentabr', 'oktabr', 'noyabr', 'dekabr'],
  'uz-Cyrl': ['январь', 'февраль', 'март', 'апрель', 'май', 'июнь', 'июль', 'август', 'сентябрь', 'октябрь', 'ноябрь', 'декабрь'],
  ru: ['января', 'февраля', 'марта', 'апреля', 'мая', 'июня', 'июля', 'августа', 'сентября', 'октября', 'ноября', 'декабря'],
  en: ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'],
};

/** The date in words for a report that is read as a text: "2026-yil 21-noyabr". */
export function longDate(value: string | number | Date, language: Language): string {
  const d = new Date(value);
  if (Number.isNaN(d.getTime())) return '';
  const [day, month, year] = [d.getDate(), months[language][d.getMonth()], d.getFullYear()];
  if (language === 'uz-Latn') return `${year}-yil ${day}-${month}`;
  if (language === 'uz-Cyrl') return `${year} йил ${day} ${month}`;
  if (language === 'ru') return `${day} ${month} ${year} г.`;
  return `${day} ${month} ${year}`;
}

/** 12 345,6: a thin space between thousands; a decimal comma except in English. */
export function number(value: number, language: Language, digits = 0): string {
  const [whole, part] = Math.abs(value).toFixed(digits).split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, language === 'en' ? ',' : ' ');
  const sign = value < 0 ? '−' : '';
  return part ? `${sign}${grouped}${language === 'en' ? '.' : ','}${part}` : sign + grouped;
}

const units: Record<Language, string[]> = {
  'uz-Latn': ['B', 'KB', 'MB', 'GB', 'TB'],
  'uz-Cyrl': ['Б', 'КБ', 'МБ', 'ГБ', 'ТБ'],
  ru: ['Б', 'КБ', 'МБ', 'ГБ', 'ТБ'],
  en: ['B', 'KB', 'MB', 'GB', 'TB'],
};

/** 156,4 MB, in steps of 1024. */
export function bytes(value: number, language: Language): string {
  let step = 0;
  while (value >= 1024 && step < 4) {
    value /= 1024;
    step++;
  }
  return `${number(value, language, step === 0 || value >= 100 ? 0 : 1)} ${units[language][step]}`;
}
