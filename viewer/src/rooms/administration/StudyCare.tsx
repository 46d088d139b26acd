import { useState } from 'react';
import { api } from '../../api/client';
import { useResource } from '../../api/resource';
import type { PatientStudy } from '../../api/schema';
import { Icon } from '../../parts/icons';
import { ProblemNote } from '../../parts/problem';
import { href } from '../../parts/route';
import { useUser } from '../../parts/session';
import { useWords } from '../../words';
import { bytes, dicomDate, moment, number } from '../../words/dates';
import { Ask } from './Ask';

interface CareProps {
  study: PatientStudy;
  chosen: boolean;
  onChoose: (chosen: boolean) => void;
  onMove: () => void;
}

/** One study of a record: what came in several versions, whether it is under legal hold, and moving it. */
export function StudyCare({ study, chosen, onChoose, onMove }: CareProps) {
  const { t, language } = useWords();
  const [open, setOpen] = useState(false);
  const what = `${dicomDate(study.date)} ${study.modalities.join(' ')} ${study.description || t('study.noDescription')}`;
  return (
    <li>
      <div className="care-study">
        <label className="check">
          <input type="checkbox" checked={chosen} onChange={(event) => onChoose(event.target.checked)} />
          <span className="figures">
            {what} <small className="secondary">{t('records.images', { count: number(study.instances, language) })}</small> {study.moved && <small className="amended">{t('records.moved')}</small>}
          </span>
        </label>
        <button type="button" className="icon-button" aria-expanded={open} aria-label={t('records.more', { study: what })} title={t('do.open')} onClick={() => setOpen(!open)}>
          <Icon name="next" />
        </button>
      </div>
      {open && (
        <div className="stacked care-open">
          <div className="actions start">
            <a className="button" href={href('study', study.study_uid)}>
              {t('storage.openStudy')}
            </a>
            <button type="button" onClick={onMove}>
              {t('records.move')}
            </button>
          </div>
          <Versions study={study.study_uid} />
          <Hold study={study.study_uid} what={what} />
        </div>
      )}
    </li>
  );
}

function Versions({ study }: { study: string }) {
  const { t, language } = useWords();
  const list = useResource(`versions ${study}`, async () => (await api.versions(study)).instances);
  if (list.error) return <ProblemNote error={list.error} retry={() => void list.reload()} />;
  if (!list.data) return null;
  if (list.data.length === 0) return <p className="secondary">{t('records.oneVersion')}</p>;
  return (
    <>
      <p>{t('records.versions')}</p>
      <ul className="care-list">
        {list.data.map((instance) => (
          <li key={instance.sop_uid}>
            <div>
              <code>{instance.sop_uid}</code>
              {instance.versions.map((version) => (
                <div key={version.version} className="figures">
                  <a href={api.versionPath(study, instance.sop_uid, version.version)} download={`${instance.sop_uid}.v${version.version}.dcm`}>
                    {t('records.version', { number: version.version })}
                  </a>{' '}
                  {moment(version.received_at)} · {version.sender} · {bytes(version.bytes, language)} {version.current && <span className="fine">{t('records.current')}</span>}
                </div>
              ))}
            </div>
          </li>
        ))}
      </ul>
    </>
  );
}

/** Only administrators of the whole archive put a study under hold. */
function Hold({ study, what }: { study: string; what: string }) {
  const { t } = useWords();
  const whole = useUser().roles.includes('administrator');
  const holds = useResource(whole ? 'holds' : undefined, async () => (await api.holds()).holds);
  const [asking, setAsking] = useState(false);
  if (!whole || !holds.data) return null;
  const hold = holds.data.find((h) => h.study_uid === study);
  return (
    <>
      {hold ? (
        <p className="amended">
          {t('records.held', { who: hold.who, at: moment(hold.at) })} {hold.why}
        </p>
      ) : (
        <div className="actions start">
          <button type="button" onClick={() => setAsking(true)}>
            {t('records.hold')}
          </button>
        </div>
      )}
      {asking && (
        <Ask
          title={t('records.holdAsk', { study: what })}
          meaning={t('retention.holdsLead')}
          act={t('records.hold')}
          onClose={() => setAsking(false)}
          onAct={async (why) => {
            await api.hold(study, why);
            await holds.reload();
          }}
        />
      )}
    </>
  );
}
