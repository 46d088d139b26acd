import { useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { ApiError, api } from '../../api/client';
import { listen } from '../../api/events';
import { type Resource, useResource } from '../../api/resource';
import { type Rejected, type ReportVersion, type Series, type StudyDetail, sectionNames } from '../../api/schema';
import { type Desk, installHook, noteFirstPicture, outdate, type Pane, presetsFor } from '../../engine';
import { Icon } from '../../parts/icons';
import { OtherViewers } from '../../parts/otherviewers';
import { describe, PatientBanner } from '../../parts/patient';
import { Overlay, Picture, usePane } from '../../parts/picture';
import { ProblemNote } from '../../parts/problem';
import { href } from '../../parts/route';
import { mayReject, useUser } from '../../parts/session';
import Thumbnail from '../../parts/thumbnail';
import { useDesk } from '../../parts/usedesk';
import { useWords } from '../../words';
import { dicomDate, longDate, time } from '../../words/dates';
import { Who } from '../administration/demographics';
import { firstSeries } from '../reading/hang';
import { RejectedList } from './Rejected';
import { Rejecting, type Shown } from './Rejecting';

installHook();

/** A study for those who treat the patient: the report first, then the pictures. One column on a phone. */
export default function StudyRoom({ studyUID }: { studyUID: string }) {
  const { t } = useWords();
  const study = useResource(`study ${studyUID}`, () => api.study(studyUID));
  const { reload } = study;
  const rejected = useResource(mayReject(useUser().roles) ? `rejected ${studyUID}` : undefined, () => api.rejected(studyUID));
  const { reload: reloadRejected } = rejected;
  useEffect(
    () =>
      listen((event) => {
        if (event.kind === 'report' || ('study_uid' in event && event.study_uid === studyUID)) void reload();
        if (event.kind === 'study' && event.study_uid === studyUID) void reloadRejected();
      }),
    [reload, reloadRejected, studyUID],
  );
  const gone = study.error instanceof ApiError && study.error.problem.code === 'not_found';
  const renewed = useRenewed(studyUID, rejected.data, reload);
  if (study.error && (gone || !study.data)) {
    if (gone && rejected.data && rejected.data.instances.length > 0) return <HiddenStudy rejected={rejected.data} onDone={() => void settle(rejected, studyUID)} />;
    if (gone && rejected.loading) return <main className="waiting" aria-busy="true" aria-label={t('state.loading')} />;
    return (
      <main className="waiting">
        <ProblemNote error={study.error} retry={() => void reload()} />
        <p>
          <a href={href('patients')}>{t('patients.toList')}</a>
        </p>
      </main>
    );
  }
  if (!study.data) return <main className="waiting" aria-busy="true" aria-label={t('state.loading')} />;
  return <StudyPage study={study.data} rejected={rejected} renewed={renewed} />;
}

/**
 * Counts how often what is shown of the study has changed by rejecting, after
 * the study was asked for again: its pictures are then, too.
 */
function useRenewed(studyUID: string, rejected: Rejected | undefined, reload: () => Promise<void>): number {
  const [renewed, setRenewed] = useState(0);
  const known = useRef<string>(undefined);
  const now = rejected?.instances.map((i) => i.sop_uid).join();
  useEffect(() => {
    if (now === undefined || now === known.current) return;
    const first = known.current === undefined;
    known.current = now;
    if (first) return;
    void (async () => {
      await reload();
      outdate(studyUID);
      setRenewed((n) => n + 1);
    })();
  }, [now, reload, studyUID]);
  return renewed;
}

/** A note is durable when the server has answered, and takes effect a moment later: asks until it has. */
async function settle(rejected: Resource<Rejected>, studyUID: string): Promise<void> {
  const signature = (r: Rejected | undefined) => r?.instances.map((i) => i.sop_uid + i.note_uid).join();
  for (const pause of [0, 300, 700, 1500, 3000, 5000]) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    const now = await api.rejected(studyUID).catch(() => undefined);
    if (now && signature(now) !== signature(rejected.data)) return rejected.set(now);
  }
}

/** A study of which nothing is shown, to those who may change that. */
function HiddenStudy({ rejected, onDone }: { rejected: Rejected; onDone: () => void }) {
  const { t } = useWords();
  const { study } = rejected;
  return (
    <main className="room hidden-study">
      <div className="room-head">
        <a className="icon-button" href={href('rejected')} aria-label={t('reject.title')} title={t('reject.title')}>
          <Icon name="back" size={20} />
        </a>
        <h1>
          {dicomDate(study.date)} {study.description || t('study.noDescription')}
        </h1>
      </div>
      <p>
        <Who demographics={study.patient} /> <span className="secondary">{study.facility.name}</span>
      </p>
      <p className="note">{t('reject.allHidden')}</p>
      <RejectedList rejected={rejected} onDone={onDone} />
    </main>
  );
}

function StudyPage({ study, rejected, renewed }: { study: StudyDetail; rejected: Resource<Rejected>; renewed: number }) {
  const { t } = useWords();
  const user = useUser();
  const [rejecting, setRejecting] = useState(false);
  const [shown, setShown] = useState<Shown>();
  const [last, ...older] = study.reports;
  return (
    <main className="study">
      <h1 className="hidden">{t('study.title')}</h1>
      <PatientBanner
        study={study}
        before={
          <a className="icon-button" href={href('patients')} aria-label={t('patients.toList')} title={t('patients.toList')}>
            <Icon name="back" size={20} />
          </a>
        }
        after={
          <>
            <OtherViewers studyUID={study.study_uid} />
            {mayReject(user.roles) && (
              <button type="button" onClick={() => setRejecting(true)}>
                {t('reject.begin')}
              </button>
            )}
            {study.task_id && user.roles.includes('radiologist') && (
              <a className="button" href={href('read', study.task_id)}>
                {t('study.openReading')}
              </a>
            )}
          </>
        }
      />
      <div className="study-columns">
        <section className="study-report" aria-label={t('report.title')}>
          {last ? <ReportText version={last} corrected={older.length > 0} /> : <p className="report-banner waiting-report">{t(study.complete ? 'patients.noReport' : 'patients.stillArriving')}</p>}
          {older.map((version) => (
            <details key={version.version}>
              <summary>{t('patients.earlier', { kind: t(`report.kind.${version.kind}`), date: longDate(version.signed_at, version.language) })}</summary>
              <ReportText version={version} corrected={false} old />
            </details>
          ))}
          {study.priors.length > 0 && (
            <nav aria-label={t('reading.priors')} className="study-priors">
              <h2>{t('patients.otherStudies')}</h2>
              <ul>
                {study.priors.map((prior) => (
                  <li key={prior.study_uid}>
                    <a href={href('study', prior.study_uid)}>
                      {dicomDate(prior.date)} {prior.modalities.join(' ')} {describe(prior, '')}
                    </a>
                  </li>
                ))}
              </ul>
            </nav>
          )}
          {rejected.data && rejected.data.instances.length > 0 && (
            <section className="study-rejected" aria-label={t('reject.title')}>
              <h2>{t('reject.title')}</h2>
              <RejectedList rejected={rejected.data} onDone={() => void settle(rejected, study.study_uid)} />
            </section>
          )}
          <ProblemNote error={rejected.error} retry={() => void rejected.reload()} />
        </section>
        <Pictures key={renewed} study={study} onShown={setShown} />
      </div>
      {rejecting && <Rejecting study={study} shown={shown} onDone={() => void settle(rejected, study.study_uid)} onClose={() => setRejecting(false)} />}
    </main>
  );
}

function ReportText({ version, corrected, old }: { version: ReportVersion; corrected: boolean; old?: boolean }) {
  const { t, language } = useWords();
  const at = `${longDate(version.signed_at, language)}, ${time(version.signed_at)}`;
  return (
    <article className="report-text" lang={version.language}>
      {!old && (
        <p className="report-banner" data-kind={version.kind} lang={language}>
          <Icon name={version.kind === 'final' ? 'check' : 'pen'} />
          <span>
            {t(`patients.banner.${version.kind}`, { at, who: version.signed_by })}
            {corrected && version.kind !== 'final' ? ` ${t('patients.readThis')}` : ''}
          </span>
        </p>
      )}
      {(['impression', ...sectionNames.filter((name) => name !== 'impression')] as const)
        .filter((name) => version.sections[name].trim())
        .map((name) => (
          <section key={name} className={`part-${name}`}>
            <h2 lang={language}>{t(`section.${name}`)}</h2>
            <p className="text">{version.sections[name]}</p>
          </section>
        ))}
      <p className="secondary signature" lang={language}>
        {t('report.signedBy', { who: version.signed_by, at })}
      </p>
      <a className="button" lang={language} href={api.pdfPath(version.report_id, version.version)} target="_blank" rel="noreferrer">
        <Icon name="file" /> {t('patients.pdf')}
      </a>
    </article>
  );
}

function Pictures({ study, onShown }: { study: StudyDetail; onShown: (shown: Shown | undefined) => void }) {
  const { t } = useWords();
  const { desk, failed } = useDesk({ touch: true });
  const [series, setSeries] = useState<Series | undefined>(() => firstSeries(study.series));
  const [pane, setPane] = useState<Pane>();
  const [opened] = useState(() => performance.now());

  useEffect(() => {
    desk?.setTool('scroll');
  }, [desk]);
  useEffect(() => {
    if (pane && series) void pane.open(study.study_uid, series.series_uid);
  }, [pane, series, study.study_uid]);
  useEffect(() => {
    if (!pane) return;
    let told = false;
    return pane.subscribe(() => {
      const { stack, sopInstanceUID, index, drawn } = pane.view();
      onShown(stack && sopInstanceUID && drawn ? { seriesUID: stack.seriesUID, sopUID: sopInstanceUID, index, count: stack.pictures.length } : undefined);
      if (!told && drawn) {
        told = true;
        noteFirstPicture(performance.now() - opened);
      }
    });
  }, [pane, opened, onShown]);

  const pictures = study.series.filter((s) => s.has_pixels !== false);
  return (
    <section className="study-pictures" data-picture aria-label={t('patients.images')}>
      {failed !== undefined && <p className="note problem">{t('picture.engineFailed')}</p>}
      {pictures.length === 0 && <p className="empty">{t('picture.noSeries')}</p>}
      {desk && series && (
        <>
          <Picture desk={desk} id="study" label={series.description || series.modality} onPane={setPane}>
            {pane && <Overlay desk={desk} pane={pane} />}
          </Picture>
          {pane && <Controls desk={desk} pane={pane} />}
        </>
      )}
      {pictures.length > 1 && (
        <div className="series-row">
          {pictures.map((s) => (
            <button key={s.series_uid} type="button" className="series" aria-pressed={s.series_uid === series?.series_uid} onClick={() => setSeries(s)} title={s.description}>
              <Thumbnail studyUID={study.study_uid} series={s} />
              <span className="series-text">
                <span>{s.description || s.modality}</span>
                <span className="figures">{s.instance_count}</span>
              </span>
            </button>
          ))}
        </div>
      )}
      <p className="not-diagnostic">{t('patients.notForDiagnosis')}</p>
    </section>
  );
}

/** Everything a finger needs: a slider for the pictures, windows as buttons. */
function Controls({ desk, pane }: { desk: Desk; pane: Pane }) {
  const { t } = useWords();
  const view = usePane(pane);
  useSyncExternalStore(desk.subscribe, desk.snapshot);
  const { stack } = view;
  if (!stack) return null;
  const presets = stack.colour ? [] : presetsFor(stack.modality, stack.window ?? view.window ?? { center: 128, width: 256 });
  const total = stack.pictures.length;
  return (
    <div className="study-controls">
      {total > 1 && (
        <label className="slider">
          <span className="hidden">{t('patients.image')}</span>
          <input type="range" min={0} max={total - 1} value={view.wanted} onChange={(event) => pane.go(Number(event.target.value))} aria-valuetext={`${view.wanted + 1}/${total}`} />
          <span className="figures">
            {view.wanted + 1}/{total}
          </span>
        </label>
      )}
      <div className="chips" role="group" aria-label={t('tool.preset')}>
        {presets.map((preset, n) => (
          <button
            key={preset.name}
            type="button"
            aria-pressed={view.window !== undefined && Math.abs(view.window.width - preset.width) < 1 && Math.abs(view.window.center - preset.center) < 1}
            onClick={() => pane.preset(n)}
          >
            {t(`window.${preset.name}`)}
          </button>
        ))}
        <button type="button" onClick={() => pane.reset()}>
          {t('tool.reset')}
        </button>
        <button type="button" aria-pressed={desk.tool === 'window'} onClick={() => desk.setTool(desk.tool === 'window' ? 'scroll' : 'window')}>
          {t('tool.window')}
        </button>
      </div>
    </div>
  );
}
