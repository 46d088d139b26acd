import type { Delivery } from '../api/schema';
import { useWords } from '../words';
import { moment } from '../words/dates';
import { Icon, type IconName } from './icons';

const icons: Record<Delivery['state'], IconName> = { queued: 'clock', retrying: 'arriving', delivered: 'check', failed: 'warn' };

/** Where a signed report is on its way to the platform. */
export function DeliveryWords({ delivery }: { delivery: Delivery }) {
  const { t } = useWords();
  return (
    <span className="delivery" data-delivery={delivery.state}>
      <Icon name={icons[delivery.state]} />{' '}
      {t(`delivery.${delivery.state}`, {
        at: delivery.delivered_at ? moment(delivery.delivered_at) : '',
        next: delivery.next_attempt_at ? moment(delivery.next_attempt_at) : t('delivery.soon'),
        attempts: delivery.attempts,
      })}
    </span>
  );
}
