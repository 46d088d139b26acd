import { ApiError } from '../../api/client';
import { type Draft, type Language, type Problem, type Report, type ReportKind, type SectionName, type Sections, sectionNames } from '../../api/schema';

/** Where the words are that the reader sees. */
export type SaveState =
  /** Nothing was written yet. */
  | { kind: 'untouched' }
  /** Written a moment ago; on this computer, on its way to the server. */
  | { kind: 'pending' }
  /** On the server. */
  | { kind: 'saved'; at: string }
  /** On this computer only, until the line or the server is back. */
  | { kind: 'kept'; why: 'offline' | 'server' }
  /** The server has another text that can't be joined with this one by itself. */
  | { kind: 'conflict'; theirs: Draft; sections: SectionName[] }
  /** The server will not take it; the words stay on this computer. */
  | { kind: 'refused'; problem: Problem };

export interface Text {
  sections: Sections;
  language: Language;
}

/** What is kept on this computer for a task, until the server has it. */
interface Kept extends Text {
  base: Sections;
  revision: number;
  at: string;
}

/** What the keeper needs from its surroundings. */
export interface Surroundings {
  save(body: Text & { revision: number }): Promise<Draft>;
  fetch(): Promise<Report>;
  storage: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;
  setTimer(run: () => void, ms: number): unknown;
  clearTimer(timer: unknown): void;
  now(): number;
}

export const noSections = (): Sections => ({ indication: '', technique: '', findings: '', impression: '' });

export const sameSections = (a: Sections, b: Sections) => sectionNames.every((name) => a[name] === b[name]);

/**
 * Joins two texts that started from the same one, section by section. A
 * section that both have changed, and differently, can't be joined.
 */
export function join(base: Sections, mine: Sections, theirs: Sections): { sections: Sections; conflicts: SectionName[] } {
  const sections = noSections();
  const conflicts: SectionName[] = [];
  for (const name of sectionNames) {
    if (mine[name] === theirs[name] || theirs[name] === base[name]) sections[name] = mine[name];
    else if (mine[name] === base[name]) sections[name] = theirs[name];
    else {
      sections[name] = mine[name];
      conflicts.push(name);
    }
  }
  return { sections, conflicts };
}

export const pauseMs = 1200;
const retryMs = [3000, 6000, 12_000, 30_000];

/**
 * Keeps the text of one report from being lost. Every change is on this
 * computer at once, and on the server after a pause in writing; what the
 * server does not take stays here and is tried again. Another text on the
 * server is joined with this one where that is safe, and never overwritten
 * without asking.
 */
export class DraftKeeper {
  text: Text;
  state: SaveState;
  kind: ReportKind = 'final';
  /** Words from an earlier visit were found on this computer and taken over. */
  recovered = false;
  private base: Sections;
  private revision: number;
  private timer: unknown;
  private saving: Promise<void> | undefined;
  private failures = 0;
  private changes = 0;
  private closed = false;
  private readonly key: string;
  private readonly around: Surroundings;
  private readonly listeners = new Set<() => void>();
  private version = 0;

  constructor(key: string, draft: Draft | undefined, start: Text, around: Surroundings) {
    this.key = key;
    this.around = around;
    this.revision = draft?.revision ?? 0;
    this.kind = draft?.kind ?? 'final';
    this.base = draft ? { ...draft.sections } : noSections();
    this.text = draft ? { sections: { ...draft.sections }, language: draft.language } : { sections: { ...start.sections }, language: start.language };
    this.state = draft ? { kind: 'saved', at: draft.saved_at } : { kind: 'untouched' };
    this.recover(draft);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): number => this.version;

  private tell(state?: SaveState): void {
    if (state) this.state = state;
    this.version++;
    for (const listener of this.listeners) listener();
  }

  private recover(draft: Draft | undefined): void {
    const kept = this.read();
    if (!kept) return;
    const server = draft?.sections ?? noSections();
    if (sameSections(kept.sections, server)) {
      this.around.storage.removeItem(this.key);
      return;
    }
    this.recovered = true;
    this.text = { sections: kept.sections, language: kept.language };
    this.changes++;
    if (kept.revision === this.revision) {
      this.state = { kind: 'pending' };
      this.schedule(0);
      return;
    }
    const joined = join(kept.base, kept.sections, server);
    if (draft && joined.conflicts.length) {
      this.state = { kind: 'conflict', theirs: draft, sections: joined.conflicts };
      return;
    }
    this.text = { ...this.text, sections: joined.sections };
    this.state = { kind: 'pending' };
    this.schedule(0);
  }

  private read(): Kept | undefined {
    try {
      const kept = JSON.parse(this.around.storage.getItem(this.key) ?? 'null') as Kept | null;
      return kept?.sections && kept.base ? kept : undefined;
    } catch {
      return undefined;
    }
  }

  private keep(): void {
    const kept: Kept = { ...this.text, base: this.base, revision: this.revision, at: new Date(this.around.now()).toISOString() };
    try {
      this.around.storage.setItem(this.key, JSON.stringify(kept));
    } catch {
      // A full or forbidden storage must not stop the writing; the server still gets it.
    }
  }

  private schedule(ms: number): void {
    this.around.clearTimer(this.timer);
    this.timer = this.around.setTimer(() => void this.flush(), ms);
  }

  /** The reader has written. */
  edit(change: { sections?: Partial<Sections>; language?: Language }): void {
    this.text = { sections: { ...this.text.sections, ...change.sections }, language: change.language ?? this.text.language };
    this.changes++;
    this.keep();
    if (this.state.kind === 'conflict' || this.state.kind === 'refused') {
      this.tell();
      return;
    }
    this.tell(this.state.kind === 'kept' ? this.state : { kind: 'pending' });
    this.schedule(pauseMs);
  }

  /** Whether everything that is on the screen is on the server. */
  get clean(): boolean {
    return this.state.kind === 'saved' || this.state.kind === 'untouched';
  }

  get currentRevision(): number {
    return this.revision;
  }

  /** Saves what is not saved yet, now. Resolves when it is saved or can't be. */
  async flush(): Promise<void> {
    this.around.clearTimer(this.timer);
    if (this.saving) {
      await this.saving;
      if (!this.needsSave()) return;
    }
    if (!this.needsSave() || this.closed) return;
    this.saving = this.send().finally(() => {
      this.saving = undefined;
    });
    await this.saving;
  }

  private needsSave(): boolean {
    return this.state.kind === 'pending' || this.state.kind === 'kept';
  }

  private async send(): Promise<void> {
    const sent = this.changes;
    const { text } = this;
    try {
      const draft = await this.around.save({ ...text, revision: this.revision });
      this.failures = 0;
      this.revision = draft.revision;
      this.kind = draft.kind;
      this.base = { ...text.sections };
      if (sent === this.changes) {
        this.around.storage.removeItem(this.key);
        this.tell({ kind: 'saved', at: draft.saved_at });
      } else {
        this.keep();
        this.tell({ kind: 'pending' });
        this.schedule(pauseMs);
      }
    } catch (err) {
      this.keep();
      if (!(err instanceof ApiError)) throw err;
      if (err.problem.reason === 'stale_revision') await this.rejoin();
      else if (err.transient || err.problem.status === 401) this.retryLater(err.offline ? 'offline' : 'server');
      else this.tell({ kind: 'refused', problem: err.problem });
    }
  }

  private retryLater(why: 'offline' | 'server'): void {
    this.tell({ kind: 'kept', why });
    this.schedule(retryMs[Math.min(this.failures++, retryMs.length - 1)]);
  }

  /** The server has another revision: another window, or another computer, has written. */
  private async rejoin(): Promise<void> {
    let theirs: Draft | undefined;
    try {
      theirs = (await this.around.fetch()).draft;
    } catch (err) {
      if (err instanceof ApiError && err.transient) this.retryLater(err.offline ? 'offline' : 'server');
      else this.tell({ kind: 'kept', why: 'server' });
      return;
    }
    if (!theirs) {
      // The draft was discarded or signed elsewhere; saving anew tells which.
      this.revision = 0;
      this.base = noSections();
      this.tell({ kind: 'pending' });
      this.schedule(pauseMs);
      return;
    }
    const { sections, conflicts } = join(this.base, this.text.sections, theirs.sections);
    if (conflicts.length) {
      this.tell({ kind: 'conflict', theirs, sections: conflicts });
      return;
    }
    this.adopt(theirs, { ...this.text, sections });
  }

  private adopt(theirs: Draft, text: Text): void {
    this.revision = theirs.revision;
    this.base = { ...theirs.sections };
    this.text = text;
    this.changes++;
    if (sameSections(text.sections, theirs.sections) && text.language === theirs.language) {
      this.around.storage.removeItem(this.key);
      this.tell({ kind: 'saved', at: theirs.saved_at });
      return;
    }
    this.keep();
    this.tell({ kind: 'pending' });
    this.schedule(0);
  }

  /** The reader's choice between two texts. "both" puts theirs beneath mine in every section that differs. */
  resolve(choice: 'mine' | 'theirs' | 'both'): void {
    if (this.state.kind !== 'conflict') return;
    const { theirs, sections: conflicts } = this.state;
    const { sections } = join(this.base, this.text.sections, theirs.sections);
    for (const name of conflicts) {
      if (choice === 'theirs') sections[name] = theirs.sections[name];
      if (choice === 'both') sections[name] = `${this.text.sections[name]}\n\n${theirs.sections[name]}`;
    }
    this.adopt(theirs, { ...this.text, sections });
  }

  /** Signed or discarded: nothing of this draft is to come back. */
  forget(): void {
    this.close();
    this.around.storage.removeItem(this.key);
  }

  close(): void {
    this.closed = true;
    this.around.clearTimer(this.timer);
  }
}
