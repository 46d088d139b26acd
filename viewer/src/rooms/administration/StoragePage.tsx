import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import { useResource } from '../../api/resource';
import type { StorageProblem } from '../../api/schema';
import { explain, ProblemNote } from '../../parts/problem';
import { href } from '../../parts/route';
import { TableScroll } from '../../parts/table';
import { useWords } from '../../words';
import { bytes, moment, number } from '../../words/dates';
import { Fact } from './Fact';

/** Whether what is stored is still what was received: the patrol's findings. */
export function StoragePage() {
  const { t, language } = useWords();
  const state = useResource('verification', api.verification);
  const { reload } = state;
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState('');
  useEffect(() => {
    const timer = setInterval(() => void reload(), 10_000);
    return () => clearInterval(timer);
  }, [reload]);
  const act = async (name: string, work: () => Promise<unknown>) => {
    setBusy(name);
    setError(undefined);
    try {
      await work();
      await reload();
    } catch (err) {
      setError(err);
    } finally {
      setBusy('');
    }
  };
  const v = state.data;
  const open = v?.problems.filter((p) => p.state === 'open') ?? [];
  const rate = v?.bytes_per_second ?? 0;

  return (
    <div className="admin-table">
      <div className="room-head">
        <h1>{t('admin.storage.title')}</h1>
        <span className="spread" />
        <button type="button" className="primary" disabled={busy !== '' || v?.pass !== undefined} onClick={() => void act('run', api.verifyNow)}>
          {t('storage.checkNow')}
        </button>
      </div>
      <p className="secondary lead">{t('admin.storage.lead')}</p>
      <ProblemNote error={state.error} retry={() => void reload()} />
      {error !== undefined && (
        <p className="problem" role="alert">
          {explain(t, error)}
        </p>
      )}
      {v && (
        <>
          <p className={open.length > 0 ? 'note problem' : v.verified > 0 ? 'note fine' : 'note'} role="status">
            {open.length > 0 ? t('storage.bad', { count: number(open.length, language) }) : t(v.verified > 0 ? 'storage.good' : 'storage.unread')}
          </p>
          <dl className="facts figures">
            <Fact label={t('storage.packs')} value={`${number(v.packs, language)} · ${bytes(v.bytes, language)}`} />
            <Fact label={t('storage.verified')} value={v.packs === 0 ? '–' : `${number(v.verified, language)} (${number((100 * v.verified) / v.packs, language)} %)`} />
            <Fact label={t('storage.oldest')} value={v.oldest ? moment(v.oldest) : t('admin.never')} />
            {v.interval_seconds !== undefined && <Fact label={t('storage.interval')} value={t('storage.days', { count: number(v.interval_seconds / 86_400, language) })} />}
            {rate > 0 && <Fact label={t('storage.rate')} value={t('storage.perSecond', { size: bytes(rate, language) })} />}
            <Fact label={t('storage.copy')} value={t(v.copy ? 'storage.copyYes' : 'storage.copyNo')} />
          </dl>
          {v.pass && (
            <label className="slider">
              {t('storage.pass')}
              <progress value={v.pass.done} max={Math.max(v.pass.total, 1)} />
              <span className="figures">
                {number(v.pass.done, language)}/{number(v.pass.total, language)}
              </span>
            </label>
          )}
          <TableScroll label={t('storage.problems')}>
            <table>
              <thead>
                <tr>
                  <th scope="col">{t('storage.found')}</th>
                  <th scope="col">{t('storage.kind')}</th>
                  <th scope="col">{t('storage.affected')}</th>
                  <th scope="col">{t('storage.state')}</th>
                  <th scope="col">
                    <span className="hidden">{t('do.actions')}</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {v.problems.map((problem) => (
                  <ProblemRow key={problem.id} problem={problem} busy={busy !== ''} onRepair={() => void act(problem.id, () => api.repair(problem.id))} />
                ))}
              </tbody>
            </table>
            {v.problems.length === 0 && <p className="empty">{t('storage.none')}</p>}
          </TableScroll>
        </>
      )}
    </div>
  );
}

function ProblemRow({ problem, busy, onRepair }: { problem: StorageProblem; busy: boolean; onRepair: () => void }) {
  const { t, language } = useWords();
  return (
    <tr>
      <td className="figures">{moment(problem.found_at)}</td>
      <td>
        {t(`storage.kinds.${problem.kind}`)}
        <small className="secondary wrap" lang="en">
          {problem.message}
        </small>
      </td>
      <td>
        {problem.study_uid ? <a href={href('study', problem.study_uid)}>{t('storage.openStudy')}</a> : null}{' '}
        {problem.sop_uids && problem.sop_uids.length > 0 && <span>{t('storage.instances', { count: number(problem.sop_uids.length, language) })}</span>}
        <small className="secondary wrap">
          <code>{problem.key}</code>
        </small>
      </td>
      <td>
        <span className={problem.state === 'open' ? 'problem' : 'fine'}>{t(`storage.states.${problem.state}`)}</span>
        {problem.repaired_at && (
          <small className="secondary figures">
            {moment(problem.repaired_at)} <span lang="en">{problem.repaired_from}</span>
          </small>
        )}
      </td>
      <td className="c-action">
        {problem.state === 'open' && (
          <button type="button" disabled={busy} onClick={onRepair}>
            {t('storage.repair')}
          </button>
        )}
      </td>
    </tr>
  );
}
