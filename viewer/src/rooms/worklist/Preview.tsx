import { useEffect } from 'react';
import { api } from '../../api/client';
import { prime, useResource } from '../../api/resource';
import { readOutside, type Task } from '../../api/schema';
import { Icon } from '../../parts/icons';
import { describe } from '../../parts/patient';
import Thumbnail from '../../parts/thumbnail';
import { useWords } from '../../words';
import { dicomDate } from '../../words/dates';

/** What is known of the selected study before it is opened. */
export function Preview({ task, onOpen, onReserve, onClose }: { task: Task; onOpen: () => void; onReserve: (() => void) | undefined; onClose: () => void }) {
  const { t } = useWords();
  const { study } = task;
  const detail = useResource(study.study_uid, () => api.study(study.study_uid));
  const known = detail.data?.study_uid === study.study_uid ? detail.data : undefined;

  // Who stays on a row will open it: its pictures' metadata is small, and the first picture waits for it.
  useEffect(() => {
    if (!known) return;
    prime(`study ${known.study_uid}`, known);
    const timer = setTimeout(() => {
      void import('../reading/ahead').then(({ prepare }) => prepare(known)).catch(() => {});
    }, 500);
    return () => clearTimeout(timer);
  }, [known]);

  return (
    <aside className="preview" aria-label={t('worklist.preview')}>
      <dl>
        <div>
          <dt>{t('study.question')}</dt>
          <dd>{study.question || '–'}</dd>
        </div>
        <div>
          <dt>{t('study.referrer')}</dt>
          <dd>{study.referring_physician || '–'}</dd>
        </div>
        <div>
          <dt>{t('worklist.priors')}</dt>
          <dd>
            {known
              ? known.priors.length === 0
                ? t('worklist.noPriors')
                : known.priors
                    .slice(0, 3)
                    .map((prior) => `${prior.modalities.join(' ')} ${describe(prior, '')} ${dicomDate(prior.date)}`)
                    .join('; ')
              : (task.prior_count ?? '…')}
          </dd>
        </div>
        <div>
          <dt>{t('worklist.rule')}</dt>
          <dd>
            {task.rule?.name ?? '–'}
            {task.group ? ` → ${task.group.name}` : ''}
          </dd>
        </div>
      </dl>
      <div className="preview-series">
        {known?.series
          .filter((series) => series.has_pixels !== false)
          .slice(0, 6)
          .map((series) => (
            <figure key={series.series_uid} data-picture>
              <Thumbnail studyUID={study.study_uid} series={series} />
              <figcaption title={series.description}>{series.description || series.modality}</figcaption>
            </figure>
          ))}
      </div>
      <div className="preview-actions">
        <button type="button" className="primary" onClick={onOpen}>
          {t('do.open')} <kbd>Enter</kbd>
        </button>
        {onReserve && (readOutside(task) !== undefined || (task.state !== 'signed' && (!task.claimed_by || task.claimed_by.me))) && (
          <button type="button" onClick={onReserve}>
            {t(task.claimed_by?.me ? 'worklist.release' : 'worklist.reserve')} <kbd>R</kbd>
          </button>
        )}
      </div>
      <button type="button" className="icon-button preview-close" aria-label={t('do.close')} title={t('do.close')} onClick={onClose}>
        <Icon name="close" />
      </button>
    </aside>
  );
}
