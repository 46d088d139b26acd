import type * as s from './schema';

/** What the server (or the line to it) answered instead of the thing asked for. */
export class ApiError extends Error {
  readonly problem: s.Problem;

  constructor(problem: s.Problem) {
    super(problem.detail ?? problem.title);
    this.name = 'ApiError';
    this.problem = problem;
  }

  /** No answer at all: the line is down, or the server is. */
  get offline(): boolean {
    return this.problem.code === 'offline';
  }

  /** Worth trying again later without a person changing anything. */
  get transient(): boolean {
    return this.offline || this.problem.status >= 500 || this.problem.status === 429;
  }
}

export function problemOf(err: unknown): s.Problem {
  if (err instanceof ApiError) return err.problem;
  return { title: String(err), status: 0, code: 'internal', detail: String(err) };
}

let csrf = '';
let person = '';
let clockOffset = 0;

/** The server's clock: the computers that people sit at are often minutes off, and deadlines are the server's. */
export const serverNow = () => Date.now() + clockOffset;

let onUnauthenticated: () => void = () => {};

/** Calls back once a request finds the session gone. */
export function whenSessionEnds(callback: () => void): void {
  onUnauthenticated = callback;
}

type Query = Record<string, string | number | undefined>;

function withQuery(path: string, query?: Query): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== '') params.set(name, String(value));
  }
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}

/**
 * One request. Signing in again in another window gives the session a new CSRF
 * token; this window then learns it and repeats, so that no draft is lost to it.
 */
async function send<T>(method: string, path: string, body?: unknown): Promise<T> {
  try {
    return await sendOnce<T>(method, path, body);
  } catch (err) {
    if (!(err instanceof ApiError) || err.problem.reason !== 'csrf') throw err;
    const now = await sendOnce<s.Session>('GET', '/api/session');
    if (now.user.id !== person) {
      // Somebody else signed in: what is on this screen must not go out in their name.
      onUnauthenticated();
      throw err;
    }
    remember(now);
    return sendOnce<T>(method, path, body);
  }
}

async function sendOnce<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (method !== 'GET') headers['X-CSRF-Token'] = csrf;
  const text = body === undefined ? undefined : JSON.stringify(body);
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: text,
      credentials: 'same-origin',
      // A page that closes still sends what it has; browsers allow 64 KiB for that.
      keepalive: method === 'PUT' && text !== undefined && text.length < 20_000,
    });
  } catch (err) {
    throw new ApiError({ title: 'no connection', status: 0, code: 'offline', detail: String(err) });
  }
  const date = Date.parse(response.headers.get('Date') ?? '');
  // The header has whole seconds; less than two of them are not worth a correction.
  if (Number.isFinite(date)) clockOffset = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
  if (!response.ok) {
    let problem: s.Problem;
    try {
      problem = (await response.json()) as s.Problem;
      if (typeof problem.title !== 'string') throw new Error('not a problem document');
    } catch {
      // A proxy's own error page: its status is all there is to go by.
      problem = {
        title: response.statusText || `HTTP ${response.status}`,
        status: response.status,
        code: response.status >= 502 && response.status <= 504 ? 'unavailable' : 'internal',
      };
    }
    problem.status = response.status;
    if (response.status === 401 && path !== '/api/session') onUnauthenticated();
    throw new ApiError(problem);
  }
  if (response.status === 204 || response.headers.get('Content-Length') === '0') return undefined as T;
  const answer = await response.text();
  return (answer ? JSON.parse(answer) : undefined) as T;
}

const id = encodeURIComponent;

/** The server's API, one function per operation of openapi.yaml. */
export const api = {
  session: async () => remember(await send<s.Session>('GET', '/api/session')),
  signIn: async (login: string, password: string) => remember(await send<s.Session>('POST', '/api/session', { login, password })),
  signOut: () => send<void>('DELETE', '/api/session'),
  setLanguage: (language: s.Language) => send<void>('PUT', '/api/session/language', { language }),
  setPassword: (current: string, next: string) => send<void>('PUT', '/api/session/password', { current, new: next }),

  tasks: (query: Query) => send<s.TaskPage>('GET', withQuery('/api/tasks', query)),
  nextTask: () => send<s.Task>('POST', '/api/tasks/next'),
  task: (task: string) => send<s.Task>('GET', `/api/tasks/${id(task)}`),
  claim: (task: string) => send<s.Task>('POST', `/api/tasks/${id(task)}/claim`),
  release: (task: string) => send<s.Task>('POST', `/api/tasks/${id(task)}/release`),

  report: (task: string) => send<s.Report>('GET', `/api/tasks/${id(task)}/report`),
  saveDraft: (task: string, draft: { sections: s.Sections; language: s.Language; revision: number }) => send<s.Draft>('PUT', `/api/tasks/${id(task)}/report/draft`, draft),
  discardDraft: (task: string) => send<void>('DELETE', `/api/tasks/${id(task)}/report/draft`),
  sign: (task: string, revision: number) => send<s.Report>('POST', `/api/tasks/${id(task)}/report/sign`, { revision }),
  amend: (task: string, kind: 'correction' | 'addendum') => send<s.Report>('POST', `/api/tasks/${id(task)}/report/amend`, { kind }),

  studies: (query: Query) => send<s.StudyPage>('GET', withQuery('/api/studies', query)),
  study: (uid: string) => send<s.StudyDetail>('GET', `/api/studies/${id(uid)}`),
  launch: (viewer: s.OtherViewer, study: string) => send<{ url: string }>('POST', `/api/${viewer}/launch`, { study_uid: study }),
  /** `where` is of DICOMweb: studies/1.2/series/3.4; what is rejected is not shown any more, until it is taken back. */
  reject: (where: string, reason: s.RejectionReason | 'REJECTION_REVOKED', why: string) => send<void>('POST', withQuery(`/dicom-web/${where}/reject/${reason}`, { why })),
  rejected: (study: string) => send<s.Rejected>('GET', `/api/admin/studies/${id(study)}/rejected`),
  rejectedStudies: (query: Query) => send<{ studies: s.RejectedEntry[]; next?: string }>('GET', withQuery('/api/admin/rejected', query)),
  pdfPath: (report: string, version: number) => `/api/reports/${id(report)}/versions/${version}/pdf`,

  deliveries: (query: Query) => send<s.DeliveryPage>('GET', withQuery('/api/deliveries', query)),
  retryDelivery: (report: string, version: number) => send<void>('POST', `/api/deliveries/${id(report)}/${version}/retry`),

  orders: (query: Query) => send<{ orders: s.Order[]; next?: string }>('GET', withQuery('/api/orders', query)),
  order: (order: string) => send<s.OrderDetail>('GET', `/api/orders/${id(order)}`),
  addOrder: (facility: string, entry: s.OrderEntry) => send<s.Order>('POST', '/api/orders', { facility, ...entry }),
  putOrder: (order: string, entry: s.OrderEntry) => send<s.Order>('PUT', `/api/orders/${id(order)}`, entry),
  moveOrder: (order: string, state: s.OrderState, revision: number, why = '') => send<s.Order>('POST', `/api/orders/${id(order)}/state`, { state, revision, why }),
  orderPatients: (query: Query) => send<{ patients: s.KnownPatient[] }>('GET', withQuery('/api/order-patients', query)),
  orderStations: (query: Query) => send<{ stations: s.Station[] }>('GET', withQuery('/api/order-stations', query)),

  status: () => send<s.Status>('GET', '/api/admin/status'),
  facilities: () => send<{ facilities: s.Facility[] }>('GET', '/api/admin/facilities'),
  addFacility: (f: s.Facility) => send<void>('POST', '/api/admin/facilities', f),
  putFacility: (f: s.Facility) => send<void>('PUT', `/api/admin/facilities/${id(f.code)}`, f),
  devices: () => send<{ devices: s.Device[] }>('GET', '/api/admin/devices'),
  addDevice: (d: s.Device) => send<void>('POST', '/api/admin/devices', d),
  putDevice: (d: s.Device) => send<void>('PUT', `/api/admin/devices/${id(d.ae_title)}`, d),
  deleteDevice: (aet: string) => send<void>('DELETE', `/api/admin/devices/${id(aet)}`),
  testDevice: (aet: string) => send<s.DeviceTest>('POST', `/api/admin/devices/${id(aet)}/test`),
  commitments: (query: Query) => send<{ commitments: s.Commitment[]; next?: string }>('GET', withQuery('/api/admin/commitments', query)),
  retryCommitment: (commitment: string) => send<void>('POST', `/api/admin/commitments/${id(commitment)}/retry`),
  associations: (query: Query) => send<{ associations: s.Association[]; next?: string }>('GET', withQuery('/api/admin/associations', query)),
  association: (association: string) => send<s.AssociationDetail>('GET', `/api/admin/associations/${id(association)}`),
  users: () => send<{ users: s.UserRecord[] }>('GET', '/api/admin/users'),
  addUser: (u: s.UserRecord) => send<void>('POST', '/api/admin/users', u),
  putUser: (u: s.UserRecord) => send<void>('PUT', `/api/admin/users/${id(u.id ?? '')}`, u),
  groups: () => send<{ groups: s.GroupRecord[] }>('GET', '/api/admin/groups'),
  addGroup: (g: s.GroupRecord) => send<void>('POST', '/api/admin/groups', g),
  putGroup: (g: s.GroupRecord) => send<void>('PUT', `/api/admin/groups/${id(g.id ?? '')}`, g),
  rules: () => send<{ rules: s.Rule[] }>('GET', '/api/admin/rules'),
  addRule: (r: s.Rule) => send<void>('POST', '/api/admin/rules', r),
  putRule: (r: s.Rule) => send<void>('PUT', `/api/admin/rules/${id(r.id ?? '')}`, r),
  deleteRule: (rule: string) => send<void>('DELETE', `/api/admin/rules/${id(rule)}`),

  quarantine: (query: Query) => send<s.QuarantinePage>('GET', withQuery('/api/admin/quarantine', query)),
  quarantinedPath: (item: string) => `/api/admin/quarantine/${id(item)}/file`,
  releaseQuarantined: (release: s.Release) => send<s.Released>('POST', '/api/admin/quarantine/release', release),
  discardQuarantined: (ids: string[], why: string) => send<{ discarded: number }>('POST', '/api/admin/quarantine/discard', { ids, why }),

  versions: (study: string) => send<{ instances: s.VersionedInstance[] }>('GET', `/api/admin/studies/${id(study)}/versions`),
  versionPath: (study: string, sop: string, version: number) => `/api/admin/studies/${id(study)}/instances/${id(sop)}/versions/${version}`,

  patientRecords: (query: Query) => send<{ patients: s.PatientRecord[]; next?: string }>('GET', withQuery('/api/admin/patients', query)),
  patientRecord: (patient: string) => send<s.PatientDetail>('GET', `/api/admin/patients/${id(patient)}`),
  correctPatient: (patient: string, demographics: s.Demographics, why: string, revision: number) =>
    send<s.PatientDetail>('POST', `/api/admin/patients/${id(patient)}/correct`, { demographics, why, revision }),
  mergePatient: (patient: string, into: string, why: string, revision: number) => send<s.PatientDetail>('POST', `/api/admin/patients/${id(patient)}/merge`, { into, why, revision }),
  splitPatient: (patient: string, studies: string[], demographics: s.Demographics, why: string, revision: number) =>
    send<s.PatientDetail>('POST', `/api/admin/patients/${id(patient)}/split`, { studies, demographics, why, revision }),
  moveStudy: (study: string, patient: string, why: string) => send<s.PatientDetail>('POST', `/api/admin/studies/${id(study)}/move`, { patient, why }),
  undoOperation: (operation: string, why: string) => send<s.PatientDetail>('POST', `/api/admin/patient-operations/${id(operation)}/undo`, { why }),

  verification: () => send<s.Verification>('GET', '/api/admin/verification'),
  verifyNow: () => send<void>('POST', '/api/admin/verification/run'),
  repair: (problem: string) => send<s.StorageProblem>('POST', `/api/admin/verification/problems/${id(problem)}/repair`),

  forwardRules: () => send<{ rules: s.ForwardRule[] }>('GET', '/api/admin/forwarding/rules'),
  addForwardRule: (r: s.ForwardRule) => send<void>('POST', '/api/admin/forwarding/rules', r),
  putForwardRule: (r: s.ForwardRule) => send<void>('PUT', `/api/admin/forwarding/rules/${id(r.id ?? '')}`, r),
  deleteForwardRule: (rule: string) => send<void>('DELETE', `/api/admin/forwarding/rules/${id(rule)}`),
  tryForwardRule: (r: s.ForwardRule) => send<s.ForwardTrial>('POST', '/api/admin/forwarding/rules/try', r),
  forwardTargets: () => send<{ targets: s.ForwardTarget[] }>('GET', '/api/admin/forwarding/targets'),
  pauseForwardTarget: (target: string, paused: boolean) => send<s.ForwardTarget>('POST', `/api/admin/forwarding/targets/${id(target)}/${paused ? 'pause' : 'resume'}`),
  addForwardNode: (n: s.ForwardNode) => send<s.ForwardTarget>('POST', '/api/admin/forwarding/nodes', n),
  putForwardNode: (node: string, n: s.ForwardNode) => send<s.ForwardTarget>('PUT', `/api/admin/forwarding/nodes/${id(node)}`, n),
  deleteForwardNode: (node: string) => send<void>('DELETE', `/api/admin/forwarding/nodes/${id(node)}`),
  forwardQueue: (query: Query) => send<{ items: s.ForwardItem[]; next?: string }>('GET', withQuery('/api/admin/forwarding/queue', query)),
  forwardItem: (item: string) => send<s.ForwardItemDetail>('GET', `/api/admin/forwarding/queue/${id(item)}`),
  forwardAct: (act: s.ForwardAct, which: { items?: string[]; states?: string[]; rule?: string; target?: string }) =>
    send<{ count: number }>('POST', '/api/admin/forwarding/queue/act', { act, ...which }),

  policies: () => send<{ policies: s.RetentionPolicy[] }>('GET', '/api/admin/retention/policies'),
  addPolicy: (p: s.RetentionPolicy) => send<s.RetentionPolicy>('POST', '/api/admin/retention/policies', p),
  putPolicy: (p: s.RetentionPolicy) => send<s.RetentionPolicy>('PUT', `/api/admin/retention/policies/${id(p.id ?? '')}`, p),
  deletePolicy: (policy: string) => send<void>('DELETE', `/api/admin/retention/policies/${id(policy)}`),
  previewPolicy: (policy: string) => send<s.RetentionPreview>('POST', `/api/admin/retention/policies/${id(policy)}/preview`),
  retentionRuns: () => send<{ runs: s.RetentionRun[] }>('GET', '/api/admin/retention/runs'),
  holds: () => send<{ holds: s.LegalHold[] }>('GET', '/api/admin/holds'),
  hold: (study: string, why: string) => send<s.LegalHold>('PUT', `/api/admin/studies/${id(study)}/hold`, { why }),
  liftHold: (study: string) => send<void>('DELETE', `/api/admin/studies/${id(study)}/hold`),
};

function remember(session: s.Session): s.Session {
  csrf = session.csrf;
  person = session.user.id;
  return session;
}
