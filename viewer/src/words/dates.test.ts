import { describe, expect, test } from 'vitest';
import { countdown } from './countdown';
import { bytes, date, dicomDate, dicomTime, longDate, moment, number, time } from './dates';

const noon = new Date(2026, 10, 21, 14, 2, 5);

test('DICOM dates and times, and what is none', () => {
  expect(dicomDate('20261121')).toBe('21.11.2026');
  expect(dicomDate('')).toBe('');
  expect(dicomDate(undefined)).toBe('');
  expect(dicomDate('1968')).toBe('1968');
  expect(dicomTime('084512.123')).toBe('08:45');
  expect(dicomTime('08')).toBe('');
});

test('dates and times of the computer, 24 hours', () => {
  expect(date(noon)).toBe('21.11.2026');
  expect(time(noon)).toBe('14:02');
  expect(time('nonsense')).toBe('');
  expect(moment(noon, noon.getTime())).toBe('14:02');
  expect(moment(noon, new Date(2026, 10, 22).getTime())).toBe('21.11.2026 14:02');
});

test('months by own tables', () => {
  expect(longDate(noon, 'uz-Latn')).toBe('2026-yil 21-noyabr');
  expect(longDate(noon, 'uz-Cyrl')).toBe('2026 йил 21 ноябрь');
  expect(longDate(noon, 'ru')).toBe('21 ноября 2026 г.');
  expect(longDate(noon, 'en')).toBe('21 November 2026');
});

test('numbers and sizes', () => {
  expect(number(1234567.5, 'uz-Latn', 1)).toBe('1 234 567,5');
  expect(number(1234.5, 'en', 1)).toBe('1,234.5');
  expect(number(-12, 'ru')).toBe('−12');
  expect(bytes(0, 'ru')).toBe('0 Б');
  expect(bytes(1536, 'uz-Latn')).toBe('1,5 KB');
  expect(bytes(164_000_000, 'en')).toBe('156 MB');
});

describe('countdown', () => {
  const now = Date.parse('2026-11-21T12:00:00Z');
  test.each([
    ['2026-11-21T12:06:30Z', '00:06', 'urgent'],
    ['2026-11-21T12:41:00Z', '00:41', 'soon'],
    ['2026-11-21T15:20:00Z', '03:20', 'calm'],
    ['2026-11-21T11:46:00Z', '−00:14', 'over'],
    // A second past is past.
    ['2026-11-21T11:59:59Z', '−00:01', 'over'],
    ['2026-11-24T16:10:00Z', '3d 04:10', 'calm'],
  ])('%s is %s, %s', (deadline, text, pressure) => {
    expect(countdown(deadline, now)).toMatchObject({ text, pressure });
  });
});
