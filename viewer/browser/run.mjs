// npm run test:browser: builds nothing, drives what is in dist/. Against the
// mock always; against a real server too when TASVIR_URL is set
// (TASVIR_RADIOLOGIST, TASVIR_CLINICIAN and TASVIR_ADMINISTRATOR are login:password).
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const here = import.meta.dirname;
if (!existsSync(join(here, '../dist/index.html'))) {
  console.error('viewer/dist is empty: run "npm run build" first');
  process.exit(1);
}
const files = [];
if (process.argv[2] !== 'real') files.push('mock.test.mjs', 'administration.test.mjs', 'orders.test.mjs', 'rejecting.test.mjs');
if (process.env.TASVIR_URL) files.push('real.test.mjs');
const args = process.argv.slice(2).filter((arg) => arg !== 'real');
const { status } = spawnSync(process.execPath, ['--test', '--test-concurrency=1', '--test-reporter=spec', ...args, ...files.map((file) => join(here, file))], { stdio: 'inherit' });
process.exit(status ?? 1);
