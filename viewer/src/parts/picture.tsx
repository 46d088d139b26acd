import { useEffect, useRef, useSyncExternalStore } from 'react';
import { type Desk, type Pane, type PaneView, scaleBar } from '../engine';
import { useWords } from '../words';
import { Icon } from './icons';

/** Gives a pane of the desk to a place on the page. */
export function Picture({ desk, id, label, onPane, children }: { desk: Desk; id: string; label: string; onPane: (pane: Pane | undefined) => void; children?: React.ReactNode }) {
  const ref = useRef<HTMLDivElement>(null);
  const mine = useRef<Pane>(undefined);
  const tell = useRef(onPane);
  tell.current = onPane;
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const pane = desk.addPane(id, element);
    mine.current = pane;
    tell.current(pane);
    return () => {
      mine.current = undefined;
      tell.current(undefined);
      desk.removePane(pane);
    };
  }, [desk, id]);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: role application is worked by keys, which must be able to reach it
    <div className="picture" data-picture role="application" tabIndex={0} aria-label={label} data-pane={id} onFocus={() => mine.current && desk.activate(mine.current)}>
      <div ref={ref} className="picture-canvas" />
      {children}
    </div>
  );
}

export const usePane = (pane: Pane): PaneView => useSyncExternalStore(pane.subscribe, pane.view);

const round = (n: number) => (Math.abs(n) >= 10 ? Math.round(n) : Math.round(n * 10) / 10);

/** The words and lines over a picture. */
export function Overlay({ desk, pane, band }: { desk: Desk; pane: Pane; band?: React.ReactNode }) {
  const { t } = useWords();
  const view = usePane(pane);
  useSyncExternalStore(desk.subscribe, desk.snapshot);
  const { stack } = view;
  const progress = stack && desk.progress(stack);
  const total = stack?.pictures.length ?? 0;
  const bar = view.mmPerPixel ? scaleBar(view.mmPerPixel, 160) : undefined;
  return (
    <div className="overlay" aria-live="off">
      {band}
      {view.edges && view.drawn && (
        <>
          <span className="edge left">{view.edges.left}</span>
          <span className="edge right">{view.edges.right}</span>
          <span className="edge top">{view.edges.top}</span>
          <span className="edge bottom">{view.edges.bottom}</span>
        </>
      )}
      {stack && (
        <div className="corner bottom-left figures">
          {view.window && !stack.colour && (
            <span>
              W {round(view.window.width)} L {round(view.window.center)}
              {view.inverted ? ` ${t('picture.inverted')}` : ''}
            </span>
          )}
          <span>
            {view.index + 1}/{total}
            {stack.positions && ` · ${stack.positions.mm[view.index]?.toFixed(1).replace('-', '−')} mm`}
          </span>
          {progress && progress.loaded < total && progress.failed === 0 && <span className="loading">{t('picture.framesIn', { loaded: progress.loaded, total })}</span>}
          {progress && progress.failed > 0 && <span className="loading">{t('picture.framesFailed', { failed: progress.failed, total })}</span>}
          {stack.lossy && <span>{t('picture.lossy')}</span>}
        </div>
      )}
      {bar && view.drawn && (
        <div className="scale-bar figures" style={{ width: bar.pixels }}>
          <span>{bar.mm >= 10 ? `${bar.mm / 10} cm` : `${bar.mm} mm`}</span>
        </div>
      )}
      {(view.opening || (stack && !view.drawn)) && !view.error && <div className="fetching">{t('picture.opening')}</div>}
      {stack && view.drawn && !view.error && view.index !== view.wanted && <div className="fetching">{t('picture.fetching', { n: view.wanted + 1 })}</div>}
      {view.error && (
        <div className="picture-error" role="alert">
          <Icon name="warn" size={20} />
          <p>{t(stack && total === 0 ? 'picture.empty' : `picture.${view.error}`)}</p>
          {!(stack && total === 0) && (
            <button type="button" onClick={() => pane.retry()}>
              {t('do.tryAgain')}
            </button>
          )}
        </div>
      )}
    </div>
  );
}
