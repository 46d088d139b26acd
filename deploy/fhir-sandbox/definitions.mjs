// HL7's own R5 definitions (npm hl7.fhir.r5.core), loaded into medplum's
// validator, and the code systems that required bindings point to.
//
// Only what this server offers is loaded, so that it starts in about a second.

import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

// @medplum/core names WebSocket while it loads; node has it from version 22 on.
globalThis.WebSocket ??= class WebSocket {};
const { indexSearchParameter, loadDataType, validateResource } = await import('@medplum/core');

const require = createRequire(import.meta.url);
const folder = path.dirname(require.resolve('hl7.fhir.r5.core/package.json'));
const read = (name) => JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8'));

const MAX_ATTACHMENT = 24 << 20;

// Resource types that carry other resources on the wire and are never stored.
const CARRIERS = ['Bundle', 'OperationOutcome', 'Parameters', 'CapabilityStatement', 'Resource', 'DomainResource'];

export function loadDefinitions(resourceTypes) {
  const wanted = new Set([...resourceTypes, ...CARRIERS].map((type) => `StructureDefinition-${type}.json`));
  for (const name of fs.readdirSync(folder)) {
    if (!name.startsWith('StructureDefinition-')) continue;
    if (wanted.has(name)) {
      loadDataType(read(name));
      continue;
    }
    const definition = read(name);
    const dataType = definition.kind === 'complex-type' || definition.kind === 'primitive-type';
    if (dataType && definition.snapshot && definition.derivation !== 'constraint') loadDataType(definition);
  }
  const types = new Set(resourceTypes);
  for (const name of fs.readdirSync(folder)) {
    if (!name.startsWith('SearchParameter-')) continue;
    const parameter = read(name);
    const base = (parameter.base ?? []).filter((type) => types.has(type) || type === 'Resource' || type === 'DomainResource');
    if (base.length > 0 && parameter.expression) indexSearchParameter({ ...parameter, base });
  }
}

// validate returns the issues of one resource against base R5: structure,
// cardinality, formats, FHIRPath invariants and required bindings.
export function validate(resource) {
  const tokens = {};
  let issues = [];
  try {
    issues = validateResource(resource, { collect: { tokens }, base64BinaryMaxBytes: MAX_ATTACHMENT });
  } catch (err) {
    if (!err.outcome) throw err;
    issues = err.outcome.issue;
  }
  for (const [valueSet, values] of Object.entries(tokens)) {
    for (const value of values) {
      const problem = bindingProblem(valueSet, value);
      if (problem) issues.push(issue('code-invalid', problem, value.path));
    }
  }
  return issues.filter((found) => found.severity === 'error' || found.severity === 'fatal' || isWrongReference(found));
}

// medplum only warns about a reference of the wrong type; R5 forbids it.
const isWrongReference = (found) => /^Invalid reference: got/.test(found.details?.text ?? '');

export function issue(code, text, expression) {
  return { severity: 'error', code, details: { text }, ...(expression ? { expression: [expression] } : {}) };
}

function bindingProblem(url, { type, value }) {
  const raw = value?.valueOf?.() ?? value;
  const name = url.split('|')[0];
  switch (type) {
    case 'code':
      return typeof raw !== 'string' || inValueSet(name, undefined, raw) ? '' : `'${raw}' is not in ${url}`;
    case 'Coding':
      return inValueSet(name, raw.system, raw.code) ? '' : `'${raw.system}|${raw.code}' is not in ${url}`;
    case 'CodeableConcept': {
      const ok = (raw.coding ?? []).some((coding) => inValueSet(name, coding.system, coding.code));
      return ok ? '' : `none of its codings is in ${url}`;
    }
    default:
      return '';
  }
}

const expansions = new Map();

// inValueSet answers true, too, where a value set's code system is not in HL7's
// package and has no grammar here: what can't be checked is not refused.
function inValueSet(url, system, code) {
  if (!expansions.has(url)) expansions.set(url, expand(url));
  const expansion = expansions.get(url);
  if (!expansion || !code) return true;
  for (const part of expansion) {
    if (system !== undefined && part.system !== system) continue;
    if (part.accepts(code)) return true;
  }
  return false;
}

// Code systems that are a grammar rather than a list.
const GRAMMARS = {
  'urn:ietf:bcp:13': (code) => /^[a-z]+\/[\w.+-]+(;\s*[\w-]+=("[^"]*"|[\w-]+))*$/i.test(code),
  'urn:ietf:bcp:47': (code) => /^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|\d{3}))?$/.test(code),
  'urn:iso:std:iso:4217': (code) => /^[A-Z]{3}$/.test(code),
};

function expand(url) {
  const name = `ValueSet-${url.split('/').pop()}.json`;
  if (!fs.existsSync(path.join(folder, name))) return undefined;
  const valueSet = read(name);
  const parts = [];
  for (const include of valueSet.compose?.include ?? []) {
    for (const nested of include.valueSet ?? []) {
      const inner = expand(nested.split('|')[0]);
      if (!inner) return undefined;
      parts.push(...inner);
    }
    if (!include.system) continue;
    const grammar = GRAMMARS[include.system];
    if (include.concept) {
      const codes = new Set(include.concept.map((concept) => concept.code));
      parts.push({ system: include.system, accepts: (code) => codes.has(code) });
    } else if (grammar) {
      parts.push({ system: include.system, accepts: grammar });
    } else {
      const codes = codeSystem(include.system);
      if (!codes || include.filter) return undefined;
      parts.push({ system: include.system, accepts: (code) => codes.has(code) });
    }
  }
  return parts;
}

function codeSystem(url) {
  const name = `CodeSystem-${url.split('/').pop()}.json`;
  if (!fs.existsSync(path.join(folder, name))) return undefined;
  const system = read(name);
  if (system.url !== url || system.content !== 'complete') return undefined;
  const codes = new Set();
  const walk = (concepts) => concepts?.forEach((concept) => (codes.add(concept.code), walk(concept.concept)));
  walk(system.concept);
  return codes;
}
