// Proves each rule that README.md promises, over HTTP, on a server of its own.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { narrativeProblem } from '../narrative.mjs';

const SERVER = fileURLToPath(new URL('../server.mjs', import.meta.url));
const CORE = 'https://dhp.uz/fhir/core';
const XHTML = 'http://www.w3.org/1999/xhtml';
const running = new Set();
after(() => running.forEach((child) => child.kill()));

async function start(...flags) {
  const child = spawn(process.execPath, [SERVER, '--port', '0', '--seed', ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
  running.add(child);
  const line = await new Promise((resolve, reject) => {
    child.stdout.once('data', (chunk) => resolve(String(chunk)));
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
  });
  const base = /^listening (http:\/\/127\.0\.0\.1:\d+\/fhir)\n/.exec(line)[1];
  const request = async (method, url, body, headers = {}) => {
    const response = await fetch(url.startsWith('/') ? new URL(url, base) : url === '' ? base : `${base}/${url}`, {
      method,
      headers: { ...(body === undefined ? {} : { 'Content-Type': 'application/fhir+json' }), ...headers },
      body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, body: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : undefined };
  };
  const stop = async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    running.delete(child);
  };
  return { base, request, stop, count: async (type) => (await request('GET', `${type}?_count=0`)).body.total };
}

const patient = (more = {}) => ({
  resourceType: 'Patient',
  meta: { profile: [`${CORE}/StructureDefinition/uz-core-patient`] },
  identifier: [
    {
      use: 'official',
      type: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v2-0203', code: 'NI' }] },
      system: `${CORE}/sid/pid/uz/ni`,
      value: '31203680000044',
    },
  ],
  name: [{ family: 'Ғуломов', given: ['Ўктам'], suffix: ['Ҳасанович'] }],
  gender: 'male',
  ...more,
});

const report = (more = {}) => ({
  resourceType: 'DiagnosticReport',
  meta: { profile: [`${CORE}/StructureDefinition/uz-core-diagnostic-report`] },
  text: { status: 'generated', div: `<div xmlns="${XHTML}"><p>Norma</p></div>` },
  identifier: [{ system: 'https://a.example/report', value: '1' }],
  status: 'final',
  category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v2-0074', code: 'IMG' }] }],
  code: { text: 'KT' },
  subject: { reference: 'urn:uuid:11111111-1111-4111-8111-111111111111' },
  performer: [{ reference: 'PractitionerRole/demo-role-1' }],
  study: [{ type: 'ImagingStudy', identifier: { system: 'urn:dicom:uid', value: 'urn:oid:1.2.3' } }],
  conclusion: 'Norma',
  presentedForm: [{ contentType: 'application/pdf', language: 'uz-Cyrl', data: Buffer.from('%PDF-').toString('base64'), size: '5' }],
  ...more,
});

const transaction = (dr = report(), pt = patient(), more = {}) => ({
  resourceType: 'Bundle',
  type: 'transaction',
  entry: [
    { fullUrl: 'urn:uuid:11111111-1111-4111-8111-111111111111', resource: pt, request: { method: 'POST', url: 'Patient', ...more } },
    { fullUrl: 'urn:uuid:22222222-2222-4222-8222-222222222222', resource: dr, request: { method: 'POST', url: 'DiagnosticReport', ...(more.ifNoneExist ? { ifNoneExist: 'identifier=https://a.example/report|1' } : {}) } },
  ],
});

const said = (answer) => answer.body.issue.map((one) => one.details?.text ?? one.diagnostics).join('; ');

test('one server', async (t) => {
  const { request, count, base } = await start();

  await t.test('a transaction resolves urn:uuid and answers in order', async () => {
    const answer = await request('POST', '', transaction());
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.body.type, 'transaction-response');
    const [first, second] = answer.body.entry;
    assert.match(first.response.status, /^201/);
    assert.match(first.response.location, /^Patient\/[^/]+\/_history\/1$/);
    assert.equal(second.response.etag, 'W/"1"');
    const read = await request('GET', second.response.location.split('/_history')[0]);
    assert.equal(read.body.subject.reference, first.response.location.split('/_history')[0]);
    assert.equal(read.headers.get('etag'), 'W/"1"');
  });

  await t.test('a refused transaction leaves nothing', async () => {
    const before = [await count('Patient'), await count('DiagnosticReport')];
    const answer = await request('POST', '', transaction(report({ status: 'finished' })));
    assert.equal(answer.status, 400);
    assert.match(said(answer), /'finished' is not in .*diagnostic-report-status/);
    assert.deepEqual([await count('Patient'), await count('DiagnosticReport')], before);
    // Ended half way, after the patient had been stored: the report's reference leads nowhere.
    const lost = await request('POST', '', transaction(report({ performer: [{ reference: 'PractitionerRole/nobody' }] })));
    assert.equal(lost.status, 422);
    assert.match(said(lost), /PractitionerRole\/nobody does not exist/);
    assert.deepEqual([await count('Patient'), await count('DiagnosticReport')], before);
  });

  const refused = {
    'a missing element': [report({ code: undefined }), 400, /Missing required property/],
    'an unknown element (R4 imagingStudy)': [report({ imagingStudy: [{ display: 'x' }], study: undefined }), 400, /imagingStudy/],
    'a size that is a number': [report({ presentedForm: [{ contentType: 'application/pdf', size: 5 }] }), 400, /expected string/],
    'an issued without time': [report({ issued: '2026-02-06' }), 400, /instant/],
    'a list that is none': [report({ presentedForm: { contentType: 'application/pdf' } }), 400, /array/],
    'no profile': [report({ meta: undefined }), 422, /names its profile/],
    'a profile of another type': [report({ meta: { profile: [`${CORE}/StructureDefinition/uz-core-diagnostic-report`, `${CORE}/StructureDefinition/uz-core-imaging`] } }), 422, /has no profile/],
    'an organisation as performer': [report({ performer: [{ reference: 'Organization/demo-reading-centre' }] }), 422, /performer may only be Practitioner or PractitionerRole/],
    'a category of another system': [report({ category: [{ coding: [{ system: 'http://loinc.org', code: 'LP29684-5' }] }] }), 422, /table 0074/],
    'an unknown section': [report({ category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v2-0074', code: 'XX' }] }] }), 422, /table 0074/],
    'an order that is none': [report({ basedOn: [{ type: 'CarePlan', identifier: { value: '1' } }] }), 422, /basedOn may only be ServiceRequest/],
    'a result that is none': [report({ result: [{ type: 'Patient', identifier: { value: '1' } }] }), 422, /result may only be Observation/],
    'a subject of a wrong type': [report({ subject: { reference: 'PractitionerRole/demo-role-1' } }), [400, 422], /subject|Invalid reference/],
    'a script in the narrative': [report({ text: { status: 'generated', div: `<div xmlns="${XHTML}"><script>x</script></div>` } }), 422, /<script> is not allowed/],
    'a language that is none': [report({ language: 'Uzbek (Latin)' }), 400, /not in .*all-languages/],
  };
  for (const [name, [dr, status, words]] of Object.entries(refused)) {
    await t.test(`refuses ${name}`, async () => {
      const before = await count('Patient');
      const answer = await request('POST', '', transaction(dr));
      assert.ok([status].flat().includes(answer.status), `${answer.status} ${answer.text}`);
      assert.match(said(answer), words);
      assert.equal(await count('Patient'), before);
    });
  }

  const persons = {
    'a patient without identifier': [patient({ identifier: undefined }), /at least one identifier/],
    'a PINFL of 13 digits': [patient({ identifier: [{ ...patient().identifier[0], value: '3120368000004' }] }), /14 digits/],
    'a PINFL without type': [patient({ identifier: [{ ...patient().identifier[0], type: undefined }] }), /type v2-0203 NI/],
    'a PINFL of another use': [patient({ identifier: [{ ...patient().identifier[0], use: 'usual' }] }), /use 'official'/],
    'two PINFLs': [patient({ identifier: [patient().identifier[0], { ...patient().identifier[0], value: '31203680000045' }] }), /once/],
  };
  for (const [name, [pt, words]] of Object.entries(persons)) {
    await t.test(`refuses ${name}`, async () => {
      const answer = await request('POST', 'Patient', pt);
      assert.equal(answer.status, 422, answer.text);
      assert.match(said(answer), words);
    });
  }

  await t.test('PUT needs If-Match, and the right one', async () => {
    const made = await request('POST', 'Patient', patient());
    assert.equal(made.status, 201);
    assert.match(made.headers.get('location'), new RegExp(`^${base}/Patient/[^/]+/_history/1$`));
    const at = `Patient/${made.body.id}`;
    const changed = { ...made.body, gender: 'female' };
    assert.equal((await request('PUT', at, changed)).status, 412);
    assert.equal((await request('PUT', at, changed, { 'If-Match': 'W/"7"' })).status, 412);
    assert.equal((await request('PUT', at, changed, { 'If-Match': '1' })).status, 400);
    const good = await request('PUT', at, changed, { 'If-Match': 'W/"1"' });
    assert.equal(good.status, 200);
    assert.equal(good.headers.get('etag'), 'W/"2"');
    assert.equal((await request('PUT', at, changed, { 'If-Match': 'W/"1"' })).status, 412, 'a stale version');
    assert.equal((await request('PUT', at, { ...changed, gender: 'x' }, { 'If-Match': 'W/"2"' })).status, 400, 'an invalid update');
    assert.equal((await request('GET', at)).body.gender, 'female');
    const bundled = { resourceType: 'Bundle', type: 'transaction', entry: [{ resource: changed, request: { method: 'PUT', url: at } }] };
    assert.equal((await request('POST', '', bundled)).status, 412, 'in a Bundle too');
    for (let i = 0; i < 2; i++) {
      const history = (await request('GET', `${at}/_history`)).body.entry.map((entry) => entry.resource.meta.versionId);
      assert.deepEqual(history, ['2', '1']);
    }
    assert.equal((await request('GET', `${at}/_history/1`)).body.gender, 'male');
    assert.equal((await request('PUT', 'Patient/new', { ...changed, id: 'new' }, { 'If-Match': 'W/"1"' })).status, 404, 'no create by update');
  });

  await t.test('conditional create finds what is there, alone and in a Bundle', async () => {
    const unless = { 'If-None-Exist': `identifier=${CORE}/sid/pid/uz/ni|50000000000001` };
    const one = patient({ identifier: [{ ...patient().identifier[0], value: '50000000000001' }] });
    const first = await request('POST', 'Patient', one, unless);
    const second = await request('POST', 'Patient', one, unless);
    assert.deepEqual([first.status, second.status], [201, 200]);
    assert.equal(first.body.id, second.body.id);
    const before = await count('DiagnosticReport');
    const dr = report({ identifier: [{ system: 'https://a.example/report', value: 'cc' }] });
    const bundle = () => {
      const made = transaction(dr, one, { ifNoneExist: `identifier=${CORE}/sid/pid/uz/ni|50000000000001` });
      made.entry[1].request.ifNoneExist = 'identifier=https://a.example/report|cc';
      return made;
    };
    const a = await request('POST', '', bundle());
    const b = await request('POST', '', bundle());
    assert.deepEqual(a.body.entry.map((entry) => entry.response.location), b.body.entry.map((entry) => entry.response.location));
    assert.equal(a.body.entry[0].response.location.split('/')[1], first.body.id);
    assert.equal(await count('DiagnosticReport'), before + 1);
    // Two racing senders: one creates.
    const racing = await Promise.all(Array.from({ length: 8 }, () => request('POST', '', bundle())));
    assert.ok(racing.every((answer) => answer.status === 200));
    assert.equal(await count('DiagnosticReport'), before + 1);
  });

  await t.test('search takes escaped separators', async () => {
    const value = 'a|b,c$d\\e';
    await request('POST', 'Patient', patient({ identifier: [{ system: 'https://h.example', value }] }));
    const escaped = value.replace(/[\\|,$]/g, '\\$&');
    const found = await request('GET', `Patient?identifier=${encodeURIComponent(`https://h.example|${escaped}`)}`);
    assert.equal(found.body.total, 1);
    assert.equal((await request('GET', `Patient?identifier=${encodeURIComponent('https://h.example|a')}`)).body.total, 0);
  });

  await t.test('a conditional reference is resolved, or refused', async () => {
    const dr = (query) => ({ resourceType: 'Bundle', type: 'transaction', entry: [{ resource: report({ subject: { reference: `Patient?identifier=${query}` } }), request: { method: 'POST', url: 'DiagnosticReport' } }] });
    const good = await request('POST', '', dr(`${CORE}/sid/pid/uz/ni|50000000000001`));
    assert.equal(good.status, 200, good.text);
    assert.match(good.body.entry[0].resource.subject.reference, /^Patient\/[^?]+$/);
    assert.equal((await request('POST', '', dr('x|nobody'))).status, 412);
  });

  await t.test('registries are read-only, other types and verbs are not offered', async () => {
    const { body: doctor } = await request('GET', 'Practitioner/demo-radiologist-1');
    assert.equal((await request('POST', 'Practitioner', { ...doctor, id: undefined })).status, 405);
    assert.equal((await request('PUT', 'Practitioner/demo-radiologist-1', doctor, { 'If-Match': 'W/"1"' })).status, 405);
    assert.equal((await request('POST', 'DocumentReference', {})).status, 404);
    assert.equal((await request('DELETE', 'Practitioner/demo-radiologist-1')).status, 405);
    assert.equal((await request('POST', '$graphql', {})).status, 404);
    assert.equal((await request('POST', '', { resourceType: 'Bundle', type: 'batch', entry: [] })).status, 400);
    assert.equal((await request('POST', 'Patient', '{')).status, 400);
    assert.equal((await request('POST', 'Patient', '<a/>', { 'Content-Type': 'application/xml' })).status, 400);
    const { body: statement } = await request('GET', 'metadata');
    assert.equal(statement.fhirVersion, '5.0.0');
    const offered = Object.fromEntries(statement.rest[0].resource.map((one) => [one.type, one]));
    assert.equal(offered.DiagnosticReport.conditionalCreate, true);
    assert.ok(!offered.Practitioner.interaction.some((one) => one.code === 'create'));
    assert.ok(offered.ImagingStudy && !offered.DocumentReference);
  });

  await t.test('faults come as asked and end', async () => {
    await request('POST', '/_sandbox/faults', { status: 503, count: 2, retryAfter: 3 });
    const one = await request('GET', 'Patient?_count=0');
    assert.deepEqual([one.status, one.headers.get('retry-after'), one.body.resourceType], [503, '3', 'OperationOutcome']);
    assert.equal((await request('GET', 'metadata')).status, 503);
    assert.equal((await request('GET', 'metadata')).status, 200);
    const before = await count('Patient');
    await request('POST', '/_sandbox/faults', { dropAfterCommit: 1 });
    await assert.rejects(request('POST', 'Patient', patient()));
    assert.equal(await count('Patient'), before + 1);
    await request('POST', '/_sandbox/faults', { drop: 1, method: 'POST' });
    await assert.rejects(request('POST', 'Patient', patient()));
    assert.equal(await count('Patient'), before + 1);
    assert.equal((await request('POST', '/_sandbox/faults', { sttaus: 1 })).status, 400);
    assert.deepEqual((await request('DELETE', '/_sandbox/faults')).body, []);
  });

  await t.test('the page shows what came, and nothing that is in it runs', async () => {
    const evil = patient({ name: [{ text: '<script>alert(1)</script>"\'' }], identifier: [{ system: 'e', value: 'evil' }] });
    const made = await request('POST', '', transaction(report({ code: { text: '<b>KT</b>' }, identifier: [{ system: 'e', value: '"><i>' }] }), evil));
    assert.equal(made.status, 200, made.text);
    const { text, headers } = await request('GET', '/');
    assert.ok(!/<script>|<b>KT|"><i>/.test(text));
    assert.ok(text.includes('&#60;script&#62;alert(1)'));
    assert.match(headers.get('content-security-policy'), /default-src 'none'/);
    const pdf = await request('GET', `/_sandbox/reports/${made.body.entry[1].resource.id}.pdf`);
    assert.deepEqual([pdf.text, pdf.headers.get('content-type')], ['%PDF-', 'application/pdf']);
    assert.equal((await request('GET', '/_sandbox/reports/none.pdf')).status, 404);
  });
});

test('a platform that offers less', async () => {
  const { request } = await start('--no-conditional-create', '--no-imaging-study', '--no-endpoint', '--etag', 'uuid');
  const { body: statement } = await request('GET', 'metadata');
  const offered = Object.fromEntries(statement.rest[0].resource.map((one) => [one.type, one]));
  assert.equal(offered.DiagnosticReport.conditionalCreate, false);
  assert.ok(!offered.ImagingStudy && !offered.Endpoint);
  assert.equal((await request('POST', 'ImagingStudy', { resourceType: 'ImagingStudy' })).status, 404);
  const alone = await request('POST', 'Patient', patient(), { 'If-None-Exist': 'identifier=a|b' });
  assert.deepEqual([alone.status, said(alone)], [412, 'conditional create is not offered here; see /metadata']);
  assert.equal((await request('POST', '', transaction(report(), patient(), { ifNoneExist: 'identifier=a|b' }))).status, 412);
  assert.equal((await request('GET', 'Patient')).body.total, 0);
  const made = await request('POST', '', transaction());
  assert.match(made.body.entry[0].response.etag, /^W\/"[0-9a-f-]{36}"$/);
});

test('tokens', async () => {
  const fixed = await start('--token', 'secret');
  assert.equal((await fixed.request('GET', 'metadata')).status, 200);
  assert.equal((await fixed.request('GET', 'Patient')).status, 401);
  assert.equal((await fixed.request('GET', 'Patient', undefined, { Authorization: 'Bearer wrong' })).status, 401);
  assert.equal((await fixed.request('GET', 'Patient', undefined, { Authorization: 'Bearer secret' })).status, 200);

  const granting = await start('--client', 'id:pass');
  const ask = (form) => granting.request('POST', '/oauth/token', new URLSearchParams(form).toString(), { 'Content-Type': 'application/x-www-form-urlencoded' });
  assert.equal((await ask({ grant_type: 'client_credentials', client_id: 'id', client_secret: 'no' })).status, 401);
  assert.equal((await ask({ grant_type: 'password' })).status, 400);
  const { body } = await ask({ grant_type: 'client_credentials', client_id: 'id', client_secret: 'pass' });
  const headers = { Authorization: `Bearer ${body.access_token}` };
  assert.equal((await granting.request('GET', 'Patient', undefined, headers)).status, 200);
  await granting.request('POST', '/_sandbox/expire-tokens', {});
  assert.equal((await granting.request('GET', 'Patient', undefined, headers)).status, 401);
});

test('what was confirmed survives a kill, what was cut short does not', async () => {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'fhir-sandbox-'));
  const first = await start('--data', data);
  const made = await first.request('POST', '', transaction());
  const at = made.body.entry[0].response.location.split('/_history')[0];
  const changed = await first.request('PUT', at, { ...made.body.entry[0].resource, gender: 'female' }, { 'If-Match': 'W/"1"' });
  assert.equal(changed.status, 200);
  await first.stop();
  fs.appendFileSync(path.join(data, 'resources.ndjson'), '[{"resourceType":"Patient","id":"half');
  const second = await start('--data', data);
  const read = await second.request('GET', at);
  assert.deepEqual([read.body.gender, read.headers.get('etag')], ['female', 'W/"2"']);
  assert.equal((await second.request('GET', `${at}/_history`)).body.total, 2);
  assert.equal(await second.count('Patient'), 1);
  assert.equal(await second.count('DiagnosticReport'), 1);
  assert.equal((await second.request('PUT', at, read.body, { 'If-Match': 'W/"2"' })).headers.get('etag'), 'W/"3"');
  await second.stop();
  const third = await start('--data', data);
  assert.equal((await third.request('GET', at)).headers.get('etag'), 'W/"3"');
  await third.stop();
  fs.rmSync(data, { recursive: true });
});

test('--fail', async () => {
  const { request } = await start('--fail', '503:1');
  assert.equal((await request('GET', 'metadata')).status, 503);
  assert.equal((await request('GET', 'metadata')).status, 200);
});

test('narratives', () => {
  const div = (inner) => `<div xmlns="${XHTML}">${inner}</div>`;
  for (const good of [div('a'), div('<p>a<br/>b &amp; c</p>'), div('<a href="https://x.example">x</a>'), `<div xmlns='${XHTML}' lang="uz"><!-- x --><b>y</b></div>`]) {
    assert.equal(narrativeProblem(good), '', good);
  }
  for (const bad of [
    'text', '<div>no namespace</div>', div(''), div(' '), div('a') + div('b'), div('<p>a'), div('a</p>'), div('<p>a</b>'), div('a & b'), div('&eacute;'),
    div('<script>x</script>'), div('<p onclick="x">a</p>'), div('<a href="javascript:x">a</a>'), div('a < b'), div('<iframe src="https://x"/>'), div('\u0007a'), 'x' + div('a'),
    div('<form>a</form>'), div('<p class=x>a</p>'),
  ]) {
    assert.notEqual(narrativeProblem(bad), '', bad);
  }
});
