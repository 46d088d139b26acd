import { forwardRef, useEffect, useImperativeHandle, useRef, useState, useSyncExternalStore } from 'react';
import { api } from '../../api/client';
import { listen } from '../../api/events';
import { useResource } from '../../api/resource';
import { type Language, type Report, type ReportVersion, readOutside, type SectionName, type StudyDetail, sectionNames, type Task } from '../../api/schema';
import { DeliveryWords } from '../../parts/delivery';
import { Dialog } from '../../parts/dialog';
import { Icon } from '../../parts/icons';
import { chord } from '../../parts/keys';
import { describe } from '../../parts/patient';
import { explain, ProblemNote } from '../../parts/problem';
import { useUser } from '../../parts/session';
import { languageNames, languages, useWords } from '../../words';
import { dicomDate, moment, time } from '../../words/dates';
import { DraftKeeper, noSections } from './draft';

/** What the room does with the report from outside of it. */
export interface ReportPanelHandle {
  focus(): void;
  insert(text: string): void;
  save(): Promise<void>;
  sign(): void;
  /** Sees to it that nothing unsaved is left behind. */
  settle(): Promise<void>;
}

interface Props {
  task: Task;
  study: StudyDetail;
  onTask: (task: Task) => void;
  onNext: () => void;
  nextTask: Task | undefined;
  /** The study hung beside this one, for its report. */
  prior: StudyDetail | undefined;
}

export const ReportPanel = forwardRef<ReportPanelHandle, Props>(function ReportPanel({ task, study, onTask, onNext, nextTask, prior }, handle) {
  const { t, language } = useWords();
  const user = useUser();
  const report = useResource(`report ${task.id}`, () => api.report(task.id));
  const [keeper, setKeeper] = useState<DraftKeeper>();
  const [asking, setAsking] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const editor = useRef<EditorHandle>(null);
  const nextButton = useRef<HTMLButtonElement>(null);
  const loaded = report.data;
  const mine = task.claimed_by?.me === true;
  const outside = readOutside(task);
  // A first report is written by whoever holds the study; what follows a signed one, by whoever began it.
  const writing = loaded !== undefined && (task.state === 'claimed' ? mine : loaded.versions.length > 0 && loaded.draft !== undefined);
  const draftKind = loaded?.draft?.kind;

  // One keeper for each draft that is open here; not a new one for each answer about it.
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  useEffect(() => {
    if (!writing || !loaded) {
      setKeeper(undefined);
      return;
    }
    const made = new DraftKeeper(
      `tasvir.draft.${user.id}.${task.id}${loaded.versions.length ? `.${loaded.versions.length + 1}` : ''}`,
      loaded.draft,
      { sections: { ...noSections(), indication: study.question ?? '' }, language },
      {
        save: (body) => api.saveDraft(task.id, body),
        fetch: () => api.report(task.id),
        storage: localStorage,
        setTimer: (run, ms) => setTimeout(run, ms),
        clearTimer: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
        now: Date.now,
      },
    );
    setKeeper(made);
    const online = () => void made.flush();
    // A page that is being closed still sends what it has; this computer has it anyway.
    const hidden = () => document.visibilityState === 'hidden' && void made.flush();
    window.addEventListener('online', online);
    document.addEventListener('visibilitychange', hidden);
    return () => {
      window.removeEventListener('online', online);
      document.removeEventListener('visibilitychange', hidden);
      void made.flush().finally(() => made.close());
    };
  }, [writing, task.id, loaded?.versions.length, draftKind]);

  // Delivery news of this report.
  const { reload } = report;
  useEffect(
    () =>
      listen((event) => {
        if ((event.kind === 'delivery' && event.report === loaded?.id) || (event.kind === 'report' && event.task === task.id && !writing)) void reload();
      }),
    [loaded?.id, task.id, reload, writing],
  );

  useEffect(() => {
    if (task.state === 'signed' && !writing && outside === undefined) nextButton.current?.focus();
  }, [task.state, writing, outside]);

  const askToSign = async () => {
    if (!keeper || busy) return;
    setProblem(undefined);
    if (!keeper.text.sections.findings.trim() && !keeper.text.sections.impression.trim()) {
      setProblem({ empty: true });
      editor.current?.focus('findings');
      return;
    }
    await keeper.flush();
    if (keeper.state.kind === 'untouched') keeper.edit({});
    await keeper.flush();
    if (keeper.state.kind === 'saved') setAsking(true);
    else setProblem({ unsaved: true });
  };

  const sign = async () => {
    if (!keeper) return;
    setBusy(true);
    try {
      const signed = await api.sign(task.id, keeper.currentRevision);
      keeper.forget();
      setAsking(false);
      report.set(signed);
      onTask(await api.task(task.id).catch(() => ({ ...task, state: 'signed' as const })));
    } catch (err) {
      setAsking(false);
      setProblem(err);
    } finally {
      setBusy(false);
    }
  };

  const amend = async (kind: 'correction' | 'addendum') => {
    setProblem(undefined);
    try {
      report.set(await api.amend(task.id, kind));
    } catch (err) {
      setProblem(err);
    }
  };

  const discard = async () => {
    try {
      await api.discardDraft(task.id);
      keeper?.forget();
      await report.reload();
    } catch (err) {
      setProblem(err);
    }
  };

  const claim = async () => {
    setProblem(undefined);
    try {
      onTask(await api.claim(task.id));
    } catch (err) {
      setProblem(err);
    }
  };

  useImperativeHandle(handle, () => ({
    focus: () => editor.current?.focus('findings'),
    insert: (text) => editor.current?.insert(text),
    save: async () => keeper?.flush(),
    sign: () => void askToSign(),
    settle: async () => {
      // What can't be saved within a moment stays on this computer.
      if (keeper) await Promise.race([keeper.flush(), new Promise((resolve) => setTimeout(resolve, 3000))]);
    },
  }));

  const problemText =
    problem === undefined ? undefined : (problem as { empty?: true }).empty ? t('problem.empty_report') : (problem as { unsaved?: true }).unsaved ? t('report.signUnsaved') : explain(t, problem);

  return (
    <aside className="report" aria-label={t('report.title')}>
      <ProblemNote error={report.error} retry={() => void report.reload()} />
      {loaded && loaded.versions.length > 0 && !writing && <Signed report={loaded} onAmend={(kind) => void amend(kind)} />}
      {loaded && !writing && (task.state !== 'signed' || outside !== undefined) && (
        <div className="report-body">
          <p className="note">
            {outside !== undefined
              ? t('report.readOutside', { who: outside })
              : task.state === 'cancelled'
                ? t('report.calledOff')
                : task.claimed_by
                  ? t('report.heldBy', { who: task.claimed_by.name })
                  : t('report.notClaimed')}
          </p>
          {(!task.claimed_by || outside !== undefined) && (
            <button type="button" className="primary" onClick={() => void claim()}>
              {t(outside !== undefined ? 'report.writeHere' : 'report.claim')}
            </button>
          )}
        </div>
      )}
      {keeper && writing && <Editor ref={editor} keeper={keeper} study={study} versions={loaded?.versions ?? []} onDiscard={() => void discard()} />}
      {prior?.reports[0] && (
        <details className="prior-report">
          <summary>{t('report.prior', { date: dicomDate(prior.date) })}</summary>
          <VersionText version={prior.reports[0]} />
        </details>
      )}
      {problemText && (
        <div className="note problem" role="alert">
          <Icon name="warn" />
          <span>{problemText}</span>
          <button type="button" className="icon-button" aria-label={t('do.close')} onClick={() => setProblem(undefined)}>
            <Icon name="close" />
          </button>
        </div>
      )}
      <footer className="report-foot">
        {keeper && writing && <SaveWords keeper={keeper} />}
        <div className="report-buttons">
          {writing && (
            <button type="button" className="primary" disabled={busy} onClick={() => void askToSign()}>
              {t('report.sign')} <kbd>Ctrl ↵</kbd>
            </button>
          )}
          <button ref={nextButton} type="button" className={writing ? '' : 'primary'} onClick={onNext} title={nextTask ? `${nextTask.study.patient.name}, ${nextTask.study.description}` : undefined}>
            {t('report.next')} <Icon name="next" />
          </button>
        </div>
      </footer>
      {asking && keeper && <SignDialog task={task} study={study} kind={keeper.kind} busy={busy} onSign={() => void sign()} onClose={() => setAsking(false)} />}
    </aside>
  );
});

function SignDialog({ study, kind, busy, onSign, onClose }: { task: Task; study: StudyDetail; kind: string; busy: boolean; onSign: () => void; onClose: () => void }) {
  const { t } = useWords();
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => button.current?.focus(), []);
  return (
    <Dialog title={t(`report.ask.${kind}`)} onClose={onClose}>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the same chord that asked also answers */}
      <div
        onKeyDown={(event) => {
          if (chord(event.nativeEvent) === 'Ctrl+Enter' && !event.repeat) {
            event.preventDefault();
            onSign();
          }
        }}
      >
        <p className="sign-subject">
          <strong>{study.patient.name}</strong>
          {study.patient.name_other && <small>{study.patient.name_other}</small>}
          <span>
            {study.modalities.join(' ')} {describe(study, '')}, {dicomDate(study.date)}
          </span>
        </p>
        <p className="secondary">{t('report.askMeaning')}</p>
        <div className="actions">
          <button type="button" onClick={onClose}>
            {t('do.cancel')}
          </button>
          <button ref={button} type="button" className="primary" disabled={busy} onClick={onSign}>
            {t('report.sign')}
          </button>
        </div>
      </div>
    </Dialog>
  );
}

interface EditorHandle {
  focus(section: SectionName): void;
  insert(text: string): void;
}

const Editor = forwardRef<EditorHandle, { keeper: DraftKeeper; study: StudyDetail; versions: ReportVersion[]; onDiscard: () => void }>(function Editor({ keeper, study, versions, onDiscard }, handle) {
  const { t } = useWords();
  useSyncExternalStore(keeper.subscribe, keeper.snapshot);
  const areas = useRef<Partial<Record<SectionName, HTMLTextAreaElement | null>>>({});
  const lastArea = useRef<SectionName>('findings');
  const [showRecovered, setShowRecovered] = useState(keeper.recovered);
  const { text, state } = keeper;

  useImperativeHandle(handle, () => ({
    focus: (section) => areas.current[section]?.focus(),
    insert: (words) => {
      const section = lastArea.current === 'impression' ? 'impression' : 'findings';
      const now = keeper.text.sections[section];
      const area = areas.current[section];
      const at = area && document.activeElement === area ? area.selectionEnd : now.length;
      const before = now.slice(0, at);
      const glue = before === '' || /\s$/.test(before) ? '' : ' ';
      keeper.edit({ sections: { [section]: `${before}${glue}${words}${now.slice(at)}` } });
    },
  }));

  return (
    <div className="report-body">
      <div className="report-head">
        <h2>{t(`report.kind.${keeper.kind}`)}</h2>
        {versions.length > 0 && (
          <button type="button" className="quiet" onClick={onDiscard}>
            {t('report.discardAmendment')}
          </button>
        )}
        <select
          aria-label={t('report.language')}
          title={t('report.language')}
          value={text.language}
          onChange={(event) => {
            keeper.edit({ language: event.target.value as Language });
            event.target.blur();
          }}
        >
          {languages.map((code) => (
            <option key={code} value={code} lang={code}>
              {languageNames[code]}
            </option>
          ))}
        </select>
      </div>
      {showRecovered && (
        <div className="note">
          <span>{t('report.recovered')}</span>
          <button type="button" className="icon-button" aria-label={t('do.close')} onClick={() => setShowRecovered(false)}>
            <Icon name="close" />
          </button>
        </div>
      )}
      {state.kind === 'conflict' && <Conflict keeper={keeper} state={state} />}
      {state.kind === 'refused' && (
        <div className="note problem" role="alert">
          <Icon name="warn" />
          <span>
            {t(state.problem.reason === 'claimed_by_other' ? 'report.refusedClaimed' : state.problem.reason === 'already_signed' ? 'report.refusedSigned' : 'report.refused', {
              who: state.problem.who ?? t('problem.somebody'),
              detail: state.problem.detail ?? state.problem.title,
            })}
          </span>
        </div>
      )}
      {study.question && text.sections.indication !== study.question && (
        <p className="question">
          <span>{t('study.question')}</span> {study.question}
        </p>
      )}
      {sectionNames.map((name) => (
        <label key={name} className={`section section-${name}`}>
          <span>{t(`section.${name}`)}</span>
          <textarea
            ref={(area) => {
              areas.current[name] = area;
            }}
            lang={text.language}
            rows={name === 'findings' ? 7 : name === 'impression' ? 3 : 1}
            maxLength={20_000}
            value={text.sections[name]}
            onFocus={() => {
              lastArea.current = name;
            }}
            onChange={(event) => keeper.edit({ sections: { [name]: event.target.value } })}
          />
        </label>
      ))}
    </div>
  );
});

function Conflict({ keeper, state }: { keeper: DraftKeeper; state: Extract<DraftKeeper['state'], { kind: 'conflict' }> }) {
  const { t } = useWords();
  return (
    <div className="note problem conflict" role="alert">
      <p>{t('report.conflict', { time: time(state.theirs.saved_at) })}</p>
      {state.sections.map((name) => (
        <details key={name}>
          <summary>{t('report.conflictTheirs', { section: t(`section.${name}`) })}</summary>
          <p className="text">{state.theirs.sections[name] || '–'}</p>
        </details>
      ))}
      <div className="actions">
        <button type="button" onClick={() => keeper.resolve('mine')}>
          {t('report.keepMine')}
        </button>
        <button type="button" onClick={() => keeper.resolve('both')}>
          {t('report.keepBoth')}
        </button>
        <button type="button" onClick={() => keeper.resolve('theirs')}>
          {t('report.keepTheirs')}
        </button>
      </div>
    </div>
  );
}

function SaveWords({ keeper }: { keeper: DraftKeeper }) {
  const { t } = useWords();
  useSyncExternalStore(keeper.subscribe, keeper.snapshot);
  const { state } = keeper;
  const words = {
    untouched: () => t('save.untouched'),
    pending: () => t('save.pending'),
    saved: () => t('save.saved', { time: state.kind === 'saved' ? time(state.at) : '' }),
    kept: () => t(state.kind === 'kept' && state.why === 'offline' ? 'save.offline' : 'save.server'),
    conflict: () => t('save.conflict'),
    refused: () => t('save.refused'),
  }[state.kind]();
  const bad = state.kind === 'kept' || state.kind === 'conflict' || state.kind === 'refused';
  return (
    <span className="save-state figures" data-state={state.kind} role="status">
      {bad && <Icon name="warn" />}
      {words}
    </span>
  );
}

/** The signed text, newest version first; older ones folded beneath. */
function Signed({ report, onAmend }: { report: Report; onAmend: (kind: 'correction' | 'addendum') => void }) {
  const { t } = useWords();
  const [last, ...older] = [...report.versions].reverse();
  return (
    <div className="report-body">
      <VersionText version={last} />
      <div className="actions start">
        <button type="button" disabled={report.draft_by !== undefined} onClick={() => onAmend('correction')}>
          {t('report.correct')}
        </button>
        <button type="button" disabled={report.draft_by !== undefined} onClick={() => onAmend('addendum')}>
          {t('report.addendum')}
        </button>
        <a className="button" href={api.pdfPath(last.report_id, last.version)} target="_blank" rel="noreferrer">
          <Icon name="file" /> PDF
        </a>
      </div>
      {report.draft_by && <p className="note">{t('problem.draft_by_other', { who: report.draft_by })}</p>}
      {older.map((version) => (
        <details key={version.version}>
          <summary>
            {t(`report.kind.${version.kind}`)}, {moment(version.signed_at)}
          </summary>
          <VersionText version={version} />
        </details>
      ))}
    </div>
  );
}

function VersionText({ version }: { version: ReportVersion }) {
  const { t } = useWords();
  return (
    <article lang={version.language}>
      <div className="report-head">
        <h2>
          <Icon name="check" /> {t(`report.kind.${version.kind}`)}
        </h2>
      </div>
      <p className="secondary">
        {t('report.signedBy', { who: version.signed_by, at: moment(version.signed_at) })}
        {version.delivery && (
          <>
            <br />
            <DeliveryWords delivery={version.delivery} />
          </>
        )}
      </p>
      {sectionNames
        .filter((name) => version.sections[name].trim())
        .map((name) => (
          <section key={name}>
            <h3>{t(`section.${name}`)}</h3>
            <p className="text">{version.sections[name]}</p>
          </section>
        ))}
    </article>
  );
}
