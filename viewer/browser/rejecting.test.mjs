// Images that are not to be shown (IHE IOCM), in Chromium, against the mock.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertAccessible, assertFits } from './axe.mjs';
import { open, page, shot } from './mocked.mjs';
import { waitForPicture } from './pictures.mjs';

const dialog = () => page.locator('dialog[open]');
const list = () => page.locator('.rejected-list');

/** Opens the stroke study of Karimov, three series: 48, 24 and 1 images. */
async function openStudy() {
  await page.locator('.study-card', { hasText: 'Каримов Али' }).first().click();
  return waitForPicture(page);
}

async function restore(button) {
  await button.click();
  await dialog().getByLabel('Nima uchun').fill('Xato rad etilgan');
  await dialog().getByRole('button', { name: 'Qaytarish' }).press('Enter');
  await dialog().waitFor({ state: 'detached' });
}

describe('rejecting', () => {
  test('an image, by keyboard: why is asked, it is gone, and comes back', async () => {
    await open('texnik');
    const first = await openStudy();
    await page.getByRole('button', { name: 'Tasvirlarni rad etish…' }).press('Enter');
    assert.match(await dialog().innerText(), /Каримов Али[\s\S]*Hech narsa oʻchirilmaydi/);
    const act = dialog().getByRole('button', { name: 'Rad etish: 1 ta tasvir' });
    assert.equal(await dialog().getByLabel('Ekrandagi tasvir').isChecked(), true);
    assert.equal(await act.isDisabled(), true);
    await dialog().getByLabel('Nima uchun').fill('Harakat');
    assert.equal(await act.isDisabled(), true, 'a reason must be chosen');
    await dialog().getByLabel('Sifati yaroqsiz').press('Space');
    await assertAccessible(page, 'rejecting');
    await assertFits(page, 'rejecting');
    await shot('rejecting');
    await act.press('Enter');
    await dialog().waitFor({ state: 'detached' });
    await list().getByText('Sifati yaroqsiz').waitFor();
    assert.match(await list().innerText(), /tasvirlar: 1[\s\S]*25-tasvir · texnik · \d\d:\d\d/);
    // The pictures are those that are left.
    const left = await waitForPicture(page, 0, (p) => p.count === first.count - 1);
    assert.notEqual(left.sopInstanceUID, first.sopInstanceUID);
    await assertAccessible(page, 'a study with rejected images');
    await shot('rejected-image');

    await restore(list().getByRole('button', { name: /^Qaytarish/ }));
    await list().waitFor({ state: 'detached' });
    await waitForPicture(page, 0, (p) => p.count === first.count);
  });

  test('a series, then the whole study: who may finds it and takes it back', async () => {
    await open('admin');
    await page.click('nav a[href="#/patients"]');
    const { studyUID } = await openStudy();
    const reject = async (what, reason) => {
      await page.getByRole('button', { name: 'Tasvirlarni rad etish…' }).click();
      await dialog().getByLabel(what).check();
      await dialog().getByLabel(reason).check();
      await dialog().getByLabel('Nima uchun').fill('Boshqa bemor');
      await dialog()
        .getByRole('button', { name: /^Rad etish/ })
        .click();
      await dialog().waitFor({ state: 'detached' });
    };
    await reject('Seriya: CT Head 6.0 bone', 'Ish roʻyxatidan notoʻgʻri yozuv tanlangan');
    await list().getByText('tasvirlar: 24').first().waitFor();
    await page.waitForFunction(() => document.querySelectorAll('.series-row .series').length === 2);
    await reject('Butun tekshiruv', 'Bemor xavfsizligi uchun');
    await page.getByText('Bu tekshiruvning hamma tasvirlari rad etilgan').waitFor();
    assert.equal(await list().locator('li').count(), 3);
    assert.match(await page.locator('.hidden-study').innerText(), /Каримов Али Бахтиёрович/);
    await assertAccessible(page, 'a hidden study');
    await assertFits(page, 'a hidden study');
    await shot('rejected-study');

    await page.getByRole('link', { name: 'Rad etilgan tasvirlar' }).click();
    const row = page.locator('tbody tr', { hasText: 'Каримов Али' });
    await row.getByText('hech narsa').waitFor();
    assert.match(await row.innerText(), /73/);
    await assertAccessible(page, 'rejected studies');
    await assertFits(page, 'rejected studies');
    await shot('rejected-studies');
    for (const language of ['ru', 'uz-Cyrl', 'en', 'uz-Latn']) {
      await page.selectOption('.language', language);
      await page.waitForFunction((expected) => document.documentElement.lang === expected, language);
      await assertFits(page, `rejected studies in ${language}`);
    }
    // Others know of nothing.
    await page.getByRole('link', { name: 'Bemorlar roʻyxatiga' }).click();
    await page.locator('.study-card').first().waitFor();
    assert.equal(await page.locator(`.study-card[href$="${studyUID}"]`).count(), 0);
    await page.getByRole('link', { name: 'Rad etilgan tasvirlar' }).click();
    await row.getByRole('link').click();
    await restore(page.getByRole('button', { name: 'Hammasini qaytarish' }));
    await waitForPicture(page, 0, (p) => p.count === 48);
    await list().waitFor({ state: 'detached' });
  });

  test('is not for those who treat or read', async () => {
    await open('shifokor');
    await openStudy();
    assert.equal(await page.getByRole('button', { name: 'Tasvirlarni rad etish…' }).count(), 0);
    await page.goto(`${page.url().replace(/#.*/, '')}#/rejected`);
    await page.locator('.study-card').first().waitFor();
    assert.equal(await page.getByText('Rad etilgan tasvirlar').count(), 0);
  });
});
