import { useEffect } from 'react';
import { api } from '../../api/client';
import { useResource } from '../../api/resource';
import { ProblemNote } from '../../parts/problem';
import { useWords } from '../../words';
import { bytes, moment, number } from '../../words/dates';
import { Fact } from './Fact';

/** How this node is: what it holds, what waits. */
export function StatusPage() {
  const { t, language } = useWords();
  const status = useResource('status', api.status);
  const { reload } = status;
  useEffect(() => {
    const timer = setInterval(() => void reload(), 10_000);
    return () => clearInterval(timer);
  }, [reload]);
  const s = status.data;
  const n = (value: number | undefined) => (value === undefined ? '–' : number(value, language));
  const b = (value: number | undefined) => (value === undefined ? '–' : bytes(value, language));
  return (
    <div className="admin-table">
      <div className="room-head">
        <h1>{t('admin.status.title')}</h1>
      </div>
      <ProblemNote error={status.error} retry={() => void reload()} />
      {s && (
        <dl className="facts figures">
          <Fact label={t('status.version')} value={s.version ?? '–'} />
          <Fact label={t('status.started')} value={s.started_at ? moment(s.started_at) : '–'} />
          <Fact label={t('status.studies')} value={n(s.studies)} />
          <Fact label={t('status.instances')} value={n(s.instances)} />
          <Fact label={t('status.stored')} value={b(s.bytes)} />
          <Fact label={t('status.database')} value={s.database === 'private' || s.database === 'external' ? t(`status.databases.${s.database}`) : (s.database ?? '–')} />
          <Fact label={t('status.store')} value={s.store === 'folder' ? t('status.storeFolder') : s.store === 'object store' ? t('status.storeObjects') : (s.store ?? '–')} />
          <Fact
            label={t('status.journal')}
            value={s.journal ? t('status.journalValue', { records: n(s.journal.records), size: b(s.journal.bytes) }) : '–'}
            bad={(s.journal?.oldest_seconds ?? 0) > 300}
          />
          <Fact label={t('status.held')} value={n(s.journal?.held)} bad={(s.journal?.held ?? 0) > 0} />
        </dl>
      )}
      {s?.deliveries && (
        <>
          <h2>{t('status.deliveries')}</h2>
          <dl className="facts figures">
            <Fact label={t('delivery.state.queued')} value={n(s.deliveries?.queued)} />
            <Fact label={t('delivery.state.retrying')} value={n(s.deliveries?.retrying)} />
            <Fact label={t('delivery.state.failed')} value={n(s.deliveries?.failed)} bad={(s.deliveries?.failed ?? 0) > 0} />
          </dl>
        </>
      )}
    </div>
  );
}
