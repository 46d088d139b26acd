// The reception's desk in Chromium, against the mock.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertAccessible, assertFits } from './axe.mjs';
import { open, page, shot, steer } from './mocked.mjs';

const rows = () => page.locator('tr[data-order]');
const row = (text) => page.locator('tr[data-order]', { hasText: text });
const panel = () => page.locator('.side-panel');
const dialog = () => page.locator('dialog[open]');
const checkPage = async (name) => {
  await assertAccessible(page, name);
  await assertFits(page, name);
  await shot(`orders-${name}`);
};

describe('orders', () => {
  test('a registrar sees the day and nothing else', async () => {
    await open('qabul');
    await rows().first().waitFor();
    assert.equal(await rows().count(), 2);
    const first = await rows().first().innerText();
    for (const word of ['08:10', 'Karimov Ali Baxtiyorovich', 'CT', 'Bosh miya KT', 'URGUT_CT1', 'Favqulodda', 'bajarilmoqda']) assert.ok(first.includes(word), `${word} in ${first}`);
    assert.deepEqual(await page.locator('.topbar nav a').allInnerTexts(), ['Buyurtmalar']);
    await checkPage('day');
    await page.getByRole('button', { name: 'Keyingi kun' }).click();
    await page.getByText('Bu kunda buyurtma yoʻq.').waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('ғунча');
    await row('Ўринбоева Ғунча').waitFor();
    assert.match(await row('Ўринбоева').innerText(), /\d\d\.\d\d\.\d{4} 09:30/);
  });

  test('a known patient’s order takes the keyboard only', async () => {
    await open('qabul');
    await rows().first().waitFor();
    await page.keyboard.press('n');
    await page.keyboard.type('karimov');
    await page.keyboard.press('Enter');
    await panel().getByLabel('Modallik').waitFor();
    assert.equal(
      await panel()
        .getByLabel('Modallik')
        .evaluate((el) => el === document.activeElement),
      true,
    );
    await page.keyboard.type('M'); // MR
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.type('Bosh miya MRT');
    await checkPage('form');
    await page.keyboard.press('Control+Enter');
    await panel().getByText('Kiritildi: TV00000003').waitFor();
    await row('Bosh miya MRT').waitFor();
    assert.match(await row('Bosh miya MRT').innerText(), /MR/);
    await checkPage('entered');
  });

  test('a new patient’s order, refused and put right', async () => {
    await open('qabul');
    await rows().first().waitFor();
    await page.getByRole('button', { name: 'Yangi buyurtma' }).click();
    await panel().getByRole('searchbox').fill('Sobirova Lola');
    await panel().getByText('Bunday bemor yoʻq.').waitFor();
    await panel().getByRole('button', { name: 'Yangi bemor' }).click();
    assert.equal(await panel().getByLabel('Familiya').inputValue(), 'Sobirova');
    assert.equal(await panel().getByLabel('Ism', { exact: true }).inputValue(), 'Lola');
    await panel().getByText('Raqamlar va izohlar').click();
    await panel().getByLabel('Kirish raqami').fill('TV00000001');
    await assertAccessible(page, 'new patient');
    await panel().getByRole('button', { name: 'Saqlash' }).click();
    await panel().getByText('Bu kirish raqami boshqa buyurtmada bor.').waitFor();
    await panel().getByLabel('Kirish raqami').fill('');
    await panel().getByLabel('Qurilma').selectOption('URGUT_CT1');
    await panel().getByRole('button', { name: 'Saqlash' }).click();
    await row('Sobirova Lola').waitFor();
  });

  test('the patient arrives, the order is changed, and cancelled with a reason', async () => {
    await open('qabul');
    await row('Ўринбоева').getByRole('button').click();
    await panel().getByRole('button', { name: 'Bemor keldi' }).click();
    await row('Ўринбоева').getByText('bemor keldi').waitFor();
    await panel().getByRole('button', { name: 'Bemor keldi' }).waitFor({ state: 'detached' });
    await panel().getByRole('button', { name: 'Oʻzgartirish' }).click();
    await panel().getByLabel('Shifokorga savol').fill('Tosh bormi?');
    await panel().getByRole('button', { name: 'Saqlash' }).click();
    await panel().getByText('Tosh bormi?').waitFor();
    await panel().getByRole('button', { name: 'Bekor qilish' }).click();
    await assertAccessible(page, 'cancel');
    await dialog().locator('input[required]').fill('Bemor ketib qoldi');
    await dialog().getByRole('button', { name: 'Bekor qilish' }).last().click();
    await row('Ўринбоева').getByText('bekor qilindi').waitFor();
    await panel().getByText('Bemor ketib qoldi').waitFor();
    await checkPage('cancelled');
    await panel().getByRole('button', { name: 'Rejaga qaytarish' }).click();
    await row('Ўринбоева').getByText('rejada').waitFor();
  });

  test('who was slower is told', async () => {
    await open('qabul');
    await row('Ўринбоева').getByRole('button').click();
    await panel().getByRole('button', { name: 'Bemor keldi' }).waitFor();
    await steer({ fail: { path: '/state', problem: { status: 409, code: 'conflict', title: 'conflict', detail: 'x', reason: 'stale_revision' } } });
    await panel().getByRole('button', { name: 'Bemor keldi' }).click();
    await panel().getByText('Buyurtmani boshqa kishi oʻzgartirdi').waitFor();
  });

  test('a technician goes from an order to its images', async () => {
    await open('texnik');
    await page.click('nav a[href="#/orders"]');
    await row('Karimov Ali').getByRole('button').click();
    await panel().getByText('qurilma xabari').first().waitFor();
    await panel().getByRole('link', { name: 'Tasvirlarni ochish' }).click();
    await page.waitForSelector('.banner');
  });

  test('on a phone, and in the other languages, nothing spills', async () => {
    await open('qabul', { width: 400, height: 800 });
    await rows().first().waitFor();
    for (const language of ['ru', 'uz-Cyrl', 'en', 'uz-Latn']) {
      await page.selectOption('.language', language);
      await page.waitForFunction((expected) => document.documentElement.lang === expected, language);
      await assertFits(page, `orders in ${language}`);
      await shot(`phone-orders-${language}`);
    }
    await row('Karimov Ali').getByRole('button').click();
    await panel().locator('.order-facts').waitFor();
    await assertFits(page, 'an order');
    await shot('phone-order');
  });
});
