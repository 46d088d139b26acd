// medplum's in-memory repository with what a platform needs and it lacks:
// validation on every path, all-or-nothing transactions, references that must
// lead somewhere, and a log on disk that survives a restart.

import fs from 'node:fs';
import path from 'node:path';
import { randomUUID } from 'node:crypto';
import { issue, validate } from './definitions.mjs';
import { references, uzCoreIssues } from './uzcore.mjs';

const { OperationOutcomeError } = await import('@medplum/core');
const { MemoryRepository } = await import('@medplum/fhir-router');

export const refuse = (id, ...issues) => new OperationOutcomeError({ resourceType: 'OperationOutcome', id, issue: issues });

export class Repository extends MemoryRepository {
  // etags is 'numeric' (1, 2, 3 ...) or 'uuid'.
  constructor({ types, etags = 'numeric', folder } = {}) {
    super();
    // Seeding mode makes the base class keep the version and time set here.
    this.seeding = true;
    this.types = new Set(types);
    this.etags = etags;
    this.undo = undefined;
    this.written = [];
    if (folder) this.openLog(folder);
  }

  // atomically runs one write. Either everything it stored is on disk when the
  // promise resolves, or nothing is stored. Calls must not overlap.
  async atomically(work) {
    this.undo = [];
    this.written = [];
    let keep = false;
    try {
      const result = await work();
      this.checkReferences();
      this.append(this.written);
      keep = true;
      return result;
    } finally {
      if (!keep) for (const step of this.undo.reverse()) step();
      this.undo = undefined;
      this.written = [];
    }
  }

  // The one place through which every create and update goes, conditional or
  // not, single or in a Bundle.
  createResourceSync(resource, options, update = false) {
    const { resourceType } = resource;
    if (!this.types.has(resourceType)) throw refuse('invalid', issue('not-supported', `${resourceType} is not offered here`));
    const draft = structuredClone(resource);
    const previous = draft.id ? this.resources.get(resourceType)?.get(draft.id) : undefined;
    draft.id ??= this.generateId();
    draft.meta = { ...draft.meta, versionId: this.nextVersion(previous), lastUpdated: new Date().toISOString() };
    const structural = validate(draft);
    if (structural.length > 0) throw refuse('invalid', ...structural);
    const national = uzCoreIssues(draft);
    if (national.length > 0) throw refuse('unprocessable', ...national);
    const stored = super.createResourceSync(draft, options, update);
    this.written.push(stored);
    this.undo?.push(() => {
      this.history.get(resourceType).get(draft.id).pop();
      if (previous) this.resources.get(resourceType).set(draft.id, previous);
      else this.resources.get(resourceType).delete(draft.id);
    });
    return stored;
  }

  nextVersion(previous) {
    if (this.etags === 'uuid') return randomUUID();
    return String(previous ? Number(previous.meta.versionId) + 1 : 1);
  }

  async createResource(resource, options, update) {
    return this.createResourceSync(resource, options, update);
  }

  // The base class knows nothing of the backslash that R5 (search, 3.2.1.5.7)
  // puts before a separator inside a value, and compares without regard to case.
  searchSync(request) {
    const plain = (request.filters ?? []).filter((filter) => filter.code !== 'identifier');
    const tokens = (request.filters ?? []).filter((filter) => filter.code === 'identifier');
    if (tokens.length === 0) return super.searchSync(request);
    const { count, offset = 0 } = request;
    const all = super.searchSync({ ...request, filters: plain, count: undefined, offset: undefined });
    const matches = (all.entry ?? []).filter(({ resource }) => tokens.every((filter) => hasIdentifier(resource, filter.value)));
    const page = matches.slice(offset, count === undefined ? undefined : offset + count);
    return { ...all, entry: page.length > 0 ? page : undefined, total: matches.length };
  }

  // The base class turns the stored array round in place.
  async readHistory(resourceType, id) {
    await this.readResource(resourceType, id);
    const versions = [...(this.history.get(resourceType)?.get(id) ?? [])].reverse();
    return { resourceType: 'Bundle', type: 'history', total: versions.length, entry: versions.map((resource) => ({ resource: structuredClone(resource) })) };
  }

  checkReferences() {
    const missing = [];
    for (const resource of this.written) {
      for (const { path: at, value } of references(resource, resource.resourceType)) {
        if (value.reference.startsWith('#') || /^https?:/.test(value.reference)) continue;
        const literal = /^([A-Z]\w+)\/([A-Za-z0-9.-]{1,64})(\/_history\/.+)?$/.exec(value.reference);
        if (!literal || !this.resources.get(literal[1])?.has(literal[2])) {
          missing.push(issue('not-found', `${value.reference} does not exist`, at));
        }
      }
    }
    if (missing.length > 0) throw refuse('unprocessable', ...missing);
  }

  // One line is one transaction, so a line cut short by a crash is a
  // transaction that never was.
  openLog(folder) {
    fs.mkdirSync(folder, { recursive: true });
    const file = path.join(folder, 'resources.ndjson');
    let kept = 0;
    if (fs.existsSync(file)) {
      const bytes = fs.readFileSync(file);
      for (let start = 0, end; (end = bytes.indexOf(10, start)) >= 0; start = end + 1) {
        for (const resource of JSON.parse(bytes.toString('utf8', start, end))) super.createResourceSync(resource, undefined, true);
        kept = end + 1;
      }
    }
    this.log = fs.openSync(file, fs.existsSync(file) ? 'r+' : 'w+');
    fs.ftruncateSync(this.log, kept);
    this.end = kept;
  }

  append(written) {
    if (this.log === undefined || written.length === 0) return;
    const line = Buffer.from(JSON.stringify(written) + '\n');
    fs.writeSync(this.log, line, 0, line.length, this.end);
    fs.fsyncSync(this.log);
    this.end += line.length;
  }

  all(resourceType) {
    return [...(this.resources.get(resourceType)?.values() ?? [])];
  }
}

function hasIdentifier(resource, value) {
  return split(value, ',').some((one) => {
    const parts = split(one, '|').map((part) => part.replace(/\\(.)/g, '$1'));
    return (resource.identifier ?? []).some((identifier) => {
      if (parts.length === 1) return identifier.value === parts[0];
      return (identifier.system ?? '') === parts[0] && (parts[1] === '' || identifier.value === parts[1]);
    });
  });
}

// split cuts at separators that no backslash guards.
function split(text, separator) {
  const parts = [''];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\' && i + 1 < text.length) parts[parts.length - 1] += text[i] + text[++i];
    else if (text[i] === separator) parts.push('');
    else parts[parts.length - 1] += text[i];
  }
  return parts;
}
