import { wadors } from '@cornerstonejs/dicom-image-loader';
import { type DataSet, items, number, numbers, tag, text } from './dicom';
import { dot, normalOf, type Vector } from './geometry';
import type { Positions } from './link';
import type { Window } from './windows';

/** One picture: a single-frame instance, or one frame of a multi-frame one. */
export interface Picture {
  imageId: string;
  sopInstanceUID: string;
  frame: number;
  instanceNumber: number;
}

/** A series as it is scrolled through. */
export interface Stack {
  studyUID: string;
  seriesUID: string;
  modality: string;
  pictures: Picture[];
  /** Where the pictures lie, if all are parallel planes in space. */
  positions?: Positions;
  frameOfReference?: string;
  /** The window that the middle picture came with. */
  window?: Window;
  inverted: boolean;
  /** In colour: windows mean nothing. */
  colour: boolean;
  /** Measures on the picture are in mm: the spacing is known. */
  calibrated: boolean;
  /** Directions of rows and columns for projections without a position. */
  patientOrientation?: string[];
  hasPlane: boolean;
  lossy: boolean;
  /** Milliseconds between frames, if these pictures are a film. */
  frameTime?: number;
  sliceThickness?: number;
}

const base = () => `${location.origin}/dicom-web`;

export function seriesPath(studyUID: string, seriesUID: string): string {
  return `${base()}/studies/${studyUID}/series/${seriesUID}`;
}

/** What went wrong on the way to the pictures; `status` 0 means no connection. */
export class ImageError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'ImageError';
    this.status = status;
  }
}

export async function fetchMetadata(path: string): Promise<DataSet[]> {
  let response: Response;
  try {
    response = await fetch(path, { headers: { Accept: 'application/dicom+json' }, credentials: 'same-origin' });
  } catch (err) {
    throw new ImageError(0, String(err));
  }
  if (!response.ok) throw new ImageError(response.status, `${path}: HTTP ${response.status}`);
  if (response.status === 204) return [];
  return (await response.json()) as DataSet[];
}

interface Placed extends Picture {
  dataSet: DataSet;
  position?: Vector;
  orientation?: number[];
}

function placed(path: string, ds: DataSet): Placed[] {
  const sopInstanceUID = text(ds, tag.SOPInstanceUID);
  if (!sopInstanceUID || number(ds, tag.Rows) === undefined) return [];
  const frames = number(ds, tag.NumberOfFrames) ?? 1;
  const shared = items(ds, tag.SharedFunctionalGroups)[0];
  const perFrame = items(ds, tag.PerFrameFunctionalGroups);
  const groupValue = (frame: number, sequence: string, key: string) => {
    for (const group of [perFrame[frame], shared]) {
      const item = items(group, sequence)[0];
      const value = item && numbers(item, key);
      if (value) return value;
    }
    return undefined;
  };
  return Array.from({ length: frames }, (_, i) => ({
    imageId: `wadors:${path}/instances/${sopInstanceUID}/frames/${i + 1}`,
    sopInstanceUID,
    frame: i + 1,
    instanceNumber: number(ds, tag.InstanceNumber) ?? 0,
    dataSet: ds,
    position: (numbers(ds, tag.ImagePositionPatient) ?? groupValue(i, tag.PlanePositionSequence, tag.ImagePositionPatient)) as Vector | undefined,
    orientation: numbers(ds, tag.ImageOrientationPatient) ?? groupValue(i, tag.PlaneOrientationSequence, tag.ImageOrientationPatient),
  }));
}

/**
 * Puts pictures in the order of scrolling: by position along the normal when
 * all are parallel and no two lie at the same place, in the direction in which
 * the instances are numbered; by number otherwise.
 */
export function inOrder<T extends { instanceNumber: number; frame: number; position?: Vector; orientation?: number[] }>(pictures: T[]): { pictures: T[]; positions?: Positions } {
  const byNumber = [...pictures].sort((a, b) => a.instanceNumber - b.instanceNumber || a.frame - b.frame);
  const first = byNumber[0];
  if (first?.orientation?.length !== 6) return { pictures: byNumber };
  const normal = normalOf(first.orientation);
  const parallel = byNumber.every((p) => p.position?.length === 3 && p.orientation?.length === 6 && Math.abs(dot(normalOf(p.orientation), normal)) > 0.999);
  if (!parallel) return { pictures: byNumber };
  const at = (p: T) => dot(p.position as Vector, normal);
  const distinct = new Set(byNumber.map((p) => at(p).toFixed(3))).size === byNumber.length;
  if (!distinct) return { pictures: byNumber, positions: { normal, mm: byNumber.map(at) } };
  const rising = at(byNumber[byNumber.length - 1]) >= at(first) ? 1 : -1;
  const sorted = [...byNumber].sort((a, b) => (at(a) - at(b)) * rising);
  return { pictures: sorted, positions: { normal, mm: sorted.map(at) } };
}

/** Builds the stack of a series from its metadata and tells the image loader about every picture. */
export function buildStack(studyUID: string, seriesUID: string, metadata: DataSet[]): Stack {
  const path = seriesPath(studyUID, seriesUID);
  const all = metadata.flatMap((ds) => placed(path, ds));
  for (const picture of all) {
    if (picture.frame === 1) wadors.metaDataManager.add(picture.imageId, picture.dataSet as never);
  }
  const { pictures, positions } = inOrder(all);
  const middle = pictures[Math.floor(pictures.length / 2)]?.dataSet ?? {};
  const center = number(middle, tag.WindowCenter);
  const width = number(middle, tag.WindowWidth);
  const shared = items(middle, tag.SharedFunctionalGroups)[0];
  const spaced = tag.PixelSpacing in middle || tag.ImagerPixelSpacing in middle || items(shared, tag.PixelMeasuresSequence).length > 0;
  return {
    studyUID,
    seriesUID,
    modality: text(middle, tag.Modality) ?? '',
    pictures: pictures.map(({ imageId, sopInstanceUID, frame, instanceNumber }) => ({ imageId, sopInstanceUID, frame, instanceNumber })),
    positions,
    frameOfReference: text(middle, '00200052'),
    window: center !== undefined && width !== undefined && width > 1 ? { center, width } : undefined,
    inverted: text(middle, tag.PhotometricInterpretation) === 'MONOCHROME1',
    colour: (number(middle, tag.SamplesPerPixel) ?? 1) > 1 || text(middle, tag.PhotometricInterpretation) === 'PALETTE COLOR',
    calibrated: spaced,
    patientOrientation: middle[tag.PatientOrientation]?.Value as string[] | undefined,
    hasPlane: pictures.length > 0 && pictures[0].orientation?.length === 6,
    lossy: text(middle, tag.LossyImageCompression) === '01',
    frameTime: number(middle, tag.FrameTime),
    sliceThickness: number(middle, tag.SliceThickness),
  };
}

const stacks = new Map<string, Promise<Stack>>();

/** The stack of a series; asked for once, kept until its study is let go. */
export function loadStack(studyUID: string, seriesUID: string): Promise<Stack> {
  const key = `${studyUID}/${seriesUID}`;
  let stack = stacks.get(key);
  if (!stack) {
    stack = fetchMetadata(`${seriesPath(studyUID, seriesUID)}/metadata`).then((list) => buildStack(studyUID, seriesUID, list));
    stack.catch(() => stacks.delete(key));
    stacks.set(key, stack);
  }
  return stack;
}

/**
 * Has the stacks of a study asked for anew when they are wanted next, because
 * other pictures of it are shown now. Says which series they were. The pictures
 * stay in memory: those that are still shown are the same.
 */
export function outdateStacks(studyUID: string): string[] {
  const outdated = [...stacks.keys()].filter((key) => key.startsWith(`${studyUID}/`));
  for (const key of outdated) stacks.delete(key);
  return outdated.map((key) => key.slice(studyUID.length + 1));
}

/** Forgets the stacks of every study but these, and gives them back. */
export async function forgetStacks(keep: Set<string>): Promise<Stack[]> {
  const dropped: Stack[] = [];
  for (const [key, promise] of [...stacks]) {
    const studyUID = key.slice(0, key.indexOf('/'));
    if (keep.has(studyUID)) continue;
    stacks.delete(key);
    try {
      const stack = await promise;
      for (const picture of stack.pictures) wadors.metaDataManager.remove(picture.imageId);
      dropped.push(stack);
    } catch {
      // a stack that never came has nothing to drop
    }
  }
  return dropped;
}
