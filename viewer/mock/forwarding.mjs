// Rules of forwarding, where they send to, and the queue. Routes for server.mjs,
// data in memory.

function makeQueue(world) {
  const [study] = world.studies;
  const item = (id, minutes, more) => ({
    id: String(id),
    rule: 'f1',
    rule_name: 'KT markazga',
    target: 't1',
    kind: 'device',
    to: 'URGUT_WS',
    facility: 'URGUT',
    study_uid: study.study_uid,
    patient: 'Karimov Ali',
    date: '20261120',
    modalities: ['CT'],
    description: 'KT bosh',
    occasion: 'complete',
    state: 'sent',
    held: false,
    priority: 'normal',
    total: 250,
    sent: 250,
    failed: 0,
    attempts: 1,
    queued_at: world.at(-minutes * 60_000),
    ended_at: world.at(-(minutes - 1) * 60_000),
    ...more,
  });
  const under = { ended_at: undefined };
  const items = [
    item(70, 1, { ...under, state: 'sending', sent: 120 }),
    item(69, 3, {
      ...under,
      state: 'waiting',
      target: 't2',
      kind: 'node',
      to: 'Milliy arxiv',
      sent: 0,
      attempts: 3,
      next_at: world.at(600_000),
      error: 'Milliy arxiv can’t be reached: connection refused',
    }),
    item(68, 20, { state: 'failed', sent: 248, failed: 2, error: '2 instances could not be sent. The first: It was refused: C000H' }),
    item(67, 30, { ...under, state: 'scheduled', sent: 0, attempts: 0, next_at: world.at(3_600_000), patient: 'Rahimova Dilnoza' }),
  ];
  for (let i = 66; i > 0; i--) items.push(item(i, 120 - i, {}));
  return {
    serial: 100,
    items,
    rules: [
      {
        id: 'f1',
        name: 'KT markazga',
        enabled: true,
        paused: false,
        occasion: 'complete',
        level: 'study',
        facilities: [],
        condition: '"CT" in study.modalities',
        target: { kind: 'device', name: 'URGUT_WS' },
        priority: 'normal',
        retry_hours: 72,
        transfer_syntaxes: [],
        window: { from: '20:00', until: '06:00', days: [], zone: 'Asia/Tashkent' },
      },
    ],
    targets: [
      { id: 't1', kind: 'device', name: 'URGUT_WS', paused: false, failures: 0 },
      {
        id: 't2',
        kind: 'node',
        name: 'Milliy arxiv',
        url: 'https://pacs.example.uz/dicom-web',
        authorization: 'bearer',
        login: '',
        has_secret: true,
        parallel: 2,
        paused: false,
        failures: 3,
        resting_until: world.at(600_000),
        last_error: 'connection refused',
      },
    ],
  };
}

export function forwardingRoutes({ on, world, Refusal, now }) {
  const queues = new WeakMap(); // one of each world: tests begin anew
  const data = () => {
    if (!queues.has(world())) queues.set(world(), makeQueue(world()));
    return queues.get(world());
  };
  const may = ({ roles }) => {
    if (!roles.includes('administrator')) throw new Refusal(403, 'forbidden', 'Only administrators may do this.');
  };
  const found = (thing) => {
    if (!thing) throw new Refusal(404, 'not_found', 'There is none such.');
    return thing;
  };
  const checked = (rule) => {
    if (rule.condition?.includes('!!')) throw new Refusal(422, 'invalid', 'ERROR: <input>:1:1: Syntax error: mismatched input', { reason: 'rule_condition' });
    return { paused: false, facilities: [], condition: '', transfer_syntaxes: [], ...rule };
  };
  on('GET', '/api/admin/forwarding/rules', ({ session: { user } }) => {
    may(user);
    return { rules: data().rules };
  });
  on('POST', '/api/admin/forwarding/rules', ({ body, res, session: { user } }) => {
    may(user);
    const rule = { ...checked(body), id: `f${++data().serial}` };
    data().rules.push(rule);
    res.statusCode = 201;
    return rule;
  });
  on('POST', '/api/admin/forwarding/rules/try', ({ body, session: { user } }) => {
    may(user);
    checked(body);
    const [study] = world().studies;
    const sample = { study_uid: study.study_uid, facility: 'URGUT', date: '20261120', modalities: ['CT'], description: 'KT bosh', patient: 'Karimov Ali' };
    return { looked: 412, more: false, studies: 37, series: body.level === 'series' ? 90 : 0, failed: 0, samples: [sample] };
  });
  on('PUT', '/api/admin/forwarding/rules/{r}', ({ args, body, session: { user } }) => {
    may(user);
    const at = data().rules.indexOf(found(data().rules.find((r) => r.id === args[0])));
    data().rules[at] = { ...checked(body), id: args[0] };
    return data().rules[at];
  });
  on('DELETE', '/api/admin/forwarding/rules/{r}', ({ args, session: { user } }) => {
    may(user);
    data().rules = data().rules.filter((r) => r.id !== args[0]);
  });
  on('GET', '/api/admin/forwarding/targets', ({ session: { user } }) => {
    may(user);
    return { targets: data().targets };
  });
  for (const act of ['pause', 'resume'])
    on('POST', `/api/admin/forwarding/targets/{t}/${act}`, ({ args, session: { user } }) => {
      may(user);
      return Object.assign(found(data().targets.find((t) => t.id === args[0])), { paused: act === 'pause' });
    });
  const shown = ({ secret, ...node }, before) => ({ ...node, has_secret: node.authorization !== 'none' && Boolean(secret || before?.has_secret) });
  on('POST', '/api/admin/forwarding/nodes', ({ body, res, session: { user } }) => {
    may(user);
    if (data().targets.some((t) => t.name === body.name)) throw new Refusal(409, 'conflict', 'There is one of this name already.');
    const node = { id: `t${++data().serial}`, kind: 'node', paused: false, failures: 0, ...shown(body) };
    data().targets.push(node);
    res.statusCode = 201;
    return node;
  });
  on('PUT', '/api/admin/forwarding/nodes/{t}', ({ args, body, session: { user } }) => {
    may(user);
    const node = found(data().targets.find((t) => t.id === args[0]));
    return Object.assign(node, shown(body, node));
  });
  on('DELETE', '/api/admin/forwarding/nodes/{t}', ({ args, session: { user } }) => {
    may(user);
    data().targets = data().targets.filter((t) => t.id !== args[0]);
  });
  const fits = (item, { states, rule, target }) => (!states?.length || states.includes(item.state)) && (!rule || item.rule === rule) && (!target || item.target === target);
  on('GET', '/api/admin/forwarding/queue', ({ query, session: { user } }) => {
    may(user);
    const wanted = { states: query.get('state')?.split(',').filter(Boolean), rule: query.get('rule'), target: query.get('target') };
    const all = data().items.filter((item) => fits(item, wanted) && (!query.get('after') || Number(item.id) < Number(query.get('after'))));
    return { items: all.slice(0, 50), ...(all.length > 50 && { next: all[49].id }) };
  });
  on('GET', '/api/admin/forwarding/queue/{i}', ({ args, session: { user } }) => {
    may(user);
    const item = found(data().items.find((one) => one.id === args[0]));
    const why = 'It was refused: C000H cannot understand';
    return { item, instances: Array.from({ length: item.failed }, (_, n) => ({ sop_uid: `${item.study_uid}.1.${n + 1}`, why })) };
  });
  on('POST', '/api/admin/forwarding/queue/act', ({ body, session: { user } }) => {
    may(user);
    const to = { pause: 'paused', resume: 'waiting', cancel: 'cancelled', retry: 'waiting', replay: 'waiting' }[body.act];
    const chosen = data().items.filter((item) => (body.items ? body.items.includes(item.id) : fits(item, body)) && item.state !== to);
    for (const item of chosen) Object.assign(item, { state: to, error: undefined, ended_at: to === 'cancelled' ? now() : undefined, ...(body.act === 'replay' && { sent: 0, failed: 0 }) });
    return { count: chosen.length };
  });
}
