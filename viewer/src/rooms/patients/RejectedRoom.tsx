import { api } from '../../api/client';
import { useReloadOn } from '../../api/live';
import { usePages } from '../../api/resource';
import { Icon } from '../../parts/icons';
import { ProblemNote } from '../../parts/problem';
import { href } from '../../parts/route';
import { More, TableScroll } from '../../parts/table';
import { useWords } from '../../words';
import { dicomDate, moment, number } from '../../words/dates';
import { Who } from '../administration/demographics';

const changes = ['study'] as const;

/** Studies of which images are rejected: nothing else leads to those of which nothing is shown. */
export function RejectedRoom() {
  const { t, language } = useWords();
  const page = usePages(
    'rejected',
    (after) => api.rejectedStudies({ limit: 50, after }),
    (answer) => answer.studies,
  );
  const { reload } = page;
  useReloadOn(changes, 2000, reload);
  return (
    <main className="room">
      <div className="room-head">
        <a className="icon-button" href={href('patients')} aria-label={t('patients.toList')} title={t('patients.toList')}>
          <Icon name="back" size={20} />
        </a>
        <h1>{t('reject.title')}</h1>
      </div>
      <p className="secondary lead">{t('reject.lead')}</p>
      <ProblemNote error={page.error} retry={() => void reload()} />
      <TableScroll label={t('reject.title')}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t('patient.banner')}</th>
              <th scope="col">{t('study.title')}</th>
              <th scope="col">{t('study.facility')}</th>
              <th scope="col">{t('reject.hidden')}</th>
              <th scope="col">{t('reject.left')}</th>
              <th scope="col">{t('reject.when')}</th>
            </tr>
          </thead>
          <tbody>
            {page.items.map((study) => (
              <tr key={study.study_uid}>
                <td>
                  <Who demographics={study.patient} />
                </td>
                <td>
                  <a href={href('study', study.study_uid)}>
                    <span className="figures">{dicomDate(study.date)}</span> {study.description || t('study.noDescription')}
                  </a>
                </td>
                <td>{study.facility.name}</td>
                <td className="figures">{number(study.rejected, language)}</td>
                <td className="figures">{study.shown === 0 ? <span className="amended">{t('reject.nothing')}</span> : number(study.shown, language)}</td>
                <td className="figures">{moment(study.noted_at)}</td>
              </tr>
            ))}
          </tbody>
        </table>
        {page.data && page.items.length === 0 && <p className="empty">{t('reject.empty')}</p>}
      </TableScroll>
      <More page={page} />
    </main>
  );
}
