import { useEffect, useState } from 'react';
import { api } from '../../api/client';
import { listen } from '../../api/events';
import { useResource } from '../../api/resource';
import type { Study } from '../../api/schema';
import { Icon } from '../../parts/icons';
import { describe, Sex } from '../../parts/patient';
import { ProblemNote } from '../../parts/problem';
import { href } from '../../parts/route';
import { useUser } from '../../parts/session';
import { useWords } from '../../words';
import { dicomDate, dicomTime } from '../../words/dates';

/** The studies of the facilities that one may see, the newest first. Works on a phone. */
export function PatientsRoom() {
  const { t } = useWords();
  const user = useUser();
  const [typed, setTyped] = useState('');
  const [q, setQ] = useState('');
  const [facility, setFacility] = useState('');
  const [more, setMore] = useState<{ key: string; studies: Study[]; next?: string }>();
  const key = `studies ${q} ${facility}`;
  const page = useResource(key, () => api.studies({ q, facility, limit: 50 }));
  const { reload } = page;

  useEffect(() => {
    const timer = setTimeout(() => setQ(typed), 250);
    return () => clearTimeout(timer);
  }, [typed]);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = listen(() => {
      timer ??= setTimeout(() => {
        timer = undefined;
        void reload();
      }, 2000);
    });
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [reload]);

  const further = more?.key === key ? more : undefined;
  const studies = [...(page.data?.studies ?? []), ...(further?.studies ?? [])];
  const next = further ? further.next : page.data?.next;
  const loadMore = async () => {
    const answer = await api.studies({ q, facility, limit: 50, after: next });
    setMore({ key, studies: [...(further?.studies ?? []), ...answer.studies], next: answer.next });
  };

  return (
    <main className="room patients">
      <div className="room-head">
        <h1>{t('rooms.patients')}</h1>
        <div className="search">
          <Icon name="search" />
          <input type="search" placeholder={t('worklist.search')} aria-label={t('worklist.search')} value={typed} onChange={(event) => setTyped(event.target.value)} />
        </div>
        {user.facilities.length > 1 && (
          <select aria-label={t('study.facility')} value={facility} onChange={(event) => setFacility(event.target.value)}>
            <option value="">{t('worklist.anyFacility')}</option>
            {user.facilities.map((f) => (
              <option key={f.code} value={f.code}>
                {f.name}
              </option>
            ))}
          </select>
        )}
      </div>
      <ProblemNote error={page.error} retry={() => void reload()} />
      <ul className="study-list">
        {studies.map((study) => (
          <li key={study.study_uid}>
            <a className="study-card" href={href('study', study.study_uid)}>
              <span className="study-who">
                <strong>
                  <bdi>{study.patient.name}</bdi> <Sex sex={study.patient.sex} /> {study.patient.age !== undefined && <span className="figures">{study.patient.age}</span>}
                </strong>
                {study.patient.name_other && <small>{study.patient.name_other}</small>}
              </span>
              <span className="study-what">
                <span>
                  <span className="modality">{study.modalities.join(' ')}</span> {describe(study, t('study.noDescription'))}
                </span>
                <small className="figures">
                  {dicomDate(study.date)} {dicomTime(study.time)} · {study.facility.name}
                </small>
              </span>
              <span className="study-state">
                {study.report ? (
                  <span className={study.report.kind === 'final' ? 'fine' : 'amended'}>
                    <Icon name="check" /> {t(`report.kind.${study.report.kind}`)}
                  </span>
                ) : study.complete ? (
                  <span className="secondary">
                    <Icon name="clock" /> {t('patients.noReportYet')}
                  </span>
                ) : (
                  <span className="secondary">
                    <Icon name="arriving" /> {t('worklist.arriving')}
                  </span>
                )}
              </span>
            </a>
          </li>
        ))}
      </ul>
      {page.data && studies.length === 0 && <p className="empty">{t(q ? 'patients.notFound' : 'patients.empty')}</p>}
      {next && (
        <button type="button" onClick={() => void loadMore()}>
          {t('do.more')}
        </button>
      )}
    </main>
  );
}
