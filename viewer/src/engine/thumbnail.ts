import * as core from '@cornerstonejs/core';
import { wadors } from '@cornerstonejs/dicom-image-loader';
import { startEngine } from './boot';
import { number, tag, text } from './dicom';
import { fetchMetadata, loadStack, seriesPath } from './stack';

interface Drawable {
  columns: number;
  rows: number;
  color: boolean;
  invert?: boolean;
  windowCenter: number | number[];
  windowWidth: number | number[];
  slope?: number;
  intercept?: number;
  preScale?: { scaled?: boolean };
  minPixelValue: number;
  maxPixelValue: number;
  getPixelData(): ArrayLike<number>;
}

/** The image id of the series' middle picture. */
async function middlePicture(studyUID: string, seriesUID: string, instanceUID: string | undefined): Promise<string | undefined> {
  if (instanceUID) {
    try {
      const path = seriesPath(studyUID, seriesUID);
      const [ds] = await fetchMetadata(`${path}/instances/${instanceUID}/metadata`);
      if (ds && text(ds, tag.SOPInstanceUID) && number(ds, tag.Rows)) {
        const frames = number(ds, tag.NumberOfFrames) ?? 1;
        const first = `wadors:${path}/instances/${instanceUID}/frames/1`;
        if (!wadors.metaDataManager.get(first)) wadors.metaDataManager.add(first, ds as never);
        return `wadors:${path}/instances/${instanceUID}/frames/${Math.floor((frames - 1) / 2) + 1}`;
      }
    } catch {
      // the series' own metadata says it too
    }
  }
  const stack = await loadStack(studyUID, seriesUID);
  return stack.pictures[Math.floor(stack.pictures.length / 2)]?.imageId;
}

/** Draws the middle picture of a series onto a small canvas; false when it has none. */
export async function drawThumbnail(canvas: HTMLCanvasElement, series: { studyUID: string; seriesUID: string; middleInstanceUID?: string }): Promise<boolean> {
  await startEngine();
  const imageId = await middlePicture(series.studyUID, series.seriesUID, series.middleInstanceUID);
  if (!imageId) return false;
  const image = (await core.imageLoader.loadAndCacheImage(imageId, {
    requestType: core.Enums.RequestType.Thumbnail,
  } as never)) as unknown as Drawable;
  paint(canvas, image);
  return true;
}

const first = (value: number | number[] | undefined) => (Array.isArray(value) ? value[0] : value);

/** Scales by skipping pixels: a thumbnail needs no more. */
function paint(canvas: HTMLCanvasElement, image: Drawable): void {
  const side = Math.max(image.columns, image.rows);
  const size = Math.max(canvas.width, canvas.height);
  const width = Math.max(1, Math.round((image.columns / side) * size));
  const height = Math.max(1, Math.round((image.rows / side) * size));
  const context = canvas.getContext('2d');
  if (!context) return;
  const out = context.createImageData(width, height);
  const pixels = image.getPixelData();
  const channels = image.color ? Math.round(pixels.length / (image.columns * image.rows)) : 1;
  const [slope, intercept] = image.preScale?.scaled ? [1, 0] : [image.slope ?? 1, image.intercept ?? 0];
  const windowWidth = first(image.windowWidth) || (image.maxPixelValue - image.minPixelValue) * slope || 1;
  const windowCenter = first(image.windowCenter) ?? ((image.maxPixelValue + image.minPixelValue) / 2) * slope + intercept;
  const low = windowCenter - windowWidth / 2;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = Math.floor(((y + 0.5) * image.rows) / height) * image.columns + Math.floor(((x + 0.5) * image.columns) / width);
      const to = (y * width + x) * 4;
      if (channels >= 3) {
        for (let c = 0; c < 3; c++) out.data[to + c] = pixels[from * channels + c];
      } else {
        const grey = ((pixels[from] * slope + intercept - low) / windowWidth) * 255;
        out.data.fill(image.invert ? 255 - grey : grey, to, to + 3);
      }
      out.data[to + 3] = 255;
    }
  }
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.putImageData(out, Math.floor((canvas.width - width) / 2), Math.floor((canvas.height - height) / 2));
}
