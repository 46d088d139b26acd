// The types of pacs/web/openapi.yaml, by the same names and in the same order.

export type Language = 'uz-Latn' | 'uz-Cyrl' | 'ru' | 'en';
export type Priority = 'stat' | 'urgent' | 'routine';
export type Role = 'radiologist' | 'clinician' | 'technician' | 'registrar' | 'facility_administrator' | 'administrator';
export type DeliveryState = 'queued' | 'retrying' | 'delivered' | 'failed';
export type ReportKind = 'final' | 'correction' | 'addendum';

export interface Problem {
  type?: string;
  title: string;
  status: number;
  detail?: string;
  code: string;
  /** A finer, stable word: claimed_by_other, stale_revision, already_signed, empty_report, … */
  reason?: string;
  /** With claimed_by_other and draft_by_other: that person's name. */
  who?: string;
}

export interface Named {
  id: string;
  name: string;
}

export interface Facility {
  code: string;
  name: string;
  tax_id?: string;
}

export interface User {
  id: string;
  login: string;
  name: string;
  roles: Role[];
  all_facilities: boolean;
  facilities: Facility[];
  groups: Named[];
  language: Language;
}

export interface Session {
  user: User;
  csrf: string;
  version?: string;
  /** Viewers of others that this person can open studies in. */
  viewers?: OtherViewer[];
}

export type OtherViewer = 'ohif' | 'weasis';

export interface Patient {
  name: string;
  /** The same name in the other script. */
  name_other?: string;
  id: string;
  issuer?: string;
  pinfl?: string;
  sex?: 'M' | 'F' | 'O' | '';
  /** YYYYMMDD */
  birth_date?: string;
  /** Whole years at the study date. */
  age?: number;
}

export interface ReportBadge {
  id: string;
  version: number;
  kind: ReportKind;
  signed_at: string;
  signed_by?: string;
}

export interface Study {
  study_uid: string;
  patient: Patient;
  description: string;
  modalities: string[];
  body_part?: string;
  /** YYYYMMDD */
  date: string;
  /** HHMMSS */
  time?: string;
  accession?: string;
  referring_physician?: string;
  question?: string;
  facility: Facility;
  series_count: number;
  instance_count: number;
  bytes?: number;
  received_at?: string;
  complete: boolean;
  report?: ReportBadge;
  task_id?: string;
  /** What the study's order asks; absent when it has none. */
  order?: { id: string; priority: Priority; reason?: string; question?: string; department?: string; physician?: string };
}

export interface Series {
  series_uid: string;
  number?: number;
  modality: string;
  description?: string;
  body_part?: string;
  instance_count: number;
  has_pixels?: boolean;
  middle_instance_uid?: string;
}

export interface StudyDetail extends Study {
  series: Series[];
  /** Other studies of the same patient, newest first. */
  priors: Study[];
  /** Signed versions, newest first. */
  reports: ReportVersion[];
}

export type TaskState = 'open' | 'claimed' | 'signed' | 'cancelled';

export interface Task {
  id: string;
  state: TaskState;
  priority: Priority;
  deadline: string;
  created_at: string;
  rule?: Named;
  group?: Named;
  claimed_by?: Named & { me?: boolean };
  claimed_at?: string;
  draft_saved_at?: string;
  prior_count?: number;
  study: Study;
}

/** Who has read a study outside of this archive, so that there is no report here. Performers that are no person have a scheme in their names: ae:TITLE. */
export const readOutside = (task: Task): string | undefined => (task.state === 'signed' && task.claimed_by?.id.includes(':') ? task.claimed_by.name : undefined);

export type View = 'mine' | 'groups' | 'open' | 'drafts' | 'signed' | 'unreported';

export interface TaskPage {
  tasks: Task[];
  counts: Record<View, number>;
  next?: string;
}

export const orderStates = ['scheduled', 'arrived', 'in_progress', 'completed', 'discontinued', 'cancelled'] as const;
export type OrderState = (typeof orderStates)[number];

export interface OrderStep {
  id?: string;
  state?: OrderState;
  /** A modality has reported on it. */
  performed?: boolean;
  modality: string;
  /** AE titles; empty: any device of the modality. */
  stations?: string[];
  /** 2026-11-22T09:30, by the facility's clock, without a zone. */
  start: string;
  description?: string;
  code?: { value: string; scheme: string; meaning?: string };
  physician?: string;
  location?: string;
  medication?: string;
}

export interface OrderEntry {
  revision?: number;
  patient: Demographics;
  accession?: string;
  placer?: string;
  filler?: string;
  /** Who asks, in DICOM's form: Family^Given^Middle. */
  physician?: string;
  department?: string;
  reason?: string;
  question?: string;
  priority?: Priority;
  procedure?: { id?: string; description?: string; code?: OrderStep['code'] };
  steps: OrderStep[];
  study_uid?: string;
}

export interface Order extends OrderEntry {
  id: string;
  revision: number;
  state: OrderState;
  /** States that a person may bring it to. */
  moves: OrderState[];
  facility: Facility;
  accession: string;
  created_by: string;
  created_at: string;
  updated_at: string;
  studies: { study_uid: string; instances: number; modalities: string[]; complete: boolean }[];
}

export interface OrderDetail extends Order {
  /** Oldest first. what: created, changed, images, or the state it came to. */
  history: { at: string; who: string; what: string; why?: string }[];
}

export interface KnownPatient {
  facility: Facility;
  patient: Demographics;
}

export interface Station {
  ae_title: string;
  facility: string;
  description: string;
}

export const sectionNames = ['indication', 'technique', 'findings', 'impression'] as const;
export type SectionName = (typeof sectionNames)[number];
export type Sections = Record<SectionName, string>;

export interface Draft {
  kind: ReportKind;
  sections: Sections;
  language: Language;
  revision: number;
  saved_at: string;
}

export interface Delivery {
  state: DeliveryState;
  attempts: number;
  last_error?: string;
  next_attempt_at?: string;
  delivered_at?: string;
  fhir_id?: string;
}

export interface ReportVersion {
  report_id: string;
  version: number;
  kind: ReportKind;
  sections: Sections;
  language: Language;
  signed_by: string;
  signed_at: string;
  delivery?: Delivery;
}

export interface Report {
  id?: string;
  task_id: string;
  study_uid: string;
  /** Oldest first. */
  versions: ReportVersion[];
  draft?: Draft;
  draft_by?: string;
}

export interface DeliveryRow {
  report_id: string;
  task_id?: string;
  version: number;
  kind: ReportKind;
  signed_at: string;
  signed_by: string;
  delivery: Delivery;
  study: Study;
}

export interface DeliveryPage {
  deliveries: DeliveryRow[];
  counts: Partial<Record<DeliveryState, number>>;
  platform: string;
  next?: string;
}

export interface StudyPage {
  studies: Study[];
  next?: string;
}

export const services = ['store', 'query', 'retrieve', 'worklist', 'mpps', 'commitment', 'ups'] as const;
export type Service = (typeof services)[number];
export const answerCharsets = ['', 'ISO_IR 6', 'ISO_IR 100', 'ISO_IR 144', 'ISO_IR 148'] as const;

export interface Device {
  ae_title: string;
  facility: string;
  description?: string;
  host?: string;
  port?: number;
  services: Service[];
  destination: boolean;
  notify: boolean;
  all_facilities: boolean;
  transfer_syntaxes: string[];
  charset?: string;
  answer_charset?: string;
  tls: boolean;
  tls_server_name?: string;
  certificate?: string;
  max_associations_from: number;
  max_associations_to: number;
  last_seen_at?: string;
}

export const commitmentStates = ['checking', 'reporting', 'reported', 'failed'] as const;

export interface Commitment {
  id: string;
  ae_title: string;
  facility?: string;
  transaction_uid: string;
  state: (typeof commitmentStates)[number];
  requested_at: string;
  ended_at?: string;
  instances: number;
  safe: number;
  unsafe: number;
  last_error?: string;
}

export interface Taken {
  uid: string;
  name: string;
  taken: boolean;
}

export interface DeviceTest {
  ok: boolean;
  steps: { stage: string; code: string; warning: boolean; detail?: string; seconds: number }[];
  round_trip_seconds?: number;
  software?: string;
  max_pdu: number;
  classes: Taken[];
  transfer_syntaxes: Taken[];
}

export const associationOutcomes = ['released', 'aborted_by_peer', 'aborted_by_us', 'closed', 'timeout', 'rejected', 'failed'] as const;

export interface Association {
  id: string;
  began: string;
  seconds: number;
  direction: 'in' | 'out';
  calling: string;
  called: string;
  address: string;
  facility?: string;
  outcome: (typeof associationOutcomes)[number];
  code?: string;
  reason?: string;
  times: number;
  instances: number;
  failed: number;
  bytes: number;
}

export interface AssociationDetail extends Association {
  tls_version?: string;
  tls_subject?: string;
  user?: string;
  software?: string;
  max_pdu: number;
  contexts: { abstract_syntax: string; name?: string; proposed: string[]; accepted?: string; result?: string; scp: boolean }[];
  messages: Record<string, number>;
}

export interface UserRecord {
  id?: string;
  login: string;
  name: string;
  roles: Role[];
  facilities?: string[];
  all_facilities?: boolean;
  pinfl?: string;
  argos?: string;
  language?: Language;
  active?: boolean;
  password?: string;
}

export interface GroupRecord {
  id?: string;
  name: string;
  members: string[];
}

export interface Rule {
  id?: string;
  position?: number;
  name: string;
  condition: string;
  group: string;
  priority: Priority;
  deadline_minutes: number;
  active?: boolean;
}

export interface Status {
  version?: string;
  started_at?: string;
  studies?: number;
  instances?: number;
  bytes?: number;
  journal?: { records?: number; bytes?: number; held?: number; oldest_seconds?: number };
  database?: string;
  store?: string;
  deliveries?: { queued?: number; retrying?: number; failed?: number };
}

export interface FacilityName {
  code: string;
  name: string;
}

/** Who a patient is, in DICOM's forms: Family^Given^Middle, YYYYMMDD. */
export interface Demographics {
  name?: string;
  patient_id?: string;
  issuer?: string;
  birth_date?: string;
  sex?: '' | 'M' | 'F' | 'O';
  pinfl?: string;
}

export const quarantineReasons = ['missing_uid', 'bad_uid', 'broken_header', 'too_large', 'other_patient', 'other_facility', 'mismatch', 'unfit', 'damaged'] as const;
export type QuarantineReason = (typeof quarantineReasons)[number];

export interface Quarantined {
  id: string;
  reason: QuarantineReason;
  message: string;
  facility: FacilityName;
  sender: string;
  channel: string;
  bytes: number;
  received_at: string;
  study_uid?: string;
  series_uid?: string;
  sop_uid?: string;
  sop_class?: string;
  needs_sop_class?: boolean;
  unreleasable?: string;
  modality?: string;
  study_date?: string;
  description?: string;
  patient?: Demographics;
  belongs_to?: Demographics;
}

export interface QuarantinePage {
  items: Quarantined[];
  next?: string;
  total: number;
  bytes: number;
  quota: number;
}

export interface Release {
  ids: string[];
  facility?: string;
  patient?: Demographics;
  new_study?: boolean;
  sop_class?: string;
}

export interface Released {
  released: string[];
  refused: { id: string; message: string }[];
}

export interface VersionedInstance {
  sop_uid: string;
  series_uid: string;
  versions: { version: number; current: boolean; bytes: number; sha256: string; sender: string; channel: string; received_at: string }[];
}

export interface PatientRecord {
  id: string;
  revision: number;
  facility: FacilityName;
  demographics: Demographics;
  shared_id?: boolean;
  corrected: boolean;
  studies: number;
}

export interface PatientStudy {
  study_uid: string;
  date: string;
  description: string;
  modalities: string[];
  accession?: string;
  instances: number;
  moved: boolean;
}

export type PatientOperationKind = 'correct' | 'merge' | 'move' | 'split' | 'undo';

export interface PatientOperation {
  id: string;
  kind: PatientOperationKind;
  at: string;
  who: string;
  why: string;
  before?: Demographics;
  after?: Demographics;
  other?: string;
  studies?: string[];
  undoes?: string;
  undone_by?: string;
  undoable: boolean;
}

export interface PatientDetail {
  patient: PatientRecord;
  received?: Demographics;
  studies: PatientStudy[];
  linked: PatientRecord[];
  history: PatientOperation[];
}

export interface StorageProblem {
  id: string;
  key: string;
  kind: 'missing' | 'unreadable' | 'damaged_instance' | 'damaged_metadata' | 'damaged_directory' | 'not_indexed' | 'orphan';
  state: 'open' | 'repaired' | 'gone';
  message: string;
  facility?: string;
  study_uid?: string;
  series_uid?: string;
  sop_uids?: string[];
  found_at: string;
  repaired_at?: string;
  repaired_from?: string;
}

export interface Verification {
  packs: number;
  bytes: number;
  verified: number;
  oldest?: string;
  pass?: { started_at: string; done: number; total: number };
  bytes_per_second?: number;
  interval_seconds?: number;
  copy?: boolean;
  problems: StorageProblem[];
}

export const forwardOccasions = ['complete', 'arrival', 'order'] as const;
export const forwardPriorities = ['high', 'normal', 'low'] as const;
export const forwardStates = ['waiting', 'scheduled', 'sending', 'sent', 'failed', 'paused', 'cancelled'] as const;
export const forwardActs = ['pause', 'resume', 'cancel', 'retry', 'replay'] as const;
export const forwardAuthorizations = ['none', 'basic', 'bearer'] as const;
export type ForwardOccasion = (typeof forwardOccasions)[number];
export type ForwardPriority = (typeof forwardPriorities)[number];
export type ForwardState = (typeof forwardStates)[number];
export type ForwardAct = (typeof forwardActs)[number];

export interface ForwardRule {
  id?: string;
  name: string;
  enabled: boolean;
  paused?: boolean;
  occasion: ForwardOccasion;
  level: 'study' | 'series';
  facilities?: string[];
  condition?: string;
  target: { kind: 'device' | 'node'; name: string };
  priority: ForwardPriority;
  retry_hours: number;
  transfer_syntaxes?: string[];
  window?: { from: string; until: string; days?: number[]; zone?: string };
  priors?: { count: number; years?: number; same_modality?: boolean; same_body_part?: boolean };
}

export interface ForwardTrial {
  looked: number;
  more: boolean;
  studies: number;
  series: number;
  failed: number;
  samples: { study_uid: string; facility: string; date: string; modalities: string[]; description: string; patient: string }[];
}

export interface ForwardTarget {
  id: string;
  kind: 'device' | 'node';
  name: string;
  url?: string;
  authorization?: (typeof forwardAuthorizations)[number];
  login?: string;
  has_secret?: boolean;
  parallel?: number;
  paused: boolean;
  failures: number;
  resting_until?: string;
  last_error?: string;
}

export interface ForwardNode {
  name: string;
  url: string;
  authorization: (typeof forwardAuthorizations)[number];
  login?: string;
  secret?: string;
  parallel?: number;
}

export interface ForwardItem {
  id: string;
  rule: string;
  rule_name: string;
  target: string;
  kind: 'device' | 'node';
  to: string;
  facility: string;
  study_uid: string;
  series_uid?: string;
  patient?: string;
  date?: string;
  modalities: string[];
  description?: string;
  occasion: ForwardOccasion;
  state: ForwardState;
  held: boolean;
  priority: ForwardPriority;
  total: number;
  sent: number;
  failed: number;
  attempts: number;
  queued_at: string;
  next_at?: string;
  ended_at?: string;
  error?: string;
}

export interface ForwardItemDetail {
  item: ForwardItem;
  instances: { sop_uid: string; why: string }[];
}

export const retentionActions = ['keep', 'move_to_cold', 'delete_pixels', 'delete_all'] as const;
export type RetentionAction = (typeof retentionActions)[number];

export interface RetentionPolicy {
  id?: string;
  position?: number;
  name: string;
  facility?: string;
  modality?: string;
  days: number;
  action: RetentionAction;
  enabled?: boolean;
  previewed?: boolean;
}

export interface RetentionPreview {
  at: string;
  studies: number;
  instances: number;
  bytes: number;
  held: number;
  samples: { study_uid: string; facility: string; date: string; modalities?: string[]; patient?: string; bytes: number }[];
}

export interface RetentionRun {
  id: string;
  policy: string;
  action: string;
  started_at: string;
  finished_at?: string;
  studies: number;
  bytes: number;
  failed: number;
}

export interface LegalHold {
  study_uid: string;
  why: string;
  who: string;
  at: string;
  facility?: string;
  patient?: string;
  date?: string;
  description?: string;
}

/** Codes of PS3.16 CID 7011: quality, patient safety, incorrect worklist entry, retention expired. */
export const rejectionReasons = ['113001', '113037', '113038', '113039'] as const;
export type RejectionReason = (typeof rejectionReasons)[number];

export interface RejectedStudy {
  study_uid: string;
  facility: FacilityName;
  patient: Demographics;
  date: string;
  description: string;
  accession?: string;
  /** Instances that are shown. */
  shown: number;
}

export interface RejectedEntry extends RejectedStudy {
  rejected: number;
  noted_at: string;
}

export interface RejectedInstance {
  series_uid: string;
  modality: string;
  series_description: string;
  sop_uid: string;
  sop_class: string;
  number?: number;
  reason: RejectionReason;
  note_uid: string;
  noted_at: string;
  sender: string;
}

export interface Rejected {
  study: RejectedStudy;
  instances: RejectedInstance[];
}
