/** An event of /api/events: ids only, what changed is fetched. */
export type ServerEvent =
  | { kind: 'hello' }
  | { kind: 'task'; id: string; study_uid: string }
  | { kind: 'report'; task: string; report: string }
  | { kind: 'delivery'; report: string; version: number }
  | { kind: 'study'; study_uid: string }
  | { kind: 'order'; id: string };

type Listener = (event: ServerEvent) => void;

const kinds = ['hello', 'task', 'report', 'delivery', 'study', 'order'] as const;
const listeners = new Set<Listener>();
let source: EventSource | undefined;
let again: ReturnType<typeof setTimeout> | undefined;

/**
 * Calls back with every server event until the returned function is called.
 * All listeners share one connection; a browser reconnects it by itself, and
 * the `hello` that follows means: something may have been missed.
 */
export function listen(listener: Listener): () => void {
  listeners.add(listener);
  if (!source && !again) open();
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearTimeout(again);
      again = undefined;
      source?.close();
      source = undefined;
    }
  };
}

function open(): void {
  source = new EventSource('/api/events');
  source.onerror = () => {
    // A lost line is the browser's to mend. An error answer (a proxy's 502 while
    // the server restarts) ends the source for good, and is ours.
    if (source?.readyState !== EventSource.CLOSED) return;
    source = undefined;
    clearTimeout(again);
    again = setTimeout(() => {
      again = undefined;
      if (listeners.size > 0) open();
    }, 5000);
  };
  for (const kind of kinds) {
    source.addEventListener(kind, (message) => {
      let data: object = {};
      try {
        data = JSON.parse((message as MessageEvent<string>).data || '{}') as object;
      } catch {
        return; // an event that does not parse tells nothing
      }
      for (const listener of listeners) listener({ kind, ...data } as ServerEvent);
    });
  }
}
