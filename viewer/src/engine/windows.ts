/** A grey-scale window: what is shown between black and white. */
export interface Window {
  center: number;
  width: number;
}

export interface Preset extends Window {
  /** A key of the dictionary under "window". */
  name: string;
}

/** CT windows on the keys 1 to 9, in Hounsfield units. */
export const ctPresets: Preset[] = [
  { name: 'soft', center: 40, width: 400 },
  { name: 'lung', center: -600, width: 1500 },
  { name: 'bone', center: 480, width: 2500 },
  { name: 'brain', center: 40, width: 80 },
  { name: 'stroke', center: 40, width: 40 },
  { name: 'liver', center: 90, width: 150 },
  { name: 'angio', center: 300, width: 600 },
  { name: 'mediastinum', center: 50, width: 350 },
];

/** For other modalities the numbers mean nothing by themselves: presets widen or narrow what the image came with. */
export function presetsFor(modality: string, own: Window): Preset[] {
  const asStored: Preset = { name: 'stored', ...own };
  if (modality === 'CT') return [...ctPresets, asStored];
  return [
    asStored,
    { name: 'harder', center: own.center, width: own.width * 0.6 },
    { name: 'softer', center: own.center, width: own.width * 1.6 },
    { name: 'brighter', center: own.center - own.width * 0.2, width: own.width },
    { name: 'darker', center: own.center + own.width * 0.2, width: own.width },
  ];
}

/** From window to the range [lower, upper] (PS3.3 C.11.2.1.2.1, linear). */
export function toRange({ center, width }: Window): { lower: number; upper: number } {
  return { lower: center - 0.5 - (width - 1) / 2, upper: center - 0.5 + (width - 1) / 2 };
}

export function toWindow(range: { lower: number; upper: number }): Window {
  return { width: range.upper - range.lower + 1, center: (range.upper + range.lower) / 2 + 0.5 };
}

/** A drag of (dx, dy) pixels. Its step follows the window's width, so that a narrow brain window moves finely and a wide bone window quickly. */
export function dragged(window: Window, dx: number, dy: number): Window {
  const step = Math.min(8, Math.max(0.1, window.width / 400));
  return { width: Math.max(2, window.width + dx * step), center: window.center + dy * step };
}
