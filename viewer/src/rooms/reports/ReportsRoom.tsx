import { useState } from 'react';
import { api } from '../../api/client';
import { useReloadOn } from '../../api/live';
import { useResource, useSettled } from '../../api/resource';
import type { DeliveryRow, DeliveryState } from '../../api/schema';
import { DeliveryWords } from '../../parts/delivery';
import { Icon } from '../../parts/icons';
import { describe, Sex } from '../../parts/patient';
import { explain, ProblemNote } from '../../parts/problem';
import { href } from '../../parts/route';
import { TableScroll } from '../../parts/table';
import { useWords } from '../../words';
import { dicomDate, moment } from '../../words/dates';

const states: DeliveryState[] = ['failed', 'retrying', 'queued', 'delivered'];

/** What changes this list. */
const changes = ['delivery', 'report'] as const;

/** Signed reports on their way to the platform: what waits, what failed and why, "send again". */
export function ReportsRoom() {
  const { t } = useWords();
  const [state, setState] = useState<DeliveryState | ''>('');
  const [typed, setTyped] = useState('');
  const q = useSettled(typed);
  const [problem, setProblem] = useState<unknown>();
  const page = useResource(`deliveries ${state} ${q}`, () => api.deliveries({ state, q, limit: 200 }));
  const { reload } = page;

  useReloadOn(changes, 400, reload);

  const retry = async (row: DeliveryRow) => {
    setProblem(undefined);
    try {
      await api.retryDelivery(row.report_id, row.version);
      await reload();
    } catch (err) {
      setProblem(err);
    }
  };

  const counts = page.data?.counts ?? {};
  const all = states.reduce((sum, name) => sum + (counts[name] ?? 0), 0);
  return (
    <main className="room">
      <h1>{t('rooms.reports')}</h1>
      <p className="secondary lead">{page.data ? (page.data.platform ? t('delivery.platform', { address: page.data.platform }) : t('delivery.noPlatform')) : ' '}</p>
      <div className="worklist-head">
        <div className="tabs" role="group" aria-label={t('worklist.state')}>
          <button type="button" aria-pressed={state === ''} onClick={() => setState('')}>
            {t('delivery.all')} <span className="count">{page.data ? all : '–'}</span>
          </button>
          {states.map((name) => (
            <button key={name} type="button" aria-pressed={state === name} onClick={() => setState(name)}>
              {t(`delivery.state.${name}`)} <span className="count">{page.data ? (counts[name] ?? 0) : '–'}</span>
            </button>
          ))}
        </div>
        <input type="search" className="small-search" placeholder={t('worklist.search')} aria-label={t('worklist.search')} value={typed} onChange={(event) => setTyped(event.target.value)} />
      </div>
      <ProblemNote error={page.error} retry={() => void reload()} />
      {problem !== undefined && (
        <div className="note problem" role="alert">
          <Icon name="warn" /> <span>{explain(t, problem)}</span>
        </div>
      )}
      <TableScroll label={t('rooms.reports')}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t('delivery.signed')}</th>
              <th scope="col">{t('worklist.patient')}</th>
              <th scope="col">{t('worklist.study')}</th>
              <th scope="col">{t('delivery.onItsWay')}</th>
              <th scope="col">
                <span className="hidden">{t('do.actions')}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {page.data?.deliveries.map((row) => (
              <tr key={`${row.report_id}/${row.version}`}>
                <td className="figures">
                  <span className="line">{moment(row.signed_at)}</span>
                  <small>{row.signed_by}</small>
                </td>
                <td>
                  <span className="line">
                    <bdi>{row.study.patient.name}</bdi> <Sex sex={row.study.patient.sex} />
                  </span>
                  <small>{row.study.patient.name_other ?? ' '}</small>
                </td>
                <td>
                  <a className="line" href={href('study', row.study.study_uid)}>
                    <span className="modality">{row.study.modalities.join(' ')}</span> {describe(row.study, t('study.noDescription'))}
                  </a>
                  <small className="figures">
                    {dicomDate(row.study.date)} · {t(`report.kind.${row.kind}`)}
                  </small>
                </td>
                <td className="c-delivery">
                  <DeliveryWords delivery={row.delivery} />
                  {row.delivery.last_error && row.delivery.state !== 'delivered' && (
                    <small className="platform-words" title={row.delivery.last_error}>
                      {t('delivery.platformSays')} {row.delivery.last_error}
                    </small>
                  )}
                  {row.delivery.state === 'failed' && <small>{t('delivery.safe')}</small>}
                </td>
                <td className="c-action">
                  {row.delivery.state !== 'delivered' ? (
                    <button type="button" onClick={() => void retry(row)}>
                      <Icon name="send" /> {t('delivery.sendAgain')}
                    </button>
                  ) : (
                    <a className="button" href={api.pdfPath(row.report_id, row.version)} target="_blank" rel="noreferrer">
                      <Icon name="file" /> PDF
                    </a>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        {page.data?.deliveries.length === 0 && <p className="empty">{t('delivery.empty')}</p>}
      </TableScroll>
    </main>
  );
}
