// What administrators set up and look after, in Chromium, against the mock.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertAccessible, assertFits } from './axe.mjs';
import { open, page, shot } from './mocked.mjs';

const goTo = (tab) => page.click(`.administration nav a[href="#/administration/${tab}"]`);
const panel = () => page.locator('.side-panel');
const dialog = () => page.locator('dialog[open]');
const because = async (why, button) => {
  await dialog().locator('input[required]').fill(why);
  await dialog().getByRole('button', { name: button, exact: true }).click();
  await dialog().waitFor({ state: 'detached' });
};
const checkPage = async (name) => {
  await assertAccessible(page, name);
  await assertFits(page, name);
  await shot(`admin-${name}`);
};

async function openAdministration(login = 'admin') {
  await open(login);
  await page.click('nav a[href="#/administration"]');
}

describe('administration', () => {
  test('nobody edits a database by hand', async () => {
    await open('admin');
    await page.click('nav a[href="#/administration"]');
    await page.getByRole('heading', { name: 'Muassasalar' }).waitFor();
    await page.getByRole('button', { name: 'Muassasa qoʻshish' }).click();
    await page.locator('.side-panel input').nth(0).fill('termez');
    await page.locator('.side-panel input').nth(1).fill('Termiz shahar shifoxonasi');
    await page.locator('.side-panel button[type=submit]').click();
    await page.locator('tbody tr', { hasText: 'TERMEZ' }).waitFor();
    for (const tab of ['facilities', 'devices', 'people', 'groups', 'rules']) {
      await page.click(`.administration nav a[href="#/administration/${tab}"]`);
      await page.locator('tbody tr').first().waitFor();
      await page.locator('tbody tr button').first().click();
      await page.locator('.side-panel').waitFor();
      await assertAccessible(page, tab);
      await assertFits(page, tab);
      await shot(`admin-${tab}`);
    }
    await page.locator('.side-panel textarea').fill('!!');
    await page.getByRole('button', { name: 'Qoida qoʻshish' }).click();
    await page.locator('.side-panel input').first().fill('Sinov');
    await page.locator('.side-panel textarea').fill('!!');
    await page.locator('.side-panel button[type=submit]').click();
    assert.match(await page.locator('.side-panel [role=alert]').innerText(), /Shartni oʻqib boʻlmadi/);
    await page.click('.administration nav a[href="#/administration/status"]');
    await page.locator('.facts').first().waitFor();
    await assertAccessible(page, 'status');
  });

  test('a facility’s administrator sees devices, their connections and commitments, people, records and quarantine only', async () => {
    await open('mudir');
    await page.click('nav a[href="#/administration"]');
    await page.locator('tbody tr').first().waitFor();
    assert.deepEqual(await page.locator('.administration nav a').allInnerTexts(), ['Qurilmalar', 'Ulanishlar', 'Saqlash tasdiqlari', 'Foydalanuvchilar', 'Bemor yozuvlari', 'Karantin']);
  });
});

describe('devices and associations', () => {
  const edit = (title) => page.locator('tbody tr', { hasText: title }).getByRole('button').click();

  test('a device is set up, tested, and the test says what to do next', async () => {
    await openAdministration();
    await goTo('devices');
    await page.getByRole('button', { name: 'Qurilma qoʻshish' }).click();
    await panel().getByLabel('AE title').fill('URGUT_US');
    assert.equal(await panel().getByLabel('tasvir yuborish').isChecked(), true);
    assert.equal(await panel().getByLabel('qidirish').isChecked(), false);
    assert.equal(await panel().getByRole('button', { name: 'Aloqani tekshirish' }).count(), 0);
    await panel().getByLabel('Xost nomi yoki IP manzil').fill('10.20.1.12');
    await panel().getByLabel('ishlar roʻyxati').check();
    await panel().getByLabel('Unga tekshiruvlar tayyorligi aytiladi').check();
    await panel().getByText('Qoʻshimcha').click();
    await panel().getByLabel('Faqat TLS orqali').check();
    await panel().getByLabel('Biriktirilgan sertifikat').fill('CN=US1');
    await checkPage('device-new');
    await panel().locator('button[type=submit]').click();
    await page.locator('tbody tr', { hasText: 'URGUT_US' }).getByText('10.20.1.12:104 TLS').waitFor();
    await edit('URGUT_US');
    assert.equal(await panel().getByLabel('Unga tekshiruvlar tayyorligi aytiladi').isChecked(), true);

    await edit('URGUT_CT1');
    await panel().getByRole('button', { name: 'Aloqani tekshirish' }).click();
    await panel().getByText('Aloqa yaxshi: 4,2 ms.').waitFor();
    assert.equal(await panel().locator('.test-steps > li').count(), 5);
    await checkPage('device-test-ok');
    await edit('URGUT_WS');
    await panel().getByRole('button', { name: 'Aloqani tekshirish' }).click();
    await panel().getByText('Sertifikat boshqa nomga berilgan. Oʻsha nomni yozing.').waitFor();
    await checkPage('device-test-failed');
    await page.evaluate(() => {
      document.documentElement.dataset.theme = 'light';
    });
    await page.selectOption('.language', 'ru');
    await panel().getByText('Сертификат выдан на другое имя. Укажите это имя.').waitFor();
    await checkPage('device-light-ru');
    await goTo('associations');
    await page.locator('tbody tr', { hasText: 'STRANGER' }).getByRole('button').click();
    await panel().getByText('Вызывающий AE title не известен').waitFor();
    await checkPage('associations-light-ru');
  });

  test('the log says who, what was agreed and why it ended', async () => {
    await openAdministration();
    await goTo('associations');
    const rows = page.locator('tbody tr');
    await rows.first().waitFor();
    assert.equal(await rows.count(), 50);
    await page.getByRole('button', { name: 'Yana koʻrsatish' }).click();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 60);
    await page.locator('tbody tr', { hasText: 'STRANGER' }).getByText('Rad etildi × 118').waitFor();
    await page.locator('tbody tr', { hasText: 'STRANGER' }).getByRole('button').press('Enter');
    await panel().getByText('Chaqirgan AE title tanilmadi').waitFor();
    await checkPage('associations');
    await page.getByLabel('Yoʻnalish').selectOption('out');
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
    await rows.first().getByRole('button').click();
    await panel().getByText('CT Image Storage').waitFor();
    await panel().getByText('Kelishilmadi: 1.2.840.10008.1.2').waitFor();
    await checkPage('association');
    await page.getByLabel('Yoʻnalish').selectOption('');
    await page.getByRole('searchbox', { name: 'AE title' }).fill('NUKUS');
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  });
});

describe('forwarding', () => {
  test('a rule is written, tried, corrected and saved', async () => {
    await openAdministration();
    await goTo('forwarding');
    await page.locator('tbody tr', { hasText: 'KT markazga' }).getByText('20:00–06:00').waitFor();
    await page.getByRole('button', { name: 'Yuborish qoidasini qoʻshish' }).press('Enter');
    await panel().getByLabel('Nomi').fill('Avvalgi KT');
    await panel().getByLabel('Nima yuboriladi').selectOption('priors');
    await panel().getByLabel('Nechta, eng yangilari').fill('5');
    await panel().getByLabel('Qachon').selectOption('order');
    // A DICOMweb node gets images as they are kept; for a device one can choose.
    await panel().getByLabel('Qayerga').selectOption('node Milliy arxiv');
    assert.equal(await panel().getByLabel('JPEG-LS Lossless').count(), 0);
    await panel().getByLabel('Qayerga').selectOption('device URGUT_WS');
    await panel().getByText('Qoʻshimcha').press('Enter');
    await panel().getByLabel('JPEG-LS Lossless').check();
    await panel().getByLabel('Shart').fill('!!');
    await panel().getByRole('button', { name: 'Sinash' }).click();
    await panel().getByText('Shartni oʻqib boʻlmadi').waitFor();
    await panel().getByLabel('Shart').fill('"CT" in study.modalities');
    await panel().getByRole('button', { name: 'Sinash' }).click();
    await panel().getByText('Mos tekshiruvlar: 37/412.').waitFor();
    await panel().getByLabel('Faqat maʼlum vaqtda').check();
    await panel().getByLabel('Boshlanishi', { exact: true }).fill('22:30');
    await panel().getByLabel('juma').check();
    await checkPage('forwarding-rule');
    await panel().locator('button[type=submit]').click();
    const row = page.locator('tbody tr', { hasText: 'Avvalgi KT' });
    await row.getByText('Avvalgi tekshiruvlar: 5').waitFor();
    await row.getByText('22:30–06:00').waitFor();
    await row.getByRole('button').click();
    assert.equal(await panel().getByLabel('JPEG-LS Lossless').isChecked(), true);
    assert.equal(await panel().getByLabel('RLE Lossless').isChecked(), false);
    await page.selectOption('.language', 'ru');
    await page.evaluate(() => {
      document.documentElement.dataset.theme = 'light';
    });
    await page.getByText('Прежние исследования: 5').waitFor();
    await checkPage('forwarding-light-ru');
  });

  test('a DICOMweb node is set up, and its secret is never shown', async () => {
    await openAdministration();
    await goTo('forwarding');
    const row = page.locator('tbody tr', { hasText: 'pacs.example.uz' });
    await row.getByText('Aloqa yoʻq').waitFor();
    await row.getByRole('button', { name: 'toʻxtatib turish' }).click();
    await row.getByRole('button', { name: 'davom ettirish' }).waitFor();
    await page.getByRole('button', { name: 'DICOMweb tugunini qoʻshish' }).click();
    await dialog().getByLabel('Nomi').fill('Viloyat');
    await dialog().getByLabel('DICOMweb xizmati manzili').fill('https://viloyat.example.uz/dicom-web');
    await dialog().getByLabel('Ruxsat').selectOption('bearer');
    await dialog().getByLabel('Parol yoki token').fill('maxfiy');
    await checkPage('forwarding-node');
    await dialog().locator('button[type=submit]').click();
    const added = page.locator('tbody tr', { hasText: 'viloyat.example.uz' });
    await added.getByRole('button', { name: 'Viloyat: oʻzgartirish' }).click();
    assert.equal(await dialog().getByLabel('Parol yoki token').inputValue(), '');
    await dialog().getByRole('button', { name: 'Oʻchirish' }).click();
    await dialog().getByRole('button', { name: 'Oʻchirish' }).click();
    await added.waitFor({ state: 'detached' });
  });

  test('the queue says what is where, why not, and lets one intervene', async () => {
    await openAdministration();
    await goTo('queue');
    const rows = page.locator('tbody tr');
    await rows.first().waitFor();
    assert.equal(await rows.count(), 50);
    await page.getByRole('button', { name: 'Yana koʻrsatish' }).click();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 70);
    await page.locator('tbody tr', { hasText: 'Yuborilmoqda' }).getByText('120/250').waitFor();
    await checkPage('queue');
    await page.getByLabel('Holati').selectOption('failed');
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
    await rows.first().getByRole('button', { name: 'batafsil' }).press('Enter');
    await panel().getByText('C000H cannot understand').first().waitFor();
    await checkPage('queue-item');
    await panel().getByRole('button', { name: 'Hozir urinish' }).click();
    await page.getByText('Bajarildi: 1').waitFor();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 0);
    await page.getByLabel('Holati').selectOption('scheduled');
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
    await page.getByRole('button', { name: 'Bekor qilish: Roʻyxatdagi hammasi bilan' }).click();
    await dialog().getByRole('button', { name: 'Bekor qilish' }).last().click();
    await page.getByText('Bajarildi: 1').waitFor();
    await page.getByLabel('Holati').selectOption('cancelled');
    await page.locator('tbody tr', { hasText: 'Rahimova' }).getByText('Bekor qilingan').waitFor();
  });
});

describe('storage commitments', () => {
  test('show what was asked and why it is not told; one is answered again', async () => {
    await openAdministration();
    await goTo('commitments');
    const rows = page.locator('tbody tr');
    await rows.nth(3).waitFor();
    await rows.nth(0).getByText('120 / 250').waitFor();
    await rows.nth(0).getByText('hali nomaʼlum: 130').waitFor();
    await rows.nth(2).getByText('saqlanmagan: 2').waitFor();
    await checkPage('commitments');
    await page.getByLabel('Holati').selectOption('failed');
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
    await rows.first().getByText('connection refused').waitFor();
    await rows.first().getByRole('button').click();
    await page.getByText('Hech kim soʻramagan.').waitFor();
    await page.getByLabel('Holati').selectOption('checking');
    await page.locator('tbody tr', { hasText: 'NUKUS_MR' }).getByText('tekshirilmoqda').waitFor();
  });
});

describe('quarantine', () => {
  test('shows why, lets in what was put right, keeps what still does not fit', async () => {
    await openAdministration();
    await goTo('quarantine');
    const row = page.locator('tbody tr', { hasText: 'Xolmatova Zulfiya' });
    await row.locator('input[type=checkbox]').check();
    await panel().getByText('Bu tekshiruv allaqachon boshqa bemorga tegishli').waitFor();
    await checkPage('quarantine');

    await panel().getByRole('button', { name: 'Chiqarish' }).click();
    await panel().getByText('Chiqarildi: 0. Qoldi: 1.').waitFor();
    await panel().getByLabel('Bu boshqa bemor').check();
    assert.equal(await panel().getByLabel('Familiya').inputValue(), 'Xolmatova');
    await panel().getByRole('button', { name: 'Shu tekshiruvning bemori' }).click();
    assert.equal(await panel().getByLabel('Familiya').inputValue(), 'Karimov');
    await assertAccessible(page, 'release form');
    await panel().getByRole('button', { name: 'Chiqarish' }).click();
    await row.waitFor({ state: 'detached' });
    assert.equal(await panel().count(), 0);
  });

  test('deletes only with a reason', async () => {
    await openAdministration();
    await goTo('quarantine');
    await page.getByLabel('Hammasini tanlash').check();
    await panel().getByRole('button', { name: 'Oʻchirish' }).click();
    assert.equal(await dialog().getByRole('button', { name: 'Oʻchirish' }).isDisabled(), true);
    await assertAccessible(page, 'delete from quarantine');
    await because('Sinov suratlari', 'Oʻchirish');
    await page.getByText('Karantin boʻsh.').waitFor();
  });
});

describe('patient records', () => {
  const find = async (text, row) => {
    await goTo('records');
    await page.getByRole('searchbox', { name: 'Ism, ID yoki JShShIR' }).first().fill(text);
    await page.locator('tbody tr', { hasText: row }).getByRole('button').click();
    await panel().locator('.care-list').first().waitFor();
  };

  test('a correction says why, shows both, and can be undone', async () => {
    await openAdministration();
    await find('karimov', 'Karimov Ali Baxtiyorovich');
    await panel().getByRole('button', { name: 'Maʼlumotni toʻgʻrilash' }).click();
    await panel().getByLabel('Familiya').fill('Karimova');
    await panel().getByRole('button', { name: 'Maʼlumotni toʻgʻrilash' }).click();
    await because('Familiya notoʻgʻri yozilgan', 'Maʼlumotni toʻgʻrilash');
    await panel().getByRole('heading', { name: 'Karimova Ali Baxtiyorovich' }).waitFor();
    await panel().getByText('Kelgan holati').waitFor();
    await panel().getByText('Familiya notoʻgʻri yozilgan').waitFor();
    await checkPage('records');
    await panel().getByRole('button', { name: 'Orqaga qaytarish' }).click();
    await because('Aslida toʻgʻri edi', 'Orqaga qaytarish');
    await panel().getByRole('heading', { name: 'Karimov Ali Baxtiyorovich' }).waitFor();
  });

  test('two records of one person become one', async () => {
    await openAdministration();
    await find('K-2', 'Karimov Ali');
    await panel().getByRole('button', { name: 'Boshqa yozuv bilan bir kishi…' }).click();
    await dialog().getByRole('searchbox').fill('baxtiyor');
    await dialog().getByRole('radio').check();
    await assertAccessible(page, 'merge');
    await because('Bir odam, ikki marta roʻyxatga olingan', 'Birlashtirish');
    await panel().getByRole('heading', { name: 'Karimov Ali Baxtiyorovich' }).waitFor();
    assert.equal(await panel().locator('.care-study').count(), 3);
  });

  test('a study of somebody else gets a record of its own', async () => {
    await openAdministration();
    await find('karimov', 'Karimov Ali Baxtiyorovich');
    await panel().locator('.care-study input').nth(1).check();
    await panel().getByRole('button', { name: 'Tanlanganlar boshqa odamniki…' }).click();
    await dialog().getByLabel('Familiya').fill('Sobirov');
    await because('Boshqa bemor navbatda edi', 'Yozuv ochish');
    await panel().getByRole('heading', { name: 'Sobirov' }).waitFor();
  });

  test('versions are there to download, and a study can be held', async () => {
    await openAdministration();
    await find('karimov', 'Karimov Ali Baxtiyorovich');
    await panel().locator('.care-study button').first().click();
    const old = panel().getByRole('link', { name: '1-versiya' });
    assert.match(await old.getAttribute('href'), /^\/api\/admin\/studies\/[\d.]+\/instances\/[\d.]+\/versions\/1$/);
    await panel().getByRole('button', { name: 'Oʻchirishni taqiqlash' }).click();
    await because('Sud ishi', 'Oʻchirishni taqiqlash');
    await panel().getByText('Sud ishi').waitFor();
    await checkPage('record-study');
    await goTo('retention');
    await page.getByText('Sud ishi').waitFor();
  });
});

describe('storage and retention', () => {
  test('a problem is shown until it is repaired', async () => {
    await openAdministration();
    await goTo('storage');
    await page.getByText('1 ta muammo eʼtiboringizni talab qiladi.').waitFor();
    await checkPage('storage');
    await page.getByRole('button', { name: 'Hammasini hozir tekshirish' }).click();
    await page.getByText('120/4 210').waitFor();
    await page.getByRole('button', { name: 'Tiklash' }).click();
    await page.getByText('Oʻqilgan hamma narsa butun.').waitFor();
  });

  test('a policy is switched on only after its dry run', async () => {
    await openAdministration();
    await goTo('retention');
    await page.getByRole('button', { name: 'Saqlash qoidasini qoʻshish' }).click();
    await panel().getByLabel('Nomi').fill('KT, 5 yil');
    await panel().getByLabel('Modallik').fill('ct');
    await panel().getByLabel('Kunlar').fill('1825');
    await panel().locator('button[type=submit]').click();
    const row = page.locator('tbody tr', { hasText: 'KT, 5 yil' });
    await row.getByRole('button').click();
    const on = panel().getByLabel('Qoida yoqilgan');
    assert.equal(await on.isDisabled(), true);
    await panel().getByRole('button', { name: 'Sinov hisobi: bugun nima boʻlardi' }).click();
    await panel().getByText('Tekshiruvlar: 812').waitFor();
    await checkPage('retention');
    await on.check();
    await panel().locator('button[type=submit]').click();
    await row.getByText('yoqilgan').waitFor();
  });

  test('on a phone, and in the other languages, nothing spills', async () => {
    await open('admin', { width: 400, height: 800 });
    await page.goto(`${page.url().split('#')[0]}#/administration/retention`);
    for (const tab of ['devices', 'associations', 'commitments', 'forwarding', 'queue', 'records', 'quarantine', 'storage', 'retention']) {
      await goTo(tab);
      await page.getByRole('heading', { level: 1 }).waitFor();
      for (const language of ['ru', 'uz-Cyrl', 'en', 'uz-Latn']) {
        await page.selectOption('.language', language);
        await page.waitForFunction((expected) => document.documentElement.lang === expected, language);
        await shot(`phone-admin-${tab}-${language}`);
        await assertFits(page, `${tab} in ${language}`);
      }
    }
  });
});
