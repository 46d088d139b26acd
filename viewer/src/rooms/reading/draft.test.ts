import { beforeEach, describe, expect, test } from 'vitest';
import { ApiError } from '../../api/client';
import type { Draft, Sections } from '../../api/schema';
import { DraftKeeper, join, noSections, pauseMs, type Surroundings } from './draft';

const text = (sections: Partial<Sections>): Sections => ({ ...noSections(), ...sections });

/** A server of one draft, a storage, and timers that run when told. */
class World {
  server: Draft | undefined;
  stored = new Map<string, string>();
  timers = new Map<number, { run: () => void; ms: number }>();
  failWith: ApiError | undefined;
  saves = 0;
  hold: Promise<void> | undefined;
  private serial = 0;

  around: Surroundings = {
    save: async (body) => {
      this.saves++;
      await this.hold;
      if (this.failWith) throw this.failWith;
      const revision = this.server?.revision ?? 0;
      if (body.revision !== revision) throw problem(409, 'conflict', 'stale_revision');
      this.server = { kind: 'final', sections: body.sections, language: body.language, revision: revision + 1, saved_at: '2026-11-21T14:02:00Z' };
      return this.server;
    },
    fetch: async () => ({ task_id: 't', study_uid: 's', versions: [], draft: this.server }),
    storage: {
      getItem: (key) => this.stored.get(key) ?? null,
      setItem: (key, value) => void this.stored.set(key, value),
      removeItem: (key) => void this.stored.delete(key),
    },
    setTimer: (run, ms) => {
      this.timers.set(++this.serial, { run, ms });
      return this.serial;
    },
    clearTimer: (timer) => void this.timers.delete(timer as number),
    now: () => Date.parse('2026-11-21T14:00:00Z'),
  };

  keeper(draft = this.server): DraftKeeper {
    return new DraftKeeper('key', draft, { sections: text({ indication: 'aphasia' }), language: 'uz-Latn' }, this.around);
  }

  /** Lets the pause pass. */
  async pass(): Promise<number[]> {
    const due = [...this.timers.values()];
    this.timers.clear();
    for (const timer of due) timer.run();
    await settle();
    return due.map((timer) => timer.ms);
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));
const problem = (status: number, code: string, reason?: string) => new ApiError({ title: code, status, code, reason });

describe('joining texts section by section', () => {
  const base = text({ findings: 'old', impression: 'old' });
  test('different sections join', () => {
    expect(join(base, text({ findings: 'mine', impression: 'old' }), text({ findings: 'old', impression: 'theirs' }))).toEqual({
      sections: text({ findings: 'mine', impression: 'theirs' }),
      conflicts: [],
    });
  });
  test('the same change is no conflict', () => {
    expect(join(base, text({ findings: 'new', impression: 'old' }), text({ findings: 'new', impression: 'old' })).conflicts).toEqual([]);
  });
  test('two changes of one section are', () => {
    expect(join(base, text({ findings: 'mine', impression: 'old' }), text({ findings: 'theirs', impression: 'old' }))).toEqual({
      sections: text({ findings: 'mine', impression: 'old' }),
      conflicts: ['findings'],
    });
  });
});

describe('a draft', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });

  test('is kept here at once and saved after a pause', async () => {
    const keeper = world.keeper();
    expect(keeper.state.kind).toBe('untouched');
    keeper.edit({ sections: { findings: 'No bleeding' } });
    expect(keeper.state.kind).toBe('pending');
    expect(world.stored.get('key')).toContain('No bleeding');
    expect(await world.pass()).toEqual([pauseMs]);
    expect(keeper.state).toEqual({ kind: 'saved', at: '2026-11-21T14:02:00Z' });
    expect(world.server?.sections).toEqual(text({ indication: 'aphasia', findings: 'No bleeding' }));
    expect(world.stored.size).toBe(0);
  });

  test('that grows while it is being saved is saved again', async () => {
    const keeper = world.keeper();
    let release = () => {};
    world.hold = new Promise((resolve) => {
      release = resolve;
    });
    keeper.edit({ sections: { findings: 'No' } });
    const first = keeper.flush();
    keeper.edit({ sections: { findings: 'No bleeding' } });
    release();
    world.hold = undefined;
    await first;
    expect(keeper.state.kind).toBe('pending');
    await world.pass();
    expect(keeper.state.kind).toBe('saved');
    expect(world.server?.sections.findings).toBe('No bleeding');
    expect(world.saves).toBe(2);
  });

  test('stays on this computer without a line, is tried again, and gets through', async () => {
    const keeper = world.keeper();
    world.failWith = problem(0, 'offline');
    keeper.edit({ sections: { findings: 'A' } });
    await world.pass();
    expect(keeper.state).toEqual({ kind: 'kept', why: 'offline' });
    expect(await world.pass()).toEqual([3000]);
    expect(await world.pass()).toEqual([6000]);
    expect(world.stored.get('key')).toContain('"A"');
    world.failWith = undefined;
    await world.pass();
    expect(keeper.state.kind).toBe('saved');
    expect(world.stored.size).toBe(0);
  });

  test('is found again after the computer was switched off', async () => {
    world.failWith = problem(503, 'unavailable');
    world.keeper().edit({ sections: { findings: 'typed in the dark' } });
    world.timers.clear();
    world.failWith = undefined;
    const again = world.keeper();
    expect(again.recovered).toBe(true);
    expect(again.text.sections.findings).toBe('typed in the dark');
    await world.pass();
    expect(world.server?.sections.findings).toBe('typed in the dark');
  });

  test('joins by itself with another window that changed another section', async () => {
    const keeper = world.keeper();
    keeper.edit({ sections: { findings: 'F' } });
    await world.pass();
    world.server = { ...world.server!, sections: { ...world.server!.sections, technique: 'from the other window' }, revision: 2 };
    keeper.edit({ sections: { impression: 'I' } });
    await world.pass();
    await world.pass();
    expect(keeper.state.kind).toBe('saved');
    expect(world.server?.sections).toEqual(text({ indication: 'aphasia', findings: 'F', technique: 'from the other window', impression: 'I' }));
    expect(keeper.text.sections.technique).toBe('from the other window');
  });

  describe('against another text of the same section', () => {
    async function clash(): Promise<DraftKeeper> {
      const keeper = world.keeper();
      keeper.edit({ sections: { findings: 'F' } });
      await world.pass();
      world.server = { ...world.server!, sections: { ...world.server!.sections, findings: 'THEIRS' }, revision: 2 };
      keeper.edit({ sections: { findings: 'MINE' } });
      await world.pass();
      return keeper;
    }

    test('asks, and overwrites nothing meanwhile', async () => {
      const keeper = await clash();
      expect(keeper.state).toMatchObject({ kind: 'conflict', sections: ['findings'] });
      keeper.edit({ sections: { findings: 'MINE, longer' } });
      await world.pass();
      expect(keeper.state.kind).toBe('conflict');
      expect(world.server?.sections.findings).toBe('THEIRS');
      expect(world.stored.get('key')).toContain('MINE, longer');
    });

    test.each([
      ['mine', 'MINE'],
      ['theirs', 'THEIRS'],
      ['both', 'MINE\n\nTHEIRS'],
    ] as const)('%s', async (choice, result) => {
      const keeper = await clash();
      keeper.resolve(choice);
      await world.pass();
      expect(keeper.state.kind).toBe('saved');
      expect(world.server?.sections.findings).toBe(result);
      expect(keeper.text.sections.findings).toBe(result);
    });
  });

  test('that the server refuses stays on this computer', async () => {
    const keeper = world.keeper();
    world.failWith = problem(409, 'conflict', 'claimed_by_other');
    keeper.edit({ sections: { findings: 'F' } });
    await world.pass();
    expect(keeper.state).toMatchObject({ kind: 'refused', problem: { reason: 'claimed_by_other' } });
    keeper.edit({ sections: { findings: 'F and more' } });
    expect(await world.pass()).toEqual([]);
    expect(world.stored.get('key')).toContain('F and more');
  });

  test('that is signed leaves nothing behind', async () => {
    const keeper = world.keeper();
    keeper.edit({ sections: { findings: 'F' } });
    keeper.forget();
    await world.pass();
    expect(world.stored.size).toBe(0);
    expect(world.saves).toBe(0);
  });
});
