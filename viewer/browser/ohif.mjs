// OHIF's own dist in Chromium, against a real archive: a clinician
// (TASVIR_CLINICIAN, login:password) opens TASVIR_STUDY from the client at
// TASVIR_URL; OHIF_NAME is what OHIF's list must show of it.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch, screenshots } from './chromium.mjs';
import { signIn } from './people.mjs';

const { TASVIR_URL: tasvir, TASVIR_STUDY: study, OHIF_NAME: name } = process.env;
const [login, password] = (process.env.TASVIR_CLINICIAN ?? '').split(':');
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test('a study opens in OHIF, and its list shows the name', async () => {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  const client = await context.newPage();
  await signIn(client, tasvir, login, password);
  await client.evaluate((hash) => {
    location.hash = hash;
  }, `#/study/${study}`);
  const opened = context.waitForEvent('page');
  await client.getByRole('button', { name: 'OHIF' }).click();
  const page = await opened;
  const wrong = [];
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  page.on('response', (response) => {
    if (response.status() >= 400) wrong.push(`${response.status()} ${response.url()}`);
  });
  page.on('console', (message) => {
    if (message.type() === 'error' && /Content Security Policy/.test(message.text())) wrong.push(message.text());
  });
  await page.waitForURL(/\/viewer\?StudyInstanceUIDs=/);
  const { origin } = new URL(page.url());
  assert.notEqual(origin, tasvir);
  const canvas = page.locator('.cornerstone-canvas').first();
  await canvas.waitFor({ timeout: 60_000 });
  // Not black: the picture has many shades.
  const shades = () =>
    canvas.evaluate((element) => {
      const copy = document.createElement('canvas');
      copy.width = element.width;
      copy.height = element.height;
      const context = copy.getContext('2d');
      context.drawImage(element, 0, 0);
      const { data } = context.getImageData(0, 0, copy.width, copy.height);
      const seen = new Set();
      for (let i = 0; i < data.length; i += 4) seen.add(data[i]);
      return seen.size;
    });
  const until = Date.now() + 60_000;
  let found = 0;
  while (found < 20 && Date.now() < until) {
    found = await shades();
    await page.waitForTimeout(200);
  }
  await page.screenshot({ path: join(screenshots, 'ohif-viewer.png') });
  assert.ok(found >= 20, `the picture has ${found} shades of grey`);
  assert.equal(await page.locator('.shepherd-element').count(), 0, 'there is no tour');
  assert.equal(await page.evaluate(async () => (await navigator.serviceWorker?.getRegistrations?.())?.length ?? 0), 0, 'there is no service worker');

  await page.goto(`${origin}/`);
  await page.getByText(name).first().waitFor({ timeout: 60_000 });
  await page.screenshot({ path: join(screenshots, 'ohif-list.png') });
  assert.deepEqual(wrong, []);
  assert.deepEqual(
    asked.filter((address) => address.startsWith('http') && new URL(address).origin !== origin),
    [],
    'OHIF asks no other site',
  );

  // Who comes without a session is told where to begin.
  const other = await (await browser.newContext()).newPage();
  assert.equal((await other.goto(`${origin}/viewer?StudyInstanceUIDs=${study}`)).status(), 401);
  assert.equal(await other.locator('main p[lang]').count(), 4);

  // OHIF's session ends with the person's.
  await client.evaluate(async () => {
    const { csrf } = await (await fetch('/api/session')).json();
    await fetch('/api/session', { method: 'DELETE', headers: { 'X-CSRF-Token': csrf } });
  });
  assert.equal((await page.goto(`${origin}/`)).status(), 401);
});
