import { useState } from 'react';
import { api } from '../../api/client';
import { usePages, useResource, useSettled } from '../../api/resource';
import { type Association, associationOutcomes } from '../../api/schema';
import { FacilitySelect } from '../../parts/facility';
import { Icon } from '../../parts/icons';
import { ProblemNote } from '../../parts/problem';
import { useUser } from '../../parts/session';
import { ActionsHead, More, TableScroll } from '../../parts/table';
import { useWords } from '../../words';
import { bytes, moment, number } from '../../words/dates';
import { Fact } from './Fact';

const otherSide = (a: Association) => (a.direction === 'in' ? a.calling : a.called);
const stateOf = (a: Association) => (a.outcome === 'released' ? 'fine' : a.outcome === 'rejected' || a.outcome === 'failed' ? 'critical' : 'soon');

/** Who talked with whom over DICOM, and how it ended. */
export function AssociationsPage() {
  const { t, language } = useWords();
  const { facilities } = useUser();
  const [typed, setTyped] = useState('');
  const [direction, setDirection] = useState('');
  const [outcome, setOutcome] = useState('');
  const [facility, setFacility] = useState('');
  const [chosen, setChosen] = useState('');
  const ae = useSettled(typed.trim());
  const page = usePages(
    `associations ${ae} ${direction} ${outcome} ${facility}`,
    (after) => api.associations({ ae, direction, outcome, facility, after }),
    (answer) => answer.associations,
  );
  return (
    <>
      <div className="admin-table">
        <div className="room-head">
          <h1>{t('admin.associations.title')}</h1>
          <span className="spread" />
          <button type="button" onClick={() => void page.restart()}>
            {t('associations.refresh')}
          </button>
        </div>
        <p className="secondary lead">{t('admin.associations.lead')}</p>
        <div className="room-head">
          <input type="search" aria-label={t('admin.aeTitle')} placeholder={t('admin.aeTitle')} value={typed} spellCheck={false} onChange={(e) => setTyped(e.target.value)} />
          <select aria-label={t('associations.direction')} value={direction} onChange={(e) => setDirection(e.target.value)}>
            <option value="">{t('associations.both')}</option>
            <option value="in">{t('associations.in')}</option>
            <option value="out">{t('associations.out')}</option>
          </select>
          <select aria-label={t('associations.outcome')} value={outcome} onChange={(e) => setOutcome(e.target.value)}>
            <option value="">{t('associations.anyOutcome')}</option>
            {associationOutcomes.map((name) => (
              <option key={name} value={name}>
                {t(`associations.outcomes.${name}`)}
              </option>
            ))}
          </select>
          {facilities.length > 1 && <FacilitySelect label={t('study.facility')} none={t('worklist.anyFacility')} value={facility} onChange={setFacility} />}
        </div>
        <ProblemNote error={page.error} retry={() => void page.reload()} />
        <TableScroll label={t('admin.associations.title')}>
          <table>
            <thead>
              <tr>
                {['began', 'direction', 'other', 'outcome', 'instances', 'size', 'duration'].map((column) => (
                  <th key={column} scope="col">
                    {t(`associations.${column}`)}
                  </th>
                ))}
                <ActionsHead />
              </tr>
            </thead>
            <tbody>
              {page.items.map((a) => (
                <tr key={a.id} data-selected={a.id === chosen || undefined}>
                  <td className="figures">{moment(a.began)}</td>
                  <td>{t(`associations.${a.direction}`)}</td>
                  <td>
                    <code>{otherSide(a) || a.address}</code>
                  </td>
                  <td data-state={stateOf(a)}>
                    <Icon name={a.outcome === 'released' ? 'check' : 'warn'} /> {t(`associations.outcomes.${a.outcome}`)}
                    {a.times > 1 ? ` × ${number(a.times, language)}` : ''}
                  </td>
                  <td className="figures">
                    {number(a.instances, language)}
                    {a.failed > 0 && <span className="problem"> · {t('associations.refused', { count: number(a.failed, language) })}</span>}
                  </td>
                  <td className="figures">{bytes(a.bytes, language)}</td>
                  <td className="figures">{t('associations.seconds', { count: number(a.seconds, language, a.seconds < 10 ? 1 : 0) })}</td>
                  <td className="c-action">
                    <button
                      type="button"
                      className="icon-button"
                      aria-label={t('associations.details', { name: otherSide(a) || a.address, at: moment(a.began) })}
                      title={t('do.open')}
                      onClick={() => setChosen(a.id)}
                    >
                      <Icon name="next" />
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          {page.data && page.items.length === 0 && <p className="empty">{t('associations.empty')}</p>}
        </TableScroll>
        <More page={page} />
      </div>
      {chosen && <Panel key={chosen} id={chosen} onClose={() => setChosen('')} />}
    </>
  );
}

function Panel({ id, onClose }: { id: string; onClose: () => void }) {
  const { t, language } = useWords();
  const { data: a, error, reload } = useResource(`association ${id}`, () => api.association(id));
  const { facilities } = useUser();
  const title = a ? otherSide(a) || a.address : t('admin.associations.title');
  return (
    <aside className="side-panel wide" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <button type="button" className="icon-button" aria-label={t('do.close')} title={t('do.close')} onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <ProblemNote error={error} retry={() => void reload()} />
      {a && (
        <div className="stacked">
          <p data-state={stateOf(a)}>
            <Icon name={a.outcome === 'released' ? 'check' : 'warn'} /> {t(`associations.outcomes.${a.outcome}`)}
          </p>
          {a.code && <p>{t(`associations.codes.${a.code}`)}</p>}
          {a.reason && (
            <p className="secondary wrap" lang="en">
              {a.reason}
            </p>
          )}
          <dl className="facts">
            <Fact label={t('associations.calling')} value={a.calling} />
            <Fact label={t('associations.called')} value={a.called} />
            <Fact label={t('devices.address')} value={a.address} />
            {a.facility && <Fact label={t('study.facility')} value={facilities.find((f) => f.code === a.facility)?.name ?? a.facility} />}
            {a.software && <Fact label={t('associations.software')} value={a.software} />}
            {a.user && <Fact label={t('associations.user')} value={a.user} />}
            {a.tls_version && <Fact label={t('associations.tls')} value={[a.tls_version, a.tls_subject].filter(Boolean).join(', ')} />}
            <Fact label={t('associations.pdu')} value={a.max_pdu ? bytes(a.max_pdu, language) : t('associations.unlimited')} />
          </dl>
          {Object.keys(a.messages).length > 0 && (
            <>
              <h3>{t('associations.messages')}</h3>
              <ul className="taken" lang="en">
                {Object.entries(a.messages).map(([name, count]) => (
                  <li key={name}>
                    {name.replace(/-RQ$/, '')}: <span className="figures">{number(count, language)}</span>
                  </li>
                ))}
              </ul>
            </>
          )}
          {a.contexts.length > 0 && (
            <>
              <h3>{t('associations.negotiated')}</h3>
              <ul className="taken">
                {a.contexts.map((context, index) => (
                  // biome-ignore lint/suspicious/noArrayIndexKey: one class may be proposed several times; the list never changes
                  <li key={index} data-state={context.accepted ? undefined : 'soon'}>
                    <Icon name={context.accepted ? 'check' : 'close'} />
                    <span>
                      <span lang="en">{context.name || context.abstract_syntax}</span>
                      <br />
                      <small className="secondary wrap">{context.accepted ? <code>{context.accepted}</code> : t('associations.notTaken', { syntaxes: context.proposed.join(', ') })}</small>
                    </span>
                  </li>
                ))}
              </ul>
            </>
          )}
        </div>
      )}
    </aside>
  );
}
