import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { api, serverNow } from '../../api/client';
import { useReloadOn } from '../../api/live';
import { prime, useResource } from '../../api/resource';
import { type Priority, readOutside, type Task, type TaskPage, type View } from '../../api/schema';
import { Icon } from '../../parts/icons';
import { type KeyHelp, KeyList, useKeys } from '../../parts/keys';
import { describe, Sex } from '../../parts/patient';
import { explain, ProblemNote } from '../../parts/problem';
import { goTo } from '../../parts/route';
import { useUser } from '../../parts/session';
import { TopBar } from '../../parts/topbar';
import { useWords } from '../../words';
import { countdown } from '../../words/countdown';
import { dicomDate, time } from '../../words/dates';
import { merge } from './merge';
import { Preview } from './Preview';

const views: View[] = ['mine', 'groups', 'open', 'drafts', 'signed', 'unreported'];
const modalities = ['CT', 'MR', 'CR', 'DX', 'US', 'MG'];
const priorities: Priority[] = ['stat', 'urgent', 'routine'];

const help: KeyHelp = [
  [['↑', '↓'], 'keys.move'],
  [['Enter'], 'keys.open'],
  [['Space'], 'keys.preview'],
  [['R'], 'keys.reserve'],
  [['N'], 'keys.nextForMe'],
  [['1', '…', '6'], 'keys.views'],
  [['/'], 'keys.search'],
  [['U'], 'keys.update'],
  [['?'], 'keys.help'],
];

interface Filter {
  view: View;
  modality: string;
  priority: string;
  facility: string;
  q: string;
}

const remembered = 'tasvir.worklist';

/** Those who don't read see what waits; the other views would always be empty for them. */
const viewsFor = (reads: boolean): View[] => (reads ? views : ['open', 'unreported']);

function firstFilter(reads: boolean): Filter {
  const allowed = viewsFor(reads);
  const usual = reads ? 'groups' : 'open';
  const filter: Filter = { view: usual, modality: '', priority: '', facility: '', q: '' };
  try {
    const last = JSON.parse(sessionStorage.getItem(remembered) ?? '{}') as Partial<Filter>;
    return { ...filter, ...last, view: allowed.includes(last.view as View) ? (last.view as View) : usual };
  } catch {
    return filter;
  }
}

/** The first so many pages of the list, as one. */
async function loadPages(filter: Filter, pages: number): Promise<TaskPage> {
  let page = await api.tasks({ ...filter, limit: 100 });
  const tasks = [...page.tasks];
  for (let n = 1; n < pages && page.next; n++) {
    page = await api.tasks({ ...filter, limit: 100, after: page.next });
    tasks.push(...page.tasks);
  }
  return { ...page, tasks };
}

/** What changes this list. */
const changes = ['task', 'report', 'study', 'order'] as const;

/** The list of what is to be read. */
export function WorklistRoom({ warmUp, onSignOut }: { warmUp: () => Promise<unknown>; onSignOut: () => void }) {
  const { t } = useWords();
  const user = useUser();
  const reads = user.roles.includes('radiologist');
  const [filter, setFilter] = useState(() => firstFilter(reads));
  const [typed, setTyped] = useState(filter.q);
  const [selected, setSelected] = useState<string>();
  const [preview, setPreview] = useState(true);
  const [helping, setHelping] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const [shown, setShown] = useState<{ tasks: Task[]; gone: Set<string>; waiting: number }>({ tasks: [], gone: new Set(), waiting: 0 });
  const search = useRef<HTMLInputElement>(null);
  const body = useRef<HTMLTableSectionElement>(null);
  const over = useRef(false);
  const filterShown = useRef('');

  const key = JSON.stringify(filter);
  const [long, setLong] = useState<{ key: string; pages: number }>({ key, pages: 1 });
  const pages = long.key === key ? long.pages : 1;
  const page = useResource(`${key} ${pages}`, () => loadPages(filter, pages));
  const reload = page.reload;

  useEffect(() => {
    sessionStorage.setItem(remembered, key);
  }, [key]);
  useEffect(() => {
    const timer = setTimeout(() => setFilter((f) => (f.q === typed ? f : { ...f, q: typed })), 250);
    return () => clearTimeout(timer);
  }, [typed]);

  // Fresh answers come into the list at once when it is another list, else so that no row jumps.
  useEffect(() => {
    const fresh = page.data?.tasks;
    if (!fresh) return;
    const another = filterShown.current !== key;
    filterShown.current = key;
    setShown((now) => merge(now.tasks, fresh, another || !over.current));
  }, [page.data, key]);

  useReloadOn(changes, 400, reload);

  // The viewer is fetched while nobody waits for it.
  useEffect(() => {
    const idle = window.requestIdleCallback ?? ((run: () => void) => setTimeout(run, 1500));
    idle(() => void warmUp().catch(() => {}), { timeout: 4000 });
  }, [warmUp]);

  const now = useNow(10_000);
  const { tasks, gone, waiting } = shown;
  const index = tasks.findIndex((task) => task.id === selected);
  const task = tasks[index];

  const bringIn = useCallback(() => {
    if (page.data) setShown(merge([], page.data.tasks, true));
  }, [page.data]);

  const move = (by: number) => {
    if (tasks.length === 0) return;
    // Enter belongs to the row from here on, not to the button that was clicked before.
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
    const next = tasks[Math.min(tasks.length - 1, Math.max(0, index < 0 ? 0 : index + by))];
    setSelected(next.id);
    body.current?.querySelector(`[data-task="${CSS.escape(next.id)}"]`)?.scrollIntoView({ block: 'nearest' });
  };

  const open = async (which: Task | undefined) => {
    if (!which) return;
    if (!reads) return goTo('study', which.study.study_uid);
    setProblem(undefined);
    try {
      prime(`task ${which.id}`, which.state === 'open' ? await api.claim(which.id) : which);
      goTo('read', which.id);
    } catch (err) {
      setProblem(err);
      void reload();
    }
  };

  const reserve = async () => {
    if (!task || !reads) return;
    setProblem(undefined);
    try {
      if (task.claimed_by?.me) await api.release(task.id);
      else await api.claim(task.id);
      await reload();
    } catch (err) {
      setProblem(err);
      void reload();
    }
  };

  const nextForMe = async () => {
    if (!reads) return;
    setProblem(undefined);
    try {
      const next = await api.nextTask();
      prime(`task ${next.id}`, next);
      goTo('read', next.id);
    } catch (err) {
      setProblem(err);
    }
  };

  const show = (view: View) => {
    if (viewsFor(reads).includes(view)) setFilter((f) => ({ ...f, view }));
  };

  useKeys(
    {
      ArrowDown: () => move(1),
      ArrowUp: () => move(-1),
      Home: () => move(-tasks.length),
      End: () => move(tasks.length),
      Enter: () => void open(task),
      Space: () => setPreview((on) => !on),
      R: () => void reserve(),
      N: () => void nextForMe(),
      U: bringIn,
      Slash: () => search.current?.focus(),
      'Shift+Slash': () => setHelping(true),
      '1': () => show('mine'),
      '2': () => show('groups'),
      '3': () => show('open'),
      '4': () => show('drafts'),
      '5': () => show('signed'),
      '6': () => show('unreported'),
    },
    {},
  );

  const counts = page.data?.counts;
  const filtered = Boolean(filter.modality || filter.priority || filter.facility || filter.q);
  const facilities = useMemo(() => [...user.facilities].sort((a, b) => a.name.localeCompare(b.name)), [user.facilities]);

  return (
    <>
      <TopBar room="worklist" onSignOut={onSignOut}>
        <div className="search">
          <Icon name="search" />
          <input
            ref={search}
            type="search"
            placeholder={t('worklist.search')}
            aria-label={t('worklist.search')}
            value={typed}
            onChange={(event) => setTyped(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === 'Escape') {
                setTyped('');
                event.currentTarget.blur();
              }
              if (event.key === 'Enter' || event.key === 'ArrowDown') {
                event.preventDefault();
                event.currentTarget.blur();
                move(0);
              }
            }}
          />
          <kbd>/</kbd>
        </div>
      </TopBar>
      <main className="worklist">
        <h1 className="hidden">{t('rooms.worklist')}</h1>
        <div className="worklist-head">
          <div className="tabs" role="group" aria-label={t('worklist.views')}>
            {viewsFor(reads).map((view) => (
              <button key={view} type="button" aria-pressed={filter.view === view} onClick={() => setFilter({ ...filter, view })}>
                {t(`worklist.view.${view}`)} <span className="count">{counts?.[view] ?? '–'}</span>
              </button>
            ))}
          </div>
          {reads && (
            <button type="button" className="primary" onClick={() => void nextForMe()}>
              {t('worklist.nextForMe')} <kbd>N</kbd>
            </button>
          )}
        </div>
        <div className="filters">
          <div className="chips" role="group" aria-label={t('worklist.modality')}>
            {modalities.map((name) => (
              <button key={name} type="button" aria-pressed={filter.modality === name} onClick={() => setFilter({ ...filter, modality: filter.modality === name ? '' : name })}>
                {name}
              </button>
            ))}
          </div>
          <select aria-label={t('worklist.priority')} value={filter.priority} onChange={(event) => setFilter({ ...filter, priority: event.target.value })}>
            <option value="">{t('worklist.anyPriority')}</option>
            {priorities.map((name) => (
              <option key={name} value={name}>
                {t(`priority.${name}`)}
              </option>
            ))}
          </select>
          <select aria-label={t('study.facility')} value={filter.facility} onChange={(event) => setFilter({ ...filter, facility: event.target.value })}>
            <option value="">{t('worklist.anyFacility')}</option>
            {facilities.map((facility) => (
              <option key={facility.code} value={facility.code}>
                {facility.name}
              </option>
            ))}
          </select>
          {filtered && (
            <button
              type="button"
              className="quiet"
              onClick={() => {
                setTyped('');
                setFilter({ ...filter, modality: '', priority: '', facility: '', q: '' });
              }}
            >
              {t('worklist.clearFilters')}
            </button>
          )}
          <span className="spread" />
          <button type="button" className="quiet" onClick={() => setHelping(true)}>
            {t('keys.title')} <kbd>?</kbd>
          </button>
        </div>
        {problem !== undefined && (
          <div className="note problem" role="alert">
            <Icon name="warn" />
            <span>{explain(t, problem)}</span>
            <button type="button" className="icon-button" aria-label={t('do.close')} onClick={() => setProblem(undefined)}>
              <Icon name="close" />
            </button>
          </div>
        )}
        <ProblemNote error={page.error} retry={() => void reload()} />
        <div className="table-frame" aria-live="off">
          {waiting > 0 && (
            <button type="button" className="news" onClick={bringIn}>
              {t('worklist.news', { n: waiting })} <kbd>U</kbd>
            </button>
          )}
          <div
            className="table-scroll"
            // Not "enter": a list that appears under a resting pointer is never entered.
            onPointerMove={() => {
              over.current = true;
            }}
            onPointerLeave={() => {
              over.current = false;
              bringIn();
            }}
          >
            <table className="tasks">
              <thead>
                <tr>
                  <th scope="col" className="c-due">
                    {t('worklist.due')}
                  </th>
                  <th scope="col" className="c-priority">
                    {t('worklist.priority')}
                  </th>
                  <th scope="col" className="c-patient">
                    {t('worklist.patient')}
                  </th>
                  <th scope="col" className="c-age">
                    {t('patient.age')}
                  </th>
                  <th scope="col">{t('worklist.study')}</th>
                  <th scope="col" className="c-facility">
                    {t('study.facility')}
                  </th>
                  <th scope="col" className="c-images">
                    {t('worklist.images')}
                  </th>
                  <th scope="col" className="c-state">
                    {t('worklist.state')}
                  </th>
                </tr>
              </thead>
              <tbody ref={body}>
                {tasks.map((row) => (
                  <Row key={row.id} task={row} now={now} selected={row.id === selected} gone={gone.has(row.id)} onSelect={() => setSelected(row.id)} onOpen={() => void open(row)} />
                ))}
              </tbody>
            </table>
            {page.data?.next && (
              <button type="button" className="more" onClick={() => setLong({ key, pages: pages + 1 })}>
                {t('do.more')}
              </button>
            )}
            {page.data && tasks.length === 0 && <p className="empty">{t(filtered ? 'worklist.emptyFiltered' : `worklist.empty.${filter.view}`)}</p>}
          </div>
        </div>
        {preview && task && <Preview task={task} onOpen={() => void open(task)} onReserve={reads ? () => void reserve() : undefined} onClose={() => setPreview(false)} />}
      </main>
      {helping && <KeyList keys={help} onClose={() => setHelping(false)} />}
    </>
  );
}

function Row({ task, now, selected, gone, onSelect, onOpen }: { task: Task; now: number; selected: boolean; gone: boolean; onSelect: () => void; onOpen: () => void }) {
  const { t } = useWords();
  const { study } = task;
  const left = countdown(task.deadline, now, t('units.d'));
  const closed = task.state === 'signed' || task.state === 'cancelled';
  return (
    <tr data-task={task.id} data-selected={selected || undefined} data-gone={gone || undefined} aria-current={selected || undefined} onClick={onSelect} onDoubleClick={onOpen}>
      <td className="c-due figures" data-pressure={closed ? undefined : left.pressure}>
        {closed ? (
          ''
        ) : (
          <span title={t(`pressure.${left.pressure}`)}>
            {(left.pressure === 'over' || left.pressure === 'urgent') && <Icon name={left.pressure === 'over' ? 'warn' : 'clock'} />}
            {left.text}
          </span>
        )}
      </td>
      <td className="c-priority" data-priority={task.priority}>
        {t(`priority.${task.priority}`)}
      </td>
      <td>
        <button
          type="button"
          className="row-name"
          tabIndex={-1}
          onClick={(event) => {
            event.stopPropagation();
            onSelect();
            onOpen();
          }}
        >
          <bdi>{study.patient.name}</bdi> <Sex sex={study.patient.sex} />
        </button>
        <small>{study.patient.name_other ?? ' '}</small>
      </td>
      <td className="c-age figures">{study.patient.age ?? ''}</td>
      <td>
        <span className="line">
          <span className="modality">{study.modalities.join(' ')}</span> {describe(study, t('study.noDescription'))}
        </span>
        <small className="figures">
          {dicomDate(study.date)} {study.accession}
        </small>
      </td>
      <td className="c-facility">
        <span className="line" title={study.facility.name}>
          {study.facility.name}
        </span>
      </td>
      <td className="c-images figures">
        {study.instance_count}
        {!study.complete && (
          <span className="arriving" title={t('worklist.arriving')}>
            <Icon name="arriving" />
          </span>
        )}
      </td>
      <td className="c-state">
        <State task={task} />
        <small>{task.rule?.name ?? ' '}</small>
      </td>
    </tr>
  );
}

function State({ task }: { task: Task }) {
  const { t } = useWords();
  const outside = readOutside(task);
  if (outside !== undefined) {
    return (
      <span className="line" title={outside}>
        {t('state.readBy', { who: outside })}
      </span>
    );
  }
  if (task.state === 'cancelled') return <span className="line">{t('state.cancelled')}</span>;
  if (task.state === 'signed') {
    return (
      <span className="line fine">
        <Icon name="check" /> {t('state.signed')}
      </span>
    );
  }
  const draft = task.draft_saved_at ? (
    <span title={t('state.draftAt', { time: time(task.draft_saved_at) })}>
      <Icon name="pen" />
    </span>
  ) : null;
  if (task.claimed_by) {
    return (
      <span className="line" title={task.claimed_by.name}>
        {draft} {task.claimed_by.me ? t('state.mine') : t('state.claimedBy', { who: task.claimed_by.name })}
      </span>
    );
  }
  return (
    <span className="line">
      {draft} {task.study.complete ? t('state.open') : t('worklist.arriving')}
    </span>
  );
}

/** The server's time, looked at every so often. */
function useNow(every: number): number {
  const [now, set] = useState(serverNow);
  useEffect(() => {
    const timer = setInterval(() => set(serverNow()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}
