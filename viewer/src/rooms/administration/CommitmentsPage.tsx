import { useState } from 'react';
import { api } from '../../api/client';
import { usePages, useSettled } from '../../api/resource';
import { type Commitment, commitmentStates } from '../../api/schema';
import { Icon } from '../../parts/icons';
import { ProblemNote } from '../../parts/problem';
import { ActionsHead, More, TableScroll } from '../../parts/table';
import { useWords } from '../../words';
import { moment, number } from '../../words/dates';

const stateOf = (c: Commitment) => (c.state === 'failed' || c.unsafe > 0 ? 'critical' : c.state === 'reported' ? 'fine' : 'soon');

/** What devices have asked to be safe, and whether they were told. */
export function CommitmentsPage() {
  const { t, language } = useWords();
  const [typed, setTyped] = useState('');
  const [state, setState] = useState('');
  const [error, setError] = useState<unknown>();
  const ae = useSettled(typed.trim());
  const page = usePages(
    `commitments ${ae} ${state}`,
    (after) => api.commitments({ ae, state, after }),
    (answer) => answer.commitments,
  );
  const retry = async (commitment: Commitment) => {
    setError(undefined);
    try {
      await api.retryCommitment(commitment.id);
      await page.restart();
    } catch (err) {
      setError(err);
    }
  };
  return (
    <div className="admin-table">
      <div className="room-head">
        <h1>{t('admin.commitments.title')}</h1>
        <span className="spread" />
        <button type="button" onClick={() => void page.restart()}>
          {t('associations.refresh')}
        </button>
      </div>
      <p className="secondary lead">{t('admin.commitments.lead')}</p>
      <div className="room-head">
        <input type="search" aria-label={t('admin.aeTitle')} placeholder={t('admin.aeTitle')} value={typed} spellCheck={false} onChange={(e) => setTyped(e.target.value)} />
        <select aria-label={t('commitments.state')} value={state} onChange={(e) => setState(e.target.value)}>
          <option value="">{t('commitments.any')}</option>
          {commitmentStates.map((name) => (
            <option key={name} value={name}>
              {t(`commitments.states.${name}`)}
            </option>
          ))}
        </select>
      </div>
      <ProblemNote error={error ?? page.error} retry={() => void page.reload()} />
      <TableScroll label={t('admin.commitments.title')}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t('commitments.requested')}</th>
              <th scope="col">{t('admin.aeTitle')}</th>
              <th scope="col">{t('commitments.state')}</th>
              <th scope="col">{t('commitments.safe')}</th>
              <th scope="col">{t('commitments.answered')}</th>
              <th scope="col">{t('commitments.transaction')}</th>
              <ActionsHead />
            </tr>
          </thead>
          <tbody>
            {page.items.map((c) => (
              <tr key={c.id}>
                <td className="figures">{moment(c.requested_at)}</td>
                <td>
                  <code>{c.ae_title}</code>
                </td>
                <td data-state={stateOf(c)}>
                  <Icon name={stateOf(c) === 'fine' ? 'check' : 'warn'} /> {t(`commitments.states.${c.state}`)}
                  {c.last_error && (
                    <small className="secondary wrap" lang="en">
                      <br />
                      {c.last_error}
                    </small>
                  )}
                </td>
                <td className="figures">
                  {number(c.safe, language)} / {number(c.instances, language)}
                  {c.unsafe > 0 && <span className="problem"> · {t('commitments.unsafe', { count: number(c.unsafe, language) })}</span>}
                  {c.instances > c.safe + c.unsafe && <span className="secondary"> · {t('commitments.unknown', { count: number(c.instances - c.safe - c.unsafe, language) })}</span>}
                </td>
                <td className="figures">{c.ended_at ? moment(c.ended_at) : ''}</td>
                <td>
                  <small className="wrap">
                    <code>{c.transaction_uid}</code>
                  </small>
                </td>
                <td className="c-action">
                  <button type="button" aria-label={t('commitments.retryOf', { name: c.ae_title, at: moment(c.requested_at) })} onClick={() => void retry(c)}>
                    {t('commitments.retry')}
                  </button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        {page.data && page.items.length === 0 && <p className="empty">{t('commitments.empty')}</p>}
      </TableScroll>
      <More page={page} />
    </div>
  );
}
