import { describe, expect, test } from 'vitest';
import type { Series, Study, StudyDetail, Task } from '../api/schema';
import { chord } from '../parts/keys';
import { describe as describeStudy } from '../parts/patient';
import { roomsFor } from '../parts/session';
import { firstSeries, likeSeries, priorFor } from './reading/hang';
import { merge } from './worklist/merge';

const task = (id: string, state: Task['state'] = 'open'): Task => ({ id, state }) as Task;
const ids = (tasks: Task[]) => tasks.map((t) => t.id).join('');

describe('fresh tasks in the worklist', () => {
  const shown = [task('a'), task('b'), task('c')];

  test('come in at once when the list may move', () => {
    const result = merge(shown, [task('n'), task('a'), task('c')], true);
    expect(ids(result.tasks)).toBe('nac');
    expect(result.waiting).toBe(0);
  });

  test('wait while the pointer is over it: rows keep their places, content changes', () => {
    const result = merge(shown, [task('n'), task('m'), task('a', 'claimed'), task('b'), task('c')], false);
    expect(ids(result.tasks)).toBe('abc');
    expect(result.tasks[0].state).toBe('claimed');
    expect(result.waiting).toBe(2);
  });

  test('a row that is gone stays, marked', () => {
    const result = merge(shown, [task('a'), task('c')], false);
    expect(ids(result.tasks)).toBe('abc');
    expect([...result.gone]).toEqual(['b']);
    expect(result.waiting).toBe(0);
  });

  test('a mere change of order is news too', () => {
    expect(merge(shown, [task('c'), task('a'), task('b')], false).waiting).toBe(1);
  });
});

describe('keys', () => {
  const press = (code: string, more: Partial<KeyboardEvent> = {}) => chord({ code, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...more });
  test('are physical: the same on Latin and Cyrillic layouts', () => {
    expect(press('KeyW', { key: 'ц' })).toBe('W');
    expect(press('Digit4', { key: '4' })).toBe('4');
    expect(press('Numpad4')).toBe('4');
    expect(press('Slash', { shiftKey: true, key: ',' })).toBe('Shift+Slash');
    expect(press('Enter', { ctrlKey: true })).toBe('Ctrl+Enter');
    expect(press('NumpadEnter', { metaKey: true })).toBe('Ctrl+Enter');
  });
});

describe('what a study is called', () => {
  test.each([
    [['CT'], 'CT head', 'head'],
    [['MR'], 'MRI brain', 'brain'],
    [['CT'], 'КТ головного мозга', 'головного мозга'],
    [['CT'], 'Contrast CT', 'Contrast CT'],
    [['CT'], 'CT', 'CT'],
    [['CR'], '', 'nameless'],
  ])('%s %s', (modalities, description, expected) => {
    expect(describeStudy({ modalities, description }, 'nameless')).toBe(expected);
  });
});

test('roles open rooms', () => {
  expect(roomsFor(['radiologist'])).toEqual(['worklist', 'reports', 'patients']);
  expect(roomsFor(['clinician'])).toEqual(['patients', 'orders']);
  expect(roomsFor(['technician'])).toEqual(['patients', 'orders']);
  expect(roomsFor(['registrar'])).toEqual(['orders']);
  expect(roomsFor(['facility_administrator'])).toEqual(['patients', 'orders', 'administration']);
  expect(roomsFor(['administrator'])).toEqual(['worklist', 'reports', 'patients', 'orders', 'administration']);
  expect(roomsFor(['clinician', 'radiologist'])).toEqual(['worklist', 'reports', 'patients', 'orders']);
  expect(roomsFor([])).toEqual([]);
});

describe('hanging', () => {
  const series = (number: number, count: number, description = '', modality = 'CT'): Series => ({ series_uid: `${number}`, number, modality, description, instance_count: count, has_pixels: true });
  const study = (uid: string, date: string, modalities: string[], body_part = 'HEAD'): Study => ({ study_uid: uid, date, modalities, body_part }) as Study;

  test('begins with the first series that is more than a scout', () => {
    expect(firstSeries([series(3, 200), series(1, 2, 'Topogram'), series(2, 48)])?.number).toBe(2);
    expect(firstSeries([series(1, 1), series(2, 2)])?.number).toBe(2);
    expect(firstSeries([{ ...series(1, 9), has_pixels: false }])).toBeUndefined();
  });

  test('the prior is of the same modality and part, the newest', () => {
    const now = study('now', '20261121', ['CT']);
    const priors = [study('mr', '20260901', ['MR']), study('abdomen', '20260801', ['CT'], 'ABDOMEN'), study('old', '20240101', ['CT']), study('newer', '20250214', ['CT'])];
    expect(priorFor(now, priors)?.study_uid).toBe('newer');
    expect(priorFor(now, priors.slice(0, 2))?.study_uid).toBe('abdomen');
    expect(priorFor(now, priors.slice(0, 1))).toBeUndefined();
    // A later study is not a prior.
    expect(priorFor(study('x', '20230101', ['CT']), priors)).toBeUndefined();
  });

  test('its series is the one that is most alike', () => {
    const prior = { series: [series(1, 2, 'Topogram'), series(2, 30, 'Head bone'), series(3, 30, 'Head soft')] } as StudyDetail;
    expect(likeSeries(series(9, 48, 'HEAD SOFT 3.0'), prior)?.number).toBe(3);
    expect(likeSeries(series(9, 48, 'Thin'), prior)?.number).toBe(2);
  });
});
