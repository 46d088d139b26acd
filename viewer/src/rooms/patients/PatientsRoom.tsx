import { useState } from 'react';
import { api } from '../../api/client';
import { useReloadOn } from '../../api/live';
import { usePages, useSettled } from '../../api/resource';
import { FacilitySelect } from '../../parts/facility';
import { Icon } from '../../parts/icons';
import { describe, Sex } from '../../parts/patient';
import { ProblemNote } from '../../parts/problem';
import { href } from '../../parts/route';
import { mayReject, useUser } from '../../parts/session';
import { More } from '../../parts/table';
import { StudyThumbnail } from '../../parts/thumbnail';
import { useWords } from '../../words';
import { dicomDate, dicomTime } from '../../words/dates';

/** What changes this list. */
const changes = ['task', 'report', 'delivery', 'study', 'order'] as const;

/** The studies of the facilities that one may see, the newest first. Works on a phone. */
export function PatientsRoom() {
  const { t } = useWords();
  const user = useUser();
  const [typed, setTyped] = useState('');
  const [facility, setFacility] = useState('');
  const q = useSettled(typed);
  const page = usePages(
    `studies ${q} ${facility}`,
    (after) => api.studies({ q, facility, limit: 50, after }),
    (answer) => answer.studies,
  );
  const { items: studies, reload } = page;

  useReloadOn(changes, 2000, reload);

  return (
    <main className="room patients">
      <div className="room-head">
        <h1>{t('rooms.patients')}</h1>
        <div className="search">
          <Icon name="search" />
          <input type="search" placeholder={t('worklist.search')} aria-label={t('worklist.search')} value={typed} onChange={(event) => setTyped(event.target.value)} />
        </div>
        {user.facilities.length > 1 && <FacilitySelect label={t('study.facility')} none={t('worklist.anyFacility')} value={facility} onChange={setFacility} />}
        {mayReject(user.roles) && (
          <a className="button" href={href('rejected')}>
            {t('reject.title')}
          </a>
        )}
      </div>
      <ProblemNote error={page.error} retry={() => void reload()} />
      <ul className="study-list">
        {studies.map((study) => (
          <li key={study.study_uid}>
            <a className="study-card" href={href('study', study.study_uid)}>
              <StudyThumbnail studyUID={study.study_uid} alt={describe(study, study.modalities.join(' '))} />
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
      <More page={page} />
    </main>
  );
}
