import { openDesk } from './desk';

/**
 * `window.__tasvir`: a read-only look at what is on the screen, for tests.
 * Nothing in it changes anything.
 */
export interface Hook {
  /** The panes from left to right. */
  panes(): {
    studyUID?: string;
    seriesUID?: string;
    /** Of the picture on the screen. */
    sopInstanceUID?: string;
    index: number;
    wanted: number;
    count: number;
    window?: { center: number; width: number };
    inverted: boolean;
    zoom: number;
    drawn: boolean;
    error?: string;
    /** Pictures of this stack that are in memory. */
    loaded?: number;
  }[];
  /** The colours of a pane's canvas at points of the picture, [column, row] from 0; null outside. */
  sample(pane: number, points: [number, number][]): ([number, number, number] | null)[];
  /** Milliseconds from opening a study to its first picture on the screen. */
  firstPictureMs?: number;
}

declare global {
  interface Window {
    __tasvir?: Hook;
  }
}

export function installHook(): void {
  const hook: Hook = {
    panes: () =>
      (openDesk()?.panes ?? []).map((pane) => {
        const view = pane.view();
        return {
          studyUID: view.stack?.studyUID,
          seriesUID: view.stack?.seriesUID,
          sopInstanceUID: view.sopInstanceUID,
          index: view.index,
          wanted: view.wanted,
          count: view.stack?.pictures.length ?? 0,
          window: view.window,
          inverted: view.inverted,
          zoom: view.zoom,
          drawn: view.drawn,
          error: view.error,
          loaded: view.stack && openDesk()?.progress(view.stack)?.loaded,
        };
      }),
    sample: (pane, points) => openDesk()?.panes[pane]?.sample(points) ?? points.map(() => null),
  };
  window.__tasvir = hook;
}

export function noteFirstPicture(ms: number): void {
  if (window.__tasvir) window.__tasvir.firstPictureMs = Math.round(ms);
}
