import { type FormEvent, useState } from 'react';
import { api } from '../../api/client';
import type { Resource } from '../../api/resource';
import { type ForwardNode, type ForwardTarget, forwardAuthorizations } from '../../api/schema';
import { Dialog } from '../../parts/dialog';
import { Icon } from '../../parts/icons';
import { explain, ProblemNote } from '../../parts/problem';
import { TableScroll } from '../../parts/table';
import { useWords } from '../../words';
import { moment } from '../../words/dates';
import { Field } from './TablePage';

/** Where rules send to: how it is reached at the moment, and DICOMweb nodes, which are set up here. */
export function ForwardTargets({ targets }: { targets: Resource<ForwardTarget[]> }) {
  const { t } = useWords();
  const [error, setError] = useState<unknown>();
  const [edited, setEdited] = useState<{ id?: string; node: ForwardNode; secret: boolean }>();
  const pause = async (target: ForwardTarget) => {
    setError(undefined);
    try {
      await api.pauseForwardTarget(target.id, !target.paused);
      await targets.reload();
    } catch (err) {
      setError(err);
    }
  };
  const edit = (target?: ForwardTarget) =>
    setEdited({
      id: target?.id,
      secret: target?.has_secret ?? false,
      node: {
        name: target?.name ?? '',
        url: target?.url ?? '',
        authorization: target?.authorization ?? 'none',
        login: target?.login ?? '',
        secret: '',
        parallel: target?.parallel ?? 2,
      },
    });
  return (
    <section>
      <div className="room-head">
        <h2>{t('forwarding.targets')}</h2>
        <span className="spread" />
        <button type="button" onClick={() => edit()}>
          {t('forwarding.addNode')}
        </button>
      </div>
      <p className="secondary lead">{t('forwarding.targetsLead')}</p>
      <ProblemNote error={error ?? targets.error} retry={() => void targets.reload()} />
      {targets.data?.length === 0 && <p className="empty">{t('forwarding.noTargets')}</p>}
      {targets.data && targets.data.length > 0 && (
        <TableScroll label={t('forwarding.targets')}>
          <table>
            <tbody>
              {targets.data.map((target) => (
                <tr key={target.id}>
                  <td>
                    <code>{target.name}</code>
                  </td>
                  <td className="secondary">{target.kind === 'node' ? target.url : t('forwarding.device')}</td>
                  <td data-state={target.failures > 0 ? 'critical' : target.paused ? 'soon' : 'fine'}>
                    <Icon name={target.failures > 0 ? 'warn' : target.paused ? 'pause' : 'check'} />{' '}
                    {target.paused ? t('forwarding.paused') : target.failures > 0 ? t('forwarding.resting', { at: target.resting_until ? moment(target.resting_until) : '' }) : t('forwarding.reached')}
                    {target.last_error && (
                      <small className="secondary wrap" lang="en">
                        {' '}
                        {target.last_error}
                      </small>
                    )}
                  </td>
                  <td className="c-action">
                    <button type="button" aria-label={t(target.paused ? 'forwarding.resumeNamed' : 'forwarding.pauseNamed', { name: target.name })} onClick={() => void pause(target)}>
                      {t(target.paused ? 'forwarding.resume' : 'forwarding.pause')}
                    </button>{' '}
                    {target.kind === 'node' && (
                      <button type="button" className="icon-button" aria-label={t('admin.editNamed', { name: target.name })} title={t('do.edit')} onClick={() => edit(target)}>
                        <Icon name="pen" />
                      </button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </TableScroll>
      )}
      {edited && (
        <NodeDialog
          {...edited}
          onClose={() => setEdited(undefined)}
          onDone={async () => {
            setEdited(undefined);
            await targets.reload();
          }}
        />
      )}
    </section>
  );
}

function NodeDialog({ id, node: initial, secret, onDone, onClose }: { id?: string; node: ForwardNode; secret: boolean; onDone: () => Promise<void>; onClose: () => void }) {
  const { t } = useWords();
  const [node, setNode] = useState(initial);
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const change = (patch: Partial<ForwardNode>) => setNode({ ...node, ...patch });
  const act = async (work: () => Promise<unknown>) => {
    setBusy(true);
    setError(undefined);
    try {
      await work();
      await onDone();
    } catch (err) {
      setError(err);
      setAsking(false);
      setBusy(false);
    }
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void act(() => (id ? api.putForwardNode(id, node) : api.addForwardNode(node)));
  };
  if (asking && id)
    return (
      <Dialog title={t('forwarding.removeNode', { name: initial.name })} onClose={() => setAsking(false)}>
        <p className="secondary">{t('forwarding.removeNodeMeaning')}</p>
        <div className="actions">
          <button type="button" onClick={() => setAsking(false)}>
            {t('do.cancel')}
          </button>
          <button type="button" className="danger" disabled={busy} onClick={() => void act(() => api.deleteForwardNode(id))}>
            {t('do.remove')}
          </button>
        </div>
      </Dialog>
    );
  return (
    <Dialog title={id ? t('forwarding.editNode') : t('forwarding.addNode')} onClose={onClose}>
      <form className="stacked" onSubmit={submit}>
        <Field label={t('forwarding.nodeName')}>
          <input value={node.name} required maxLength={100} onChange={(e) => change({ name: e.target.value })} />
        </Field>
        <Field label={t('forwarding.url')} hint={t('forwarding.urlHint', { example: 'https://pacs.example.uz/dicom-web' })}>
          <input type="url" value={node.url} required spellCheck={false} onChange={(e) => change({ url: e.target.value })} />
        </Field>
        <Field label={t('forwarding.authorization')}>
          <select value={node.authorization} onChange={(e) => change({ authorization: e.target.value as ForwardNode['authorization'] })}>
            {forwardAuthorizations.map((kind) => (
              <option key={kind} value={kind}>
                {t(`forwarding.authorizations.${kind}`)}
              </option>
            ))}
          </select>
        </Field>
        {node.authorization === 'basic' && (
          <Field label={t('forwarding.login')}>
            <input value={node.login ?? ''} required autoComplete="off" spellCheck={false} onChange={(e) => change({ login: e.target.value })} />
          </Field>
        )}
        {node.authorization !== 'none' && (
          <Field label={t('forwarding.secret')} hint={t('forwarding.secretHint')}>
            <input type="password" value={node.secret ?? ''} required={!secret} autoComplete="new-password" onChange={(e) => change({ secret: e.target.value })} />
          </Field>
        )}
        <Field label={t('forwarding.parallel')} hint={t('forwarding.parallelHint')}>
          <input type="number" min={1} max={16} required value={node.parallel ?? 2} onChange={(e) => change({ parallel: Number(e.target.value) })} />
        </Field>
        {error !== undefined && (
          <p className="problem" role="alert">
            {explain(t, error)}
          </p>
        )}
        <div className="actions start">
          <button type="submit" className="primary" disabled={busy}>
            {t('do.save')}
          </button>
          <button type="button" onClick={onClose}>
            {t('do.cancel')}
          </button>
          <span className="spread" />
          {id && (
            <button type="button" className="danger" onClick={() => setAsking(true)}>
              {t('do.remove')}
            </button>
          )}
        </div>
      </form>
    </Dialog>
  );
}
