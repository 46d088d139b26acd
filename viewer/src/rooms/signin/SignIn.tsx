import { type FormEvent, useState } from 'react';
import { api } from '../../api/client';
import type { Session } from '../../api/schema';
import { explain } from '../../parts/problem';
import { LanguageChoice, ThemeSwitch } from '../../parts/topbar';
import { useWords } from '../../words';

export function SignIn({ onSignedIn, ended }: { onSignedIn: (session: Session) => void; ended: boolean }) {
  const { t } = useWords();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setError(undefined);
    try {
      onSignedIn(await api.signIn(String(form.get('login')).trim(), String(form.get('password'))));
    } catch (err) {
      setError(err);
    } finally {
      setBusy(false);
    }
  };
  return (
    <main className="signin">
      <form className="stacked" onSubmit={submit}>
        <h1>Tasvir</h1>
        <p className="secondary">{ended ? t('signin.ended') : t('signin.lead')}</p>
        <label>
          <span>{t('signin.login')}</span>
          {/* biome-ignore lint/a11y/noAutofocus: the page has nothing else to begin with */}
          <input name="login" autoComplete="username" autoCapitalize="none" spellCheck={false} required autoFocus />
        </label>
        <label>
          <span>{t('signin.password')}</span>
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        {error !== undefined && (
          <p className="problem" role="alert">
            {explain(t, error)}
          </p>
        )}
        <button type="submit" className="primary" disabled={busy}>
          {t('signin.in')}
        </button>
        <div className="signin-foot">
          <LanguageChoice save={false} />
          <ThemeSwitch />
        </div>
      </form>
    </main>
  );
}
