/** Signs in on a fresh page. */
export async function signIn(page, url, login, password) {
  await page.goto(`${url}/?render=cpu`);
  await page.fill('input[name=login]', login);
  await page.fill('input[name=password]', password);
  await page.click('form button[type=submit]');
}

/** Errors of the page's own making; a refused request is the browser's word, not ours. */
export function watchErrors(page) {
  const errors = [];
  page.on('pageerror', (err) => errors.push(String(err.stack ?? err)));
  page.on('console', (message) => {
    if (message.type() !== 'error' || message.text().startsWith('Failed to load resource')) return;
    errors.push(`${message.text()} ${JSON.stringify(message.location())}`);
  });
  return errors;
}
