export type Vector = [number, number, number];

export const dot = (a: Vector, b: Vector) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

export const cross = (a: Vector, b: Vector): Vector => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

export const negate = (a: Vector): Vector => [-a[0], -a[1], -a[2]];

/** The normal of an image plane from Image Orientation (Patient), six cosines. */
export function normalOf(orientation: number[]): Vector {
  const [a, b, c, d, e, f] = orientation;
  return cross([a, b, c], [d, e, f]);
}

/**
 * The letters of a direction in the patient's coordinates (PS3.3 C.7.6.1.1.1:
 * x to the left hand, y to the back, z to the head), the strongest axis first,
 * e.g. "L", "AR". Axes under a quarter of the direction are left out.
 */
export function letters(direction: Vector): string {
  const axes: [number, string, string][] = [
    [direction[0], 'L', 'R'],
    [direction[1], 'P', 'A'],
    [direction[2], 'H', 'F'],
  ];
  return axes
    .filter(([size]) => Math.abs(size) > 0.25)
    .sort((a, b) => Math.abs(b[0]) - Math.abs(a[0]))
    .map(([size, positive, negative]) => (size > 0 ? positive : negative))
    .join('');
}

const opposites: Record<string, string> = { L: 'R', R: 'L', A: 'P', P: 'A', H: 'F', F: 'H' };

export const opposite = (word: string) => [...word].map((letter) => opposites[letter] ?? letter).join('');

export interface Edges {
  left: string;
  right: string;
  top: string;
  bottom: string;
}

/** The letters at the edges of a picture whose right and down directions are these. */
export function edgesOf(right: Vector, down: Vector): Edges {
  return { right: letters(right), left: letters(negate(right)), bottom: letters(down), top: letters(negate(down)) };
}

/**
 * The letters of a projection image, which has no position but a Patient
 * Orientation (the directions of its rows and columns), after flips and then a
 * clockwise rotation in quarter turns.
 */
export function edgesOfProjection(orientation: string[], view: { flipHorizontal: boolean; flipVertical: boolean; quarterTurns: number }): Edges | undefined {
  let [right, down] = orientation;
  if (!right || !down) return undefined;
  if (view.flipHorizontal) right = opposite(right);
  if (view.flipVertical) down = opposite(down);
  for (let n = 0; n < ((view.quarterTurns % 4) + 4) % 4; n++) [right, down] = [opposite(down), right];
  return { right, left: opposite(right), bottom: down, top: opposite(down) };
}

/** The longest of 1, 2, 5 × 10ⁿ mm that fits into `pixels` at this scale, with its length on screen. */
export function scaleBar(mmPerPixel: number, pixels: number): { mm: number; pixels: number } | undefined {
  if (!(mmPerPixel > 0) || !(pixels > 0)) return undefined;
  const room = mmPerPixel * pixels;
  const power = 10 ** Math.floor(Math.log10(room));
  const mm = [5, 2, 1].map((n) => n * power).find((length) => length <= room) ?? power;
  return { mm, pixels: mm / mmPerPixel };
}
