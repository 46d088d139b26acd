import { useState } from 'react';
import { api } from '../../api/client';
import { type RejectionReason, rejectionReasons, type StudyDetail } from '../../api/schema';
import { describe } from '../../parts/patient';
import { useWords } from '../../words';
import { dicomDate, number } from '../../words/dates';
import { Ask } from '../administration/Ask';

/** The picture on the screen. */
export interface Shown {
  seriesUID: string;
  sopUID: string;
  index: number;
  count: number;
}

interface Props {
  study: StudyDetail;
  shown: Shown | undefined;
  onDone: () => void;
  onClose: () => void;
}

/** Asks what of a study is not to be shown any more, and why. */
export function Rejecting({ study, shown, onDone, onClose }: Props) {
  const { t, language } = useWords();
  const whole = `studies/${study.study_uid}`;
  const nameOf = (uid: string) => {
    const series = study.series.find((s) => s.series_uid === uid);
    return series ? `${series.modality} ${series.description}`.trim() : uid;
  };
  // What one has read does not change under the hand when a picture comes.
  const [choices] = useState(() => [
    ...(shown
      ? [{ where: `${whole}/series/${shown.seriesUID}/instances/${shown.sopUID}`, name: t('reject.shown', { number: shown.index + 1, total: shown.count, series: nameOf(shown.seriesUID) }), count: 1 }]
      : []),
    ...(study.series.length > 1 ? study.series.map((s) => ({ where: `${whole}/series/${s.series_uid}`, name: t('reject.series', { series: nameOf(s.series_uid) }), count: s.instance_count })) : []),
    { where: whole, name: t('reject.study'), count: study.instance_count },
  ]);
  const [where, setWhere] = useState(shown ? choices[0].where : '');
  const [reason, setReason] = useState<RejectionReason>();
  const chosen = choices.find((c) => c.where === where);
  return (
    <Ask
      title={t('reject.ask', { who: study.patient.name, study: `${dicomDate(study.date)} ${study.modalities.join(' ')} ${describe(study, '')}`.trim() })}
      meaning={t('reject.meaning')}
      act={t('reject.act', { count: number(chosen?.count ?? 0, language) })}
      danger
      ready={reason !== undefined && chosen !== undefined}
      onClose={onClose}
      onAct={async (why) => {
        if (!reason || !chosen) return;
        await api.reject(chosen.where, reason, why);
        onDone();
      }}
    >
      <fieldset>
        <legend>{t('reject.what')}</legend>
        {choices.map((choice) => (
          <label key={choice.where} className="check">
            <input type="radio" name="what" checked={choice === chosen} onChange={() => setWhere(choice.where)} />
            <span>
              {choice.name} <small className="secondary">{t('records.images', { count: number(choice.count, language) })}</small>
            </span>
          </label>
        ))}
      </fieldset>
      <fieldset>
        <legend>{t('reject.reason')}</legend>
        {rejectionReasons.map((code) => (
          <label key={code} className="check">
            <input type="radio" name="reason" required checked={code === reason} onChange={() => setReason(code)} />
            <span>
              {t(`reject.reasons.${code}`)}
              {code === '113039' && <small className="secondary"> {t('reject.comesAgain')}</small>}
            </span>
          </label>
        ))}
      </fieldset>
    </Ask>
  );
}
