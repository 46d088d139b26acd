// OHIF's own dist in Chromium, against a real archive: a clinician
// (TASVIR_CLINICIAN, login:password) opens TASVIR_STUDIES, one after the other,
// from the client at TASVIR_URL.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch, screenshots } from './chromium.mjs';
import { signIn } from './people.mjs';

const { TASVIR_URL: tasvir } = process.env;
const studies = JSON.parse(process.env.TASVIR_STUDIES ?? '[]');
const [login, password] = (process.env.TASVIR_CLINICIAN ?? '').split(':');

let browser;
let context;
let client; // the page of Tasvir's own client
let origin; // of OHIF's host
before(async () => {
  browser = await launch();
  context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  client = await context.newPage();
  await signIn(client, tasvir, login, password);
});
after(() => browser?.close());

/** What a page of OHIF asks for, and what goes wrong meanwhile. */
function watch(page) {
  const seen = { asked: [], wrong: [] };
  page.on('request', (request) => seen.asked.push(request.url()));
  page.on('response', (response) => {
    if (response.status() >= 400) seen.wrong.push(`${response.status()} ${response.url()}`);
  });
  page.on('console', (message) => {
    if (message.type() === 'error' && /Content Security Policy/.test(message.text())) seen.wrong.push(message.text());
  });
  return seen;
}

/** The study in OHIF, opened by the button of the client's study page. */
async function openInOHIF(study) {
  await client.evaluate((hash) => {
    location.hash = hash;
  }, `#/study/${study}`);
  const opened = context.waitForEvent('page');
  await client.getByRole('button', { name: 'OHIF' }).click();
  const page = await opened;
  const seen = watch(page);
  await page.waitForURL(/\/viewer\?StudyInstanceUIDs=/);
  assert.equal(new URL(page.url()).searchParams.get('StudyInstanceUIDs'), study);
  return { page, seen };
}

/** How many shades the picture has, and how many of its dots are coloured. */
const look = (canvas) =>
  canvas.evaluate((element) => {
    const copy = document.createElement('canvas');
    copy.width = element.width;
    copy.height = element.height;
    const drawing = copy.getContext('2d');
    drawing.drawImage(element, 0, 0);
    const { data } = drawing.getImageData(0, 0, copy.width, copy.height);
    const shades = new Set();
    let coloured = 0;
    for (let i = 0; i < data.length; i += 4) {
      shades.add(data[i]);
      if (Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 40) coloured++;
    }
    return { shades: shades.size, coloured };
  });

const othersOf = (asked) => asked.filter((address) => address.startsWith('http') && new URL(address).origin !== origin);

/** Waits until found() is truthy; the assertions after it say what is not. */
async function within(page, seconds, found) {
  const until = Date.now() + seconds * 1000;
  while (!(await found()) && Date.now() < until) await page.waitForTimeout(200);
}

for (const { what, uid, frames, colour } of studies) {
  test(`${what} opens in OHIF`, async () => {
    const { page, seen } = await openInOHIF(uid);
    origin = new URL(page.url()).origin;
    assert.notEqual(origin, tasvir);
    const canvas = page.locator('.cornerstone-canvas').first();
    await canvas.waitFor({ timeout: 120_000 });
    let picture = { shades: 0, coloured: 0 };
    await within(page, 120, async () => {
      picture = await look(canvas);
      return picture.shades >= 20;
    });
    const framesAsked = () => new Set(seen.asked.map((address) => /\/frames\/(\d+)$/.exec(address)?.[1]).filter(Boolean));
    if (frames > 0) await within(page, 120, () => framesAsked().size >= frames);
    await page.screenshot({ path: join(screenshots, `ohif-${what}.png`) });
    assert.ok(picture.shades >= 20, `the picture has ${picture.shades} shades of grey`);
    if (colour) assert.ok(picture.coloured > 20, `the picture has ${picture.coloured} coloured dots`);
    if (frames > 0) assert.equal(framesAsked().size, frames, 'every frame is fetched');
    assert.equal(await page.locator('.shepherd-element').count(), 0, 'there is no tour');
    assert.equal(await page.evaluate(async () => (await navigator.serviceWorker?.getRegistrations?.())?.length ?? 0), 0, 'there is no service worker');
    assert.deepEqual(seen.wrong, []);
    assert.deepEqual(othersOf(seen.asked), [], 'OHIF asks no other site');
    await page.close();
  });
}

test("OHIF's list, and its end", async () => {
  const page = await context.newPage();
  const seen = watch(page);
  await page.goto(`${origin}/`);
  for (const { name } of studies) if (name) await page.getByText(name).first().waitFor({ timeout: 120_000 });
  await page.screenshot({ path: join(screenshots, 'ohif-list.png') });
  assert.deepEqual(seen.wrong, []);
  assert.deepEqual(othersOf(seen.asked), [], 'OHIF asks no other site');

  // Whatever runs in OHIF's pages reads, and gets nowhere else: not even with
  // the client's cookie, which the browser has for the same host.
  const refused = await page.evaluate(async (tasvir) => {
    const status = (path, method) => fetch(path, { method, body: method === 'POST' ? '{}' : undefined }).then((answer) => answer.status);
    const blocked = (address, init) =>
      fetch(address, { credentials: 'include', ...init }).then(
        () => 'reached',
        () => 'blocked',
      );
    return {
      store: await status('/dicom-web/studies', 'POST'),
      remove: await status('/dicom-web/studies/1.2.3', 'DELETE'),
      workitems: await status('/dicom-web/workitems', 'GET'),
      api: await fetch('/api/session').then((answer) => answer.headers.get('Content-Type')),
      client: await blocked(`${tasvir}/api/session`),
      clientBlind: await blocked(`${tasvir}/api/session`, { mode: 'no-cors', method: 'POST', body: '{}' }),
    };
  }, tasvir);
  assert.deepEqual(refused, { store: 405, remove: 405, workitems: 403, api: 'text/html; charset=utf-8', client: 'blocked', clientBlind: 'blocked' });

  // Who comes without a session is told where to begin.
  const other = await (await browser.newContext()).newPage();
  assert.equal((await other.goto(`${origin}/viewer?StudyInstanceUIDs=${studies[0].uid}`)).status(), 401);
  assert.equal(await other.locator('main p[lang]').count(), 4);

  // OHIF's session ends with the person's.
  await client.evaluate(async () => {
    const { csrf } = await (await fetch('/api/session')).json();
    await fetch('/api/session', { method: 'DELETE', headers: { 'X-CSRF-Token': csrf } });
  });
  assert.equal((await page.goto(`${origin}/`)).status(), 401);
});
