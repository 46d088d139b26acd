// Imaging orders. Routes for server.mjs, data in memory.

const moves = {
  scheduled: ['arrived', 'cancelled', 'completed'],
  arrived: ['scheduled', 'cancelled', 'completed'],
  in_progress: ['completed', 'discontinued'],
  completed: [],
  discontinued: ['scheduled'],
  cancelled: ['scheduled'],
};
const two = (n) => String(n).padStart(2, '0');

/** The local day of a time, as a date field has it. */
const localDay = (d) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;

export function makeOrders(world) {
  const day = localDay(new Date(world.now));
  const study = world.studies[0];
  const facility = world.facilities[0];
  const list = [];
  let serial = 0;
  const enter = (entry, who, more = {}) => {
    const accession = entry.accession || `TV${String(++serial).padStart(8, '0')}`;
    const order = {
      ...entry,
      id: `00000000-0000-4000-8000-${String(list.length + 1).padStart(12, '0')}`,
      revision: 1,
      state: 'scheduled',
      accession,
      study_uid: `2.25.${list.length + 1}`,
      steps: entry.steps.map((s, i) => ({ state: 'scheduled', performed: false, stations: [], ...s, start: s.start.length === 16 ? `${s.start}:00` : s.start, id: s.id || `${accession}-${i + 1}` })),
      created_by: who,
      created_at: world.at(-3_600_000),
      updated_at: world.at(-3_600_000),
      studies: [],
      history: [{ at: world.at(-3_600_000), who, what: 'created' }],
      ...more,
    };
    order.patient = { ...order.patient, patient_id: order.patient.patient_id || accession, issuer: order.facility.code };
    list.push(order);
    return order;
  };
  enter(
    {
      facility,
      patient: { name: 'Karimov^Ali^Baxtiyorovich', patient_id: study.patient.id, birth_date: study.patient.birth_date, sex: 'M', pinfl: '31203680000044' },
      priority: 'stat',
      reason: 'Insult',
      question: 'Qon quyilishi bormi?',
      physician: 'Ergashev^Jasur',
      department: 'Qabul boʻlimi',
      steps: [{ modality: 'CT', stations: ['URGUT_CT1'], start: `${day}T08:10`, description: 'Bosh miya KT' }],
    },
    'qabul',
    {
      state: 'in_progress',
      studies: [{ study_uid: study.study_uid, instances: study.instance_count, modalities: study.modalities, complete: false }],
      history: [
        { at: world.at(-3_600_000), who: 'qabul', what: 'created' },
        { at: world.at(-1_800_000), who: 'ae:URGUT_CT1', what: 'in_progress' },
        { at: world.at(-1_700_000), who: 'system:images', what: 'images' },
      ],
    },
  );
  enter(
    {
      facility,
      patient: { name: 'Ўринбоева^Ғунча', patient_id: 'U-18', birth_date: '19900214', sex: 'F' },
      priority: 'routine',
      steps: [{ modality: 'US', start: `${day}T09:30`, description: 'Qorin boʻshligʻi UTT' }],
    },
    'qabul',
  );
  return { list, enter };
}

export function orderRoutes({ on, orders, world, Refusal, now, emit }) {
  const allowed = ({ roles }, write) => {
    if (write ? !roles.some((r) => r !== 'radiologist') : roles.length === 0) throw new Refusal(403, 'forbidden', 'Your roles do not allow this.');
  };
  const sees = (user, code) => user.all_facilities || user.facilities.includes(code);
  const find = (id, user) => {
    const order = orders().list.find((o) => o.id === id);
    if (!order || !sees(user, order.facility.code)) throw new Refusal(404, 'not_found', 'There is no such order.');
    return order;
  };
  const show = ({ history: _, ...order }) => ({ ...order, moves: moves[order.state] });
  const text = (o) => JSON.stringify([o.patient, o.accession, o.placer]).toLowerCase();
  const changed = (order, user, what, why) => {
    order.revision++;
    order.updated_at = now();
    order.history.push({ at: now(), who: user.login, what, why });
    emit('order', { id: order.id });
    return show(order);
  };
  const fresh = (order, revision) => {
    if (order.revision !== revision) throw new Refusal(409, 'conflict', 'Somebody has changed the order since you opened it', { reason: 'stale_revision' });
  };

  on('GET', '/api/orders', ({ query, session: { user } }) => {
    allowed(user);
    const day = query.get('day');
    const q = query.get('q')?.toLowerCase();
    const found = orders().list.filter(
      (o) =>
        sees(user, o.facility.code) &&
        (!day || o.steps[0].start.slice(0, 10).replaceAll('-', '') === day) &&
        (!q || text(o).includes(q)) &&
        (!query.get('state') || o.state === query.get('state')) &&
        (!query.get('modality') || o.steps.some((s) => s.modality === query.get('modality'))) &&
        (!query.get('facility') || o.facility.code === query.get('facility')),
    );
    return { orders: found.sort((a, b) => a.steps[0].start.localeCompare(b.steps[0].start)).map(show) };
  });
  on('POST', '/api/orders', ({ body, res, session: { user } }) => {
    allowed(user, true);
    const { facility: code, ...entry } = body;
    const facility = world().facilities.find((f) => f.code === code);
    if (!facility || !sees(user, code)) throw new Refusal(404, 'not_found', 'There is no such facility.');
    if (orders().list.some((o) => entry.accession && o.accession === entry.accession && o.facility.code === code)) {
      throw new Refusal(409, 'conflict', 'The accession number belongs to another order', { reason: 'accession_taken' });
    }
    res.statusCode = 201;
    const order = orders().enter({ ...entry, facility }, user.login, { created_at: now(), updated_at: now(), history: [{ at: now(), who: user.login, what: 'created' }] });
    emit('order', { id: order.id });
    return show(order);
  });
  on('GET', '/api/orders/{o}', ({ args, session: { user } }) => {
    allowed(user);
    const order = find(args[0], user);
    return { ...show(order), history: order.history };
  });
  on('PUT', '/api/orders/{o}', ({ args, body, session: { user } }) => {
    allowed(user, true);
    const order = find(args[0], user);
    fresh(order, body.revision);
    if (order.state !== 'scheduled' && order.state !== 'arrived' && body.patient.name !== order.patient.name) {
      throw new Refusal(409, 'conflict', 'The order is begun', { reason: 'order_started' });
    }
    for (const key of ['patient', 'priority', 'reason', 'question', 'physician', 'department', 'placer']) if (key in body) order[key] = body[key];
    order.steps = body.steps.map((s, i) => ({ ...order.steps[i], ...s }));
    return changed(order, user, 'changed');
  });
  on('POST', '/api/orders/{o}/state', ({ args, body, session: { user } }) => {
    allowed(user, true);
    const order = find(args[0], user);
    fresh(order, body.revision);
    if (!moves[order.state].includes(body.state)) throw new Refusal(409, 'conflict', 'Its state does not allow it', { reason: 'order_state' });
    order.state = body.state;
    for (const step of order.steps) step.state = body.state;
    return changed(order, user, body.state, body.why);
  });
  on('GET', '/api/order-patients', ({ query, session: { user } }) => {
    allowed(user, true);
    const q = (query.get('q') ?? '').toLowerCase();
    const known = orders().list.filter((o) => sees(user, o.facility.code) && text(o).includes(q));
    return { patients: known.map((o) => ({ facility: { code: o.facility.code, name: o.facility.name }, patient: o.patient })) };
  });
  on('GET', '/api/order-stations', ({ query, session: { user } }) => {
    allowed(user);
    const list = world().devices.filter((d) => sees(user, d.facility) && (!query.get('facility') || d.facility === query.get('facility')));
    return { stations: list.map((d) => ({ ae_title: d.ae_title, facility: d.facility, description: d.description ?? '' })) };
  });
}
