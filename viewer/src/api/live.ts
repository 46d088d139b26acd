import { useEffect } from 'react';
import { listen, type ServerEvent } from './events';

/**
 * Fetches a list again when one of these kinds of things may have changed, or
 * something was missed. Events come in swarms while a study arrives: one request
 * answers for all that come within `pause` milliseconds. The arguments must not
 * change from one call to the next without need.
 */
export function useReloadOn(kinds: readonly ServerEvent['kind'][], pause: number, reload: () => Promise<void>): void {
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = listen((event) => {
      if (event.kind !== 'hello' && !kinds.includes(event.kind)) return;
      timer ??= setTimeout(() => {
        timer = undefined;
        void reload();
      }, pause);
    });
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [kinds, pause, reload]);
}
