import { type FormEvent, type ReactNode, useEffect, useRef, useState } from 'react';
import { api } from '../api/client';
import type { Language } from '../api/schema';
import { languageNames, languages, speak, useWords } from '../words';
import { Dialog } from './dialog';
import { Icon } from './icons';
import { explain } from './problem';
import { href } from './route';
import { type Room, roomsFor, useUser } from './session';
import { setTheme, theme } from './theme';

/** Where a language is noted that was chosen before signing in. */
export const chosenBefore = 'tasvir.language.chosen';

export function LanguageChoice({ save }: { save: boolean }) {
  const { t, language } = useWords();
  return (
    <select
      className="language"
      aria-label={t('settings.language')}
      value={language}
      onChange={(event) => {
        const next = event.target.value as Language;
        void speak(next);
        // The choice holds here at once; the server only carries it to other computers.
        if (save) api.setLanguage(next).catch(() => {});
        else sessionStorage.setItem(chosenBefore, next);
      }}
    >
      {languages.map((code) => (
        <option key={code} value={code} lang={code}>
          {languageNames[code]}
        </option>
      ))}
    </select>
  );
}

export function ThemeSwitch() {
  const { t } = useWords();
  const [now, set] = useState(theme);
  const label = t(now === 'dark' ? 'settings.light' : 'settings.dark');
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={label}
      title={label}
      onClick={() => {
        const next = now === 'dark' ? 'light' : 'dark';
        setTheme(next);
        set(next);
      }}
    >
      <Icon name="sun" />
    </button>
  );
}

/** The bar on top of every room but the reading room, which needs the space. */
export function TopBar({ room, children, onSignOut }: { room: Room; children?: ReactNode; onSignOut: () => void }) {
  const { t } = useWords();
  const user = useUser();
  return (
    <header className="topbar">
      <a className="brand" href={href(roomsFor(user.roles)[0] ?? '')}>
        Tasvir
      </a>
      <nav aria-label={t('rooms.label')}>
        {roomsFor(user.roles).map((name) => (
          <a key={name} href={href(name)} aria-current={name === room ? 'page' : undefined}>
            {t(`rooms.${name}`)}
          </a>
        ))}
      </nav>
      <div className="topbar-middle">{children}</div>
      <LanguageChoice save />
      <ThemeSwitch />
      <Account onSignOut={onSignOut} />
    </header>
  );
}

function Account({ onSignOut }: { onSignOut: () => void }) {
  const { t } = useWords();
  const user = useUser();
  const [open, setOpen] = useState(false);
  const [changing, setChanging] = useState(false);
  const ref = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return;
    const close = (event: Event) => {
      if (event instanceof KeyboardEvent ? event.key === 'Escape' : !ref.current?.contains(event.target as Node)) setOpen(false);
    };
    window.addEventListener('pointerdown', close);
    window.addEventListener('keydown', close);
    return () => {
      window.removeEventListener('pointerdown', close);
      window.removeEventListener('keydown', close);
    };
  }, [open]);
  return (
    <div className="account" ref={ref}>
      <button type="button" className="icon-button" aria-label={user.name} title={user.name} aria-expanded={open} onClick={() => setOpen(!open)}>
        <Icon name="person" />
      </button>
      {open && (
        <div className="menu">
          <p>
            <strong>{user.name}</strong>
            <small>{user.roles.map((role) => t(`roles.${role}`)).join(', ')}</small>
          </p>
          <button
            type="button"
            onClick={() => {
              setOpen(false);
              setChanging(true);
            }}
          >
            {t('settings.changePassword')}
          </button>
          <button type="button" onClick={onSignOut}>
            {t('signin.out')}
          </button>
        </div>
      )}
      {changing && <PasswordDialog onClose={() => setChanging(false)} />}
    </div>
  );
}

function PasswordDialog({ onClose }: { onClose: () => void }) {
  const { t } = useWords();
  const [error, setError] = useState<unknown>();
  const [done, setDone] = useState(false);
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setError(undefined);
    try {
      await api.setPassword(String(form.get('current')), String(form.get('next')));
      setDone(true);
    } catch (err) {
      setError(err);
    }
  };
  return (
    <Dialog title={t('settings.changePassword')} onClose={onClose}>
      {done ? (
        <p>{t('settings.passwordChanged')}</p>
      ) : (
        <form className="stacked" onSubmit={submit}>
          <label>
            <span>{t('settings.currentPassword')}</span>
            <input name="current" type="password" autoComplete="current-password" required />
          </label>
          <label>
            <span>{t('settings.newPassword')}</span>
            <input name="next" type="password" autoComplete="new-password" minLength={8} required />
          </label>
          {error !== undefined && (
            <p className="problem" role="alert">
              {explain(t, error)}
            </p>
          )}
          <div className="actions">
            <button type="submit" className="primary">
              {t('do.save')}
            </button>
          </div>
        </form>
      )}
    </Dialog>
  );
}
