import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import { usePages, useResource } from '../../api/resource';
import { type ForwardAct, type ForwardItem, type ForwardState, forwardStates } from '../../api/schema';
import { Dialog } from '../../parts/dialog';
import { Icon, type IconName } from '../../parts/icons';
import { ProblemNote } from '../../parts/problem';
import { href } from '../../parts/route';
import { useUser } from '../../parts/session';
import { ActionsHead, More, TableScroll } from '../../parts/table';
import { useWords } from '../../words';
import { dicomDate, moment, number } from '../../words/dates';
import { personName } from './demographics';
import { Fact } from './Fact';

const icons: Record<ForwardState, IconName> = { waiting: 'clock', scheduled: 'clock', sending: 'send', sent: 'check', failed: 'warn', paused: 'pause', cancelled: 'close' };
const colours: Record<ForwardState, string> = { waiting: 'soon', scheduled: 'soon', sending: 'fine', sent: 'fine', failed: 'critical', paused: 'soon', cancelled: 'soon' };

/** What can be done in each state. */
const acts: Record<ForwardState, ForwardAct[]> = {
  waiting: ['retry', 'pause', 'cancel'],
  scheduled: ['pause', 'cancel'],
  sending: ['pause', 'cancel'],
  sent: ['replay'],
  failed: ['retry', 'cancel', 'replay'],
  paused: ['resume', 'cancel'],
  cancelled: ['retry', 'replay'],
};
const every = 5000;

const nameOf = (item: ForwardItem) => `${personName(item.patient) || item.study_uid} → ${item.to}`;

/** What is on its way to other systems, and what has arrived there. */
export function QueuePage() {
  const { t, language } = useWords();
  const [state, setState] = useState<ForwardState | ''>('');
  const [target, setTarget] = useState('');
  const [rule, setRule] = useState('');
  const [chosen, setChosen] = useState('');
  const [asking, setAsking] = useState<ForwardAct>();
  const [done, setDone] = useState('');
  const [error, setError] = useState<unknown>();
  const targets = useResource('forward targets', async () => (await api.forwardTargets()).targets);
  const rules = useResource('forward rules', async () => (await api.forwardRules()).rules);
  const page = usePages(
    `forward queue ${state} ${target} ${rule}`,
    (after) => api.forwardQueue({ state, target, rule, limit: 50, after }),
    (answer) => answer.items,
  );
  const { reload } = page;
  useEffect(() => {
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible') void reload();
    }, every);
    return () => clearInterval(timer);
  }, [reload]);
  const act = async (what: ForwardAct, which: Parameters<typeof api.forwardAct>[1]) => {
    setError(undefined);
    setDone('');
    try {
      const { count } = await api.forwardAct(what, which);
      setDone(t('queue.done', { count: number(count, language) }));
      await reload();
    } catch (err) {
      setError(err);
    }
  };
  const filtered = state !== '' || target !== '' || rule !== '';
  return (
    <>
      <div className="admin-table">
        <div className="room-head">
          <h1>{t('admin.queue.title')}</h1>
          <span className="secondary" role="status">
            {done}
          </span>
          <span className="spread" />
          <button type="button" onClick={() => void page.restart()}>
            {t('queue.refresh')}
          </button>
        </div>
        <p className="secondary lead">{t('admin.queue.lead')}</p>
        <div className="room-head">
          <select aria-label={t('queue.state')} value={state} onChange={(e) => setState(e.target.value as ForwardState | '')}>
            <option value="">{t('queue.anyState')}</option>
            {forwardStates.map((name) => (
              <option key={name} value={name}>
                {t(`queue.states.${name}`)}
              </option>
            ))}
          </select>
          <select aria-label={t('queue.to')} value={target} onChange={(e) => setTarget(e.target.value)}>
            <option value="">{t('queue.anyTarget')}</option>
            {targets.data?.map((one) => (
              <option key={one.id} value={one.id}>
                {one.name}
              </option>
            ))}
          </select>
          <select aria-label={t('queue.rule')} value={rule} onChange={(e) => setRule(e.target.value)}>
            <option value="">{t('queue.anyRule')}</option>
            {rules.data?.map((one) => (
              <option key={one.id} value={one.id}>
                {one.name}
              </option>
            ))}
          </select>
          <span className="spread" />
          {filtered && page.items.length > 0 && (
            <>
              <span className="secondary" aria-hidden="true">
                {t('queue.withAll')}
              </span>
              {(state ? acts[state] : (['pause', 'resume', 'cancel', 'retry', 'replay'] as const)).map((what) => (
                <button key={what} type="button" aria-label={`${t(`queue.acts.${what}`)}: ${t('queue.withAll')}`} onClick={() => setAsking(what)}>
                  {t(`queue.acts.${what}`)}
                </button>
              ))}
            </>
          )}
        </div>
        <ProblemNote error={error ?? page.error} retry={() => void page.reload()} />
        <TableScroll label={t('admin.queue.title')}>
          <table>
            <thead>
              <tr>
                {['study', 'to', 'rule', 'state', 'progress', 'when'].map((column) => (
                  <th key={column} scope="col">
                    {t(`queue.${column}`)}
                  </th>
                ))}
                <ActionsHead />
              </tr>
            </thead>
            <tbody>
              {page.items.map((item) => (
                <tr key={item.id} data-selected={item.id === chosen || undefined}>
                  <td>
                    <a href={href('study', item.study_uid)}>
                      <bdi>{personName(item.patient) || item.study_uid}</bdi>
                    </a>{' '}
                    <span className="secondary">
                      {dicomDate(item.date)} {item.modalities.join(' ')} {item.series_uid ? t('queue.series') : ''}
                    </span>
                  </td>
                  <td>
                    <code>{item.to}</code>
                  </td>
                  <td>{item.rule_name || <span className="secondary">{t('queue.gone')}</span>}</td>
                  <td data-state={colours[item.state]}>
                    <Icon name={icons[item.state]} /> {t(`queue.states.${item.state}`)}
                    {item.held && item.state === 'waiting' && <small className="secondary"> {t('queue.held')}</small>}
                    {item.error && item.state !== 'sent' && (
                      <small className="secondary wrap" lang="en">
                        {item.error}
                      </small>
                    )}
                  </td>
                  <td className="figures">
                    <Progress item={item} />
                  </td>
                  <td className="figures">
                    {moment(item.ended_at ?? item.queued_at)}
                    {item.next_at && (item.attempts > 0 || item.state === 'scheduled') && <small className="secondary"> {t('queue.next', { at: moment(item.next_at) })}</small>}
                  </td>
                  <td className="c-action">
                    {acts[item.state]
                      .filter((what) => what !== 'replay')
                      .slice(0, 1)
                      .map((what) => (
                        <button key={what} type="button" aria-label={`${t(`queue.acts.${what}`)}: ${nameOf(item)}`} onClick={() => void act(what, { items: [item.id] })}>
                          {t(`queue.acts.${what}`)}
                        </button>
                      ))}{' '}
                    <button type="button" className="icon-button" aria-label={t('queue.details', { name: nameOf(item) })} title={t('do.open')} onClick={() => setChosen(item.id)}>
                      <Icon name="next" />
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          {page.data && page.items.length === 0 && <p className="empty">{t('queue.empty')}</p>}
        </TableScroll>
        <More page={page} />
      </div>
      {chosen && <Panel key={chosen} id={chosen} shown={page.items.find((item) => item.id === chosen)} act={act} onClose={() => setChosen('')} />}
      {asking && (
        <Dialog title={t('queue.allAsk', { act: t(`queue.acts.${asking}`) })} onClose={() => setAsking(undefined)}>
          <p className="secondary">{t('queue.allMeaning')}</p>
          <div className="actions">
            <button type="button" onClick={() => setAsking(undefined)}>
              {t('do.cancel')}
            </button>
            <button
              type="button"
              className={asking === 'cancel' ? 'danger' : 'primary'}
              onClick={() => {
                setAsking(undefined);
                void act(asking, { ...(state && { states: [state] }), ...(target && { target }), ...(rule && { rule }) });
              }}
            >
              {t(`queue.acts.${asking}`)}
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}

function Progress({ item }: { item: ForwardItem }) {
  const { t, language } = useWords();
  const words = t('queue.sentOf', { sent: number(item.sent, language), total: number(item.total, language) });
  return (
    <>
      {item.state === 'sending' && item.total > 0 && <progress max={item.total} value={item.sent} aria-label={words} />}
      <span title={words}>
        {number(item.sent, language)}/{number(item.total, language)}
      </span>
      {item.failed > 0 && <span className="problem"> · {t('queue.failed', { count: number(item.failed, language) })}</span>}
    </>
  );
}

interface PanelProps {
  id: string;
  shown: ForwardItem | undefined;
  act: (what: ForwardAct, which: { items: string[] }) => Promise<void>;
  onClose: () => void;
}

function Panel({ id, shown, act, onClose }: PanelProps) {
  const { t, language } = useWords();
  const { facilities } = useUser();
  // Asked again when the list says that something has changed.
  const { data, error, reload } = useResource(`forward item ${id} ${shown?.state} ${shown?.failed}`, () => api.forwardItem(id));
  const item = shown ?? data?.item;
  const title = item ? nameOf(item) : t('admin.queue.title');
  return (
    <aside className="side-panel wide" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <button type="button" className="icon-button" aria-label={t('do.close')} title={t('do.close')} onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <ProblemNote error={error} retry={() => void reload()} />
      {item && (
        <div className="stacked">
          <p data-state={colours[item.state]}>
            <Icon name={icons[item.state]} /> {t(`queue.states.${item.state}`)}
          </p>
          <dl className="facts">
            <Fact label={t('queue.progress')} value={t('queue.sentOf', { sent: number(item.sent, language), total: number(item.total, language) })} />
            <Fact label={t('queue.rule')} value={item.rule_name || t('queue.gone')} />
            <Fact label={t('queue.occasion')} value={t(`forwarding.occasions.${item.occasion}`)} />
            <Fact label={t('study.facility')} value={facilities.find((f) => f.code === item.facility)?.name ?? item.facility} />
            <Fact label={t('queue.queued')} value={moment(item.queued_at)} />
            {item.attempts > 0 && <Fact label={t('queue.state')} value={t('queue.retrying', { count: number(item.attempts, language) })} />}
          </dl>
          {item.error && (
            <>
              <h3>{t('queue.lastError')}</h3>
              <p className="wrap" lang="en">
                {item.error}
              </p>
            </>
          )}
          <div className="actions start">
            {acts[item.state].map((what) => (
              <button key={what} type="button" className={what === 'cancel' ? 'danger' : undefined} onClick={() => void act(what, { items: [id] })}>
                {t(`queue.acts.${what}`)}
              </button>
            ))}
          </div>
          {data && data.instances.length > 0 && (
            <>
              <h3>{t('queue.failures')}</h3>
              <ul className="taken" lang="en">
                {data.instances.map((instance) => (
                  <li key={instance.sop_uid}>
                    <Icon name="warn" />
                    <span className="wrap">
                      {instance.why} <br />
                      <small className="secondary">
                        <code>{instance.sop_uid}</code>
                      </small>
                    </span>
                  </li>
                ))}
              </ul>
            </>
          )}
        </div>
      )}
    </aside>
  );
}
