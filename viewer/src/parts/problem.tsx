import { ApiError, problemOf } from '../api/client';
import { type Translate, useWords } from '../words';
import { Icon } from './icons';

const knownReasons = [
  'claimed_by_other',
  'stale_revision',
  'already_signed',
  'empty_report',
  'draft_by_other',
  'bad_credentials',
  'csrf',
  'too_many_attempts',
  'rule_condition',
  'host',
  'port',
  'tls_server_name',
  'certificate',
  'test_running',
  'order_started',
  'order_state',
  'accession_taken',
  'placer_taken',
];
const knownCodes = ['offline', 'unavailable', 'forbidden', 'not_found', 'conflict', 'unauthenticated', 'too_large', 'out_of_resources'];

/** What happened, what is safe, what to do: in the reader's language. */
export function explain(t: Translate, err: unknown): string {
  const problem = problemOf(err);
  if (problem.reason && knownReasons.includes(problem.reason)) {
    return t(`problem.${problem.reason}`, { who: problem.who ?? t('problem.somebody'), detail: problem.detail ?? '' }).trim();
  }
  if (knownCodes.includes(problem.code)) return t(`problem.${problem.code}`);
  return t('problem.other', { detail: problem.detail ?? problem.title });
}

export function ProblemNote({ error, retry }: { error: unknown; retry?: () => void }) {
  const { t } = useWords();
  if (!error) return null;
  const transient = error instanceof ApiError && error.transient;
  return (
    <div className="note problem" role="alert">
      <Icon name="warn" />
      <span>{explain(t, error)}</span>
      {retry && transient && (
        <button type="button" className="quiet" onClick={retry}>
          {t('do.tryAgain')}
        </button>
      )}
    </div>
  );
}
