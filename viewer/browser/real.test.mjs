// The client in Chromium, against a real server. What is signed here stays
// signed: the test takes TASVIR_STUDY (a Study Instance UID with an open task
// and several slices), or the first open CT of the radiologist's groups.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { assertAccessible, assertFits } from './axe.mjs';
import { launch, screenshots } from './chromium.mjs';
import { signIn, watchErrors } from './people.mjs';
import { assertRightPicture, waitForPicture } from './pictures.mjs';

const url = process.env.TASVIR_URL;
const account = (name) => {
  const [login, ...password] = (process.env[name] ?? '').split(':');
  assert.ok(login && password.length, `${name} must be login:password`);
  return [login, password.join(':')];
};

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

async function open(name, viewport) {
  const context = await browser.newContext({ viewport, locale: 'uz' });
  const page = await context.newPage();
  const errors = watchErrors(page);
  await signIn(page, url, ...account(name));
  return { page, errors, shot: (file) => page.screenshot({ path: join(screenshots, `real-${file}.png`) }) };
}

/** The task to read: its id and its study, through the client's own session. */
const findTask = (page, wanted) =>
  page.evaluate(async (study) => {
    const { tasks } = await (await fetch('/api/tasks?view=groups&limit=200')).json();
    const open = tasks.filter((task) => task.state === 'open' || task.claimed_by?.me);
    return study ? open.find((task) => task.study.study_uid === study) : open.find((task) => task.study.modalities.includes('CT') && task.study.instance_count > 6);
  }, wanted);

const impression = `Brauzer sinovi ${Date.now()}: oʻtkir oʻzgarishlar yoʻq.`;
let study;

test('a radiologist reads and signs', { timeout: 180_000 }, async () => {
  const { page, errors, shot } = await open('TASVIR_RADIOLOGIST', { width: 1600, height: 900 });
  await page.locator('tr[data-task]').first().waitFor();
  const task = await findTask(page, process.env.TASVIR_STUDY);
  assert.ok(task, 'no such open task on the worklist');
  ({ study } = task);
  const row = page.locator(`tr[data-task="${task.id}"]`);
  await row.click();
  assert.ok((await row.innerText()).includes(study.patient.name));
  await page.locator('.preview .thumbnail[data-state=drawn]').first().waitFor();
  await shot('worklist');
  await assertAccessible(page, 'worklist');

  await page.keyboard.press('Enter');
  const first = await waitForPicture(page);
  assert.equal(first.studyUID, study.study_uid);
  assert.ok((await page.locator('.banner').innerText()).includes(study.patient.name));
  console.log(`first picture after ${await page.evaluate(() => window.__tasvir.firstPictureMs)} ms`);
  await assertRightPicture(page);

  await page.keyboard.press('Home');
  await waitForPicture(page, 0, (p) => p.index === 0);
  for (let n = 0; n < 5; n++) await page.keyboard.press('ArrowDown');
  await waitForPicture(page, 0, (p) => p.index === Math.min(5, p.count - 1));
  await assertRightPicture(page);
  const pictures = await page.locator('[data-pane=current]').boundingBox();
  const from = { x: pictures.x + pictures.width / 2, y: pictures.y + pictures.height / 2 };
  const before = (await waitForPicture(page)).window;
  await page.mouse.move(from.x, from.y);
  await page.mouse.down();
  await page.mouse.move(from.x + 120, from.y - 30, { steps: 8 });
  await page.mouse.up();
  await waitForPicture(page, 0, (p) => p.window.width > before.width && p.window.center < before.center);
  await assertRightPicture(page);
  await page.keyboard.press('Digit3');
  await waitForPicture(page, 0, (p) => p.window.width !== before.width);
  await assertRightPicture(page);
  await page.keyboard.press('Space');
  await waitForPicture(page, 0, (p) => Math.abs(p.window.width - before.width) < 1);
  if (await page.locator('[data-pane=prior]').count()) {
    await waitForPicture(page, 1);
    await assertRightPicture(page, 1);
  }

  await page.keyboard.press('e');
  await page.keyboard.type('Bosh miya moddasida oʻchoqli oʻzgarishlar aniqlanmadi.');
  await page.locator('.section-technique textarea').fill('Kontrastsiz.');
  await page.locator('.section-impression textarea').fill(impression);
  await page.locator('.save-state[data-state=saved]').waitFor();
  await shot('reading');
  await assertAccessible(page, 'reading room');
  await page.keyboard.press('Control+Enter');
  await page.locator('dialog[open]').waitFor();
  assert.ok((await page.locator('dialog[open]').innerText()).includes(study.patient.name));
  await page.keyboard.press('Control+Enter');
  await page.locator('.report-body article').first().waitFor();
  assert.ok((await page.locator('.report-body').innerText()).includes(impression));
  // A click on the picture gives the keys back to it; Q leaves.
  await page.mouse.click(from.x, from.y);
  await page.keyboard.press('q');
  await page.click('nav a[href="#/reports"]');
  const sent = page.locator('tbody tr', { hasText: study.patient.name }).first();
  await sent.waitFor();
  await shot('reports');
  await assertAccessible(page, 'reports');
  assert.deepEqual(errors, []);
  await page.context().close();
});

test('a clinician of the facility reads it, on a phone', { timeout: 120_000 }, async () => {
  assert.ok(study, 'nothing was signed');
  const { page, errors, shot } = await open('TASVIR_CLINICIAN', { width: 360, height: 740 });
  const card = page.locator(`.study-card[href$="${study.study_uid}"]`);
  await card.waitFor();
  assert.equal(await page.locator('.topbar nav a').count(), 2, 'a clinician has patients and orders, no worklist');
  await assertFits(page, 'patients');
  await shot('phone-patients');
  await card.click();
  await page.locator('.report-text').waitFor();
  assert.ok((await page.locator('.report-text').innerText()).includes(impression));
  assert.match(await page.locator('.report-banner').innerText(), /Yakuniy xulosa/);
  const pdf = await page.evaluate(
    async (path) => {
      const response = await fetch(path);
      return [response.status, response.headers.get('Content-Type'), (await response.text()).slice(0, 5)];
    },
    await page.getAttribute('.report-text a.button', 'href'),
  );
  assert.deepEqual(pdf, [200, 'application/pdf', '%PDF-']);
  await shot('phone-report');
  await waitForPicture(page);
  await page.locator('.study-controls').scrollIntoViewIfNeeded();
  await assertRightPicture(page);
  await shot('phone-pictures');
  await assertFits(page, 'study');
  await assertAccessible(page, 'study');
  assert.equal(await page.getByRole('button', { name: /OHIF|Weasis/ }).count(), 0, 'this server offers no other viewer');
  // Nothing of the radiologists' rooms is open to a clinician.
  assert.equal(await page.evaluate(async () => (await fetch('/api/tasks')).status), 403);
  assert.deepEqual(errors, []);
  await page.context().close();
});

test('an administrator rejects images and takes that back', { timeout: 120_000 }, async () => {
  const { page, errors, shot } = await open('TASVIR_ADMINISTRATOR', { width: 1600, height: 900 });
  await page.click('nav a[href="#/patients"]');
  const card = page.locator(`.study-card[href$="${study.study_uid}"]`);
  await card.click();
  const first = await waitForPicture(page);
  const dialog = page.locator('dialog[open]');
  const list = page.locator('.rejected-list');
  const answered = (path) => page.evaluate(async (p) => (await fetch(p, { headers: { Accept: 'application/dicom+json' } })).status, path);
  const metadata = `/dicom-web/studies/${study.study_uid}/series/${first.seriesUID}/instances/${first.sopInstanceUID}/metadata`;
  const reject = async (what, reason) => {
    await page.getByRole('button', { name: 'Tasvirlarni rad etish…' }).click();
    await dialog.getByLabel(what).check();
    await dialog.getByLabel(reason).check();
    await dialog.getByLabel('Nima uchun').fill('Brauzer sinovi');
    await dialog.getByRole('button', { name: /^Rad etish/ }).click();
    await dialog.waitFor({ state: 'detached' });
  };
  const restore = async (name) => {
    await page.getByRole('button', { name }).first().click();
    await dialog.getByLabel('Nima uchun').fill('Sinov tugadi');
    await dialog.getByRole('button', { name: 'Qaytarish' }).click();
    await dialog.waitFor({ state: 'detached' });
  };
  assert.equal(await answered(metadata), 200);
  await reject('Ekrandagi tasvir', 'Sifati yaroqsiz');
  await list.getByText('Sifati yaroqsiz').waitFor();
  assert.match(await list.innerText(), /admin · /);
  await waitForPicture(page, 0, (p) => p.count === first.count - 1);
  assert.equal(await answered(metadata), 404);
  await assertRightPicture(page);
  await assertAccessible(page, 'rejected image');
  await shot('rejected-image');
  await restore(/^Qaytarish/);
  await waitForPicture(page, 0, (p) => p.count === first.count);
  assert.equal(await answered(metadata), 200);

  await reject('Butun tekshiruv', 'Bemor xavfsizligi uchun');
  await page.locator('.hidden-study').waitFor();
  assert.equal(await answered(`/api/studies/${study.study_uid}`), 404);
  await assertAccessible(page, 'a hidden study');
  await shot('rejected-study');
  await page.getByRole('link', { name: 'Rad etilgan tasvirlar' }).click();
  await page.getByText('hech narsa').waitFor();
  await shot('rejected-studies');
  await page.locator('tbody a').first().click();
  await list.waitFor();
  await restore((await page.getByRole('button', { name: 'Hammasini qaytarish' }).count()) ? 'Hammasini qaytarish' : /^Qaytarish/);
  await waitForPicture(page, 0, (p) => p.count === first.count);
  await page.locator('.report-text').waitFor();
  assert.deepEqual(errors, []);
  await page.context().close();
});

test('an administrator looks after records, quarantine, storage and retention', { timeout: 180_000 }, async () => {
  const { page, errors, shot } = await open('TASVIR_ADMINISTRATOR', { width: 1600, height: 900 });
  await page.click('nav a[href="#/administration"]');
  const panel = page.locator('.side-panel');
  const tab = async (name) => {
    await page.click(`.administration nav a[href="#/administration/${name}"]`);
    await page.getByRole('heading', { level: 1 }).waitFor();
  };
  const because = async (why, button) => {
    const dialog = page.locator('dialog[open]');
    await dialog.locator('input[required]').fill(why);
    await dialog.getByRole('button', { name: button, exact: true }).click();
    await dialog.waitFor({ state: 'detached' });
  };
  const sound = async (name) => {
    assert.equal(await page.locator('.note.problem, p.problem[role=alert]').count(), 0, name);
    await assertAccessible(page, name);
    await shot(`admin-${name}`);
  };

  await tab('records');
  await page.getByRole('searchbox').fill(study.patient.id);
  await page.locator('tbody tr', { hasText: study.patient.id }).first().getByRole('button').click();
  await panel.locator('.care-study').first().waitFor();
  await panel.getByRole('button', { name: 'Maʼlumotni toʻgʻrilash' }).click();
  await panel.getByLabel('Familiya').fill('Sinovov');
  await panel.getByRole('button', { name: 'Maʼlumotni toʻgʻrilash' }).click();
  await because('Brauzer sinovi', 'Maʼlumotni toʻgʻrilash');
  await panel.getByRole('heading', { name: 'Sinovov' }).waitFor();
  const shown = () => page.evaluate(async (uid) => (await (await fetch(`/api/studies/${uid}`)).json()).patient.name, study.study_uid);
  assert.match(await shown(), /^Sinovov/);
  await panel.locator('.care-study button').first().click();
  await panel.getByText('Har bir tasvir bir marta kelgan.').waitFor();
  await sound('records');
  await panel.getByRole('button', { name: 'Orqaga qaytarish' }).first().click();
  await because('Sinov tugadi', 'Orqaga qaytarish');
  await page.waitForFunction(async ([uid, name]) => (await (await fetch(`/api/studies/${uid}`)).json()).patient.name === name, [study.study_uid, study.patient.name]);

  await tab('quarantine');
  await page.getByText('Karantin boʻsh.').waitFor();
  await sound('quarantine');

  await tab('storage');
  await page.locator('.facts').waitFor();
  await page.getByRole('button', { name: 'Hammasini hozir tekshirish' }).click();
  await page.getByText('Oʻqilgan hamma narsa butun.').waitFor();
  await sound('storage');

  await tab('retention');
  await page.getByRole('button', { name: 'Saqlash qoidasini qoʻshish' }).click();
  await panel.getByLabel('Nomi').fill('KT, 5 yil');
  await panel.getByLabel('Kunlar').fill('1825');
  await panel.locator('select').last().selectOption('delete_pixels');
  await panel.locator('button[type=submit]').click();
  await page.locator('tbody tr', { hasText: 'KT, 5 yil' }).getByRole('button').click();
  await panel.getByRole('button', { name: 'Sinov hisobi: bugun nima boʻlardi' }).click();
  await panel.getByText('Tekshiruvlar: 0').waitFor();
  await sound('retention');
  assert.deepEqual(errors, []);
  await page.context().close();
});
