// Tests of devices and the log of associations. Routes for server.mjs.

const ct = { abstract_syntax: '1.2.840.10008.5.1.4.1.1.2', name: 'CT Image Storage', proposed: ['1.2.840.10008.1.2.4.70', '1.2.840.10008.1.2.1'], accepted: '1.2.840.10008.1.2.4.70', scp: false };
const echo = { abstract_syntax: '1.2.840.10008.1.1', name: 'Verification', proposed: ['1.2.840.10008.1.2'], accepted: '1.2.840.10008.1.2', scp: false };
const print = { abstract_syntax: '1.2.840.10008.5.1.1.9', proposed: ['1.2.840.10008.1.2'], result: 'abstract syntax not supported', scp: false };

function makeLog(at) {
  const entry = (id, minutes, more) => ({
    id: String(id),
    began: at(-minutes * 60_000),
    seconds: 2.4,
    direction: 'in',
    calling: 'URGUT_CT1',
    called: 'TASVIR',
    address: '10.20.1.11:49152',
    facility: 'URGUT',
    outcome: 'released',
    times: 1,
    instances: 0,
    failed: 0,
    bytes: 0,
    software: 'OFFIS_DCMTK_367',
    max_pdu: 16384,
    contexts: [ct, echo, print],
    messages: {},
    ...more,
  });
  const stored = { instances: 250, bytes: 131_000_000, seconds: 21.3, messages: { 'C-STORE-RQ': 250 } };
  const log = [
    entry(60, 4, stored),
    entry(59, 9, {
      calling: 'STRANGER',
      address: '10.66.0.7:50123',
      facility: undefined,
      outcome: 'rejected',
      code: 'calling_ae_title',
      reason: 'association rejected permanently: calling AE title not recognized (1/1/3)',
      times: 118,
      contexts: [],
    }),
    entry(58, 30, {
      direction: 'out',
      calling: 'TASVIR',
      called: 'URGUT_WS',
      address: 'ws1.urgut.uz:11112',
      instances: 40,
      failed: 2,
      bytes: 21_000_000,
      messages: { 'C-STORE-RQ': 42 },
      user: 'karimov',
      tls_version: 'TLS 1.3',
      tls_subject: 'CN=ws1.urgut.uz',
    }),
    entry(57, 45, { outcome: 'timeout', reason: 'association aborted by this side: peer was silent too long', instances: 3, bytes: 1_500_000 }),
    entry(56, 62, { calling: 'NUKUS_MR', facility: 'NUKUS', outcome: 'aborted_by_peer', reason: 'association aborted by the peer (by the service-user)' }),
  ];
  for (let i = 55; i > 0; i--) log.push(entry(i, 125 - i, stored));
  return log;
}

const step = (stage, code = 'ok', more) => ({ stage, code, warning: false, seconds: 0.01, ...more });

export function associationRoutes({ on, world, administrators, Refusal }) {
  const log = makeLog(world.at);
  const own = (user, facility) => user.roles.includes('administrator') || user.facilities.includes(facility);
  on('POST', '/api/admin/devices/{k}/test', ({ args, session: { user } }) => {
    administrators(user);
    const device = world.devices.find((d) => d.ae_title === args[0]);
    if (!device) throw new Refusal(404, 'not_found', 'There is none such.');
    const answer = { ok: false, max_pdu: 0, classes: [], transfer_syntaxes: [] };
    const found = [step('resolve', 'ok', { detail: '10.20.1.11' }), step('connect', 'ok', { detail: `10.20.1.11:${device.port}` })];
    if (device.tls) return { ...answer, steps: [...found, step('tls', 'certificate_name', { detail: 'x509: certificate is valid for ws.urgut.uz, not ws1.urgut.uz' })] };
    return {
      ...answer,
      ok: true,
      steps: [...found, step('associate'), step('echo'), step('trial', 'storage_not_taken', { warning: true })],
      round_trip_seconds: 0.0042,
      software: 'OFFIS_DCMTK_367',
      max_pdu: 16384,
      classes: [
        { uid: '1.2.840.10008.5.1.4.1.1.2', name: 'CT Image Storage', taken: false },
        { uid: '1.2.840.10008.5.1.4.1.1.7', name: 'Secondary Capture Image Storage', taken: true },
      ],
      transfer_syntaxes: [{ uid: '1.2.840.10008.1.2.1', name: 'Explicit VR Little Endian', taken: true }],
    };
  });
  const asked = (id, minutes, more) => ({
    id: String(id),
    ae_title: 'URGUT_CT1',
    facility: 'URGUT',
    transaction_uid: `2.25.4711.${id}`,
    state: 'reported',
    requested_at: world.at(-minutes * 60_000),
    ended_at: world.at(4000 - minutes * 60_000),
    instances: 250,
    safe: 250,
    unsafe: 0,
    ...more,
  });
  const commitments = [
    asked(4, 1, { state: 'checking', ended_at: undefined, safe: 120 }),
    asked(3, 30, { state: 'failed', ae_title: 'NUKUS_MR', facility: 'NUKUS', last_error: 'dial tcp 10.30.1.4:104: connect: connection refused' }),
    asked(2, 90, { safe: 248, unsafe: 2 }),
    asked(1, 200, {}),
  ];
  on('GET', '/api/admin/commitments', ({ query, session: { user } }) => {
    administrators(user);
    return {
      commitments: commitments.filter((c) => own(user, c.facility) && c.ae_title.startsWith(query.get('ae') ?? '') && (!query.get('state') || c.state === query.get('state'))),
    };
  });
  on('POST', '/api/admin/commitments/{k}/retry', ({ args, session: { user } }) => {
    administrators(user);
    const found = commitments.find((c) => c.id === args[0] && own(user, c.facility));
    if (!found) throw new Refusal(404, 'not_found', 'There is none such.');
    Object.assign(found, { state: 'checking', safe: 0, unsafe: 0, last_error: undefined, ended_at: undefined });
  });
  on('GET', '/api/admin/associations', ({ query, session: { user } }) => {
    administrators(user);
    const other = (a) => (a.direction === 'in' ? a.calling : a.called);
    const wanted = (a) =>
      own(user, a.facility) &&
      other(a).startsWith(query.get('ae') ?? '') &&
      ['direction', 'outcome', 'facility'].every((name) => !query.get(name) || a[name] === query.get(name)) &&
      (!query.get('after') || Number(a.id) < Number(query.get('after')));
    const all = log.filter(wanted);
    const page = all.slice(0, 50).map(({ contexts: _, messages: __, max_pdu: ___, software: ____, user: _____, tls_version: ______, tls_subject: _______, ...a }) => a);
    return { associations: page, ...(all.length > 50 && { next: page[49].id }) };
  });
  on('GET', '/api/admin/associations/{k}', ({ args, session: { user } }) => {
    administrators(user);
    const found = log.find((a) => a.id === args[0] && own(user, a.facility));
    if (!found) throw new Refusal(404, 'not_found', 'There is none such.');
    return found;
  });
}
