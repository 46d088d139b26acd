import type { ReactNode } from 'react';
import type { Pages } from '../api/resource';
import { useWords } from '../words';

/** A region that scrolls sideways and down, with a table in it. */
export function TableScroll({ label, children }: { label: string; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <section className="table-scroll" tabIndex={0} aria-label={label}>
      {children}
    </section>
  );
}

/** The head of a column of buttons. */
export function ActionsHead() {
  const { t } = useWords();
  return (
    <th scope="col">
      <span className="hidden">{t('do.actions')}</span>
    </th>
  );
}

/** Fetches the next page of a list, while there is one. */
export function More({ page }: { page: Pick<Pages<unknown, unknown>, 'more'> }) {
  const { t } = useWords();
  return (
    page.more && (
      <button type="button" onClick={() => void page.more?.()}>
        {t('do.more')}
      </button>
    )
  );
}
