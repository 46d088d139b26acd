// Is the right picture on the canvas? The frame is fetched a second time,
// windowed here, and laid beside what the canvas shows.
import assert from 'node:assert/strict';

/** The panes as the page's hook tells them (src/engine/hook.ts). */
export const panes = (page) => page.evaluate(() => window.__tasvir?.panes() ?? []);

export async function waitForPicture(page, pane = 0, test = () => true, timeout = 30_000) {
  const until = Date.now() + timeout;
  for (;;) {
    const found = (await panes(page))[pane];
    if (found?.drawn && found.index === found.wanted && found.window && test(found)) return found;
    if (Date.now() > until) throw new Error(`no such picture in pane ${pane}: ${JSON.stringify(found)}`);
    await page.waitForTimeout(50);
  }
}

/** Stored values of an instance's first frame, from DICOMweb, with what turns them into grey. */
async function fetchFrame(page, studyUID, seriesUID, instanceUID) {
  const answer = await page.evaluate(
    async ([study, series, instance]) => {
      const root = `/dicom-web/studies/${study}/series/${series}`;
      const list = await (await fetch(`${root}/metadata`, { headers: { Accept: 'application/dicom+json' } })).json();
      const ds = list.find((item) => item['00080018'].Value[0] === instance);
      const response = await fetch(`${root}/instances/${instance}/frames/1`, { headers: { Accept: 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1' } });
      const bytes = new Uint8Array(await response.arrayBuffer());
      const value = (tag, otherwise) => Number(ds[tag]?.Value?.[0] ?? otherwise);
      const rows = value('00280010');
      const columns = value('00280011');
      const size = (rows * columns * value('00280100')) / 8;
      // The part's head ends at the first empty line; the frame follows.
      let start = 0;
      while (!(bytes[start] === 13 && bytes[start + 1] === 10 && bytes[start + 2] === 13 && bytes[start + 3] === 10)) start++;
      // As text: a list of so many numbers takes seconds to come over.
      let text = '';
      for (let at = start + 4; at < start + 4 + size; at += 8192) text += String.fromCharCode(...bytes.subarray(at, Math.min(at + 8192, start + 4 + size)));
      return {
        status: response.status,
        rows,
        columns,
        pixels: btoa(text),
        wide: value('00280100') === 16,
        signed: value('00280103', 0) === 1,
        slope: value('00281053', 1),
        intercept: value('00281052', 0),
        mono1: ds['00280004'].Value[0] === 'MONOCHROME1',
        others: list.map((item) => item['00080018'].Value[0]),
      };
    },
    [studyUID, seriesUID, instanceUID],
  );
  assert.equal(answer.status, 200);
  const bytes = Buffer.from(answer.pixels, 'base64');
  const { buffer } = new Uint8Array(bytes); // aligned, unlike the pool that a Buffer lies in
  const values = answer.wide ? (answer.signed ? new Int16Array(buffer) : new Uint16Array(buffer)) : new Uint8Array(buffer);
  return { ...answer, values };
}

function grey(frame, window, inverted, i, j) {
  const lower = window.center - 0.5 - (window.width - 1) / 2;
  const value = frame.values[j * frame.columns + i] * frame.slope + frame.intercept;
  const part = Math.min(1, Math.max(0, (value - lower) / (window.width - 1)));
  return 255 * (inverted !== frame.mono1 ? 1 - part : part);
}

/** Points of the picture around which it is flat, so that interpolation changes nothing. */
function flatPoints(frame, window, inverted) {
  const points = [];
  const step = Math.max(1, Math.floor(Math.min(frame.rows, frame.columns) / 40));
  for (let j = 3; j < frame.rows - 3; j += step) {
    for (let i = 3; i < frame.columns - 3; i += step) {
      const around = [];
      for (let dj = -2; dj <= 2; dj++) for (let di = -2; di <= 2; di++) around.push(grey(frame, window, inverted, i + di, j + dj));
      if (Math.max(...around) - Math.min(...around) < 24) points.push([i, j]);
    }
  }
  return points;
}

const mean = (list) => list.reduce((sum, x) => sum + x, 0) / list.length;

/**
 * Asserts that the pane's canvas shows the picture that it says it shows: the
 * mean difference from the frame is a few greys, and far less than from a
 * picture elsewhere in the series (when there is one that differs).
 */
export async function assertRightPicture(page, pane = 0) {
  const shown = await waitForPicture(page, pane);
  const frame = await fetchFrame(page, shown.studyUID, shown.seriesUID, shown.sopInstanceUID);
  const points = flatPoints(frame, shown.window, shown.inverted);
  assert.ok(points.length > 50, `only ${points.length} flat points`);
  const colours = await page.evaluate(([n, list]) => window.__tasvir.sample(n, list), [pane, points]);
  const seen = points.map((point, n) => ({ point, colour: colours[n] })).filter(({ colour }) => colour);
  assert.ok(seen.length > points.length / 3, `only ${seen.length} of ${points.length} points are on the canvas`);
  const difference = (other) => mean(seen.map(({ point, colour }) => Math.abs(colour[0] - grey(other, shown.window, shown.inverted, ...point))));
  const own = difference(frame);
  assert.ok(own < 8, `the canvas differs from the frame by ${own.toFixed(1)} greys`);
  const lit = seen.filter(({ colour }) => colour[0] > 10).length;
  assert.ok(lit > 10, 'the canvas is black');
  if (frame.others.length > 6) {
    const at = frame.others.indexOf(shown.sopInstanceUID);
    const far = frame.others[(at + Math.floor(frame.others.length / 2)) % frame.others.length];
    const elsewhere = difference(await fetchFrame(page, shown.studyUID, shown.seriesUID, far));
    assert.ok(elsewhere > own * 1.5, `another slice fits as well: ${elsewhere.toFixed(1)} against ${own.toFixed(1)}`);
  }
  return { shown, difference: own };
}
