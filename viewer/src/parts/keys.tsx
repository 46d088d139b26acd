import { Fragment, useEffect, useRef } from 'react';
import { useWords } from '../words';
import { Dialog } from './dialog';

/**
 * A key as the keyboard has it, not as the layout writes it: on a Cyrillic
 * layout the physical key W gives "ц", and must do the same thing.
 */
export function chord(event: { code: string; ctrlKey: boolean; metaKey: boolean; altKey: boolean; shiftKey: boolean }): string {
  const code = event.code
    .replace(/^Key/, '')
    .replace(/^Digit/, '')
    .replace(/^Numpad(\d)$/, '$1')
    .replace(/^NumpadEnter$/, 'Enter');
  return `${event.ctrlKey || event.metaKey ? 'Ctrl+' : ''}${event.altKey ? 'Alt+' : ''}${event.shiftKey ? 'Shift+' : ''}${code}`;
}

/** Whether the key belongs to the text that is being written. */
export function isWriting(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !['checkbox', 'radio', 'button', 'submit'].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}

export type KeyMap = Record<string, (event: KeyboardEvent) => void>;

/**
 * Keys of a room, by chord. While a person writes only the chords in `always`
 * work; Enter and Space on a button belong to the button.
 */
export function useKeys(map: KeyMap, always: KeyMap = {}): void {
  const latest = useRef({ map, always });
  latest.current = { map, always };
  useEffect(() => {
    const handle = (event: KeyboardEvent) => {
      if (event.isComposing) return;
      if (document.querySelector('dialog[open]')) return;
      const name = chord(event);
      const { map, always } = latest.current;
      let action = always[name];
      if (!action && !isWriting(event.target)) {
        const onControl = event.target instanceof HTMLElement && event.target.closest('button, a[href], summary');
        if (onControl && (name === 'Enter' || name === 'Space')) return;
        action = map[name];
      }
      if (!action) return;
      event.preventDefault();
      action(event);
    };
    // Before everybody else: the picture's tools take keys that reach their element.
    window.addEventListener('keydown', handle, true);
    return () => window.removeEventListener('keydown', handle, true);
  }, []);
}

/** Rows of the key list: keys as they are printed, and the dictionary's key for what they do. */
export type KeyHelp = [keys: string[], what: string][];

export function KeyList({ keys, onClose }: { keys: KeyHelp; onClose: () => void }) {
  const { t } = useWords();
  return (
    <Dialog title={t('keys.title')} onClose={onClose} wide>
      <dl className="keys">
        {keys.map(([names, what]) => (
          <Fragment key={what}>
            <dt>
              {names.map((name) => (
                <kbd key={name}>{name}</kbd>
              ))}
            </dt>
            <dd>{t(what)}</dd>
          </Fragment>
        ))}
      </dl>
    </Dialog>
  );
}
