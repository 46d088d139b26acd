import { type FormEvent, type ReactNode, useState } from 'react';
import { problemOf } from '../../api/client';
import { Dialog } from '../../parts/dialog';
import { explain } from '../../parts/problem';
import { useWords } from '../../words';
import { Field } from './TablePage';

interface AskProps {
  title: string;
  /** What will happen, in a sentence. */
  meaning: string;
  /** The word on the button. */
  act: string;
  danger?: boolean;
  /** False while something that is asked besides has no answer. */
  ready?: boolean;
  /** Without a reason nothing is done; the audit trail keeps it. */
  onAct: (why: string) => Promise<void>;
  onClose: () => void;
  children?: ReactNode;
}

/** Asks for the reason of something that the audit trail keeps, then does it. */
export function Ask({ title, meaning, act, danger, ready = true, onAct, onClose, children }: AskProps) {
  const { t } = useWords();
  const [why, setWhy] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      await onAct(why.trim());
      onClose();
    } catch (err) {
      setError(err);
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form className="stacked" onSubmit={(event) => void submit(event)}>
        <p className="secondary">{meaning}</p>
        {children}
        <Field label={t('records.why')} hint={t('records.whyHint')}>
          <input value={why} required maxLength={500} onChange={(event) => setWhy(event.target.value)} />
        </Field>
        {error !== undefined && (
          <p className="problem" role="alert">
            {problemOf(error).code === 'conflict' ? t('records.conflict') : explain(t, error)}
          </p>
        )}
        <div className="actions">
          <button type="button" onClick={onClose}>
            {t('do.cancel')}
          </button>
          <button type="submit" className={danger ? 'danger' : 'primary'} disabled={busy || !ready || why.trim() === ''}>
            {act}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
