// The mock, a browser, and a page that every test begins anew. A page's own
// errors fail the test it belongs to.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach } from 'node:test';
import { launch, screenshots } from './chromium.mjs';
import { signIn, watchErrors } from './people.mjs';

export const password = 'parol-123';
let browser;
let mock;
export let url;
export let page;
let errors;

// The mock draws its pictures on the processor; a process of its own keeps the tests' clock free.
before(async () => {
  mock = spawn(process.execPath, [join(import.meta.dirname, '../mock/server.mjs'), '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  url = await new Promise((resolve, reject) => {
    mock.stdout.on('data', (text) => {
      const found = /http:\/\/\S+/.exec(String(text));
      if (found) resolve(found[0]);
    });
    mock.on('exit', (code) => reject(new Error(`the mock ended with ${code}`)));
  });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  mock?.kill();
});

export const steer = async (body) => {
  const response = await fetch(`${url}/mock`, { method: 'POST', body: JSON.stringify(body) });
  return response.json();
};

export async function open(login, { width = 1600, height = 900, locale = 'uz', touch = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, locale, hasTouch: touch });
  page = await context.newPage();
  errors = watchErrors(page);
  if (login) await signIn(page, url, login, password);
}

beforeEach(() => steer({ reset: true }));
afterEach(async () => {
  if (!page) return;
  await page.context().close();
  page = undefined;
  assert.deepEqual(errors, []);
});

export const shot = (name) => page.screenshot({ path: join(screenshots, `${name}.png`) });
