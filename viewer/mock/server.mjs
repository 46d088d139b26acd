// A server of pacs/web/openapi.yaml and of the DICOMweb part that the client
// uses, with generated pictures and everything in memory. For development and
// the client's own tests; loopback only. `node mock/server.mjs [port]` serves
// dist/ too. Accounts are in world.mjs, all with the password parol-123.
//
// POST /mock steers it: {"offline": true} answers the API with 503,
// {"frameDelay": 200} slows frames, {"reset": true} starts the world anew,
// {"arrive": true} adds a task, {"steal": task} saves another draft over it,
// {"fail": {"path": "/api/…", "problem": {…}}} makes the next such call fail.
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { associationRoutes } from './associations.mjs';
import { careRoutes, makeCare } from './care.mjs';
import { forwardingRoutes } from './forwarding.mjs';
import { makeOrders, orderRoutes } from './orders.mjs';
import { bodies, frame } from './phantom.mjs';
import { isShown, rejectingRoutes, shownOf, withoutRejected } from './rejecting.mjs';
import { makeWorld } from './world.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.wasm': 'application/wasm', '.json': 'application/json' };
const frames = new Map();

class Refusal extends Error {
  constructor(status, code, detail, more = {}) {
    super(detail);
    this.problem = { type: 'about:blank', title: code, status, code, detail, ...more };
  }
}

export function startMock({ port = 0, dist = join(here, '../dist') } = {}) {
  let world = makeWorld();
  let care = makeCare(world);
  let orders = makeOrders(world);
  let knobs = { offline: false, frameDelay: 0, fail: undefined };
  const sessions = new Map();
  const streams = new Set();
  let serial = 0;

  const emit = (event, data) => {
    for (const res of streams) res.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  };
  const now = () => new Date().toISOString();
  const studyBy = (uid) => world.studies.find((s) => s.study_uid === uid);
  const sees = (user, study) => user.all_facilities || user.facilities.includes(study.facility.code);
  const reads = (user) => user.roles.includes('radiologist') || user.roles.includes('administrator');
  const taskOf = (study) => world.tasks.find((t) => t.study_uid === study.study_uid);
  const heldBy = (task, user) => task.claimed_by?.id === user.id;

  function showStudy(study, user) {
    const { series: _, ...rest } = withoutRejected(study);
    const task = taskOf(study);
    const last = task?.report.versions.at(-1);
    return {
      ...rest,
      report: last && { id: last.report_id, version: last.version, kind: last.kind, signed_at: last.signed_at, signed_by: last.signed_by },
      task_id: task && reads(user) ? task.id : undefined,
    };
  }
  function showTask(task, user) {
    const study = studyBy(task.study_uid);
    const { report, study_uid: _, group, ...rest } = task;
    return {
      ...rest,
      group: group && { id: group.id, name: group.name },
      claimed_by: task.claimed_by && { id: task.claimed_by.id, name: task.claimed_by.name, me: heldBy(task, user) },
      draft_saved_at: report.draft?.saved_at,
      prior_count: world.studies.filter((s) => s.patient.id === study.patient.id && s !== study).length,
      study: showStudy(study, user),
    };
  }
  function showReport(task, user) {
    const { draft, draftBy, ...rest } = task.report;
    return { ...rest, task_id: task.id, study_uid: task.study_uid, draft: draft && draftBy === user.id ? draft : undefined, draft_by: draft && draftBy !== user.id ? nameOf(draftBy) : undefined };
  }
  const nameOf = (id) => world.users.find((u) => u.id === id)?.name;
  function showUser(user) {
    return {
      id: user.id,
      login: user.login,
      name: user.name,
      roles: user.roles,
      all_facilities: user.all_facilities,
      facilities: world.facilities.filter((f) => user.all_facilities || user.facilities.includes(f.code)),
      groups: world.groups.filter((g) => g.members.includes(user.id)).map(({ id, name }) => ({ id, name })),
      language: user.language,
    };
  }
  const rank = { stat: 0, urgent: 1, routine: 2 };
  const waits = (t) => t.state === 'open' || t.state === 'claimed';
  const inView = {
    mine: (t, u) => t.state === 'claimed' && heldBy(t, u),
    groups: (t, u) => waits(t) && (t.group?.members.includes(u.id) ?? false),
    open: waits,
    drafts: (t, u) => t.report.draft !== undefined && t.report.draftBy === u.id,
    signed: (t, u) => t.state === 'signed' && t.report.versions.some((v) => v.signed_by === u.name && Date.now() - Date.parse(v.signed_at) < 86_400_000),
    unreported: (t) => t.state === 'cancelled' || (t.state === 'signed' && t.report.versions.length === 0),
  };
  const folded = (study) => JSON.stringify([study.patient, study.accession, study.description]).toLowerCase();

  const routes = [];
  const on = (method, path, handle) => routes.push({ method, pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '([^/]+)')}$`), handle });

  on('GET', '/api/session', ({ session }) => ({ user: showUser(session.user), csrf: session.csrf, version: 'mock', viewers: [] }));
  on('DELETE', '/api/session', ({ res, sid }) => {
    sessions.delete(sid);
    res.setHeader('Set-Cookie', 'tasvir_session=; Path=/; Max-Age=0');
  });
  on('PUT', '/api/session/language', ({ body, session }) => {
    session.user.language = body.language;
  });
  on('PUT', '/api/session/password', ({ body, session }) => {
    if (body.current !== session.user.password) throw new Refusal(422, 'invalid', 'The current password is wrong.', { reason: 'bad_credentials' });
    session.user.password = body.new;
  });
  on('GET', '/api/tasks', ({ query, session: { user } }) => {
    if (!reads(user)) throw new Refusal(403, 'forbidden', 'Only radiologists have a worklist.');
    const seen = world.tasks.filter((t) => sees(user, studyBy(t.study_uid)));
    const view = query.get('view') || 'groups';
    const tasks = seen
      .filter((t) => inView[view](t, user))
      .filter((t) => {
        const study = studyBy(t.study_uid);
        return (
          (!query.get('modality') || study.modalities.includes(query.get('modality'))) &&
          (!query.get('priority') || t.priority === query.get('priority')) &&
          (!query.get('facility') || study.facility.code === query.get('facility')) &&
          (!query.get('q') || folded(study).includes(query.get('q').toLowerCase()))
        );
      })
      .sort((a, b) => rank[a.priority] - rank[b.priority] || a.deadline.localeCompare(b.deadline));
    const counts = Object.fromEntries(Object.entries(inView).map(([name, test]) => [name, seen.filter((t) => test(t, user)).length]));
    const from = Number(query.get('after') ?? 0);
    const to = from + Number(query.get('limit') ?? 100);
    return { tasks: tasks.slice(from, to).map((t) => showTask(t, user)), counts, next: to < tasks.length ? String(to) : undefined };
  });
  on('POST', '/api/tasks/next', ({ session: { user } }) => {
    const task = world.tasks.filter((t) => t.state === 'open' && t.group?.members.includes(user.id)).sort((a, b) => rank[a.priority] - rank[b.priority] || a.deadline.localeCompare(b.deadline))[0];
    if (!task) throw new Refusal(404, 'not_found', 'Nothing is open in your reading groups.');
    return claim(task, user);
  });
  const findTask = (id, user) => {
    const task = world.tasks.find((t) => t.id === id);
    if (!task || !sees(user, studyBy(task.study_uid))) throw new Refusal(404, 'not_found', 'There is no such task.');
    return task;
  };
  function claim(task, user) {
    if (task.state !== 'claimed' && task.report.versions.length === 0) task.claimed_by = undefined;
    if (task.claimed_by && !heldBy(task, user)) throw new Refusal(409, 'conflict', `${task.claimed_by.name} holds this task.`, { reason: 'claimed_by_other', who: task.claimed_by.name });
    if (task.state === 'signed' && task.report.versions.length > 0) throw new Refusal(409, 'conflict', 'This task is signed.', { reason: 'already_signed' });
    task.state = 'claimed';
    task.claimed_by = { id: user.id, name: user.name };
    task.claimed_at = now();
    emit('task', { id: task.id, study_uid: task.study_uid });
    return showTask(task, user);
  }
  on('GET', '/api/tasks/{t}', ({ args, session: { user } }) => showTask(findTask(args[0], user), user));
  on('POST', '/api/tasks/{t}/claim', ({ args, session: { user } }) => claim(findTask(args[0], user), user));
  on('POST', '/api/tasks/{t}/release', ({ args, session: { user } }) => {
    const task = findTask(args[0], user);
    if (!heldBy(task, user)) throw new Refusal(409, 'conflict', 'You do not hold this task.', { reason: 'claimed_by_other', who: task.claimed_by?.name });
    task.state = 'open';
    task.claimed_by = undefined;
    emit('task', { id: task.id, study_uid: task.study_uid });
    return showTask(task, user);
  });
  on('GET', '/api/tasks/{t}/report', ({ args, session: { user } }) => showReport(findTask(args[0], user), user));
  on('PUT', '/api/tasks/{t}/report/draft', ({ args, body, session: { user } }) => {
    const task = findTask(args[0], user);
    if (task.state !== 'signed' && !heldBy(task, user)) throw new Refusal(409, 'conflict', 'Another person holds this task.', { reason: 'claimed_by_other', who: task.claimed_by?.name });
    if (task.state === 'signed' && !task.report.draft) throw new Refusal(409, 'conflict', 'The report is signed.', { reason: 'already_signed' });
    const revision = task.report.draft?.revision ?? 0;
    if (body.revision !== revision) throw new Refusal(409, 'conflict', `The server has revision ${revision}.`, { reason: 'stale_revision' });
    task.report.id ??= `rep-${task.id}`;
    task.report.draft = { kind: task.report.draft?.kind ?? 'final', sections: body.sections, language: body.language, revision: revision + 1, saved_at: now() };
    task.report.draftBy = user.id;
    return task.report.draft;
  });
  on('DELETE', '/api/tasks/{t}/report/draft', ({ args, session: { user } }) => {
    findTask(args[0], user).report.draft = undefined;
  });
  on('POST', '/api/tasks/{t}/report/sign', ({ args, body, session: { user } }) => {
    const task = findTask(args[0], user);
    const draft = task.report.draft;
    if (!draft) throw new Refusal(409, 'conflict', 'There is no draft to sign.', { reason: 'already_signed' });
    if (body.revision !== draft.revision) throw new Refusal(409, 'conflict', `The server has revision ${draft.revision}.`, { reason: 'stale_revision' });
    if (!draft.sections.impression.trim() && !draft.sections.findings.trim()) throw new Refusal(422, 'invalid', 'The report is empty.', { reason: 'empty_report' });
    const { revision: _, saved_at: __, ...signed } = draft;
    task.report.versions.push({ ...signed, report_id: task.report.id, version: task.report.versions.length + 1, signed_by: user.name, signed_at: now(), delivery: { state: 'queued', attempts: 0 } });
    task.report.draft = undefined;
    task.state = 'signed';
    emit('task', { id: task.id, study_uid: task.study_uid });
    emit('report', { task: task.id, report: task.report.id });
    const version = task.report.versions.at(-1);
    setTimeout(() => {
      version.delivery = { state: 'delivered', attempts: 1, delivered_at: now(), fhir_id: `dr-${task.id}` };
      emit('delivery', { report: task.report.id, version: version.version });
    }, 1500).unref();
    return showReport(task, user);
  });
  on('POST', '/api/tasks/{t}/report/amend', ({ args, body, session: { user } }) => {
    const task = findTask(args[0], user);
    const last = task.report.versions.at(-1);
    if (!last) throw new Refusal(409, 'conflict', 'Nothing is signed yet.');
    if (task.report.draft && task.report.draftBy !== user.id) throw new Refusal(409, 'conflict', 'Another person amends it.', { reason: 'draft_by_other', who: nameOf(task.report.draftBy) });
    const empty = { indication: '', technique: '', findings: '', impression: '' };
    task.report.draft ??= { kind: body.kind, sections: body.kind === 'correction' ? { ...last.sections } : empty, language: last.language, revision: 1, saved_at: now() };
    task.report.draftBy = user.id;
    return showReport(task, user);
  });
  on('GET', '/api/studies', ({ query, session: { user } }) => {
    const found = world.studies
      .filter((s) => sees(user, s) && s.series.some(shownOf))
      .filter(
        (s) =>
          (!query.get('modality') || s.modalities.includes(query.get('modality'))) &&
          (!query.get('facility') || s.facility.code === query.get('facility')) &&
          (!query.get('q') || folded(s).includes(query.get('q').toLowerCase())),
      );
    return { studies: found.sort((a, b) => b.date.localeCompare(a.date)).map((s) => showStudy(s, user)) };
  });
  const findStudy = (uid, user) => {
    const study = studyBy(uid);
    if (!study || !sees(user, study) || !study.series.some(shownOf)) throw new Refusal(404, 'not_found', 'There is no such study.');
    return study;
  };
  on('GET', '/api/studies/{s}', ({ args, session: { user } }) => {
    const study = findStudy(args[0], user);
    return {
      ...showStudy(study, user),
      series: withoutRejected(study).series.map(({ series_uid, number, modality, description, body_part, instance_count, has_pixels, middle_instance_uid }) => ({
        series_uid,
        number,
        modality,
        description,
        body_part,
        instance_count,
        has_pixels,
        middle_instance_uid,
      })),
      priors: world.studies.filter((s) => s !== study && s.patient.id === study.patient.id && sees(user, s)).map((s) => showStudy(s, user)),
      reports: [...(taskOf(study)?.report.versions ?? [])].reverse(),
    };
  });
  on('GET', '/api/reports/{r}/versions/{v}/pdf', ({ res }) => {
    res.writeHead(200, { 'Content-Type': 'application/pdf' });
    res.end('%PDF-1.4\n%%EOF\n');
    return null;
  });
  const deliveries = (user) => {
    const signed = world.tasks.flatMap((t) =>
      t.report.versions.map((v) => ({
        report_id: v.report_id,
        task_id: t.id,
        version: v.version,
        kind: v.kind,
        signed_at: v.signed_at,
        signed_by: v.signed_by,
        delivery: v.delivery,
        study_uid: t.study_uid,
      })),
    );
    return [...signed, ...world.extraDeliveries].filter((d) => sees(user, studyBy(d.study_uid))).sort((a, b) => b.signed_at.localeCompare(a.signed_at));
  };
  on('GET', '/api/deliveries', ({ query, session: { user } }) => {
    const all = deliveries(user);
    const counts = { queued: 0, retrying: 0, delivered: 0, failed: 0 };
    for (const d of all) counts[d.delivery.state]++;
    return {
      deliveries: all.filter((d) => !query.get('state') || d.delivery.state === query.get('state')).map(({ study_uid, ...d }) => ({ ...d, study: showStudy(studyBy(study_uid), user) })),
      counts,
      platform: 'http://127.0.0.1:9090/fhir',
    };
  });
  on('POST', '/api/deliveries/{r}/{v}/retry', ({ args, res, session: { user } }) => {
    const found = deliveries(user).find((d) => d.report_id === args[0] && d.version === Number(args[1]));
    if (!found) throw new Refusal(404, 'not_found', 'There is no such report.');
    if (found.delivery.state === 'delivered') throw new Refusal(409, 'conflict', 'It is delivered already.');
    Object.assign(found.delivery, { state: 'queued' });
    emit('delivery', { report: found.report_id, version: found.version });
    res.statusCode = 202;
  });
  const administrators = (user) => {
    if (!user.roles.some((r) => r.endsWith('administrator'))) throw new Refusal(403, 'forbidden', 'Only administrators may do this.');
  };
  on('GET', '/api/admin/status', ({ session: { user } }) => {
    administrators(user);
    return {
      version: 'mock',
      started_at: world.at(-3_600_000),
      studies: world.studies.length,
      instances: 312,
      bytes: 164_000_000,
      journal: { records: 0, bytes: 0, held: 0, oldest_seconds: 0 },
      database: 'PostgreSQL 15.14',
      store: 'file',
      deliveries: { queued: 0, retrying: 1, failed: 1 },
    };
  });
  const collection = (name, key, { make = (x) => x, show = (x) => x, remove = false } = {}) => {
    on('GET', `/api/admin/${name}`, ({ session: { user } }) => {
      administrators(user);
      return { [name]: world[name].map(show) };
    });
    on('POST', `/api/admin/${name}`, ({ body, res, session: { user } }) => {
      administrators(user);
      if (body[key] && world[name].some((x) => x[key] === body[key])) throw new Refusal(409, 'conflict', `There is one with this ${key} already.`);
      if (name === 'rules' && body.condition.includes('!!')) throw new Refusal(422, 'invalid', 'ERROR: <input>:1:1: Syntax error: mismatched input', { reason: 'rule_condition' });
      world[name].push(make(body));
      res.statusCode = 201;
    });
    on('PUT', `/api/admin/${name}/{k}`, ({ args, body, session: { user } }) => {
      administrators(user);
      const found = world[name].find((x) => x[key] === args[0]);
      if (!found) throw new Refusal(404, 'not_found', 'There is none such.');
      Object.assign(found, body);
      return show(found);
    });
    if (remove)
      on('DELETE', `/api/admin/${name}/{k}`, ({ args }) => {
        world[name] = world[name].filter((x) => x[key] !== args[0]);
      });
  };
  collection('facilities', 'code');
  collection('devices', 'ae_title', { remove: true });
  collection('users', 'id', { make: (u) => ({ ...u, id: `u${++serial + 100}` }), show: ({ password: _, ...u }) => u });
  collection('groups', 'id', { make: (g) => ({ ...g, id: `g${++serial + 100}` }) });
  collection('rules', 'id', { make: (r) => ({ ...r, id: `r${++serial + 100}` }), remove: true });

  associationRoutes({ on, world, administrators, Refusal });
  forwardingRoutes({ on, world: () => world, Refusal, now });
  careRoutes({ on, care: () => care, Refusal, now });
  rejectingRoutes({ on, world: () => world, sees, Refusal, now, emit });
  orderRoutes({ on, orders: () => orders, world: () => world, Refusal, now, emit });

  // DICOMweb: metadata and frames.
  const findSeries = (study, series, user) => {
    const found = findStudy(study, user).series.find((s) => s.series_uid === series && shownOf(s) > 0);
    if (!found) throw new Refusal(404, 'not_found', 'There is no such series.');
    return found;
  };
  function instance(study, s, n) {
    const el = (vr, ...Value) => ({ vr, Value });
    return {
      '00080016': el('UI', s.modality === 'CT' ? '1.2.840.10008.5.1.4.1.1.2' : s.modality === 'MR' ? '1.2.840.10008.5.1.4.1.1.4' : '1.2.840.10008.5.1.4.1.1.1'),
      '00080018': el('UI', `${s.series_uid}.${n}`),
      '00080060': el('CS', s.modality),
      '00083002': el('UI', '1.2.840.10008.1.2.1'),
      '0020000D': el('UI', study.study_uid),
      '0020000E': el('UI', s.series_uid),
      '00200011': el('IS', s.number),
      '00200013': el('IS', n),
      ...(s.modality === 'CR'
        ? { '00181164': el('DS', s.spacing, s.spacing), '00200020': el('CS', 'L', 'F') }
        : {
            '00200032': el('DS', -(s.columns / 2) * s.spacing, -(s.rows / 2) * s.spacing, s.z0 + (n - 1) * s.thickness),
            '00200037': el('DS', 1, 0, 0, 0, 1, 0),
            '00280030': el('DS', s.spacing, s.spacing),
            '00180050': el('DS', s.thickness),
          }),
      '00200052': el('UI', s.frameOfReference),
      '00280002': el('US', 1),
      '00280004': el('CS', 'MONOCHROME2'),
      '00280010': el('US', s.rows),
      '00280011': el('US', s.columns),
      '00280100': el('US', 16),
      '00280101': el('US', 12),
      '00280102': el('US', 11),
      '00280103': el('US', 0),
      '00281050': el('DS', s.center),
      '00281051': el('DS', s.width),
      '00281052': el('DS', bodies[s.body].intercept),
      '00281053': el('DS', 1),
    };
  }
  const dw = '/dicom-web/studies/{s}/series/{e}';
  const sendMetadata = (res, list) => {
    res.writeHead(200, { 'Content-Type': 'application/dicom+json', 'Content-Encoding': 'gzip' });
    res.end(gzipSync(JSON.stringify(list)));
    return null;
  };
  on('GET', `${dw}/metadata`, ({ args, res, session: { user } }) => {
    const series = findSeries(args[0], args[1], user);
    const study = studyBy(args[0]);
    // Out of order on purpose: the client sorts by position.
    const list = Array.from({ length: series.slices }, (_, i) => i + 1)
      .filter((n) => isShown(series, n))
      .map((n) => instance(study, series, n))
      .reverse();
    return sendMetadata(res, list);
  });
  on('GET', `${dw}/instances/{i}/metadata`, ({ args, res, session: { user } }) => {
    const series = findSeries(args[0], args[1], user);
    return sendMetadata(res, [instance(studyBy(args[0]), series, Number(args[2].split('.').at(-1)))]);
  });
  on('GET', `${dw}/instances/{i}/frames/1`, async ({ args, res, session: { user } }) => {
    const s = findSeries(args[0], args[1], user);
    const n = Number(args[2].split('.').at(-1));
    if (knobs.frameDelay) await new Promise((resolve) => setTimeout(resolve, knobs.frameDelay));
    const key = args[2];
    if (!frames.has(key)) frames.set(key, frame(s.body, s.rows, s.columns, s.spacing, s.z0 + (n - 1) * s.thickness));
    const head = `--frame\r\nContent-Type: application/octet-stream;transfer-syntax=1.2.840.10008.1.2.1\r\n\r\n`;
    res.writeHead(200, { 'Content-Type': 'multipart/related; type="application/octet-stream"; boundary=frame', 'Cache-Control': 'private, max-age=31536000, immutable' });
    res.end(Buffer.concat([Buffer.from(head), frames.get(key), Buffer.from('\r\n--frame--\r\n')]));
    return null;
  });

  // The archive gives a JPEG; a bitmap needs no encoder.
  const sendThumbnail = (res, s) => {
    const side = 80;
    const pixels = frame(s.body, s.rows, s.columns, s.spacing, s.z0 + Math.floor(s.slices / 2) * s.thickness);
    const bitmap = Buffer.alloc(54 + side * side * 3);
    bitmap.write('BM');
    bitmap.writeUInt32LE(bitmap.length, 2);
    bitmap.writeUInt32LE(54, 10);
    bitmap.writeUInt32LE(40, 14);
    bitmap.writeInt32LE(side, 18);
    bitmap.writeInt32LE(-side, 22); // from the top
    bitmap.writeUInt16LE(1, 26);
    bitmap.writeUInt16LE(24, 28);
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const value = pixels.readUInt16LE(2 * (Math.floor((y * s.rows) / side) * s.columns + Math.floor((x * s.columns) / side))) + bodies[s.body].intercept;
        const gray = Math.max(0, Math.min(255, Math.round(((value - s.center) / s.width + 0.5) * 255)));
        bitmap.fill(gray, 54 + 3 * (y * side + x), 57 + 3 * (y * side + x));
      }
    }
    res.writeHead(200, { 'Content-Type': 'image/bmp', 'Cache-Control': 'private, no-cache' });
    res.end(bitmap);
    return null;
  };
  on('GET', `${dw}/thumbnail`, ({ args, res, session: { user } }) => sendThumbnail(res, findSeries(args[0], args[1], user)));
  on('GET', '/dicom-web/studies/{s}/thumbnail', ({ args, res, session: { user } }) => {
    const [first] = findStudy(args[0], user).series;
    return sendThumbnail(res, first);
  });

  function steer(body) {
    if (body.reset) {
      world = makeWorld();
      care = makeCare(world);
      orders = makeOrders(world);
      knobs = { offline: false, frameDelay: 0, fail: undefined };
      for (const session of sessions.values()) session.user = world.users.find((u) => u.id === session.user.id);
    }
    for (const name of Object.keys(knobs)) if (name in body) knobs[name] = body[name];
    if (body.arrive) {
      const task = {
        ...structuredClone(world.tasks[2]),
        id: `t-new-${++serial}`,
        state: 'open',
        priority: 'stat',
        deadline: world.at(600_000),
        claimed_by: undefined,
        group: world.groups[0],
        report: { versions: [] },
      };
      world.tasks.push(task);
      emit('task', { id: task.id, study_uid: task.study_uid });
    }
    for (const [id, closed] of Object.entries(body.close ?? {})) {
      const task = world.tasks.find((t) => t.id === id);
      Object.assign(task, closed);
      emit('task', { id, study_uid: task.study_uid });
    }
    if (body.steal) {
      const task = world.tasks.find((t) => t.id === body.steal);
      task.report.draft = { ...task.report.draft, sections: { ...task.report.draft.sections, ...body.sections }, revision: task.report.draft.revision + 1, saved_at: now() };
    }
    return knobs;
  }

  async function answer(req, res) {
    const url = new URL(req.url, 'http://mock');
    const path = decodeURIComponent(url.pathname);
    const body = await new Promise((resolve) => {
      const chunks = [];
      req.on('data', (c) => chunks.push(c));
      req.on('end', () => resolve(chunks.length ? JSON.parse(Buffer.concat(chunks).toString()) : {}));
    });
    if (path === '/mock') return sendJson(res, steer(body));
    if (!path.startsWith('/api/') && !path.startsWith('/dicom-web/')) return serveFile(path, res);
    if (knobs.offline) throw new Refusal(503, 'unavailable', 'The mock plays dead.');
    if (knobs.fail && path.includes(knobs.fail.path)) {
      const { problem } = knobs.fail;
      knobs.fail = undefined;
      throw new Refusal(problem.status, problem.code, problem.detail, problem);
    }
    if (path === '/api/session' && req.method === 'POST') {
      const user = world.users.find((u) => u.login === body.login && u.password === body.password && u.active);
      if (!user) throw new Refusal(401, 'unauthenticated', 'The name or the password is wrong.', { reason: 'bad_credentials' });
      const sid = `s${++serial}`;
      sessions.set(sid, { user, csrf: `csrf-${sid}` });
      res.setHeader('Set-Cookie', `tasvir_session=${sid}; Path=/; HttpOnly; SameSite=Strict`);
      return sendJson(res, { user: showUser(user), csrf: `csrf-${sid}`, version: 'mock' });
    }
    const sid = /tasvir_session=(\w+)/.exec(req.headers.cookie ?? '')?.[1];
    const session = sessions.get(sid);
    if (!session) throw new Refusal(401, 'unauthenticated', 'Sign in first.');
    if (req.method !== 'GET' && req.headers['x-csrf-token'] !== session.csrf) throw new Refusal(403, 'forbidden', 'The request lacks its token.', { reason: 'csrf' });
    if (path === '/api/events') {
      res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
      res.write('event: hello\ndata: {}\n\n');
      streams.add(res);
      req.on('close', () => streams.delete(res));
      return;
    }
    for (const route of routes) {
      const match = route.method === req.method && route.pattern.exec(path);
      if (!match) continue;
      const out = await route.handle({ args: match.slice(1), query: url.searchParams, body, session, sid, res });
      if (out === null) return;
      if (out === undefined) {
        if (res.statusCode === 200) res.statusCode = 204;
        return res.end();
      }
      return sendJson(res, out);
    }
    throw new Refusal(404, 'not_found', 'There is no such thing.');
  }
  function sendJson(res, value) {
    res.writeHead(res.statusCode, { 'Content-Type': 'application/json' });
    res.end(JSON.stringify(value));
  }
  async function serveFile(path, res) {
    const file = join(dist, normalize(path === '/' ? '/index.html' : path));
    try {
      const content = await readFile(file);
      res.writeHead(200, { 'Content-Type': types[extname(file)] ?? 'application/octet-stream' });
      res.end(content);
    } catch {
      res.writeHead(404).end('not found');
    }
  }

  const server = http.createServer((req, res) => {
    answer(req, res).catch((err) => {
      if (res.headersSent) return res.end();
      const problem = err.problem ?? { title: 'internal', status: 500, code: 'internal', detail: String(err.stack ?? err) };
      if (!err.problem) console.error(err);
      res.writeHead(problem.status, { 'Content-Type': 'application/problem+json' });
      res.end(JSON.stringify(problem));
    });
  });
  return new Promise((resolve) => {
    server.listen(port, '127.0.0.1', () => {
      const url = `http://127.0.0.1:${server.address().port}`;
      resolve({
        url,
        close: () => {
          for (const res of streams) res.end();
          server.closeAllConnections();
          server.close();
        },
      });
    });
  });
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { url } = await startMock({ port: Number(process.argv[2] ?? 8099) });
  console.log(`mock: ${url}`);
}
