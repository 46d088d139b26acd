import { useState } from 'react';
import { api } from '../../api/client';
import type { Rejected, RejectedInstance } from '../../api/schema';
import { useWords } from '../../words';
import { moment, number } from '../../words/dates';
import { Ask } from '../administration/Ask';

/** What one note says about instances of one series. */
interface Note {
  uid: string;
  instances: RejectedInstance[];
}

interface HiddenSeries {
  uid: string;
  name: string;
  instances: RejectedInstance[];
  notes: Note[];
}

function bySeries(instances: RejectedInstance[]): HiddenSeries[] {
  const found = new Map<string, HiddenSeries>();
  for (const instance of instances) {
    const series = found.get(instance.series_uid) ?? { uid: instance.series_uid, name: `${instance.modality} ${instance.series_description}`.trim(), instances: [], notes: [] };
    found.set(series.uid, series);
    series.instances.push(instance);
    const note = series.notes.find((n) => n.uid === instance.note_uid);
    if (note) note.instances.push(instance);
    else series.notes.push({ uid: instance.note_uid, instances: [instance] });
  }
  return [...found.values()];
}

/** What of a study is not shown, since when, why and by whom; and taking that back. */
export function RejectedList({ rejected, onDone }: { rejected: Rejected; onDone: () => void }) {
  const { t, language } = useWords();
  const [asking, setAsking] = useState<{ where: string; what: string }>();
  const all = bySeries(rejected.instances);
  const study = `studies/${rejected.study.study_uid}`;
  const images = (count: number) => t('records.images', { count: number(count, language) });
  const restore = (where: string, what: string) => (
    <button type="button" aria-label={`${t('reject.restore')}: ${what}`} onClick={() => setAsking({ where, what })}>
      {t('reject.restore')}
    </button>
  );
  return (
    <>
      <ul className="rejected-list">
        {all.map((series) => (
          <li key={series.uid}>
            <div className="rejected-head">
              <strong>{series.name}</strong> <small className="secondary">{images(series.instances.length)}</small>
              <span className="spread" />
              {restore(`${study}/series/${series.uid}`, `${series.name}, ${images(series.instances.length)}`)}
            </div>
            {series.notes.map((note) => {
              const [first] = note.instances;
              const alone = note.instances.length === 1 && series.notes.length > 1;
              const which = note.instances.length === 1 && first.number ? t('reject.image', { number: first.number }) : images(note.instances.length);
              return (
                <div key={note.uid} className="rejected-note">
                  <span>
                    {t(`reject.reasons.${first.reason}`)}
                    <small className="secondary figures">
                      {' '}
                      {which} · {first.sender} · {moment(first.noted_at)}
                    </small>
                  </span>
                  {alone && restore(`${study}/series/${series.uid}/instances/${first.sop_uid}`, `${series.name}, ${which}`)}
                </div>
              );
            })}
          </li>
        ))}
      </ul>
      {all.length > 1 && (
        <button type="button" className="rejected-all" onClick={() => setAsking({ where: study, what: images(rejected.instances.length) })}>
          {t('reject.restoreAll')}
        </button>
      )}
      {asking && (
        <Ask
          title={t('reject.restoreAsk', { what: asking.what })}
          meaning={t('reject.restoreMeaning')}
          act={t('reject.restore')}
          onClose={() => setAsking(undefined)}
          onAct={async (why) => {
            await api.reject(asking.where, 'REJECTION_REVOKED', why);
            onDone();
          }}
        />
      )}
    </>
  );
}
