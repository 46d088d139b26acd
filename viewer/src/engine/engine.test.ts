import { describe, expect, test } from 'vitest';
import { edgesOf, edgesOfProjection, letters, normalOf, scaleBar } from './geometry';
import { linkable, linkedIndex, nearest, offsetHere, offsetOf, type Positions } from './link';
import { middleOut, Prefetcher } from './prefetch';
import { dragged, presetsFor, toRange, toWindow } from './windows';

describe('orientation letters', () => {
  test('of axes and obliques', () => {
    expect(letters([1, 0, 0])).toBe('L');
    expect(letters([0, -1, 0])).toBe('A');
    expect(letters([0, 0, 1])).toBe('H');
    expect(letters([-0.8, 0.6, 0])).toBe('RP');
    expect(letters([0.97, 0.24, 0])).toBe('L');
  });

  test('an axial picture has the patient’s left on its right', () => {
    expect(edgesOf([1, 0, 0], [0, 1, 0])).toEqual({ right: 'L', left: 'R', bottom: 'P', top: 'A' });
  });

  test('a projection follows flips and turns', () => {
    const plain = { flipHorizontal: false, flipVertical: false, quarterTurns: 0 };
    expect(edgesOfProjection(['L', 'F'], plain)).toEqual({ right: 'L', left: 'R', bottom: 'F', top: 'H' });
    expect(edgesOfProjection(['L', 'F'], { ...plain, flipHorizontal: true })).toMatchObject({ right: 'R', bottom: 'F' });
    // Clockwise: what was on the right comes to the bottom.
    expect(edgesOfProjection(['L', 'F'], { ...plain, quarterTurns: 1 })).toMatchObject({ bottom: 'L', right: 'H' });
    expect(edgesOfProjection(['L', 'F'], { ...plain, quarterTurns: 4 })).toMatchObject({ right: 'L', bottom: 'F' });
    expect(edgesOfProjection(['L'], plain)).toBeUndefined();
  });
});

test('the scale bar is the longest round length that fits', () => {
  expect(scaleBar(0.5, 160)).toEqual({ mm: 50, pixels: 100 });
  expect(scaleBar(0.1, 160)).toEqual({ mm: 10, pixels: 100 });
  expect(scaleBar(0, 160)).toBeUndefined();
});

describe('linked scrolling', () => {
  const stack = (start: number, step: number, count: number, normal: [number, number, number] = [0, 0, 1]): Positions => ({
    normal,
    mm: Array.from({ length: count }, (_, i) => start + i * step),
  });

  test('the nearest position wins, in either order of the stack', () => {
    expect(nearest([0, 3, 6, 9], 4.4)).toBe(1);
    expect(nearest([9, 6, 3, 0], 4.6)).toBe(1);
  });

  test('3 mm against 5 mm slices that share their positions', () => {
    const now = stack(0, 3, 48);
    const prior = stack(0, 5, 28);
    const offset = offsetOf(now, prior, false);
    expect(offset).toBe(0);
    expect(linkedIndex(now, 0, prior, offset)).toBe(0);
    expect(linkedIndex(now, 25, prior, offset)).toBe(15);
    expect(linkedIndex(now, 47, prior, offset)).toBe(27);
  });

  test('a prior on another table position is laid middle on middle', () => {
    const now = stack(0, 3, 41);
    const prior = stack(1000, 3, 41);
    expect(linkedIndex(now, 10, prior, offsetOf(now, prior, false))).toBe(10);
    // In the same frame of reference positions are the truth.
    expect(linkedIndex(now, 10, prior, offsetOf(now, prior, true))).toBe(0);
  });

  test('stacks counted in opposite directions', () => {
    const now = stack(0, 3, 21);
    const prior = stack(-60, 3, 21, [0, 0, -1]);
    expect(linkedIndex(now, 20, prior, offsetOf(now, prior, true))).toBe(0);
    expect(linkedIndex(now, 0, prior, offsetOf(now, prior, true))).toBe(20);
  });

  test('what the reader laid on each other by hand stays so', () => {
    const now = stack(0, 3, 48);
    const prior = stack(0, 5, 28);
    const offset = offsetHere(now, 10, prior, 12);
    expect(linkedIndex(now, 10, prior, offset)).toBe(12);
    expect(linkedIndex(now, 15, prior, offset)).toBe(15);
  });

  test('axial and sagittal can’t be scrolled together, nor a single picture', () => {
    expect(linkable(stack(0, 3, 10), stack(0, 3, 10, [1, 0, 0]))).toBe(false);
    expect(linkable(stack(0, 3, 10), stack(0, 3, 1))).toBe(false);
    expect(linkable(stack(0, 3, 10), undefined)).toBe(false);
    expect(linkable(stack(0, 3, 10), stack(0, 3, 10, [0.1, 0, -0.995]))).toBe(true);
  });

  test('normal of an orientation', () => {
    expect(normalOf([1, 0, 0, 0, 1, 0])).toEqual([0, 0, 1]);
    expect(normalOf([0, 1, 0, 0, 0, -1])).toEqual([-1, 0, 0]);
  });
});

describe('windows', () => {
  test('to a range and back', () => {
    expect(toRange({ center: 40, width: 400 })).toEqual({ lower: -160, upper: 239 });
    expect(toWindow(toRange({ center: 40, width: 80 }))).toEqual({ center: 40, width: 80 });
  });

  test('a drag is finer in a narrow window, and never turns it over', () => {
    const brain = dragged({ center: 40, width: 80 }, 100, 0).width - 80;
    const bone = dragged({ center: 480, width: 2500 }, 100, 0).width - 2500;
    expect(brain).toBe(20);
    expect(bone).toBeGreaterThan(500);
    expect(dragged({ center: 40, width: 80 }, -9999, 0).width).toBe(2);
    expect(dragged({ center: 40, width: 400 }, 0, 10).center).toBe(50);
  });

  test('CT presets stand in Hounsfield units on 1 to 9, the stored window last', () => {
    const presets = presetsFor('CT', { center: 55, width: 333 });
    expect(presets).toHaveLength(9);
    expect(presets[0]).toMatchObject({ name: 'soft', width: 400, center: 40 });
    expect(presets[3]).toMatchObject({ name: 'brain', width: 80, center: 40 });
    expect(presets[8]).toEqual({ name: 'stored', center: 55, width: 333 });
  });

  test('MR presets are made from its own window', () => {
    expect(presetsFor('MR', { center: 600, width: 1000 })[1].width).toBe(600);
  });
});

describe('prefetching', () => {
  test('from the middle outwards', () => {
    expect(middleOut(5, 2)).toEqual([2, 3, 1, 4, 0]);
    expect(middleOut(4, 0)).toEqual([0, 1, 2, 3]);
    expect(middleOut(4, 3)).toEqual([3, 2, 1, 0]);
    expect(middleOut(0, 0)).toEqual([]);
  });

  test('follows the reader, prefers the lower rank, tries a failed picture three times', async () => {
    const asked: string[] = [];
    const finish: (() => void)[] = [];
    const ahead = new Prefetcher(
      {
        fetchPicture: (id) =>
          new Promise<void>((resolve, reject) => {
            asked.push(id);
            finish.push(() => (id === 'a1' ? reject(new Error('broken')) : resolve()));
          }),
        has: () => false,
        isLineLost: () => false,
        changed: () => {},
        setTimer: () => {},
      },
      1,
    );
    const step = async () => {
      finish.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    };
    ahead.want('prior', ['p0', 'p1'], 0, 1);
    ahead.want('a', ['a0', 'a1', 'a2', 'a3'], 0, 0);
    await step(); // p0 was running already; from now on a comes first
    expect(asked).toEqual(['p0', 'a0']);
    ahead.want('a', [], 3, 0);
    await step();
    expect(asked.at(-1)).toBe('a3');
    while (finish.length) await step();
    expect(asked).toEqual(['p0', 'a0', 'a3', 'a2', 'a1', 'a1', 'a1', 'p1']);
    expect(ahead.progress('a')).toEqual({ loaded: 3, failed: 1, total: 4 });
  });

  test('waits while the line is gone, and loses no picture by it', async () => {
    let online = false;
    let asked = 0;
    let timer: (() => void) | undefined;
    const ahead = new Prefetcher(
      {
        fetchPicture: async () => {
          asked++;
          if (!online) throw new Error('offline');
        },
        has: (id) => id === 'a3',
        isLineLost: () => true,
        changed: () => {},
        setTimer: (run) => {
          timer = run;
        },
      },
      2,
    );
    const settle = () => new Promise((resolve) => setImmediate(resolve));
    ahead.want('a', ['a0', 'a1', 'a2', 'a3'], 0, 0);
    await settle();
    expect(asked).toBe(2);
    for (let n = 0; n < 5; n++) {
      timer?.();
      await settle();
    }
    online = true;
    timer?.();
    await settle();
    expect(ahead.progress('a')).toEqual({ loaded: 4, failed: 0, total: 4 });
  });
});
