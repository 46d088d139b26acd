import { type FormEvent, type ReactNode, useState } from 'react';
import { ApiError } from '../../api/client';
import { useResource } from '../../api/resource';
import { Dialog } from '../../parts/dialog';
import { Icon } from '../../parts/icons';
import { explain, ProblemNote } from '../../parts/problem';
import { TableScroll } from '../../parts/table';
import { useWords } from '../../words';

interface Column<T> {
  head: string;
  cell: (item: T) => ReactNode;
}

interface TableProps<T> {
  /** Of the words under admin. */
  name: string;
  load: () => Promise<T[]>;
  columns: Column<T>[];
  keyOf: (item: T) => string;
  make: () => T;
  /** Undefined: new. */
  save: (item: T, old: T | undefined) => Promise<void>;
  remove?: (item: T) => Promise<void>;
  nameOf: (item: T) => string;
  form: (item: T, change: (patch: Partial<T>) => void, isNew: boolean) => ReactNode;
  /** Shown under the table. */
  below?: ReactNode;
}

/** A table with a side panel: what facilities, devices, people, groups, rules and policies share. */
export function TablePage<T extends object>({ name, load, columns, keyOf, make, save, remove, nameOf, form, below }: TableProps<T>) {
  const { t } = useWords();
  const list = useResource(name, load);
  const [edited, setEdited] = useState<{ item: T; old?: T }>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const [saved, setSaved] = useState(false);

  const begin = (item: T, old?: T) => {
    setError(undefined);
    setSaved(false);
    setEdited({ item: { ...item }, old });
  };
  const act = async (work: () => Promise<void>) => {
    setBusy(true);
    setError(undefined);
    try {
      await work();
      setEdited(undefined);
      setSaved(true);
      await list.reload();
    } catch (err) {
      setError(err);
    } finally {
      setBusy(false);
    }
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (edited) void act(() => save(edited.item, edited.old));
  };

  return (
    <>
      <div className={below ? 'admin-table and-more' : 'admin-table'}>
        <div className="room-head">
          <h1>{t(`admin.${name}.title`)}</h1>
          <span className="secondary" role="status">
            {saved ? t('admin.saved') : ''}
          </span>
          <span className="spread" />
          <button type="button" className="primary" onClick={() => begin(make())}>
            {t(`admin.${name}.add`)}
          </button>
        </div>
        <p className="secondary lead">{t(`admin.${name}.lead`)}</p>
        <ProblemNote error={list.error} retry={() => void list.reload()} />
        <TableScroll label={t(`admin.${name}.title`)}>
          <table>
            <thead>
              <tr>
                {columns.map((column) => (
                  <th key={column.head} scope="col">
                    {column.head}
                  </th>
                ))}
                <th scope="col">
                  <span className="hidden">{t('do.actions')}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {list.data?.map((item) => (
                <tr key={keyOf(item)} data-selected={(edited?.old && keyOf(edited.old) === keyOf(item)) || undefined}>
                  {columns.map((column) => (
                    <td key={column.head}>{column.cell(item)}</td>
                  ))}
                  <td className="c-action">
                    <button type="button" className="icon-button" aria-label={t('admin.editNamed', { name: nameOf(item) })} title={t('do.edit')} onClick={() => begin(item, item)}>
                      <Icon name="pen" />
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          {list.data?.length === 0 && <p className="empty">{t('admin.empty')}</p>}
        </TableScroll>
        {below}
      </div>
      {edited && (
        <aside className="side-panel" aria-label={edited.old ? t('admin.editNamed', { name: nameOf(edited.old) }) : t(`admin.${name}.add`)}>
          <header>
            <h2>{edited.old ? nameOf(edited.old) : t(`admin.${name}.add`)}</h2>
            <button type="button" className="icon-button" aria-label={t('do.close')} title={t('do.close')} onClick={() => setEdited(undefined)}>
              <Icon name="close" />
            </button>
          </header>
          <form className="stacked" onSubmit={submit}>
            {form(edited.item, (patch) => setEdited({ ...edited, item: { ...edited.item, ...patch } }), !edited.old)}
            {error !== undefined && (
              <p className="problem" role="alert">
                {error instanceof ApiError && error.problem.code === 'conflict' && !error.problem.reason ? t('admin.exists') : explain(t, error)}
              </p>
            )}
            <div className="actions start">
              <button type="submit" className="primary" disabled={busy}>
                {t('do.save')}
              </button>
              <button type="button" onClick={() => setEdited(undefined)}>
                {t('do.cancel')}
              </button>
              <span className="spread" />
              {remove && edited.old && (
                <button type="button" className="danger" onClick={() => setAsking(true)}>
                  {t('do.remove')}
                </button>
              )}
            </div>
          </form>
        </aside>
      )}
      {asking && edited?.old && remove && (
        <Dialog title={t(`admin.${name}.removeAsk`, { name: nameOf(edited.old) })} onClose={() => setAsking(false)}>
          <p className="secondary">{t(`admin.${name}.removeMeaning`)}</p>
          <div className="actions">
            <button type="button" onClick={() => setAsking(false)}>
              {t('do.cancel')}
            </button>
            <button
              type="button"
              className="danger"
              onClick={() => {
                setAsking(false);
                const { old } = edited;
                if (old) void act(() => remove(old));
              }}
            >
              {t('do.remove')}
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}

export function Field({ label, hint, children }: { label: string; hint?: string; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the control is the child
    <label>
      <span>{label}</span>
      {children}
      {hint && <small className="secondary">{hint}</small>}
    </label>
  );
}

export function Choices<T extends string>({
  legend,
  all,
  chosen,
  onChange,
  nameOf,
  hint,
}: {
  legend: string;
  all: T[];
  chosen: T[];
  onChange: (chosen: T[]) => void;
  nameOf: (item: T) => string;
  hint?: string;
}) {
  return (
    <fieldset>
      <legend>{legend}</legend>
      {hint && <small className="secondary">{hint}</small>}
      {all.map((item) => (
        <label key={item} className="check">
          <input type="checkbox" checked={chosen.includes(item)} onChange={(event) => onChange(event.target.checked ? [...chosen, item] : chosen.filter((x) => x !== item))} />
          <span>{nameOf(item)}</span>
        </label>
      ))}
    </fieldset>
  );
}
