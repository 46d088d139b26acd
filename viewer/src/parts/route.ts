import { useSyncExternalStore } from 'react';

/** Where one is, from the part of the address after #: the room, then what it shows. */
export type Route = [room: string, ...rest: string[]];

function parse(hash: string): Route {
  const parts = hash.replace(/^#\/?/, '').split('/').filter(Boolean).map(decodeURIComponent);
  return [parts[0] ?? '', ...parts.slice(1)];
}

let last = '';
let lastRoute: Route = [''];

function snapshot(): Route {
  if (location.hash !== last || lastRoute[0] === '') {
    const next = parse(location.hash);
    if (location.hash !== last || next[0] !== lastRoute[0]) lastRoute = next;
    last = location.hash;
  }
  return lastRoute;
}

function subscribe(listener: () => void): () => void {
  window.addEventListener('hashchange', listener);
  return () => window.removeEventListener('hashchange', listener);
}

export const useRoute = (): Route => useSyncExternalStore(subscribe, snapshot);

export const href = (...route: Route): string => `#/${route.map(encodeURIComponent).join('/')}`;

export function goTo(...route: Route): void {
  location.hash = href(...route);
}
