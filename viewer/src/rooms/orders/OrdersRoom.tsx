import { useRef, useState } from 'react';
import { api } from '../../api/client';
import { useReloadOn } from '../../api/live';
import { usePages, useSettled } from '../../api/resource';
import { type Order, type OrderState, orderStates } from '../../api/schema';
import { FacilitySelect } from '../../parts/facility';
import { Icon } from '../../parts/icons';
import { useKeys } from '../../parts/keys';
import { ProblemNote } from '../../parts/problem';
import { useUser } from '../../parts/session';
import { ActionsHead, More, TableScroll } from '../../parts/table';
import { useWords } from '../../words';
import { personName, Who } from '../administration/demographics';
import { addDays, clockOf, dayOf, modalities, today } from './days';
import { OrderForm } from './OrderForm';
import { OrderPanel } from './OrderPanel';

type Beside = { kind: 'new' } | { kind: 'order'; id: string; justEntered?: boolean };

/** What changes this list. */
const changes = ['order'] as const;

/** Who is examined today, with what and when; a new order is entered without leaving the keyboard. */
export default function OrdersRoom() {
  const { t } = useWords();
  const { facilities, roles } = useUser();
  const mayEnter = roles.some((role) => role !== 'radiologist');
  const [day, setDay] = useState(today);
  const [typed, setTyped] = useState('');
  const [state, setState] = useState<OrderState | ''>('');
  const [modality, setModality] = useState('');
  const [facility, setFacility] = useState('');
  const [beside, setBeside] = useState<Beside>();
  const search = useRef<HTMLInputElement>(null);
  const q = useSettled(typed).trim();
  // Whoever is looked for is looked for on all days.
  const asked = { day: q ? '' : day.replaceAll('-', ''), q, state, modality, facility };
  const page = usePages(
    `orders ${Object.values(asked).join(' ')}`,
    (after) => api.orders({ ...asked, limit: 100, after }),
    (answer) => answer.orders,
  );
  const { items: orders, reload } = page;

  useReloadOn(changes, 1000, reload);

  const enterNew = () => setBeside({ kind: 'new' });
  useKeys(
    {
      ...(mayEnter && { N: enterNew }),
      Slash: () => search.current?.focus(),
      ArrowLeft: () => setDay(addDays(day, -1)),
      ArrowRight: () => setDay(addDays(day, 1)),
    },
    { Escape: () => setBeside(undefined) },
  );

  return (
    <main className="orders">
      <div className="admin-table">
        <div className="room-head">
          <h1>{t('orders.title')}</h1>
          <span className="day-choice">
            <button type="button" className="icon-button" aria-label={t('orders.before')} title={t('orders.before')} onClick={() => setDay(addDays(day, -1))}>
              <Icon name="back" />
            </button>
            <input type="date" aria-label={t('orders.day')} value={day} disabled={q !== ''} onChange={(event) => setDay(event.target.value || today())} />
            <button type="button" className="icon-button" aria-label={t('orders.after')} title={t('orders.after')} onClick={() => setDay(addDays(day, 1))}>
              <Icon name="next" />
            </button>
            {day !== today() && (
              <button type="button" onClick={() => setDay(today())}>
                {t('orders.today')}
              </button>
            )}
          </span>
          <div className="search">
            <Icon name="search" />
            <input ref={search} type="search" placeholder={t('orders.search')} aria-label={t('orders.search')} value={typed} onChange={(event) => setTyped(event.target.value)} />
            <kbd>/</kbd>
          </div>
          <select aria-label={t('orders.state')} value={state} onChange={(event) => setState(event.target.value as OrderState | '')}>
            <option value="">{t('orders.anyState')}</option>
            {orderStates.map((name) => (
              <option key={name} value={name}>
                {t(`orders.states.${name}`)}
              </option>
            ))}
          </select>
          <select aria-label={t('orders.modality')} value={modality} onChange={(event) => setModality(event.target.value)}>
            <option value="">{t('orders.anyModality')}</option>
            {modalities.map((code) => (
              <option key={code}>{code}</option>
            ))}
          </select>
          {facilities.length > 1 && <FacilitySelect label={t('study.facility')} none={t('worklist.anyFacility')} value={facility} onChange={setFacility} />}
          <span className="spread" />
          {mayEnter && (
            <button type="button" className="primary" onClick={enterNew}>
              {t('orders.new')} <kbd>N</kbd>
            </button>
          )}
        </div>
        <ProblemNote error={page.error} retry={() => void page.reload()} />
        <TableScroll label={t('orders.title')}>
          <table>
            <thead>
              <tr>
                <th scope="col">{t('orders.time')}</th>
                <th scope="col">{t('patient.banner')}</th>
                <th scope="col">{t('orders.what')}</th>
                <th scope="col">{t('orders.station')}</th>
                <th scope="col">{t('worklist.priority')}</th>
                <th scope="col">{t('orders.state')}</th>
                <ActionsHead />
              </tr>
            </thead>
            <tbody>
              {orders.map((order) => (
                <Row key={order.id} order={order} withDay={q !== ''} chosen={beside?.kind === 'order' && beside.id === order.id} onOpen={() => setBeside({ kind: 'order', id: order.id })} />
              ))}
            </tbody>
          </table>
          {page.data && orders.length === 0 && <p className="empty">{t(q ? 'orders.notFound' : 'orders.none')}</p>}
        </TableScroll>
        <More page={page} />
      </div>
      {beside?.kind === 'new' && (
        <aside className="side-panel wide" aria-label={t('orders.new')}>
          <header>
            <h2>{t('orders.new')}</h2>
            <button type="button" className="icon-button" aria-label={t('do.close')} title={t('do.close')} onClick={() => setBeside(undefined)}>
              <Icon name="close" />
            </button>
          </header>
          <OrderForm
            day={day}
            facility={facility || facilities[0]?.code || ''}
            onSaved={(order) => {
              setBeside({ kind: 'order', id: order.id, justEntered: true });
              void page.restart();
            }}
            onCancel={() => setBeside(undefined)}
          />
        </aside>
      )}
      {beside?.kind === 'order' && (
        <OrderPanel key={beside.id} id={beside.id} justEntered={beside.justEntered} mayChange={mayEnter} onChanged={() => void page.restart()} onClose={() => setBeside(undefined)} />
      )}
    </main>
  );
}

function Row({ order, withDay, chosen, onOpen }: { order: Order; withDay: boolean; chosen: boolean; onOpen: () => void }) {
  const { t } = useWords();
  const first = order.steps[0];
  const images = order.studies.reduce((n, study) => n + study.instances, 0);
  return (
    <tr data-order={order.id} data-selected={chosen || undefined}>
      <td className="figures">
        {withDay && `${dayOf(first.start)} `}
        {clockOf(first.start)}
      </td>
      <td>
        <Who demographics={order.patient} />
      </td>
      <td>
        <span className="modality">{order.steps.map((step) => step.modality).join(' ')}</span> {first.description || order.procedure?.description}
      </td>
      <td>{first.stations?.length ? <code>{first.stations.join(', ')}</code> : <span className="secondary">{t('orders.anyStation')}</span>}</td>
      <td>
        <span data-priority={order.priority}>{t(`priority.${order.priority}`)}</span>
      </td>
      <td>
        <StateWord order={order} />
        {images > 0 && <small className="secondary">{t('orders.imagesCount', { n: images })}</small>}
      </td>
      <td className="c-action">
        <button type="button" className="icon-button" aria-label={t('orders.openNamed', { name: personName(order.patient.name) })} title={t('do.open')} onClick={onOpen}>
          <Icon name="next" />
        </button>
      </td>
    </tr>
  );
}

const looks: Record<OrderState, { icon: 'clock' | 'person' | 'arriving' | 'check' | 'warn' | 'close'; look: string }> = {
  scheduled: { icon: 'clock', look: 'secondary' },
  arrived: { icon: 'person', look: '' },
  in_progress: { icon: 'arriving', look: '' },
  completed: { icon: 'check', look: 'fine' },
  discontinued: { icon: 'warn', look: 'amended' },
  cancelled: { icon: 'close', look: 'secondary' },
};

/** Where an order is, in a word and a sign. */
export function StateWord({ order }: { order: { state: OrderState } }) {
  const { t } = useWords();
  const { icon, look } = looks[order.state];
  return (
    <span className={look}>
      <Icon name={icon} /> {t(`orders.states.${order.state}`)}
    </span>
  );
}
