// The client in Chromium, against the mock.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertAccessible, assertFits } from './axe.mjs';
import { open, page, password, shot, steer, url } from './mocked.mjs';
import { assertRightPicture, panes, waitForPicture } from './pictures.mjs';

const rows = () => page.locator('tr[data-task]');
const openFirst = async () => {
  await rows().first().waitFor();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.reading');
  return waitForPicture(page);
};
const saved = () => page.locator('.save-state[data-state=saved]').waitFor();

describe('sign-in', () => {
  test('says what is wrong, and lets in', async () => {
    await open();
    await page.goto(url);
    await page.fill('input[name=login]', 'radiolog');
    await page.fill('input[name=password]', 'nonsense');
    await page.keyboard.press('Enter');
    assert.match(await page.locator('[role=alert]').innerText(), /Login yoki parol notoʻgʻri/);
    await assertAccessible(page, 'sign-in');
    await shot('signin');
    await page.fill('input[name=password]', password);
    await page.keyboard.press('Enter');
    await rows().first().waitFor();
  });

  test('the language chosen before signing in stays', async () => {
    await open();
    await page.goto(url);
    await page.selectOption('.language', 'ru');
    await page.fill('input[name=login]', 'radiolog');
    await page.fill('input[name=password]', password);
    await page.keyboard.press('Enter');
    await rows().first().waitFor();
    assert.match(await page.locator('.topbar').innerText(), /Список работы/);
  });

  test('a session that ends asks to sign in again', async () => {
    await open('radiolog');
    await rows().first().waitFor();
    await page.context().clearCookies();
    await page.keyboard.press('1');
    await page.waitForSelector('.signin');
    assert.match(await page.locator('.signin').innerText(), /Seans tugadi/);
  });
});

describe('worklist', () => {
  test('shows, filters, searches', async () => {
    await open('radiolog');
    await rows().first().waitFor();
    assert.equal(await rows().count(), 18);
    const first = await rows().first().innerText();
    for (const word of ['Каримов Али Бахтиёрович', 'Karimov Ali Baxtiyorovich', '58', 'bosh miya', 'Urgut', '73', 'Favqulodda', 'Insult', '00:0'])
      assert.ok(first.includes(word), `${word} in ${first}`);
    assert.match(await rows().nth(2).innerText(), /−00:1/);
    await page.keyboard.press('ArrowDown');
    await page.locator('.preview .thumbnail[data-state=drawn]').first().waitFor();
    await shot('worklist');
    await assertAccessible(page, 'worklist');
    await assertFits(page, 'worklist');

    await page.click('.chips button:has-text("MR")');
    await page.waitForFunction(() => document.querySelectorAll('tr[data-task]').length === 1);
    await page.click('.chips button:has-text("MR")');
    await page.waitForFunction(() => document.querySelectorAll('tr[data-task]').length === 18);
    await page.mouse.click(600, 30);
    await page.keyboard.press('Slash');
    await page.keyboard.type('Юсупова');
    await page.waitForFunction(() => document.querySelectorAll('tr[data-task]').length === 1);
    assert.match(await rows().first().innerText(), /Yusupova/);
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => document.querySelectorAll('tr[data-task]').length === 18);
  });

  test('a row never jumps under the pointer', async () => {
    await open('radiolog');
    await rows().first().waitFor();
    const names = () => page.locator('tr[data-task] .row-name').allInnerTexts();
    await page.hover('tr[data-task]:nth-child(3)');
    const before = await names();
    await steer({ arrive: true });
    const news = page.locator('.news');
    await news.waitFor();
    assert.match(await news.innerText(), /1/);
    assert.deepEqual(await names(), before);
    await page.keyboard.press('u');
    await page.waitForFunction((n) => document.querySelectorAll('tr[data-task]').length === n, before.length + 1);
    assert.equal(await news.count(), 0);
  });

  test('reserves and releases by key, takes the next one', async () => {
    await open('radiolog');
    await rows().first().waitFor();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('r');
    await page.waitForFunction(() => document.querySelector('tr[data-task] .c-state').innerText.includes('menda'));
    await page.keyboard.press('r');
    await page.waitForFunction(() => document.querySelector('tr[data-task] .c-state').innerText.includes('ochiq'));
    await page.keyboard.press('n');
    await page.waitForSelector('.reading');
    assert.match(await page.locator('.banner').innerText(), /Каримов Али/);
  });

  test('a study that somebody else holds is opened for looking only', async () => {
    await open('radiolog');
    await rows().first().waitFor();
    await page.locator('tr[data-task]', { hasText: 'Ismoilova' }).dblclick();
    await waitForPicture(page);
    assert.match(await page.locator('.report').innerText(), /Ким Виктория/);
    assert.equal(await page.locator('textarea').count(), 0);
  });

  test('what was cancelled or read elsewhere is found, and can still be read here', async () => {
    await steer({ close: { t2: { state: 'cancelled' }, t3: { state: 'signed', claimed_by: { id: 'ae:TELERAD', name: 'TELERAD' } } } });
    await open('radiolog');
    await rows().first().waitFor();
    assert.equal(await rows().count(), 16);
    await page.keyboard.press('6');
    await page.locator('tr[data-task]', { hasText: 'oʻqigan: TELERAD' }).waitFor();
    assert.equal(await rows().count(), 2);
    assert.match(await page.locator('[aria-pressed=true]').first().innerText(), /Xulosasiz\s+2/);
    assert.match(await rows().filter({ hasText: 'Yusupova' }).innerText(), /bekor qilingan/);
    await rows().filter({ hasText: 'TELERAD' }).click();
    await page.locator('.preview .thumbnail[data-state=drawn]').first().waitFor();
    await shot('worklist-unreported');
    await assertAccessible(page, 'without report');
    await assertFits(page, 'without report');

    // Looking at it takes nothing from anybody.
    await page.keyboard.press('Enter');
    await waitForPicture(page);
    assert.match(await page.locator('.banner').innerText(), /oʻqigan: TELERAD/);
    assert.match(await page.locator('.report').innerText(), /bu yerda xulosa yoʻq/);
    assert.equal(await page.locator('textarea').count(), 0);
    await shot('reading-outside');
    await assertAccessible(page, 'read outside');
    await page.getByRole('button', { name: 'Xulosani shu yerda yozish' }).click();
    await page.locator('.section-findings textarea').fill('Oʻzgarishsiz.');
    await page.locator('.save-state[data-state=saved]').waitFor();
    await page.mouse.click(300, 400);
    await page.keyboard.press('q');
    await rows().first().waitFor();
    await page.waitForFunction(() => document.querySelectorAll('tr[data-task]').length === 1);

    await rows().first().click();
    await page.keyboard.press('r');
    await page.locator('[aria-pressed=true]', { hasText: /Xulosasiz\s+0/ }).waitFor();
    await page.keyboard.press('1');
    await page.waitForFunction(() => document.querySelectorAll('tr[data-task]').length === 2);
  });
});

describe('reading room', () => {
  test('the right slice stands on the canvas, whichever it is', async () => {
    await open('radiolog');
    const first = await openFirst();
    assert.equal(first.index, 24);
    assert.deepEqual(first.window, { center: 40, width: 80 });
    await assertRightPicture(page, 0);
    await page.keyboard.press('Home');
    assert.match((await waitForPicture(page, 0, (p) => p.index === 0)).sopInstanceUID, /\.1$/);
    await page.keyboard.press('End');
    assert.match((await waitForPicture(page, 0, (p) => p.index === 47)).sopInstanceUID, /\.48$/);
    for (let n = 0; n < 12; n++) await page.keyboard.press('ArrowUp');
    await waitForPicture(page, 0, (p) => p.index === 35);
    await assertRightPicture(page, 0);
    const pictures = await page.locator('[data-pane=current]').boundingBox();
    await page.mouse.move(pictures.x + 200, pictures.y + 300);
    await page.mouse.wheel(0, 100);
    await waitForPicture(page, 0, (p) => p.index === 36);
  });

  test('windows: drag, presets, invert, reset', async () => {
    await open('radiolog');
    await openFirst();
    const before = await page.evaluate(() => window.__tasvir.sample(0, [[256, 150]]));
    await page.keyboard.press('Digit3');
    const bone = await waitForPicture(page, 0, (p) => p.window.width === 2500);
    assert.equal(bone.window.center, 480);
    await assertRightPicture(page, 0);
    assert.notDeepEqual(await page.evaluate(() => window.__tasvir.sample(0, [[256, 150]])), before);
    const pictures = await page.locator('[data-pane=current]').boundingBox();
    await page.mouse.move(pictures.x + 200, pictures.y + 300);
    await page.mouse.down();
    await page.mouse.move(pictures.x + 260, pictures.y + 280, { steps: 6 });
    await page.mouse.up();
    const dragged = await waitForPicture(page, 0, (p) => p.window.width > 2600);
    assert.ok(dragged.window.center < 480, 'dragging up darkens the centre');
    await assertRightPicture(page, 0);
    await page.keyboard.press('i');
    await waitForPicture(page, 0, (p) => p.inverted);
    await assertRightPicture(page, 0);
    await page.keyboard.press('Space');
    await waitForPicture(page, 0, (p) => !p.inverted && p.window.width === 80);
    await assertRightPicture(page, 0);
  });

  test('zoom, fit, rotate, flip keep letters and pixels together', async () => {
    await open('radiolog');
    await openFirst();
    const edges = async () => Promise.all(['left', 'right', 'top', 'bottom'].map((side) => page.locator(`[data-pane=current] .edge.${side}`).innerText()));
    assert.deepEqual(await edges(), ['R', 'L', 'A', 'P']);
    await page.keyboard.press('Equal');
    await page.keyboard.press('Equal');
    await waitForPicture(page, 0, (p) => p.zoom > 1.4);
    await assertRightPicture(page, 0);
    await page.keyboard.press('Digit0');
    await waitForPicture(page, 0, (p) => p.zoom === 1);
    await page.keyboard.press('h');
    await page.waitForFunction(() => document.querySelector('[data-pane=current] .edge.left').innerText === 'L');
    await assertRightPicture(page, 0);
    await page.keyboard.press('r');
    await page.waitForFunction(() => document.querySelector('[data-pane=current] .edge.top').innerText !== 'A');
    await assertRightPicture(page, 0);
    await page.keyboard.press('Space');
    await page.waitForFunction(() => document.querySelector('[data-pane=current] .edge.left').innerText === 'R');
  });

  test('the prior hangs beside, dated, linked by position until unlinked', async () => {
    await open('radiolog');
    await openFirst();
    await waitForPicture(page, 1);
    assert.match(await page.locator('.prior-band').innerText(), /\d\d\.\d\d\.2026/);
    await assertRightPicture(page, 1);
    await page.keyboard.press('Home');
    await waitForPicture(page, 1, (p) => p.index === 0);
    for (let n = 0; n < 10; n++) await page.keyboard.press('ArrowDown');
    // 10 × 3 mm lies at 6 × 5 mm.
    await waitForPicture(page, 0, (p) => p.index === 10);
    await waitForPicture(page, 1, (p) => p.index === 6);
    await assertRightPicture(page, 1);
    await page.keyboard.press('Digit3');
    await waitForPicture(page, 1, (p) => p.window.width === 2500);
    await page.keyboard.press('x');
    await page.keyboard.press('ArrowDown');
    await waitForPicture(page, 0, (p) => p.index === 11);
    assert.equal((await panes(page))[1].index, 6);
    await page.keyboard.press('b');
    await page.waitForFunction(() => window.__tasvir.panes().length === 1);
    await page.waitForFunction(() => window.__tasvir.panes()[0].loaded === 48);
    await assertRightPicture(page, 0);
  });

  test('measures a length in millimetres', async () => {
    await open('radiolog');
    await openFirst();
    await page.keyboard.press('m');
    const pictures = await page.locator('[data-pane=current]').boundingBox();
    await page.mouse.move(pictures.x + 120, pictures.y + 400);
    await page.mouse.down();
    await page.mouse.move(pictures.x + 320, pictures.y + 400, { steps: 5 });
    await page.mouse.up();
    const label = page.locator('[data-pane=current] svg text').first();
    await label.waitFor();
    const mm = Number(/([\d.]+)\s*mm/.exec(await label.textContent())[1]);
    const bar = await page.locator('[data-pane=current] .scale-bar').boundingBox();
    assert.match(await page.locator('[data-pane=current] .scale-bar').innerText(), /5 cm/);
    const expected = (200 / bar.width) * 50;
    assert.ok(Math.abs(mm - expected) < 2, `${mm} mm, by the scale bar ${expected}`);
    await page.keyboard.press('Delete');
    await page.waitForFunction(() => document.querySelectorAll('[data-pane=current] svg text').length === 0);
  });

  test('says how many frames are in while they come', async () => {
    await steer({ frameDelay: 250 });
    await open('radiolog');
    await openFirst();
    assert.match(await page.locator('[data-pane=current] .loading').innerText(), /^\d+\/48 kadr yuklandi$/);
    await page.keyboard.press('c');
    await page.waitForFunction(() => window.__tasvir.panes()[0].index > 25);
    await page.keyboard.press('c');
  });

  test('is accessible, and fits a laptop', async () => {
    await open('radiolog', { width: 1280, height: 720 });
    await openFirst();
    await waitForPicture(page, 1);
    await assertAccessible(page, 'reading room');
    await assertFits(page, 'reading room');
    // The strip of series is longer than the screen: it scrolls, nothing lies over another.
    const squeezed = await page.locator('.strip .series').evaluateAll((list) => list.filter((button) => button.scrollHeight > button.clientHeight + 1).length);
    assert.equal(squeezed, 0);
    await page.keyboard.press('Shift+Slash');
    await page.locator('dialog[open]').waitFor();
    await assertAccessible(page, 'the key list');
    await shot('keys');
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => !document.querySelector('dialog[open]'));
  });
});

describe('drawing', () => {
  test('WebGL shows the same picture as the processor', async () => {
    await open();
    await page.goto(`${url}/?render=gpu`);
    await page.fill('input[name=login]', 'radiolog');
    await page.fill('input[name=password]', password);
    await page.keyboard.press('Enter');
    await openFirst();
    await assertRightPicture(page);
    await page.keyboard.press('End');
    await waitForPicture(page, 0, (p) => p.index === 47);
    await page.keyboard.press('i');
    await waitForPicture(page, 0, (p) => p.inverted);
    await assertRightPicture(page);
  });

  test('an X-ray: its letters come from the patient’s orientation, its window is its own', async () => {
    await open('radiolog');
    await rows().first().waitFor();
    await page.locator('tr[data-task]', { hasText: 'Рахимов' }).dblclick();
    await waitForPicture(page);
    await assertRightPicture(page);
    assert.equal(await page.locator('[data-pane=current] .edge.right').innerText(), 'L');
    assert.equal(await page.locator('[data-pane=current] .edge.bottom').innerText(), 'F');
    await page.keyboard.press('h');
    await page.waitForFunction(() => document.querySelector('[data-pane=current] .edge.right').innerText === 'R');
    await assertRightPicture(page);
    await shot('x-ray');
  });
});

describe('report', () => {
  test('is saved, signed, corrected; the next study follows', async () => {
    await open('radiolog');
    await openFirst();
    await page.keyboard.press('e');
    await page.keyboard.type('Chap yarim sharda gipodens soha.');
    await page.locator('.save-state[data-state=pending]').waitFor();
    await saved();
    assert.match(await page.locator('.save-state').innerText(), /^saqlandi \d\d:\d\d$/);
    // A picture key inside the editor is a letter; outside it works the picture.
    await page.keyboard.type(' i');
    assert.equal((await panes(page))[0].inverted, false);
    await page.keyboard.press('Escape');
    await page.keyboard.press('k');
    assert.match(await page.locator('.section-findings textarea').inputValue(), /i \[1-seriya, 25-tasvir\]$/);
    await page.locator('.section-impression textarea').fill('Oʻtkir ishemik insult.');
    await saved();
    await shot('reading');

    await page.keyboard.press('Control+Enter');
    const dialog = page.locator('dialog[open]');
    await dialog.waitFor();
    assert.match(await dialog.innerText(), /Каримов Али Бахтиёрович[\s\S]*CT bosh miya/);
    await shot('sign');
    await page.keyboard.press('Control+Enter');
    await page.locator('.report-body article').waitFor();
    assert.equal(await page.locator('textarea').count(), 0);
    await page.locator('.report-body .delivery[data-delivery=delivered]').waitFor();
    await shot('signed');

    await page.getByRole('button', { name: 'Tuzatish' }).click();
    const impression = page.locator('.section-impression textarea');
    await impression.waitFor();
    assert.equal(await impression.inputValue(), 'Oʻtkir ishemik insult.');
    await impression.fill('Oʻtkir ishemik insult, chap OʻMA havzasi.');
    await saved();
    await page.keyboard.press('Control+Enter');
    await dialog.waitFor();
    await page.keyboard.press('Control+Enter');
    await page.locator('.report-body article').first().waitFor();
    assert.match(await page.locator('.report').innerText(), /Tuzatilgan xulosa[\s\S]*chap OʻMA havzasi/);

    await page.getByRole('button', { name: 'Keyingisi' }).click();
    await page.waitForFunction(() => document.querySelector('.banner')?.innerText.includes('Yusupova'));
    await waitForPicture(page, 0, (p) => p.count === 40);
    await assertRightPicture(page, 0);
  });

  test('an empty report is not signed', async () => {
    await open('radiolog');
    await openFirst();
    await page.keyboard.press('Control+Enter');
    assert.match(await page.locator('.report [role=alert]').innerText(), /Xulosa boʻsh/);
  });

  test('without a connection the words stay, and come back after a reload', async () => {
    await open('radiolog');
    await openFirst();
    await page.context().setOffline(true);
    await page.keyboard.press('e');
    await page.keyboard.type('Aloqasiz yozilgan.');
    await page.locator('.save-state[data-state=kept]').waitFor();
    assert.match(await page.locator('.save-state').innerText(), /saqlanmadi: aloqa yoʻq, shu kompyuterda turibdi/);
    await shot('offline');
    await page.keyboard.press('Control+Enter');
    assert.match(await page.locator('.report [role=alert]').innerText(), /Matn hali serverda emas/);
    await page.context().setOffline(false);
    await steer({ offline: true });
    await page.keyboard.type(' Yana.');
    await page.waitForFunction(() => document.querySelector('.save-state').innerText.includes('server javob bermayapti'));
    // The computer is switched off before the server is back.
    await page.goto('about:blank');
    await steer({ offline: false });
    await page.goto(`${url}/?render=cpu#/read/t1`);
    await page.waitForSelector('.section-findings textarea');
    assert.equal(await page.locator('.section-findings textarea').inputValue(), 'Aloqasiz yozilgan. Yana.');
    assert.match(await page.locator('.report').innerText(), /saqlanmay qolgan matn topildi/);
    await saved();
    assert.equal(await page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith('tasvir.draft')).length), 0);
  });

  test('two windows: what can be joined is, what can’t is asked', async () => {
    await open('radiolog');
    await openFirst();
    const findings = page.locator('.section-findings textarea');
    await findings.fill('Bu yerda.');
    await saved();
    await steer({ steal: 't1', sections: { technique: 'Boshqa oynadan.' } });
    await findings.fill('Bu yerda, keyin.');
    await page.waitForFunction(() => document.querySelector('.section-technique textarea').value === 'Boshqa oynadan.');
    await saved();
    await steer({ steal: 't1', sections: { findings: 'Ularning matni.' } });
    await findings.fill('Mening matnim.');
    await page.locator('.conflict').waitFor();
    assert.match(await page.locator('.save-state').innerText(), /ikki matn bor/);
    await shot('conflict');
    await assertAccessible(page, 'conflict');
    await page.getByRole('button', { name: 'Ikkalasi' }).click();
    await saved();
    assert.equal(await findings.inputValue(), 'Mening matnim.\n\nUlarning matni.');
  });
});

describe('reports room', () => {
  test('shows the platform’s words and sends again', async () => {
    await open('radiolog');
    await page.click('nav a[href="#/reports"]');
    const failed = page.locator('tbody tr', { hasText: 'Рахимов' });
    await failed.waitFor();
    assert.match(await failed.innerText(), /Patient not found/);
    assert.match(await failed.innerText(), /Xulosa saqlangan/);
    await assertAccessible(page, 'reports');
    await assertFits(page, 'reports');
    await shot('reports');
    await failed.getByRole('button').click();
    await failed.locator('.delivery[data-delivery=queued]').waitFor();
  });
});

describe('clinician', () => {
  test('sees patients and orders only, the report first, on a phone', async () => {
    await open('shifokor', { width: 360, height: 740, touch: true });
    await page.locator('.study-card').first().waitFor();
    assert.equal(await page.locator('.topbar nav a').count(), 2);
    assert.ok(!(await page.locator('.study-list').innerText()).includes('Yusupova'), 'another facility’s patient');
    await assertFits(page, 'patients, 360 px');
    await assertAccessible(page, 'patients');
    await shot('phone-patients');
    await page.locator('.study-card', { hasText: 'Каримов' }).filter({ hasText: 'Yakuniy' }).click();
    await page.waitForSelector('.report-text');
    assert.match(await page.locator('.report-banner').innerText(), /Yakuniy xulosa, 2026-yil \d+-\S+, \d\d:\d\d/);
    const report = await page.locator('.report-text').boundingBox();
    const pictures = await page.locator('.study-pictures').boundingBox();
    assert.ok(report.y < pictures.y, 'the report comes first');
    await assertFits(page, 'study, 360 px');
    await shot('phone-report');
    await waitForPicture(page);
    await page.locator('.study-controls').scrollIntoViewIfNeeded();
    await assertRightPicture(page);
    await page.getByRole('button', { name: 'Suyak' }).click();
    await waitForPicture(page, 0, (p) => p.window.width === 2500);
    await page.locator('.slider input').fill('3');
    await waitForPicture(page, 0, (p) => p.index === 3);
    await assertRightPicture(page);
    await shot('phone-pictures');
    await assertAccessible(page, 'study');
    await page.goto(`${url}/#/worklist`);
    assert.equal(await page.locator('.tasks').count(), 0);
  });

  test('on a desk, the pictures stand beside the report', async () => {
    await open('shifokor');
    await page.locator('.study-card', { hasText: 'Yakuniy' }).first().click();
    await waitForPicture(page);
    await assertFits(page, 'study');
    await assertAccessible(page, 'study, wide');
    await shot('study');
  });
});

describe('languages and light', () => {
  for (const [language, word] of [
    ['ru', 'Список работы'],
    ['en', 'Worklist'],
    ['uz-Cyrl', 'Иш рўйхати'],
    ['uz-Latn', 'Ish roʻyxati'],
  ]) {
    test(`${language} at run time, nothing clipped or spilling`, async () => {
      await open('radiolog', { width: 1366, height: 768 });
      await rows().first().waitFor();
      await page.selectOption('.language', language);
      await page.waitForFunction((expected) => document.querySelector('.topbar nav').innerText.includes(expected), word);
      assert.equal(await page.getAttribute('html', 'lang'), language);
      await page.keyboard.press('ArrowDown');
      await page.locator('.preview .thumbnail[data-state=drawn]').first().waitFor();
      await assertFits(page, `worklist in ${language}`);
      await shot(`worklist-${language}`);
      await page.keyboard.press('Enter');
      await waitForPicture(page);
      await assertFits(page, `reading room in ${language}`);
      const clipped = await page.evaluate(() =>
        [...document.querySelectorAll('.report-foot button, .report-head h2, .tabs button, .banner-deadline, .section > span, .report-head select')]
          .filter((e) => e.scrollWidth > e.clientWidth + 1)
          .map((e) => e.textContent),
      );
      assert.deepEqual(clipped, []);
      await shot(`reading-${language}`);
    });
  }

  test('the light theme keeps its contrast', async () => {
    await open('radiolog');
    await rows().first().waitFor();
    await page.getByRole('button', { name: 'Yorugʻ koʻrinish' }).click();
    assert.equal(await page.getAttribute('html', 'data-theme'), 'light');
    await page.keyboard.press('ArrowDown');
    await page.locator('.preview .thumbnail[data-state=drawn]').first().waitFor();
    await assertAccessible(page, 'light worklist');
    await shot('worklist-light');
    await page.keyboard.press('Enter');
    await waitForPicture(page);
    await assertAccessible(page, 'light reading room');
    await shot('reading-light');
    await page.keyboard.press('q');
    await page.click('nav a[href="#/reports"]');
    await page.locator('tbody tr').first().waitFor();
    await assertAccessible(page, 'light reports');
  });
});
