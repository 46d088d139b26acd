import { dot, type Vector } from './geometry';

/** What linked scrolling needs to know of a stack: where its images lie along their common normal. */
export interface Positions {
  normal: Vector;
  /** In mm along the normal, one per image, in the order of the stack. */
  mm: number[];
}

/** Planes are near enough to parallel to be scrolled together: within about 25 degrees. */
export function linkable(a: Positions | undefined, b: Positions | undefined): boolean {
  return a !== undefined && b !== undefined && a.mm.length > 1 && b.mm.length > 1 && Math.abs(dot(a.normal, b.normal)) > 0.9;
}

/** The image of `mm` nearest to `target`. */
export function nearest(mm: number[], target: number): number {
  let best = 0;
  for (let i = 1; i < mm.length; i++) {
    if (Math.abs(mm[i] - target) < Math.abs(mm[best] - target)) best = i;
  }
  return best;
}

function along(from: Positions, to: Positions, index: number): number {
  return from.mm[index] * Math.sign(dot(from.normal, to.normal));
}

/**
 * How far apart two stacks count their positions. Two examinations share no
 * frame of reference: the table stood elsewhere. When the ranges overlap for
 * the most part the positions are believed; else the middles are laid on each
 * other. What the reader sets by hand (`offsetHere`) beats both.
 */
export function offsetOf(from: Positions, to: Positions, sameFrame: boolean): number {
  if (sameFrame) return 0;
  const sign = Math.sign(dot(from.normal, to.normal));
  const a = [from.mm[0] * sign, from.mm[from.mm.length - 1] * sign].sort((x, y) => x - y);
  const b = [to.mm[0], to.mm[to.mm.length - 1]].sort((x, y) => x - y);
  const overlap = Math.min(a[1], b[1]) - Math.max(a[0], b[0]);
  const shorter = Math.min(a[1] - a[0], b[1] - b[0]);
  if (overlap >= shorter / 2) return 0;
  return (b[0] + b[1]) / 2 - (a[0] + a[1]) / 2;
}

/** The offset that makes these two images lie at the same place. */
export function offsetHere(from: Positions, fromIndex: number, to: Positions, toIndex: number): number {
  return to.mm[toIndex] - along(from, to, fromIndex);
}

/** The image of `to` that lies where image `index` of `from` does. */
export function linkedIndex(from: Positions, index: number, to: Positions, offset: number): number {
  return nearest(to.mm, along(from, to, index) + offset);
}
