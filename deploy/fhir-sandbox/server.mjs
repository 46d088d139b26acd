#!/usr/bin/env node
// A FHIR R5 server that behaves as Uzbekistan's digital health platform is
// described to: HL7's definitions, UZ Core's rules, If-Match on every PUT.
// README.md lists the switches. Demo and test data only.

import http from 'node:http';
import fs from 'node:fs';
import { randomUUID, timingSafeEqual } from 'node:crypto';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { issue, loadDefinitions } from './definitions.mjs';
import { Faults } from './faults.mjs';
import { page, pdfOf } from './page.mjs';
import { Repository, refuse } from './repository.mjs';
import { PROFILES, references } from './uzcore.mjs';

const { getStatus, normalizeOperationOutcome, parseSearchRequest } = await import('@medplum/core');
const { FhirRouter } = await import('@medplum/fhir-router');

const MAX_BODY = 32 << 20;
const READ_ONLY = ['Organization', 'Practitioner', 'PractitionerRole', 'Location'];
const WRITABLE = ['Patient', 'ServiceRequest', 'Observation', 'DiagnosticReport', 'ImagingStudy', 'Endpoint'];

const OPTIONS = {
  host: { type: 'string', default: '127.0.0.1' },
  port: { type: 'string', default: '8090' },
  data: { type: 'string' },
  seed: { type: 'boolean', default: false },
  'seed-file': { type: 'string' },
  etag: { type: 'string', default: 'numeric' },
  token: { type: 'string' },
  client: { type: 'string' },
  'token-seconds': { type: 'string', default: '3600' },
  fail: { type: 'string' },
  'no-conditional-create': { type: 'boolean', default: false },
  'no-imaging-study': { type: 'boolean', default: false },
  'no-endpoint': { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
};

const { values: flags } = parseArgs({ options: OPTIONS });
if (flags.help) {
  console.log(`usage: node server.mjs ${Object.keys(OPTIONS).map((name) => `[--${name}${OPTIONS[name].type === 'string' ? ' X' : ''}]`).join(' ')}`);
  process.exit(0);
}
if (!['numeric', 'uuid'].includes(flags.etag)) {
  console.error(`--etag ${flags.etag}: use numeric or uuid`);
  process.exit(2);
}

const writable = WRITABLE.filter((type) => !(flags['no-imaging-study'] && type === 'ImagingStudy') && !(flags['no-endpoint'] && type === 'Endpoint'));
const types = [...READ_ONLY, ...writable];
loadDefinitions(types);
const repository = new Repository({ types, etags: flags.etag, folder: flags.data });
const router = new FhirRouter();
const faults = new Faults(flags.fail);
const tokens = new Map();
let base = '';

// Writes run one after another: that is what makes "create unless it exists"
// and "update this version" true.
let last = Promise.resolve();
const inTurn = (work) => (last = last.then(work, work));

if (flags.seed || flags['seed-file']) {
  const file = flags['seed-file'] ?? fileURLToPath(new URL('./seeds.json', import.meta.url));
  await store(JSON.parse(fs.readFileSync(file, 'utf8')));
}

// store puts resources in as the platform's own registries would: the only way
// to get a Practitioner, PractitionerRole or Organization here.
async function store(resources) {
  await inTurn(() =>
    repository.atomically(() => {
      for (const resource of resources) {
        if (!repository.resources.get(resource.resourceType)?.has(resource.id)) repository.createResourceSync(resource);
      }
    })
  );
}

function capabilities() {
  const interactions = (...codes) => codes.map((code) => ({ code }));
  return {
    resourceType: 'CapabilityStatement',
    status: 'active',
    date: '2026-11-21',
    kind: 'instance',
    software: { name: 'Tasvir FHIR sandbox' },
    implementation: { description: 'Demo platform after UZ Core', url: base },
    fhirVersion: '5.0.0',
    format: ['json'],
    rest: [
      {
        mode: 'server',
        resource: types.map((type) => ({
          type,
          ...(PROFILES[type] ? { supportedProfile: [PROFILES[type]] } : {}),
          interaction: writable.includes(type)
            ? interactions('create', 'read', 'vread', 'update', 'history-instance', 'search-type')
            : interactions('read', 'vread', 'history-instance', 'search-type'),
          versioning: 'versioned-update',
          readHistory: true,
          updateCreate: false,
          conditionalCreate: writable.includes(type) && !flags['no-conditional-create'],
          conditionalUpdate: false,
          conditionalDelete: 'not-supported',
          searchParam: [{ name: 'identifier', type: 'token' }],
        })),
        interaction: interactions('transaction'),
      },
    ],
  };
}

// permitted refuses what the platform doesn't offer, before anything is run.
function permitted(method, url, headers) {
  const [target] = url.split('?');
  const [type, id, ...more] = target.split('/');
  if (type !== '' && !types.includes(type)) throw refuse('not-found', issue('not-supported', `${type} is not offered here; see /metadata`));
  if (method === 'GET') return;
  if (method === 'DELETE' || method === 'PATCH') {
    throw refuse('not-allowed', issue('not-supported', `${method} is not offered: set status entered-in-error by PUT instead`));
  }
  if (method === 'POST' && id === '_search') return;
  if (more.length > 0 || (method !== 'POST' && method !== 'PUT')) throw refuse('not-allowed', issue('not-supported', `${method} ${target} is not offered`));
  if (READ_ONLY.includes(type)) throw refuse('not-allowed', issue('not-supported', `${type} is kept by the national registries: read and search only`));
  if (method === 'POST' && id) throw refuse('not-allowed', issue('not-supported', `POST ${target} is not offered`));
  if (headers.ifNoneExist && flags['no-conditional-create']) {
    throw refuse('precondition-failed', issue('not-supported', 'conditional create is not offered here; see /metadata'));
  }
  if (method === 'PUT') {
    if (!id) throw refuse('precondition-failed', issue('not-supported', 'conditional update is not offered here'));
    if (!headers.ifMatch) throw refuse('precondition-failed', issue('conflict', `PUT needs If-Match with the version you read, as W/"1"`));
    if (!/^(W\/)?"[^"]+"$/.test(headers.ifMatch)) throw refuse('invalid', issue('value', `If-Match ${headers.ifMatch} is not an entity tag`));
  }
}

async function prepareTransaction(bundle) {
  if (bundle?.resourceType !== 'Bundle') throw refuse('invalid', issue('invalid', 'not a Bundle'));
  if (bundle.type !== 'transaction') throw refuse('invalid', issue('not-supported', `Bundle of type ${bundle.type} is not offered: use transaction`));
  for (const [i, entry] of (bundle.entry ?? []).entries()) {
    const { method, url, ifNoneExist, ifMatch } = entry.request ?? {};
    if (!['POST', 'PUT', 'GET'].includes(method)) throw refuse('invalid', issue('value', `request.method ${method} is not offered`, `Bundle.entry[${i}].request.method`));
    if (typeof url !== 'string' || url === '') throw refuse('invalid', issue('required', 'request.url is missing', `Bundle.entry[${i}].request.url`));
    permitted(method, url, { ifNoneExist, ifMatch });
    for (const { path, value } of references(entry.resource ?? {}, `Bundle.entry[${i}].resource`)) {
      const conditional = /^([A-Z]\w+)\?(.+)$/.exec(value.reference);
      if (!conditional) continue;
      const found = await repository.search({ ...parseSearchRequest(value.reference), count: 2 });
      if (found.entry?.length !== 1) throw refuse('precondition-failed', issue('not-found', `${value.reference} matches ${found.entry?.length ?? 0} resources, not one`, path));
      value.reference = `${conditional[1]}/${found.entry[0].resource.id}`;
    }
  }
}

const STATUS = { unprocessable: 422, 'not-allowed': 405, unauthorized: 401 };
const statusOf = (outcome) => STATUS[outcome.id] ?? getStatus(outcome);

async function fhir(request) {
  const { method, url, body } = request;
  const headers = { ifNoneExist: request.headers['if-none-exist'], ifMatch: request.headers['if-match'] };
  if (method === 'GET' && url === 'metadata') return { status: 200, body: capabilities() };
  try {
    if (url === '' && method === 'POST') await prepareTransaction(body);
    else if (url === '') throw refuse('not-allowed', issue('not-supported', `${method} on the base is not offered`));
    else permitted(method, url, headers);
    const run = () =>
      router.handleRequest(
        { method, url, pathname: '', params: {}, query: {}, body, headers: request.headers, config: { transactions: true } },
        repository
      );
    const write = method !== 'GET' && !url.endsWith('/_search');
    const [outcome, resource] = write
      ? await inTurn(() =>
          repository.atomically(async () => {
            const answer = await run();
            if (statusOf(answer[0]) >= 400) throw Object.assign(new Error('refused'), { outcome: answer[0] });
            return answer;
          })
        )
      : await run();
    return { status: statusOf(outcome), body: finished(resource ?? outcome, url) };
  } catch (err) {
    const outcome = err.outcome ?? normalizeOperationOutcome(err);
    return { status: statusOf(outcome), body: outcome };
  }
}

// finished adds what medplum's router leaves out of Bundles.
function finished(resource, url) {
  if (resource.resourceType !== 'Bundle') return resource;
  if (resource.type === 'searchset') resource.link = [{ relation: 'self', url: `${base}/${url}` }];
  for (const entry of resource.entry ?? []) {
    const inner = entry.resource;
    if (inner?.id) entry.fullUrl = `${base}/${inner.resourceType}/${inner.id}`;
    if (entry.response && inner?.meta) {
      entry.response.etag = `W/"${inner.meta.versionId}"`;
      entry.response.lastModified = inner.meta.lastUpdated;
      entry.response.location = `${inner.resourceType}/${inner.id}/_history/${inner.meta.versionId}`;
      if (entry.response.status === '201') delete entry.response.outcome;
    }
  }
  return resource;
}

function authorised(header) {
  if (!flags.token && !flags.client) return true;
  const given = /^Bearer (.+)$/.exec(header ?? '')?.[1] ?? '';
  if (flags.token && same(given, flags.token)) return true;
  return (tokens.get(given) ?? 0) > Date.now();
}

function same(a, b) {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

// RFC 6749, 4.4: client credentials, as the platform's back-end clients use.
function grantToken(request, raw) {
  const form = new URLSearchParams(raw.toString('utf8'));
  const basic = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  const [id, secret] = basic
    ? Buffer.from(basic, 'base64').toString('utf8').split(':').map(decodeURIComponent)
    : [form.get('client_id'), form.get('client_secret')];
  if (form.get('grant_type') !== 'client_credentials') return { status: 400, body: { error: 'unsupported_grant_type' } };
  if (!flags.client || !same(`${id}:${secret}`, flags.client)) return { status: 401, body: { error: 'invalid_client' } };
  const token = randomUUID();
  const seconds = Number(flags['token-seconds']);
  tokens.set(token, Date.now() + seconds * 1000);
  return { status: 200, body: { access_token: token, token_type: 'Bearer', expires_in: seconds } };
}

// The switches that tests and demos turn; never part of a FHIR server.
async function control(method, url, json) {
  switch (`${method} ${url}`) {
    case 'POST /_sandbox/faults':
      faults.add(json());
      return { status: 200, body: faults.list() };
    case 'DELETE /_sandbox/faults':
      faults.clear();
      return { status: 200, body: [] };
    case 'GET /_sandbox/faults':
      return { status: 200, body: faults.list() };
    case 'GET /_sandbox/requests':
      return { status: 200, body: faults.seen };
    case 'POST /_sandbox/resources':
      await store([json()].flat());
      return { status: 200, body: {} };
    case 'POST /_sandbox/expire-tokens':
      tokens.clear();
      return { status: 200, body: {} };
    default:
      return { status: 404, body: {} };
  }
}

async function readBody(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    if ((size += chunk.length) > MAX_BODY) throw refuse('too-large', issue('too-long', `a request may have ${MAX_BODY} bytes`));
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parseBody(raw, contentType) {
  if (raw.length === 0) return undefined;
  if (/^application\/x-www-form-urlencoded/.test(contentType ?? '')) return Object.fromEntries(new URLSearchParams(raw.toString('utf8')));
  if (!/^application\/(fhir\+)?json\b/.test(contentType ?? '')) throw refuse('invalid', issue('not-supported', `Content-Type ${contentType}: use application/fhir+json`));
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(raw));
  } catch (err) {
    throw refuse('invalid', issue('structure', `not JSON in UTF-8: ${err.message}`));
  }
}

function send(response, { status, body, headers = {} }, contentType = 'application/fhir+json; charset=utf-8') {
  const meta = body?.meta;
  const content = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  response.writeHead(status, {
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(content),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...(meta?.versionId ? { ETag: `W/"${meta.versionId}"`, 'Last-Modified': new Date(meta.lastUpdated).toUTCString() } : {}),
    ...(status === 201 && body.id ? { Location: `${base}/${body.resourceType}/${body.id}/_history/${meta.versionId}` } : {}),
    ...headers,
  });
  response.end(content);
}

async function answer(request, response) {
  const { method, headers } = request;
  const [pathname] = request.url.split('?');
  if (method === 'GET' && pathname === '/') {
    const headers = { 'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'" };
    return send(response, { status: 200, body: page(repository, flags), headers }, 'text/html; charset=utf-8');
  }
  const pdf = /^\/_sandbox\/reports\/([A-Za-z0-9.-]+)\.pdf$/.exec(pathname);
  if (method === 'GET' && pdf) {
    const bytes = pdfOf(repository, pdf[1]);
    return bytes ? send(response, { status: 200, body: bytes }, 'application/pdf') : send(response, { status: 404, body: {} }, 'application/json');
  }
  const raw = await readBody(request);
  if (pathname.startsWith('/_sandbox/')) {
    return send(response, await control(method, pathname, () => JSON.parse(raw.toString('utf8') || '{}')), 'application/json');
  }
  const fault = faults.take(method, request.url);
  if (fault?.delayMs) await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
  if (fault?.drop) return request.socket.destroy();
  if (fault?.status) {
    const body = { resourceType: 'OperationOutcome', issue: [issue('transient', fault.message ?? `the platform answers ${fault.status} as asked`)] };
    return send(response, { status: fault.status, body, headers: fault.retryAfter ? { 'Retry-After': String(fault.retryAfter) } : {} });
  }
  if (method === 'POST' && pathname === '/oauth/token') return send(response, grantToken(request, raw), 'application/json');
  if (pathname !== '/fhir' && !pathname.startsWith('/fhir/')) return send(response, { status: 404, body: {} }, 'application/json');
  const url = request.url.slice('/fhir'.length).replace(/^\//, '');
  if (url !== 'metadata' && !authorised(headers.authorization)) {
    throw refuse('unauthorized', issue('login', 'a valid bearer token is needed'));
  }
  const result = await fhir({ method, url, headers, body: parseBody(raw, headers['content-type']) });
  // Committed, and the sender will never know: the failure that must not make a second report.
  if (fault?.dropAfterCommit) return request.socket.destroy();
  send(response, result);
}

const server = http.createServer((request, response) => {
  answer(request, response).catch((err) => {
    if (response.headersSent || request.socket.destroyed) return;
    const outcome = err.outcome ?? normalizeOperationOutcome(err);
    if (!err.outcome) console.error(err);
    send(response, { status: outcome.id === 'too-large' ? 413 : statusOf(outcome), body: outcome });
  });
});
server.on('error', (err) => {
  console.error(err.code === 'EADDRINUSE' ? `port ${flags.port} is taken: choose another with --port` : String(err));
  process.exit(1);
});
server.listen(Number(flags.port), flags.host, () => {
  base = `http://${flags.host.includes(':') ? `[${flags.host}]` : flags.host}:${server.address().port}/fhir`;
  console.log(`listening ${base}`);
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
