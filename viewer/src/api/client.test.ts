import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { api, whenSessionEnds } from './client';

const answers: { status: number; body: unknown }[] = [];
const requests: { method: string; path: string; csrf: string | undefined }[] = [];

const json = (status: number, body: unknown) => answers.push({ status, body });
const session = (id: string, csrf: string) => ({ csrf, user: { id } });
const stale = { title: 'Not allowed', status: 403, code: 'forbidden', reason: 'csrf' };

beforeEach(() => {
  answers.length = 0;
  requests.length = 0;
  vi.stubGlobal('fetch', async (path: string, init: { method: string; headers: Record<string, string> }) => {
    requests.push({ method: init.method, path, csrf: init.headers['X-CSRF-Token'] });
    const next = answers.shift();
    if (!next) throw new Error('one request too many');
    return new Response(JSON.stringify(next.body), { status: next.status });
  });
});
afterEach(() => vi.unstubAllGlobals());

test('a CSRF token that another window has renewed is learnt, and the request repeated once', async () => {
  json(200, session('7', 'old'));
  await api.signIn('radiolog', 'secret');
  json(403, stale);
  json(200, session('7', 'new'));
  json(200, { id: 't1' });
  await api.claim('t1');
  expect(requests.slice(1)).toEqual([
    { method: 'POST', path: '/api/tasks/t1/claim', csrf: 'old' },
    { method: 'GET', path: '/api/session', csrf: undefined },
    { method: 'POST', path: '/api/tasks/t1/claim', csrf: 'new' },
  ]);
});

test('nothing goes out in the name of somebody else who signed in meanwhile', async () => {
  json(200, session('7', 'old'));
  await api.signIn('radiolog', 'secret');
  const ended = vi.fn();
  whenSessionEnds(ended);
  json(403, stale);
  json(200, session('8', 'theirs'));
  await expect(api.claim('t1')).rejects.toThrow();
  expect(ended).toHaveBeenCalledOnce();
  expect(requests).toHaveLength(3);
});
