import { useState } from 'react';
import { api } from '../../api/client';
import { answerCharsets, type Device, type DeviceTest, services } from '../../api/schema';
import { FacilitySelect } from '../../parts/facility';
import { Icon } from '../../parts/icons';
import { explain } from '../../parts/problem';
import { useUser } from '../../parts/session';
import { useWords } from '../../words';
import { moment, number } from '../../words/dates';
import { SyntaxChoices } from './SyntaxChoices';
import { Choices, Field, TablePage } from './TablePage';

/** Remote AEs: who may call the archive, and whom it calls. */
export function DevicesPage() {
  const { t } = useWords();
  const { facilities } = useUser();
  return (
    <TablePage<Device>
      name="devices"
      load={async () => (await api.devices()).devices ?? []}
      keyOf={(d) => d.ae_title}
      nameOf={(d) => d.ae_title}
      make={() => ({
        ae_title: '',
        facility: facilities[0]?.code ?? '',
        services: ['store', 'commitment'],
        destination: false,
        notify: false,
        all_facilities: false,
        transfer_syntaxes: [],
        tls: false,
        max_associations_from: 0,
        max_associations_to: 0,
      })}
      save={({ last_seen_at: _, ...item }, old) => (old ? api.putDevice(item) : api.addDevice(item))}
      remove={(d) => api.deleteDevice(d.ae_title)}
      columns={[
        { head: t('admin.aeTitle'), cell: (d) => <code>{d.ae_title}</code> },
        { head: t('study.facility'), cell: (d) => facilities.find((f) => f.code === d.facility)?.name ?? d.facility },
        { head: t('admin.description'), cell: (d) => d.description },
        { head: t('devices.address'), cell: (d) => <Address device={d} /> },
        { head: t('devices.may'), cell: (d) => d.services.map((s) => t(`devices.services.${s}`)).join(', ') || t('devices.nothing') },
        { head: t('admin.lastSeen'), cell: (d) => <span className="figures">{d.last_seen_at ? moment(d.last_seen_at) : t('admin.never')}</span> },
      ]}
      form={(d, change, isNew) => (
        <>
          <Identity device={d} change={change} isNew={isNew} />
          <Reach device={d} change={change} />
          {!isNew && d.host && <Test key={d.ae_title} title={d.ae_title} />}
          <Rights device={d} change={change} />
          <Advanced device={d} change={change} />
        </>
      )}
    />
  );
}

function Address({ device }: { device: Device }) {
  if (!device.host) return null;
  return (
    <code>
      {device.host}:{device.port}
      {device.tls ? ' TLS' : ''}
    </code>
  );
}

interface PartProps {
  device: Device;
  change: (patch: Partial<Device>) => void;
}

function Identity({ device, change, isNew }: PartProps & { isNew: boolean }) {
  const { t } = useWords();
  return (
    <>
      <Field label={t('admin.aeTitle')} hint={t('admin.aeTitleHint')}>
        <input value={device.ae_title} disabled={!isNew} required maxLength={16} spellCheck={false} onChange={(e) => change({ ae_title: e.target.value })} />
      </Field>
      <Field label={t('study.facility')}>
        <FacilitySelect value={device.facility} onChange={(facility) => change({ facility })} />
      </Field>
      <Field label={t('admin.description')}>
        <input value={device.description ?? ''} maxLength={200} onChange={(e) => change({ description: e.target.value })} />
      </Field>
    </>
  );
}

function Reach({ device, change }: PartProps) {
  const { t } = useWords();
  return (
    <fieldset className="stacked">
      <legend>{t('devices.address')}</legend>
      <small className="secondary">{t('devices.addressHint')}</small>
      <Field label={t('devices.host')}>
        <input
          value={device.host ?? ''}
          spellCheck={false}
          autoCapitalize="none"
          onChange={(e) => change(e.target.value ? { host: e.target.value, port: device.port || 104 } : { host: '', port: 0, destination: false, notify: false })}
        />
      </Field>
      {device.host && (
        <>
          <Field label={t('devices.port')}>
            <input type="number" min={1} max={65535} required value={device.port || ''} onChange={(e) => change({ port: Number(e.target.value) })} />
          </Field>
          <label className="check">
            <input type="checkbox" checked={device.destination} onChange={(e) => change({ destination: e.target.checked })} />
            <span>
              {t('devices.destination')} <small className="secondary">{t('devices.destinationHint')}</small>
            </span>
          </label>
          <label className="check">
            <input type="checkbox" checked={device.notify} onChange={(e) => change({ notify: e.target.checked })} />
            <span>
              {t('devices.notify')} <small className="secondary">{t('devices.notifyHint')}</small>
            </span>
          </label>
        </>
      )}
    </fieldset>
  );
}

function Rights({ device, change }: PartProps) {
  const { t } = useWords();
  const whole = useUser().roles.includes('administrator');
  return (
    <>
      <Choices
        legend={t('devices.may')}
        hint={t('devices.mayHint')}
        all={[...services]}
        chosen={device.services}
        onChange={(chosen) => change({ services: chosen })}
        nameOf={(service) => t(`devices.services.${service}`)}
      />
      {whole && (
        <label className="check">
          <input type="checkbox" checked={device.all_facilities} onChange={(e) => change({ all_facilities: e.target.checked })} />
          <span>
            {t('devices.allFacilities')} <small className="secondary">{t('devices.allFacilitiesHint')}</small>
          </span>
        </label>
      )}
    </>
  );
}

function Advanced({ device, change }: PartProps) {
  const { t } = useWords();
  return (
    <details>
      <summary>{t('devices.advanced')}</summary>
      <div className="stacked">
        <label className="check">
          <input type="checkbox" checked={device.tls} onChange={(e) => change(e.target.checked ? { tls: true } : { tls: false, certificate: '' })} />
          <span>
            {t('devices.tls')} <small className="secondary">{t('devices.tlsHint')}</small>
          </span>
        </label>
        {device.tls && (
          <>
            <Field label={t('devices.serverName')} hint={t('devices.serverNameHint')}>
              <input value={device.tls_server_name ?? ''} spellCheck={false} onChange={(e) => change({ tls_server_name: e.target.value })} />
            </Field>
            <Field label={t('devices.certificate')} hint={t('devices.certificateHint')}>
              <input value={device.certificate ?? ''} spellCheck={false} onChange={(e) => change({ certificate: e.target.value })} />
            </Field>
          </>
        )}
        <Field label={t('admin.charset')} hint={t('admin.charsetHint')}>
          <select value={device.charset ?? ''} onChange={(e) => change({ charset: e.target.value })}>
            <option value="">{t('admin.charsetRecognised')}</option>
            <option value="windows-1251">windows-1251</option>
            <option value="iso-8859-5">iso-8859-5</option>
            <option value="koi8-r">koi8-r</option>
            <option value="utf-8">utf-8</option>
            <option value="ISO_IR 100">{t('admin.charsetDeclared')}</option>
          </select>
        </Field>
        <Field label={t('devices.answerCharset')} hint={t('devices.answerCharsetHint')}>
          <select value={device.answer_charset ?? ''} onChange={(e) => change({ answer_charset: e.target.value })}>
            {answerCharsets.map((name) => (
              <option key={name} value={name}>
                {name || 'UTF-8'}
              </option>
            ))}
          </select>
        </Field>
        <Field label={t('devices.from')} hint={t('devices.limitHint')}>
          <input type="number" min={0} max={1000} value={device.max_associations_from} onChange={(e) => change({ max_associations_from: Number(e.target.value) })} />
        </Field>
        <Field label={t('devices.to')} hint={t('devices.limitHint')}>
          <input type="number" min={0} max={1000} value={device.max_associations_to} onChange={(e) => change({ max_associations_to: Number(e.target.value) })} />
        </Field>
        <SyntaxChoices legend={t('devices.syntaxes')} hint={t('devices.syntaxesHint')} chosen={device.transfer_syntaxes} onChange={(chosen) => change({ transfer_syntaxes: chosen })} />
      </div>
    </details>
  );
}

/** Whether the archive and a device can talk: each step, and the next thing to do. */
function Test({ title }: { title: string }) {
  const { t, language } = useWords();
  const [found, setFound] = useState<DeviceTest>();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const run = async () => {
    setBusy(true);
    setError(undefined);
    setFound(undefined);
    try {
      setFound(await api.testDevice(title));
    } catch (err) {
      setError(err);
    } finally {
      setBusy(false);
    }
  };
  return (
    <section className="stacked" aria-live="polite" aria-busy={busy}>
      <button type="button" disabled={busy} onClick={() => void run()}>
        {busy ? t('devices.testing') : t('devices.test')}
      </button>
      <small className="secondary">{t('devices.testHint')}</small>
      {error !== undefined && <p className="problem">{explain(t, error)}</p>}
      {found && (
        <>
          <ol className="test-steps">
            {found.steps.map((step) => (
              <li key={step.stage} data-state={step.code === 'ok' ? 'fine' : step.warning ? 'soon' : 'critical'}>
                <Icon name={step.code === 'ok' ? 'check' : 'warn'} />
                <div>
                  <strong>{t(`devices.stages.${step.stage}`)}</strong>
                  {step.code !== 'ok' && <p>{t(`devices.codes.${step.code}`)}</p>}
                  {step.detail && (
                    <small className="secondary wrap" lang="en">
                      {step.detail}
                    </small>
                  )}
                </div>
              </li>
            ))}
          </ol>
          {found.ok && (
            <p className="fine">
              {t('devices.well', { ms: number((found.round_trip_seconds ?? 0) * 1000, language, 1) })} <bdi>{found.software}</bdi>
            </p>
          )}
          {found.transfer_syntaxes.length > 0 && (
            <details>
              <summary>
                {t('devices.takes', {
                  classes: number(found.classes.filter((c) => c.taken).length, language),
                  all: number(found.classes.length, language),
                })}
              </summary>
              <ul className="taken" lang="en">
                {[...found.transfer_syntaxes, ...found.classes]
                  .filter((item) => item.taken)
                  .map((item) => (
                    <li key={item.uid}>{item.name}</li>
                  ))}
              </ul>
            </details>
          )}
        </>
      )}
    </section>
  );
}
