// Failures on demand, and a memory of what was asked: a sandbox that never
// fails proves nothing about the sender.

import { issue } from './definitions.mjs';
import { refuse } from './repository.mjs';

const FIELDS = ['status', 'count', 'delayMs', 'dropAfterCommit', 'drop', 'method', 'path', 'retryAfter', 'message'];
const KEPT = 500;

export class Faults {
  // fail is the flag --fail STATUS:COUNT, for example 503:5.
  constructor(fail) {
    this.active = [];
    this.seen = [];
    if (!fail) return;
    const [status, count] = fail.split(':').map(Number);
    this.add({ status, count: count || 1 });
  }

  // add takes {status, count}, {delayMs}, {dropAfterCommit: n} or {drop: n};
  // method and path (a regular expression) narrow what it hits.
  add(fault) {
    for (const key of Object.keys(fault)) {
      if (!FIELDS.includes(key)) throw refuse('invalid', issue('value', `unknown fault ${key}: use ${FIELDS.join(', ')}`));
    }
    const count = fault.count ?? (Number(fault.dropAfterCommit) || Number(fault.drop) || 1);
    this.active.push({ ...fault, count });
  }

  list() {
    return this.active;
  }

  clear() {
    this.active = [];
  }

  // take notes the request and returns the fault that hits it, if any.
  take(method, url) {
    this.seen.push({ method, url });
    if (this.seen.length > KEPT) this.seen.shift();
    const fault = this.active.find(
      (one) =>
        (!one.method || one.method === method) &&
        (!one.path || new RegExp(one.path).test(url)) &&
        (!one.dropAfterCommit || method === 'POST' || method === 'PUT')
    );
    if (fault && --fault.count <= 0) this.active = this.active.filter((one) => one !== fault);
    return fault;
  }
}
