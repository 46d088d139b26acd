import { useEffect, useState } from 'react';
import { ApiError, api } from '../../api/client';
import { listen } from '../../api/events';
import { useResource } from '../../api/resource';
import { type OrderDetail, type OrderState, orderStates } from '../../api/schema';
import { Icon } from '../../parts/icons';
import { explain, ProblemNote } from '../../parts/problem';
import { href } from '../../parts/route';
import { roomsFor, useUser } from '../../parts/session';
import { useWords } from '../../words';
import { moment } from '../../words/dates';
import { Ask } from '../administration/Ask';
import { personName, Who } from '../administration/demographics';
import { clockOf, dayOf } from './days';
import { OrderForm } from './OrderForm';
import { StateWord } from './OrdersRoom';

interface PanelProps {
  id: string;
  justEntered?: boolean;
  mayChange: boolean;
  onChanged: () => void;
  onClose: () => void;
}

/** One order: what is asked, how far it is, what can be done. */
export function OrderPanel({ id, justEntered, mayChange, onChanged, onClose }: PanelProps) {
  const { t } = useWords();
  const detail = useResource(`order ${id}`, () => api.order(id));
  const [editing, setEditing] = useState(false);
  const [asked, setAsked] = useState<OrderState>();
  const [error, setError] = useState<unknown>();
  const order = detail.data;
  const { reload } = detail;
  useEffect(() => listen((event) => event.kind === 'order' && event.id === id && void reload()), [id, reload]);

  const changed = async () => {
    setError(undefined);
    onChanged();
    await detail.reload();
  };
  const move = async (to: OrderState, why = '') => {
    if (!order) return;
    await api.moveOrder(id, to, order.revision, why);
    await changed();
  };
  const begin = (to: OrderState) => {
    setError(undefined);
    if (to === 'cancelled' || to === 'discontinued') setAsked(to);
    else move(to).catch(setError);
  };
  const name = personName(order?.patient.name);
  return (
    <aside className="side-panel wide" aria-label={t('orders.openNamed', { name })}>
      <header>
        <h2>
          <bdi>{name}</bdi>
        </h2>
        <button type="button" className="icon-button" aria-label={t('do.close')} title={t('do.close')} onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <ProblemNote error={detail.error} retry={() => void detail.reload()} />
      {order && editing && (
        <OrderForm
          key={order.revision}
          day=""
          facility={order.facility.code}
          order={order}
          onSaved={() => {
            setEditing(false);
            void changed();
          }}
          onCancel={() => setEditing(false)}
        />
      )}
      {order && !editing && (
        <div className="stacked">
          {justEntered && (
            <p className="fine" role="status">
              <Icon name="check" /> {t('orders.entered', { number: order.accession })}
            </p>
          )}
          <p>
            <Who demographics={order.patient} />
          </p>
          <p>
            <StateWord order={order} /> · <span data-priority={order.priority}>{t(`priority.${order.priority}`)}</span>
          </p>
          {error !== undefined && (
            <p className="problem" role="alert">
              {error instanceof ApiError && error.problem.reason === 'stale_revision' ? t('orders.stale') : explain(t, error)}
            </p>
          )}
          {mayChange && (
            <div className="actions start">
              {orderStates
                .filter((to) => order.moves.includes(to))
                .map((to) => (
                  <button key={to} type="button" className={to === 'arrived' ? 'primary' : to === 'cancelled' || to === 'discontinued' ? 'danger' : ''} onClick={() => begin(to)}>
                    {t(`orders.moves.${to}`)}
                  </button>
                ))}
              {order.state !== 'cancelled' && (
                <button type="button" onClick={() => setEditing(true)}>
                  {t('do.edit')}
                </button>
              )}
            </div>
          )}
          <Facts order={order} />
          <Images order={order} />
          <section className="stacked" aria-labelledby="order-history">
            <h3 id="order-history">{t('orders.history')}</h3>
            <ul className="care-list">
              {order.history.map((line) => (
                <li key={line.at + line.what}>
                  <span className="figures">{moment(line.at)}</span> {(orderStates as readonly string[]).includes(line.what) ? t(`orders.states.${line.what}`) : t(`orders.events.${line.what}`)}{' '}
                  <small className="secondary">
                    {line.who.includes(':') ? t('orders.byMachine') : line.who} {line.why}
                  </small>
                </li>
              ))}
            </ul>
          </section>
        </div>
      )}
      {order && asked && (
        <Ask
          title={t('orders.whyAsk', { name, move: t(`orders.moves.${asked}`) })}
          meaning={t('orders.whyMeaning')}
          act={t(`orders.moves.${asked}`)}
          danger
          onAct={(why) => move(asked, why)}
          onClose={() => setAsked(undefined)}
        />
      )}
    </aside>
  );
}

function Facts({ order }: { order: OrderDetail }) {
  const { t } = useWords();
  const facts: [string, string | undefined][] = [
    [t('orders.accession'), order.accession],
    [t('orders.placer'), order.placer],
    [t('study.facility'), order.facility.name],
    [t('orders.reason'), order.reason],
    [t('orders.question'), order.question],
    [t('orders.physician'), personName(order.physician)],
    [t('orders.department'), order.department],
  ];
  return (
    <>
      <section className="stacked" aria-labelledby="order-steps">
        <h3 id="order-steps">{t('orders.steps')}</h3>
        <ul className="care-list">
          {order.steps.map((step) => (
            <li key={step.id}>
              <span className="figures">
                {dayOf(step.start)} {clockOf(step.start)}
              </span>{' '}
              <span className="modality">{step.modality}</span> {step.description} · {step.stations?.length ? <code>{step.stations.join(', ')}</code> : t('orders.anyStation')}
              {step.location && ` · ${step.location}`}
              {step.state && (
                <small className="step-state">
                  <StateWord order={{ state: step.state }} />
                </small>
              )}
            </li>
          ))}
        </ul>
      </section>
      <dl className="order-facts">
        {facts
          .filter(([, value]) => value)
          .map(([label, value]) => (
            <div key={label}>
              <dt>{label}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
    </>
  );
}

function Images({ order }: { order: OrderDetail }) {
  const { t } = useWords();
  const seesImages = roomsFor(useUser().roles).includes('patients');
  if (order.studies.length === 0) return null;
  return (
    <section className="stacked" aria-labelledby="order-images">
      <h3 id="order-images">{t('orders.images')}</h3>
      <ul className="care-list">
        {order.studies.map((study) => (
          <li key={study.study_uid}>
            <span className="modality">{study.modalities.join(' ')}</span> {t('orders.imagesCount', { n: study.instances })}
            {!study.complete && ` · ${t('orders.arriving')}`} {seesImages && <a href={href('study', study.study_uid)}>{t('orders.openImages')}</a>}
          </li>
        ))}
      </ul>
    </section>
  );
}
