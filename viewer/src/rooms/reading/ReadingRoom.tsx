import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react';
import { api, serverNow } from '../../api/client';
import { prime, useResource } from '../../api/resource';
import { readOutside, type Series, type Study, type StudyDetail, type Task } from '../../api/schema';
import { type Desk, fetchAhead, installHook, keepOnly, loadStack, noteFirstPicture, type Pane, presetsFor, type ToolName, toolNames } from '../../engine';
import { Icon, type IconName } from '../../parts/icons';
import { type KeyHelp, KeyList, type KeyMap, useKeys } from '../../parts/keys';
import { OtherViewers } from '../../parts/otherviewers';
import { describe, PatientBanner } from '../../parts/patient';
import { Overlay, Picture, usePane } from '../../parts/picture';
import { explain, ProblemNote } from '../../parts/problem';
import { goTo, href } from '../../parts/route';
import Thumbnail from '../../parts/thumbnail';
import { useDesk } from '../../parts/usedesk';
import { useWords } from '../../words';
import { countdown } from '../../words/countdown';
import { dicomDate } from '../../words/dates';
import { firstSeries, likeSeries, priorFor } from './hang';
import { ReportPanel, type ReportPanelHandle } from './ReportPanel';

installHook();

/** Called while the worklist idles: starts the engine, so that the first study finds it running. */
export { startEngine as warmUp } from '../../engine';

const help: KeyHelp = [
  [['↑', '↓'], 'keys.image'],
  [['Home', 'End'], 'keys.firstLast'],
  [['PgUp', 'PgDn'], 'keys.series'],
  [['←', '→'], 'keys.pane'],
  [['1', '…', '9'], 'keys.presets'],
  [['W', 'S', 'Z', 'P'], 'keys.tools'],
  [['M', 'A', 'O'], 'keys.measure'],
  [['Del'], 'keys.clearMeasures'],
  [['+', '−', '0'], 'keys.zoomFit'],
  [['I', 'R', 'H', 'V'], 'keys.turn'],
  [['Space'], 'keys.reset'],
  [['C'], 'keys.cine'],
  [['X'], 'keys.link'],
  [['B'], 'keys.beside'],
  [['K'], 'keys.keyImage'],
  [['E', 'Esc'], 'keys.editor'],
  [['Ctrl', 'S'], 'keys.save'],
  [['Ctrl', 'Enter'], 'keys.sign'],
  [['N'], 'keys.nextTask'],
  [['Q'], 'keys.back'],
  [['?'], 'keys.help'],
];

const toolKeys: Record<ToolName, string> = { window: 'W', scroll: 'S', zoom: 'Z', pan: 'P', length: 'M', angle: 'A', roi: 'O' };

/** Where a study is read: its series, the pictures with a prior beside them, the report. */
export default function ReadingRoom({ taskId }: { taskId: string }) {
  const task = useResource(`task ${taskId}`, () => api.task(taskId));
  const uid = task.data?.study.study_uid;
  const study = useResource(uid && `study ${uid}`, () => api.study(uid ?? ''));
  const { t } = useWords();
  if (task.error || study.error) {
    return (
      <main className="waiting">
        <ProblemNote error={task.error ?? study.error} retry={() => void (task.error ? task.reload() : study.reload())} />
        <p>
          <a href={href('worklist')}>{t('reading.toWorklist')}</a>
        </p>
      </main>
    );
  }
  if (!task.data || !study.data) return <main className="waiting" aria-busy="true" aria-label={t('state.loading')} />;
  return <Reading task={task.data} study={study.data} onTask={task.set} />;
}

function Reading({ task, study, onTask }: { task: Task; study: StudyDetail; onTask: (task: Task) => void }) {
  const { t } = useWords();
  const { desk, failed } = useDesk();
  const [helping, setHelping] = useState(false);
  const [beside, setBeside] = useState(true);
  const [problem, setProblem] = useState<unknown>();
  const [series, setSeries] = useState<Series | undefined>(() => firstSeries(study.series));
  const [priorStudy, setPriorStudy] = useState<Study | undefined>(() => priorFor(study, study.priors));
  const [priorSeries, setPriorSeries] = useState<Series>();
  const [pane, setPane] = useState<Pane>();
  const [priorPane, setPriorPane] = useState<Pane>();
  const [nextTask, setNextTask] = useState<Task>();
  const report = useRef<ReportPanelHandle>(null);
  const opened = useRef(performance.now());
  const ahead = useRef<StudyDetail>(undefined);

  const prior = useResource(priorStudy && `prior ${priorStudy.study_uid}`, () => api.study(priorStudy?.study_uid ?? ''));
  const showPrior = beside && priorStudy !== undefined;

  useEffect(() => {
    if (prior.data && prior.data.study_uid === priorStudy?.study_uid) setPriorSeries(likeSeries(series, prior.data));
  }, [prior.data, priorStudy?.study_uid, series]);

  useShow(pane, study.study_uid, series);
  useShow(priorPane, priorStudy?.study_uid, priorSeries);

  // Memory holds this study, its prior and the next one.
  const nextUID = nextTask?.study.study_uid;
  useEffect(() => {
    void keepOnly([study.study_uid, priorStudy?.study_uid, nextUID].filter((uid): uid is string => uid !== undefined));
  }, [study.study_uid, priorStudy?.study_uid, nextUID]);

  useEffect(() => {
    if (!pane) return;
    return pane.subscribe(() => {
      if (pane.view().drawn && opened.current) {
        noteFirstPicture(performance.now() - opened.current);
        opened.current = 0;
      }
    });
  }, [pane]);

  // Once this study stands on the screen, the most urgent open one is fetched behind it.
  useEffect(() => {
    if (!pane) return;
    let live = true;
    const timer = setTimeout(async () => {
      try {
        const { tasks } = await api.tasks({ view: 'groups', limit: 20 });
        const next = tasks.find((other) => other.state === 'open' && other.id !== task.id);
        if (!next || !live) return;
        setNextTask(next);
        const detail = await api.study(next.study.study_uid);
        ahead.current = detail;
        const first = firstSeries(detail.series);
        if (first && live) fetchAhead(await loadStack(detail.study_uid, first.series_uid));
      } catch {
        // Fetching ahead is a courtesy; the study is fetched again when it is opened.
      }
    }, 3000);
    return () => {
      live = false;
      clearTimeout(timer);
    };
  }, [pane, task.id]);

  const goNext = useCallback(async () => {
    setProblem(undefined);
    try {
      await report.current?.settle();
      const next = await api.nextTask();
      prime(`task ${next.id}`, next);
      if (ahead.current?.study_uid === next.study.study_uid) prime(`study ${next.study.study_uid}`, ahead.current);
      goTo('read', next.id);
    } catch (err) {
      setProblem(err);
    }
  }, []);

  const leave = useCallback(async () => {
    await report.current?.settle();
    goTo('worklist');
  }, []);

  const active = () => desk?.active ?? pane;
  const turnSeries = (by: number) => {
    const priorActive = desk && priorPane && desk.active === priorPane;
    const list = (priorActive ? (prior.data?.series ?? []) : study.series).filter((s) => s.has_pixels !== false);
    const now = priorActive ? priorSeries : series;
    const next = list[list.findIndex((s) => s.series_uid === now?.series_uid) + by];
    if (next) (priorActive ? setPriorSeries : setSeries)(next);
  };
  const markKeyImage = () => {
    const chosen = active();
    const view = chosen?.view();
    if (!view?.stack || !chosen) return;
    const isPrior = chosen === priorPane;
    const number = (isPrior ? prior.data?.series : study.series)?.find((s) => s.series_uid === view.stack?.seriesUID)?.number;
    report.current?.insert(
      t(isPrior ? 'report.keyImagePrior' : 'report.keyImage', {
        series: number ?? '–',
        image: view.stack.pictures[view.index].instanceNumber || view.index + 1,
        date: dicomDate(priorStudy?.date),
      }),
    );
  };

  const keys: KeyMap = {
    ArrowUp: () => active()?.step(-1),
    ArrowDown: () => active()?.step(1),
    'Shift+ArrowUp': () => active()?.step(-10),
    'Shift+ArrowDown': () => active()?.step(10),
    Home: () => active()?.go(0),
    End: () => active()?.go(Number.MAX_SAFE_INTEGER),
    PageUp: () => turnSeries(-1),
    PageDown: () => turnSeries(1),
    ArrowLeft: () => pane && desk?.activate(pane),
    ArrowRight: () => priorPane && desk?.activate(priorPane),
    Equal: () => active()?.zoomBy(1.2),
    'Shift+Equal': () => active()?.zoomBy(1.2),
    NumpadAdd: () => active()?.zoomBy(1.2),
    Minus: () => active()?.zoomBy(1 / 1.2),
    NumpadSubtract: () => active()?.zoomBy(1 / 1.2),
    '0': () => active()?.fit(),
    I: () => active()?.invert(),
    R: () => active()?.rotate(),
    H: () => active()?.flip('horizontal'),
    V: () => active()?.flip('vertical'),
    Space: () => active()?.reset(),
    C: () => active()?.play(),
    X: () => desk?.setLinked(!desk.linked),
    B: () => setBeside((on) => !on),
    K: markKeyImage,
    E: () => report.current?.focus(),
    N: () => void goNext(),
    Q: () => void leave(),
    Delete: () => desk?.clearMeasures(),
    Backspace: () => desk?.clearMeasures(),
    'Shift+Slash': () => setHelping(true),
  };
  for (let n = 1; n <= 9; n++) keys[String(n)] = () => active()?.preset(n - 1);
  for (const name of toolNames) keys[toolKeys[name]] = () => desk?.setTool(name);
  useKeys(keys, {
    Escape: (event) => {
      if (event.target instanceof HTMLElement) event.target.blur();
    },
    'Ctrl+S': () => void report.current?.save(),
    'Ctrl+Enter': () => report.current?.sign(),
    'Ctrl+NumpadEnter': () => report.current?.sign(),
  });

  return (
    <main className="reading">
      <h1 className="hidden">{t('reading.title')}</h1>
      <PatientBanner
        study={study}
        before={
          <button type="button" className="icon-button" aria-label={t('reading.toWorklist')} title={`${t('reading.toWorklist')} (Q)`} onClick={() => void leave()}>
            <Icon name="back" size={20} />
          </button>
        }
        after={
          <>
            <OtherViewers studyUID={study.study_uid} />
            <Deadline task={task} />
          </>
        }
      />
      {problem !== undefined && (
        <div className="note problem" role="alert">
          <Icon name="warn" />
          <span>{explain(t, problem)}</span>
          <button type="button" className="icon-button" aria-label={t('do.close')} onClick={() => setProblem(undefined)}>
            <Icon name="close" />
          </button>
        </div>
      )}
      <Strip
        study={study}
        current={series}
        onPick={setSeries}
        priors={study.priors}
        prior={priorStudy}
        priorDetail={prior.data}
        priorSeries={priorSeries}
        onPrior={(p) => {
          setPriorStudy(p);
          setPriorSeries(undefined);
          setBeside(true);
        }}
        onPriorSeries={(s) => {
          setPriorSeries(s);
          setBeside(true);
        }}
      />
      <div className="pictures" data-picture>
        {failed !== undefined && (
          <div className="note problem" role="alert">
            {t('picture.engineFailed')}
          </div>
        )}
        {!series && <p className="empty">{t('picture.noSeries')}</p>}
        {desk && series && (
          <>
            <Picture desk={desk} id="current" label={t('picture.current')} onPane={setPane}>
              {pane && <Frame desk={desk} pane={pane} />}
            </Picture>
            {showPrior && (
              <Picture desk={desk} id="prior" label={t('picture.prior', { date: dicomDate(priorStudy?.date) })} onPane={setPriorPane}>
                {priorPane && <Frame desk={desk} pane={priorPane} prior={priorStudy} />}
              </Picture>
            )}
          </>
        )}
      </div>
      {desk && pane && (
        <ToolBar
          desk={desk}
          pane={pane}
          priorPane={showPrior ? priorPane : undefined}
          beside={showPrior}
          canBeside={priorStudy !== undefined}
          onBeside={() => setBeside(!beside)}
          onKeyImage={markKeyImage}
          onHelp={() => setHelping(true)}
        />
      )}
      <ReportPanel ref={report} task={task} study={study} onTask={onTask} onNext={() => void goNext()} nextTask={nextTask} prior={prior.data} />
      {helping && <KeyList keys={help} onClose={() => setHelping(false)} />}
    </main>
  );
}

/** Brings a series into a pane. */
function useShow(pane: Pane | undefined, studyUID: string | undefined, series: Series | undefined): void {
  useEffect(() => {
    if (pane && studyUID && series) void pane.open(studyUID, series.series_uid);
  }, [pane, studyUID, series]);
}

function Frame({ desk, pane, prior }: { desk: Desk; pane: Pane; prior?: Study }) {
  const { t } = useWords();
  useSyncExternalStore(desk.subscribe, desk.snapshot);
  return (
    <>
      <Overlay
        desk={desk}
        pane={pane}
        band={
          prior ? (
            <div className="prior-band">
              {t('picture.priorBand', { date: dicomDate(prior.date) })} · {prior.description}
            </div>
          ) : undefined
        }
      />
      <div className="picture-frame" data-active={(desk.active === pane && desk.panes.length > 1) || undefined} />
    </>
  );
}

function Deadline({ task }: { task: Task }) {
  const { t } = useWords();
  const [now, setNow] = useState(serverNow);
  useEffect(() => {
    const timer = setInterval(() => setNow(serverNow()), 5000);
    return () => clearInterval(timer);
  }, []);
  const left = countdown(task.deadline, now, t('units.d'));
  const outside = readOutside(task);
  if (outside !== undefined || task.state === 'cancelled') {
    return <div className="banner-deadline secondary">{outside === undefined ? t('state.cancelled') : t('state.readBy', { who: outside })}</div>;
  }
  if (task.state === 'signed') {
    return (
      <div className="banner-deadline fine">
        <Icon name="check" /> {t('state.signed')}
      </div>
    );
  }
  return (
    <div className="banner-deadline">
      <span data-priority={task.priority}>{t(`priority.${task.priority}`)}</span>
      <span className="figures" data-pressure={left.pressure} title={t(`pressure.${left.pressure}`)}>
        <Icon name={left.pressure === 'over' ? 'warn' : 'clock'} /> {left.text}
      </span>
    </div>
  );
}

function Strip({
  study,
  current,
  onPick,
  priors,
  prior,
  priorDetail,
  priorSeries,
  onPrior,
  onPriorSeries,
}: {
  study: StudyDetail;
  current: Series | undefined;
  onPick: (series: Series) => void;
  priors: Study[];
  prior: Study | undefined;
  priorDetail: StudyDetail | undefined;
  priorSeries: Series | undefined;
  onPrior: (study: Study) => void;
  onPriorSeries: (series: Series) => void;
}) {
  const { t } = useWords();
  const thumbnails = (studyUID: string, list: Series[], chosen: Series | undefined, pick: (series: Series) => void) =>
    list
      .filter((s) => s.has_pixels !== false)
      .map((s) => (
        <button key={s.series_uid} type="button" className="series" aria-pressed={s.series_uid === chosen?.series_uid} onClick={() => pick(s)} title={s.description}>
          <Thumbnail studyUID={studyUID} series={s} />
          <span className="series-text">
            <span>{s.description || s.modality}</span>
            <span className="figures">{s.instance_count}</span>
          </span>
        </button>
      ));
  return (
    <nav className="strip" data-picture aria-label={t('reading.series')}>
      {thumbnails(study.study_uid, study.series, current, onPick)}
      {priors.length > 0 && <h2>{t('reading.priors')}</h2>}
      {priors.map((p) => (
        <div key={p.study_uid} className="strip-prior">
          <button type="button" className="prior-title" aria-pressed={p.study_uid === prior?.study_uid} onClick={() => onPrior(p)}>
            <span className="figures">{dicomDate(p.date)}</span> {p.modalities.join(' ')} {describe(p, '')}
          </button>
          {p.study_uid === prior?.study_uid && priorDetail?.study_uid === p.study_uid && thumbnails(p.study_uid, priorDetail.series, priorSeries, onPriorSeries)}
        </div>
      ))}
    </nav>
  );
}

function ToolBar({
  desk,
  pane,
  priorPane,
  beside,
  canBeside,
  onBeside,
  onKeyImage,
  onHelp,
}: {
  desk: Desk;
  pane: Pane;
  priorPane: Pane | undefined;
  beside: boolean;
  canBeside: boolean;
  onBeside: () => void;
  onKeyImage: () => void;
  onHelp: () => void;
}) {
  const { t } = useWords();
  useSyncExternalStore(desk.subscribe, desk.snapshot);
  const chosen = desk.active === priorPane && priorPane ? priorPane : pane;
  const view = usePane(chosen);
  const presets = useMemo(() => (view.stack && !view.stack.colour ? presetsFor(view.stack.modality, view.stack.window ?? { center: 128, width: 256 }) : []), [view.stack]);
  const preset = presets.findIndex((p) => view.window && Math.abs(p.width - view.window.width) < 1 && Math.abs(p.center - view.window.center) < 1);
  const tool = (name: ToolName) => <Button key={name} icon={name as IconName} label={`${t(`tool.${name}`)} (${toolKeys[name]})`} pressed={desk.tool === name} onClick={() => desk.setTool(name)} />;
  return (
    <div className="tools" role="toolbar" aria-label={t('tool.bar')} data-picture>
      {(['window', 'scroll', 'zoom', 'pan'] as const).map(tool)}
      <span className="divider" />
      {(['length', 'angle', 'roi'] as const).map(tool)}
      <Button icon="trash" label={`${t('tool.clear')} (Del)`} onClick={() => desk.clearMeasures()} />
      <span className="divider" />
      <select
        className="presets"
        aria-label={t('tool.preset')}
        value={preset}
        onChange={(event) => {
          chosen.preset(Number(event.target.value));
          event.target.blur();
        }}
      >
        {preset < 0 && <option value={-1}>{t('tool.preset')}</option>}
        {presets.map((p, n) => (
          <option key={p.name} value={n}>
            {n + 1} {t(`window.${p.name}`)}
          </option>
        ))}
      </select>
      <span className="divider" />
      <Button icon="fit" label={`${t('tool.fit')} (0)`} onClick={() => chosen.fit()} />
      <Button icon="invert" label={`${t('tool.invert')} (I)`} pressed={view.inverted} onClick={() => chosen.invert()} />
      <Button icon="rotate" label={`${t('tool.rotate')} (R)`} onClick={() => chosen.rotate()} />
      <Button icon="reset" label={`${t('tool.reset')} (Space)`} onClick={() => chosen.reset()} />
      <Button icon={view.playing ? 'pause' : 'play'} label={`${t('tool.cine')} (C)`} pressed={view.playing} onClick={() => chosen.play()} />
      <span className="divider" />
      {canBeside && <Button icon="sideBySide" label={`${t('tool.beside')} (B)`} pressed={beside} onClick={onBeside} />}
      {desk.canLink && <Button icon={desk.linked ? 'link' : 'unlink'} label={`${t('tool.link')} (X)`} pressed={desk.linked} onClick={() => desk.setLinked(!desk.linked)} />}
      <Button icon="star" label={`${t('tool.keyImage')} (K)`} onClick={onKeyImage} />
      <span className="spread" />
      <Button icon="question" label={`${t('keys.title')} (?)`} onClick={onHelp} />
    </div>
  );
}

function Button({ icon, label, pressed, onClick }: { icon: IconName; label: string; pressed?: boolean; onClick: () => void }) {
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={label}
      title={label}
      aria-pressed={pressed}
      onClick={(event) => {
        // The keys go on working the picture.
        event.currentTarget.blur();
        onClick();
      }}
    >
      <Icon name={icon} />
    </button>
  );
}
