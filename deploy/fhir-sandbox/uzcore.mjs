// The rules that UZ Core, the national guide (package uz.dhp.core), adds to
// base R5. One row per rule; each returns what is wrong, in words, or nothing.

import { issue } from './definitions.mjs';
import { narrativeProblem } from './narrative.mjs';

const CORE = 'https://dhp.uz/fhir/core';
const profileOf = (id) => `${CORE}/StructureDefinition/${id}`;

export const PROFILES = {
  Patient: profileOf('uz-core-patient'),
  Practitioner: profileOf('uz-core-practitioner'),
  PractitionerRole: profileOf('uz-core-practitioner-role'),
  Organization: profileOf('uz-core-organization'),
  ServiceRequest: profileOf('uz-core-servicerequest'),
  DiagnosticReport: profileOf('uz-core-diagnostic-report'),
  Observation: profileOf('uz-core-observation'),
};

const V2_0203 = 'http://terminology.hl7.org/CodeSystem/v2-0203';
const V2_0074 = 'http://terminology.hl7.org/CodeSystem/v2-0074';

// HL7 v2 table 0074, diagnostic service section: the national value set
// diagnostic-report-service-category-vs holds all of it.
const SECTIONS = new Set(
  ('AU BG BLB CG CH CP CT CTH CUS EC EN GE HM ICU IMG IMM LAB MB MCB MYC NMR NMS NRS OSL OT OTH OUS PAR PAT PF PHR PHY ' +
    'PT RAD RC RT RUS RX SP SR TX URN VR VUS XRC').split(' ')
);

// Patient identifier slices by system: the v2-0203 type each one fixes.
const PATIENT_IDENTIFIERS = {
  [`${CORE}/sid/pid/uz/ni`]: { type: 'NI', use: 'official', value: /^\d{14}$/, words: 'a PINFL has 14 digits' },
  [`${CORE}/sid/pid/uz/ppn/local`]: { type: 'PPN', use: 'official' },
  [`${CORE}/sid/pid/uz/ppn/intl`]: { type: 'PPN', use: 'official' },
  [`${CORE}/sid/pid/uz/ppn/dp`]: { type: 'DP', use: 'official' },
  [`${CORE}/sid/pid/uz/bct`]: { type: 'BCT', use: 'official' },
  [`${CORE}/sid/pid/uz/dl`]: { type: 'DL', use: 'official' },
  [`${CORE}/sid/pid/uz/hc`]: { type: 'HC', use: 'official' },
  [`${CORE}/sid/pid/uz/mi`]: { type: 'MI', use: 'official' },
  [`${CORE}/sid/pid/uz/pcn`]: { type: 'PCN', use: 'official' },
  [`${CORE}/sid/pid/uz/pen`]: { type: 'PEN', use: 'official' },
  [`${CORE}/sid/pid/uz/mrt`]: { type: 'MR', use: 'temp' },
};

function* references(value, path) {
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) yield* references(value[i], `${path}[${i}]`);
  } else if (value && typeof value === 'object') {
    if (typeof value.reference === 'string') yield { path, value };
    for (const [key, inner] of Object.entries(value)) {
      if (key !== 'contained') yield* references(inner, `${path}.${key}`);
    }
  }
}

const typeOf = (reference) => {
  const literal = /^([A-Z]\w+)\/[^/]+/.exec(reference.reference ?? '');
  return literal?.[1] ?? reference.type;
};

// only makes a rule: the references in an element point to these types.
const only = (element, ...types) => (resource) =>
  [resource[element] ?? []].flat().flatMap((reference, i) =>
    types.includes(typeOf(reference))
      ? []
      : [[`${element} may only be ${types.join(' or ')}, not ${typeOf(reference) ?? 'a reference without a type'}`, `${resource.resourceType}.${element}[${i}]`]]
  );

const RULES = {
  Patient: [
    (patient) => (patient.identifier?.length ? [] : [['a patient has at least one identifier (identifier 1..*)', 'Patient.identifier']]),
    (patient) =>
      (patient.identifier ?? []).flatMap((identifier, i) => {
        const slice = PATIENT_IDENTIFIERS[identifier.system];
        const path = `Patient.identifier[${i}]`;
        if (!slice) return [];
        const problems = [];
        if (!identifier.value) problems.push([`identifier ${identifier.system} has no value`, path]);
        else if (slice.value && !slice.value.test(identifier.value)) problems.push([slice.words, `${path}.value`]);
        if (identifier.use !== slice.use) problems.push([`identifier ${identifier.system} has use '${slice.use}'`, `${path}.use`]);
        if (!identifier.type?.coding?.some((coding) => coding.system === V2_0203 && coding.code === slice.type))
          problems.push([`identifier ${identifier.system} has type v2-0203 ${slice.type}`, `${path}.type`]);
        return problems;
      }),
    (patient) => {
      const seen = new Set();
      return (patient.identifier ?? []).flatMap((identifier, i) => {
        if (!PATIENT_IDENTIFIERS[identifier.system]) return [];
        if (!seen.has(identifier.system)) return void seen.add(identifier.system), [];
        return [[`identifier ${identifier.system} may be given once`, `Patient.identifier[${i}]`]];
      });
    },
    // uzcore-gender-other-2
    (patient) =>
      patient.gender !== 'other' && patient._gender?.extension?.some((extension) => extension.url?.endsWith('/gender-other'))
        ? [['gender-other is allowed only when gender is other', 'Patient.gender']]
        : [],
  ],
  DiagnosticReport: [
    only('performer', 'Practitioner', 'PractitionerRole'),
    only('basedOn', 'ServiceRequest'),
    only('result', 'Observation'),
    only('subject', 'Patient', 'Organization', 'Practitioner', 'Location', 'Medication'),
    (report) =>
      (report.category ?? []).flatMap((category, i) =>
        category.coding?.some((coding) => coding.system === V2_0074 && SECTIONS.has(coding.code))
          ? []
          : [['category is a code of HL7 table 0074 (diagnostic-report-service-category-vs, required)', `DiagnosticReport.category[${i}]`]]
      ),
  ],
  ServiceRequest: [only('subject', 'Patient', 'Location')],
  Observation: [only('basedOn', 'CarePlan', 'MedicationRequest', 'ServiceRequest')],
};

// uzCoreIssues returns the issues of a resource that is valid R5.
export function uzCoreIssues(resource) {
  const type = resource.resourceType;
  const found = [];
  const claimed = resource.meta?.profile ?? [];
  const expected = PROFILES[type];
  if (expected && !claimed.some((profile) => profile.split('|')[0] === expected)) {
    found.push(issue('required', `every ${type} names its profile in meta.profile: ${expected}`, `${type}.meta.profile`));
  }
  for (const profile of claimed) {
    if (profile.startsWith(CORE) && profile.split('|')[0] !== expected) {
      found.push(issue('invalid', `UZ Core has no profile ${profile} for ${type}`, `${type}.meta.profile`));
    }
  }
  for (const rule of RULES[type] ?? []) {
    for (const [text, expression] of rule(resource)) found.push(issue('business-rule', text, expression));
  }
  const problem = resource.text?.div === undefined ? '' : narrativeProblem(resource.text.div);
  if (problem) found.push(issue('invariant', `narrative (txt-1, txt-2): ${problem}`, `${type}.text.div`));
  return found;
}

export { references };
