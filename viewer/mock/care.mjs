// What administrators look after: patients' records, quarantine, storage,
// retention. Routes for server.mjs, data in memory.

export function makeCare(world) {
  const [first, second] = world.studies;
  const demographics = (study) => ({ name: 'Karimov^Ali^Baxtiyorovich', patient_id: study.patient.id, birth_date: study.patient.birth_date, sex: study.patient.sex });
  const summary = (s) => ({ study_uid: s.study_uid, date: s.date, description: s.description, modalities: s.modalities, accession: s.accession, instances: s.instance_count, moved: false });
  const name = ({ code, name: text }) => ({ code, name: text });
  const record = (id, study, more) => ({
    patient: { id, revision: 1, facility: name(study.facility), demographics: { ...demographics(study), ...more }, corrected: false, studies: 1 },
    studies: [summary(study)],
    linked: [],
    history: [],
  });
  const mine = world.studies.filter((s) => s.facility.code === first.facility.code);
  const records = [record('p1', first), record('p2', mine[1] ?? second, { name: 'Karimov^Ali', patient_id: 'K-2', birth_date: '' })];
  records[0].studies.push({ ...summary(mine[2] ?? second), moved: true });
  records[0].patient.studies = 2;
  return {
    serial: 0,
    records,
    quarantine: [
      {
        id: 'q1',
        reason: 'other_patient',
        message: 'The study belongs to another patient already',
        facility: name(first.facility),
        sender: 'URGUT_CT1',
        channel: 'dimse',
        bytes: 526_336,
        received_at: world.at(-240_000),
        study_uid: first.study_uid,
        series_uid: `${first.study_uid}.9`,
        sop_uid: `${first.study_uid}.9.1`,
        modality: 'CT',
        study_date: first.date,
        description: 'KT bosh',
        patient: { name: 'Xolmatova^Zulfiya', patient_id: 'X-17', birth_date: '19710304', sex: 'F' },
        belongs_to: demographics(first),
      },
      {
        id: 'q2',
        reason: 'missing_uid',
        message: 'The data set has no Study Instance UID (0020,000D)',
        facility: name(second.facility),
        sender: 'NUKUS_MR',
        channel: 'stow',
        bytes: 33_920,
        received_at: world.at(-86_400_000),
      },
    ],
    versions: {
      [first.study_uid]: [
        {
          sop_uid: `${first.study_uid}.1.1`,
          series_uid: `${first.study_uid}.1`,
          versions: [
            { version: 1, current: false, bytes: 526_336, sha256: 'aa', sender: 'URGUT_CT1', channel: 'dimse', received_at: world.at(-3_600_000) },
            { version: 2, current: true, bytes: 526_340, sha256: 'bb', sender: 'URGUT_CT1', channel: 'dimse', received_at: world.at(-60_000) },
          ],
        },
      ],
    },
    verification: {
      packs: 4210,
      bytes: 812_000_000_000,
      verified: 4180,
      oldest: world.at(-20 * 86_400_000),
      bytes_per_second: 20_000_000,
      interval_seconds: 30 * 86_400,
      copy: false,
      problems: [
        {
          id: 's1',
          key: `packs/${first.study_uid}/${first.study_uid}.1/0123456789abcdef.zip`,
          kind: 'damaged_instance',
          state: 'open',
          message: 'The bytes of 1 instance are not those that were received',
          study_uid: first.study_uid,
          sop_uids: [`${first.study_uid}.1.7`],
          found_at: world.at(-7_200_000),
        },
      ],
    },
    policies: [{ id: 'r1', position: 1, name: 'Rentgen, 10 yil', modality: 'CR', days: 3650, action: 'move_to_cold', enabled: true, previewed: true }],
    runs: [{ id: 'n1', policy: 'Rentgen, 10 yil', action: 'move_to_cold', started_at: world.at(-86_400_000), finished_at: world.at(-86_000_000), studies: 12, bytes: 190_000_000, failed: 1 }],
    holds: [],
  };
}

/** Adds the routes. care() gives the data of the world as it is now. */
export function careRoutes({ on, care, Refusal, now }) {
  const may = ({ roles }, whole) => {
    if (!roles.some((r) => (whole ? r === 'administrator' : r.endsWith('administrator')))) throw new Refusal(403, 'forbidden', 'Only administrators may do this.');
  };
  const sees = (user, code) => user.all_facilities || user.facilities.includes(code) || user.roles.includes('administrator');
  const found = (thing) => {
    if (!thing) throw new Refusal(404, 'not_found', 'There is none such.');
    return thing;
  };
  const recordBy = (id) => found(care().records.find((r) => r.patient.id === id));
  const note = (record, user, kind, why, more = {}) => {
    const operation = { id: `o${++care().serial}`, kind, at: now(), who: user.login, why, undoable: kind !== 'undo', ...more };
    record.history.unshift(operation);
    record.patient.revision++;
    return operation;
  };

  on('GET', '/api/admin/quarantine', ({ query, session: { user } }) => {
    may(user);
    const all = care().quarantine.filter((q) => sees(user, q.facility.code));
    const items = all.filter((q) => (!query.get('reason') || q.reason === query.get('reason')) && (!query.get('facility') || q.facility.code === query.get('facility')));
    return { items, total: all.length, bytes: all.reduce((n, q) => n + q.bytes, 0), quota: 10 * 2 ** 30 };
  });
  on('POST', '/api/admin/quarantine/release', ({ body, session: { user } }) => {
    may(user);
    const fits = (q) => q.reason !== 'other_patient' || body.patient || body.new_study;
    const chosen = care().quarantine.filter((q) => body.ids.includes(q.id));
    care().quarantine = care().quarantine.filter((q) => !body.ids.includes(q.id) || !fits(q));
    return { released: chosen.filter(fits).map((q) => q.id), refused: chosen.filter((q) => !fits(q)).map((q) => ({ id: q.id, message: q.message })) };
  });
  on('POST', '/api/admin/quarantine/discard', ({ body, session: { user } }) => {
    may(user);
    const before = care().quarantine.length;
    care().quarantine = care().quarantine.filter((q) => !body.ids.includes(q.id));
    return { discarded: before - care().quarantine.length };
  });

  on('GET', '/api/admin/studies/{s}/versions', ({ args, session: { user } }) => {
    may(user);
    return { instances: care().versions[args[0]] ?? [] };
  });
  on('GET', '/api/admin/patients', ({ query, session: { user } }) => {
    may(user);
    const q = query.get('q').toLowerCase();
    const matches = (r) =>
      sees(user, r.patient.facility.code) && (!query.get('facility') || r.patient.facility.code === query.get('facility')) && JSON.stringify(r.patient.demographics).toLowerCase().includes(q);
    return {
      patients: care()
        .records.filter(matches)
        .map((r) => r.patient),
    };
  });
  on('GET', '/api/admin/patients/{p}', ({ args, session: { user } }) => {
    may(user);
    return recordBy(args[0]);
  });
  on('POST', '/api/admin/patients/{p}/correct', ({ args, body, session: { user } }) => {
    may(user);
    const record = recordBy(args[0]);
    if (body.revision !== record.patient.revision) throw new Refusal(409, 'conflict', 'Somebody was faster.');
    const before = record.patient.demographics;
    record.received ??= before;
    record.patient.demographics = { ...before, ...body.demographics };
    record.patient.corrected = true;
    note(record, user, 'correct', body.why, { before, after: record.patient.demographics });
    return record;
  });
  on('POST', '/api/admin/patients/{p}/merge', ({ args, body, session: { user } }) => {
    may(user);
    const [from, into] = [recordBy(args[0]), recordBy(body.into)];
    into.studies.push(...from.studies.map((s) => ({ ...s, moved: true })));
    into.patient.studies = into.studies.length;
    care().records = care().records.filter((r) => r !== from);
    note(into, user, 'merge', body.why, { other: from.patient.id, studies: from.studies.map((s) => s.study_uid) });
    return into;
  });
  on('POST', '/api/admin/patients/{p}/split', ({ args, body, session: { user } }) => {
    may(user);
    const from = recordBy(args[0]);
    const made = {
      patient: { ...from.patient, id: `p-new-${++care().serial}`, revision: 1, demographics: body.demographics, corrected: true, studies: body.studies.length },
      studies: from.studies.filter((s) => body.studies.includes(s.study_uid)).map((s) => ({ ...s, moved: true })),
      linked: [],
      history: [],
    };
    from.studies = from.studies.filter((s) => !body.studies.includes(s.study_uid));
    from.patient.studies = from.studies.length;
    care().records.push(made);
    note(made, user, 'split', body.why, { other: from.patient.id, studies: body.studies });
    return made;
  });
  on('POST', '/api/admin/studies/{s}/move', ({ args, body, session: { user } }) => {
    may(user);
    const from = found(care().records.find((r) => r.studies.some((s) => s.study_uid === args[0])));
    const into = recordBy(body.patient);
    into.studies.push(...from.studies.filter((s) => s.study_uid === args[0]).map((s) => ({ ...s, moved: true })));
    from.studies = from.studies.filter((s) => s.study_uid !== args[0]);
    note(into, user, 'move', body.why, { other: from.patient.id, studies: [args[0]] });
    return into;
  });
  on('POST', '/api/admin/patient-operations/{o}/undo', ({ args, body, session: { user } }) => {
    may(user);
    const record = found(care().records.find((r) => r.history.some((o) => o.id === args[0])));
    const operation = record.history.find((o) => o.id === args[0]);
    if (!operation.undoable) throw new Refusal(409, 'conflict', 'It can not be undone any more.');
    if (operation.kind === 'correct') record.patient.demographics = operation.before;
    operation.undoable = false;
    operation.undone_by = note(record, user, 'undo', body.why, { undoes: operation.id }).id;
    return record;
  });

  on('GET', '/api/admin/verification', ({ session: { user } }) => {
    may(user, true);
    return care().verification;
  });
  on('POST', '/api/admin/verification/run', ({ res, session: { user } }) => {
    may(user, true);
    care().verification.pass = { started_at: now(), done: 120, total: 4210 };
    res.statusCode = 202;
  });
  on('POST', '/api/admin/verification/problems/{p}/repair', ({ args, session: { user } }) => {
    may(user, true);
    const problem = found(care().verification.problems.find((p) => p.id === args[0]));
    return Object.assign(problem, { state: 'repaired', repaired_at: now(), repaired_from: 'copy' });
  });

  on('GET', '/api/admin/retention/policies', ({ session: { user } }) => {
    may(user, true);
    return { policies: care().policies };
  });
  on('POST', '/api/admin/retention/policies', ({ body, res, session: { user } }) => {
    may(user, true);
    const policy = { ...body, id: `r${++care().serial + 10}`, enabled: false, previewed: false };
    care().policies.push(policy);
    res.statusCode = 201;
    return policy;
  });
  on('PUT', '/api/admin/retention/policies/{p}', ({ args, body, session: { user } }) => {
    may(user, true);
    const policy = found(care().policies.find((p) => p.id === args[0]));
    if (body.enabled && !policy.previewed) throw new Refusal(409, 'conflict', 'Look at a preview first.');
    const same = ['facility', 'modality', 'days', 'action'].every((key) => (body[key] ?? '') === (policy[key] ?? ''));
    return Object.assign(policy, body, same ? {} : { enabled: false, previewed: false });
  });
  on('DELETE', '/api/admin/retention/policies/{p}', ({ args, session: { user } }) => {
    may(user, true);
    care().policies = care().policies.filter((p) => p.id !== args[0]);
  });
  on('POST', '/api/admin/retention/policies/{p}/preview', ({ args, session: { user } }) => {
    may(user, true);
    found(care().policies.find((p) => p.id === args[0])).previewed = true;
    const [study] = care().records[0].studies;
    return {
      at: now(),
      studies: 812,
      instances: 1624,
      bytes: 24_000_000_000,
      held: 3,
      samples: [{ study_uid: study.study_uid, facility: 'URGUT', date: study.date, modalities: ['CR'], patient: 'Karimov^Ali', bytes: 30_000_000 }],
    };
  });
  on('GET', '/api/admin/retention/runs', ({ session: { user } }) => {
    may(user, true);
    return { runs: care().runs };
  });
  on('GET', '/api/admin/holds', ({ session: { user } }) => {
    may(user, true);
    return { holds: care().holds };
  });
  on('PUT', '/api/admin/studies/{s}/hold', ({ args, body, session: { user } }) => {
    may(user, true);
    const hold = { study_uid: args[0], why: body.why, who: user.login, at: now(), patient: 'Karimov^Ali' };
    care().holds.push(hold);
    return hold;
  });
  on('DELETE', '/api/admin/studies/{s}/hold', ({ args, session: { user } }) => {
    may(user, true);
    care().holds = care().holds.filter((h) => h.study_uid !== args[0]);
  });
}
