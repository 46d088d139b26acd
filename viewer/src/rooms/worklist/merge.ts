import type { Task } from '../../api/schema';

export interface Shown {
  tasks: Task[];
  /** Rows that the server no longer lists in this view; they stay, faded, until the list may move. */
  gone: Set<string>;
  /** How many rows wait to come in or to move. */
  waiting: number;
}

/**
 * Brings fresh tasks into the list that is on the screen. A row never jumps
 * under the pointer: while `mayMove` is false rows keep their places and only
 * their content changes; what would move or appear is counted instead.
 */
export function merge(shown: Task[], fresh: Task[], mayMove: boolean): Shown {
  if (mayMove || shown.length === 0) return { tasks: fresh, gone: new Set(), waiting: 0 };
  const byId = new Map(fresh.map((task) => [task.id, task]));
  const known = new Set(shown.map((task) => task.id));
  const gone = new Set(shown.filter((task) => !byId.has(task.id)).map((task) => task.id));
  const tasks = shown.map((task) => byId.get(task.id) ?? task);
  const added = fresh.filter((task) => !known.has(task.id)).length;
  const stay = tasks.filter((task) => !gone.has(task.id)).map((task) => task.id);
  const wanted = fresh.filter((task) => known.has(task.id)).map((task) => task.id);
  const moved = stay.filter((id, index) => wanted[index] !== id).length;
  return { tasks, gone, waiting: added || moved ? Math.max(added, moved > 0 ? 1 : 0) : 0 };
}
