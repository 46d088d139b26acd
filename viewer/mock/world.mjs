// The world the mock starts with: people, facilities, studies, tasks, reports.

const root = '1.2.826.0.1.3680043.10.9999';
const minutes = (n) => n * 60_000;

export function makeWorld(now = Date.now()) {
  const facilities = [
    { code: 'URGUT', name: 'Urgut tuman tibbiyot birlashmasi', tax_id: '301234567' },
    { code: 'NUKUS', name: 'Nukus shahar shifoxonasi', tax_id: '302345678' },
    { code: 'CHUST', name: 'Chust tuman shifoxonasi', tax_id: '303456789' },
  ];
  const users = [
    person('u1', 'radiolog', 'Raximova Dilnoza Akmalovna', ['radiologist'], [], true),
    person('u2', 'shifokor', 'Tursunov Jasur Botirovich', ['clinician'], ['URGUT'], false),
    person('u3', 'texnik', 'Abdullayev Otabek', ['technician'], ['URGUT'], false),
    person('u7', 'qabul', 'Saidova Lola', ['registrar'], ['URGUT'], false),
    person('u4', 'mudir', 'Saidova Nargiza', ['facility_administrator'], ['URGUT'], false),
    person('u5', 'admin', 'Administrator', ['administrator'], [], true),
    person('u6', 'radiolog2', 'Ким Виктория Сергеевна', ['radiologist'], [], true),
  ];
  const groups = [
    { id: 'g1', name: 'Neyroradiologiya', members: ['u1', 'u6'] },
    { id: 'g2', name: 'Umumiy radiologiya', members: ['u1', 'u6'] },
  ];
  const rules = [
    { id: 'r1', position: 1, name: 'Insult', condition: "'CT' in study.modalities && study.body_part == 'HEAD'", group: 'g1', priority: 'stat', deadline_minutes: 30, active: true },
    { id: 'r2', position: 2, name: 'Boshqa hammasi', condition: '', group: 'g2', priority: 'routine', deadline_minutes: 720, active: true },
  ];
  const device = (ae_title, facility, description, more) => ({
    ae_title,
    facility,
    description,
    services: ['store', 'commitment'],
    destination: false,
    notify: false,
    all_facilities: false,
    transfer_syntaxes: [],
    tls: false,
    max_associations_from: 0,
    max_associations_to: 0,
    ...more,
  });
  const devices = [
    device('URGUT_CT1', 'URGUT', 'KT, 1-qavat', { charset: 'windows-1251', last_seen_at: at(-minutes(4)), host: '10.20.1.11', port: 104, services: ['store', 'worklist', 'mpps', 'commitment'] }),
    device('URGUT_WS', 'URGUT', 'Shifokor stansiyasi', { host: 'ws1.urgut.uz', port: 11112, services: ['query', 'retrieve'], destination: true, tls: true }),
    device('NUKUS_MR', 'NUKUS', 'MRT', { last_seen_at: at(-minutes(62)) }),
    device('CHUST_CR', 'CHUST', 'Raqamli rentgen', {}),
  ];

  function at(delta) {
    return new Date(now + delta).toISOString();
  }
  function dicomDate(delta) {
    return at(delta).slice(0, 10).replaceAll('-', '');
  }
  function person(id, login, name, roles, facilityCodes, all) {
    return { id, login, name, roles, facilities: facilityCodes, all_facilities: all, language: 'uz-Latn', active: true, password: 'parol-123' };
  }

  const studies = [];
  const tasks = [];
  let uid = 1;

  function study(options) {
    const study_uid = `${root}.1.${uid++}`;
    const facility = facilities.find((f) => f.code === options.facility);
    const series = options.series.map((s, index) => {
      const series_uid = `${study_uid}.${index + 1}`;
      return {
        ...s,
        series_uid,
        number: index + 1,
        has_pixels: true,
        frameOfReference: `${study_uid}.0`,
        instance_count: s.slices,
        middle_instance_uid: `${series_uid}.${Math.floor(s.slices / 2) + 1}`,
      };
    });
    const made = {
      study_uid,
      patient: options.patient,
      description: options.description,
      modalities: [...new Set(series.map((s) => s.modality))],
      body_part: options.body_part,
      date: dicomDate(options.delta ?? 0),
      time: '084512',
      accession: options.accession,
      referring_physician: 'Юлдашев Б.',
      question: options.question,
      facility,
      series_count: series.length,
      instance_count: series.reduce((n, s) => n + s.slices, 0),
      bytes: 12_345_678,
      received_at: at(options.delta ?? -minutes(12)),
      complete: options.complete ?? true,
      series,
    };
    studies.push(made);
    return made;
  }
  function task(of, options) {
    tasks.push({
      id: `t${tasks.length + 1}`,
      state: options.state ?? 'open',
      priority: options.priority,
      deadline: at(options.due),
      created_at: at(options.due - minutes(40)),
      rule: { id: 'r1', name: options.rule ?? 'Insult' },
      group: groups[options.group ?? 0],
      claimed_by: options.claimed_by,
      study_uid: of.study_uid,
      report: { versions: [] },
    });
  }

  const head = (slices, thickness, description = 'Head 3.0 Br40') => ({
    modality: 'CT',
    body: 'head',
    description,
    body_part: 'HEAD',
    rows: 512,
    columns: 512,
    spacing: 0.45,
    slices,
    thickness,
    z0: 4,
    center: 40,
    width: 80,
  });
  const karimov = { name: 'Каримов Али Бахтиёрович', name_other: 'Karimov Ali Baxtiyorovich', id: '4417', issuer: 'URGUT', pinfl: '31203680014417', sex: 'M', birth_date: '19680312', age: 58 };

  const prior = study({
    patient: karimov,
    facility: 'URGUT',
    description: 'KT bosh miya',
    body_part: 'HEAD',
    accession: 'A-20417',
    delta: -minutes(60 * 24 * 280),
    question: 'Bosh og‘rig‘i',
    series: [head(28, 5, 'Head 5.0')],
  });
  const stroke = study({
    patient: karimov,
    facility: 'URGUT',
    description: 'KT bosh miya',
    body_part: 'HEAD',
    accession: 'A-26001',
    question: 'Afaziya, 1 soat oldin boshlangan',
    series: [
      head(48, 3),
      head(24, 6, 'Head 6.0 bone'),
      { modality: 'CT', body: 'chest', description: 'Topogram', rows: 512, columns: 512, spacing: 0.8, slices: 1, thickness: 1, z0: 0, center: 1800, width: 3000 },
    ],
  });
  const yusupova = study({
    patient: { name: 'Yusupova Malika Rustamovna', name_other: 'Юсупова Малика Рустамовна', id: '100282', sex: 'F', birth_date: '19920517', age: 34 },
    facility: 'NUKUS',
    description: 'KT qorin bo‘shlig‘i, kontrast bilan, arterial va venoz faza',
    body_part: 'ABDOMEN',
    accession: 'A-26002',
    complete: false,
    question: 'Qorinda og‘riq, isitma',
    series: [{ modality: 'CT', body: 'abdomen', description: 'Abdomen 5.0 B30f', rows: 512, columns: 512, spacing: 0.7, slices: 40, thickness: 5, z0: 0, center: 40, width: 400 }],
  });
  const rahimov = study({
    patient: { name: 'Рахимов Салим Ғуломович', name_other: 'Raximov Salim G‘ulomovich', id: '88213', sex: 'M', birth_date: '19550102', age: 71 },
    facility: 'CHUST',
    description: 'Ko‘krak qafasi rentgenografiyasi',
    body_part: 'CHEST',
    accession: 'A-26003',
    question: 'Yo‘tal, 3 hafta',
    series: [{ modality: 'CR', body: 'chest', description: 'Chest PA', rows: 900, columns: 800, spacing: 0.5, slices: 1, thickness: 1, z0: 0, center: 1700, width: 2600 }],
  });
  const ismoilova = study({
    patient: { name: 'Ismoilova Zuhra', name_other: 'Исмоилова Зуҳра', id: '55120', sex: 'F', birth_date: '20190930', age: 7 },
    facility: 'URGUT',
    description: 'MRT bosh miya T2',
    body_part: 'BRAIN',
    accession: 'A-26004',
    question: 'Tutqanoq',
    series: [{ modality: 'MR', body: 'brain', description: 'T2 TSE tra', rows: 320, columns: 320, spacing: 0.72, slices: 24, thickness: 5, z0: 6, center: 600, width: 1200 }],
  });

  task(stroke, { priority: 'stat', due: minutes(6) });
  task(yusupova, { priority: 'urgent', due: minutes(41), group: 1, rule: 'Shoshilinch' });
  task(rahimov, { priority: 'routine', due: minutes(200), group: 1, rule: 'Boshqa hammasi' });
  task(ismoilova, { priority: 'routine', due: minutes(-14), group: 0, rule: 'Bolalar', state: 'claimed', claimed_by: { id: 'u6', name: 'Ким Виктория Сергеевна' } });
  for (let n = 0; n < 14; n++) {
    const crowd = study({
      patient: { name: `Ergashev Bobur ${n + 1}`, name_other: `Эргашев Бобур ${n + 1}`, id: `7${n}001`, sex: n % 2 ? 'F' : 'M', birth_date: '19700101', age: 56 - n },
      facility: ['URGUT', 'NUKUS', 'CHUST'][n % 3],
      description: 'Ko‘krak qafasi rentgenografiyasi',
      body_part: 'CHEST',
      accession: `A-27${100 + n}`,
      series: [{ modality: 'CR', body: 'chest', description: 'Chest PA', rows: 600, columns: 560, spacing: 0.7, slices: 1, thickness: 1, z0: 0, center: 1700, width: 2600 }],
    });
    task(crowd, { priority: 'routine', due: minutes(300 + n * 17), group: 1, rule: 'Boshqa hammasi' });
  }

  const priorTask = {
    id: 'p1',
    state: 'signed',
    priority: 'routine',
    deadline: at(-minutes(60 * 24 * 280)),
    created_at: at(-minutes(60 * 24 * 281)),
    study_uid: prior.study_uid,
    group: groups[0],
    rule: { id: 'r2', name: 'Boshqa hammasi' },
    report: {
      id: 'rep-p1',
      versions: [
        {
          report_id: 'rep-p1',
          version: 1,
          kind: 'final',
          language: 'uz-Latn',
          signed_by: 'Ким Виктория Сергеевна',
          signed_at: at(-minutes(60 * 24 * 280 - 90)),
          sections: {
            indication: 'Bosh og‘rig‘i.',
            technique: 'Kontrastsiz KT, 5 mm.',
            findings: 'Bosh miya moddasida o‘choqli o‘zgarishlar aniqlanmadi. Qorinchalar kengaymagan. O‘rta chiziq tuzilmalari siljimagan.',
            impression: 'Patologik o‘zgarishlar aniqlanmadi.',
          },
          delivery: { state: 'delivered', attempts: 1, delivered_at: at(-minutes(60 * 24 * 280 - 91)), fhir_id: 'dr-1001' },
        },
      ],
    },
  };
  tasks.push(priorTask);

  const failedReports = [
    { of: rahimov, state: 'failed', error: 'Patient not found: no resource matches identifier 88213 (HTTP 422, invariant dr-subject)' },
    { of: yusupova, state: 'retrying', error: 'connect ECONNREFUSED 127.0.0.1:9090' },
  ].map((entry, index) => ({
    report_id: `rep-d${index}`,
    version: 1,
    kind: 'final',
    signed_at: at(-minutes(95 + index * 30)),
    signed_by: 'Ким Виктория Сергеевна',
    study_uid: entry.of.study_uid,
    delivery: { state: entry.state, attempts: 4, last_error: entry.error, next_attempt_at: entry.state === 'retrying' ? at(minutes(3)) : undefined },
  }));

  return { now, facilities, users, groups, rules, devices, studies, tasks, extraDeliveries: failedReports, at, root };
}
