import { useCallback, useEffect, useRef, useState } from 'react';
import { ApiError } from './client';

export interface Resource<T> {
  data: T | undefined;
  error: unknown;
  loading: boolean;
  /** Fetches again; the old data stays shown meanwhile. */
  reload: () => Promise<void>;
  /** Replaces the data without asking the server. */
  set: (data: T) => void;
}

const primed = new Map<string, { data: unknown; at: number }>();

/** Hands over what one room has just fetched to the next room, which then needs not ask again. */
export function prime(key: string, data: unknown): void {
  primed.set(key, { data, at: Date.now() });
}

/** What was handed over under this key less than half a minute ago. */
function handedOver<T>(key: string | undefined): T | undefined {
  const found = key === undefined ? undefined : primed.get(key);
  return found && Date.now() - found.at < 30_000 ? (found.data as T) : undefined;
}

/**
 * Fetches what `load` gives whenever `key` changes (undefined: not at all).
 * An answer that arrives after the key has changed again is dropped.
 */
export function useResource<T>(key: string | undefined, load: () => Promise<T>): Resource<T> {
  const [state, setState] = useState<{ key?: string; data?: T; error?: unknown; loading: boolean }>(() => ({ key, data: handedOver<T>(key), loading: true }));
  const current = useRef(0);
  const loader = useRef(load);
  loader.current = load;

  const reload = useCallback(async () => {
    const mine = ++current.current;
    setState((s) => ({ ...s, loading: true }));
    try {
      const data = await loader.current();
      if (mine === current.current) setState({ key, data, loading: false });
    } catch (error) {
      if (mine === current.current) {
        setState((s) => ({ key, data: s.key === key ? s.data : undefined, error, loading: false }));
      }
    }
  }, [key]);

  useEffect(() => {
    if (key === undefined) return;
    const ready = handedOver<T>(key);
    primed.delete(key);
    if (ready !== undefined) setState({ key, data: ready, loading: false });
    else void reload();
    return () => {
      current.current++;
    };
  }, [key, reload]);

  const failed = state.error instanceof ApiError && state.error.transient;
  useEffect(() => {
    // A lost line comes back by itself; asking every few seconds notices it.
    if (!failed || key === undefined) return;
    const timer = setTimeout(() => void reload(), 5000);
    return () => clearTimeout(timer);
  });

  const set = useCallback((data: T) => setState({ key, data, loading: false }), [key]);
  return { data: state.data, error: state.error, loading: state.loading, reload, set };
}

export interface Pages<P, T> extends Resource<P> {
  /** What the pages fetched so far list, in order. */
  items: T[];
  /** Fetches the next page; undefined after the last. */
  more: (() => Promise<void>) | undefined;
  /** Fetches the first page again and forgets the others. */
  restart: () => Promise<void>;
}

/** A list that comes in pages: data is the first. `load` gets the `next` of the page before. */
export function usePages<P extends { next?: string }, T>(key: string | undefined, load: (after?: string) => Promise<P>, itemsOf: (page: P) => T[]): Pages<P, T> {
  const first = useResource(key, () => load());
  const [further, setFurther] = useState<{ key?: string; items: T[]; next?: string }>();
  // Pages of another question are none of this one.
  const behind = further?.key === key ? further : undefined;
  const next = behind ? behind.next : first.data?.next;
  const more = async () => {
    const page = await load(next);
    setFurther({ key, items: [...(behind?.items ?? []), ...itemsOf(page)], next: page.next });
  };
  return {
    ...first,
    items: [...(first.data ? itemsOf(first.data) : []), ...(behind?.items ?? [])],
    more: next ? more : undefined,
    restart: () => {
      setFurther(undefined);
      return first.reload();
    },
  };
}

/** A value that is being typed, once the typing pauses. */
export function useSettled(typed: string): string {
  const [settled, setSettled] = useState(typed);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(typed), 250);
    return () => clearTimeout(timer);
  }, [typed]);
  return settled;
}
