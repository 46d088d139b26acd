import { type ReactNode, useEffect } from 'react';
import { api } from '../../api/client';
import { useResource } from '../../api/resource';
import type { Facility, GroupRecord, Priority, Role, Rule, UserRecord } from '../../api/schema';
import { goTo, href } from '../../parts/route';
import { useUser } from '../../parts/session';
import { languageNames, languages, useWords } from '../../words';
import { AssociationsPage } from './AssociationsPage';
import { CommitmentsPage } from './CommitmentsPage';
import { DevicesPage } from './DevicesPage';
import { ForwardingPage } from './ForwardingPage';
import { QuarantinePage } from './QuarantinePage';
import { QueuePage } from './QueuePage';
import { RecordsPage } from './RecordsPage';
import { RetentionPage } from './RetentionPage';
import { StatusPage } from './StatusPage';
import { StoragePage } from './StoragePage';
import { Choices, Field, TablePage } from './TablePage';

const tabs = ['facilities', 'devices', 'associations', 'commitments', 'forwarding', 'queue', 'people', 'groups', 'rules', 'records', 'quarantine', 'storage', 'retention', 'status'] as const;
type Tab = (typeof tabs)[number];
const ofFacility: Tab[] = ['devices', 'associations', 'commitments', 'people', 'records', 'quarantine'];

/** What administrators set up: a list on the left, a table, a side panel that edits. */
export default function AdministrationRoom({ tab }: { tab: string | undefined }) {
  const { t } = useWords();
  const user = useUser();
  const open = user.roles.includes('administrator') ? [...tabs] : ofFacility;
  const now = open.includes(tab as Tab) ? (tab as Tab) : open[0];
  useEffect(() => {
    if (tab !== now) goTo('administration', now);
  }, [tab, now]);
  const pages: Record<Tab, () => ReactNode> = {
    facilities: () => <Facilities />,
    devices: () => <DevicesPage />,
    associations: () => <AssociationsPage />,
    forwarding: () => <ForwardingPage />,
    queue: () => <QueuePage />,
    commitments: () => <CommitmentsPage />,
    people: () => <People />,
    groups: () => <Groups />,
    rules: () => <Rules />,
    records: () => <RecordsPage />,
    quarantine: () => <QuarantinePage />,
    storage: () => <StoragePage />,
    retention: () => <RetentionPage />,
    status: () => <StatusPage />,
  };
  return (
    <main className="administration">
      <nav aria-label={t('rooms.administration')}>
        {open.map((name) => (
          <a key={name} href={href('administration', name)} aria-current={name === now ? 'page' : undefined}>
            {t(`admin.${name}.title`)}
          </a>
        ))}
      </nav>
      <div className="administration-page" key={now}>
        {pages[now]()}
      </div>
    </main>
  );
}

function Facilities() {
  const { t } = useWords();
  return (
    <TablePage<Facility>
      name="facilities"
      load={async () => (await api.facilities()).facilities ?? []}
      keyOf={(f) => f.code}
      nameOf={(f) => f.name}
      make={() => ({ code: '', name: '', tax_id: '' })}
      save={(item, old) => (old ? api.putFacility(item) : api.addFacility(item))}
      columns={[
        { head: t('admin.code'), cell: (f) => <code>{f.code}</code> },
        { head: t('admin.name'), cell: (f) => f.name },
        { head: t('admin.taxId'), cell: (f) => <span className="figures">{f.tax_id}</span> },
      ]}
      form={(f, change, isNew) => (
        <>
          <Field label={t('admin.code')} hint={t('admin.codeHint')}>
            <input value={f.code} disabled={!isNew} required pattern="[A-Z0-9_\-]{1,32}" onChange={(e) => change({ code: e.target.value.toUpperCase() })} />
          </Field>
          <Field label={t('admin.name')}>
            <input value={f.name} required onChange={(e) => change({ name: e.target.value })} />
          </Field>
          <Field label={t('admin.taxId')} hint={t('admin.taxIdHint')}>
            <input value={f.tax_id ?? ''} inputMode="numeric" onChange={(e) => change({ tax_id: e.target.value })} />
          </Field>
        </>
      )}
    />
  );
}

const roles: Role[] = ['radiologist', 'clinician', 'technician', 'registrar', 'facility_administrator', 'administrator'];

function People() {
  const { t } = useWords();
  const user = useUser();
  const whole = user.roles.includes('administrator');
  return (
    <TablePage<UserRecord>
      name="people"
      load={async () => (await api.users()).users ?? []}
      keyOf={(u) => u.id ?? u.login}
      nameOf={(u) => u.name}
      make={() => ({
        login: '',
        name: '',
        roles: ['clinician'],
        facilities: user.facilities.length === 1 ? [user.facilities[0].code] : [],
        all_facilities: false,
        active: true,
        language: 'uz-Latn',
        password: '',
      })}
      save={(item, old) => {
        const { password, ...rest } = item;
        const body = password ? item : rest;
        return old ? api.putUser(body) : api.addUser(body);
      }}
      columns={[
        { head: t('admin.fullName'), cell: (u) => u.name },
        { head: t('signin.login'), cell: (u) => <code>{u.login}</code> },
        { head: t('admin.roles'), cell: (u) => u.roles.map((role) => t(`roles.${role}`)).join(', ') },
        {
          head: t('admin.facilitiesSeen'),
          cell: (u) => (u.all_facilities ? t('admin.allFacilities') : (u.facilities ?? []).map((code) => user.facilities.find((f) => f.code === code)?.name ?? code).join(', ')),
        },
        { head: t('admin.active'), cell: (u) => (u.active === false ? <span className="secondary">{t('admin.inactive')}</span> : <span className="fine">{t('admin.isActive')}</span>) },
      ]}
      form={(u, change, isNew) => (
        <>
          <Field label={t('admin.fullName')} hint={t('admin.fullNameHint')}>
            <input value={u.name} required onChange={(e) => change({ name: e.target.value })} />
          </Field>
          <Field label={t('signin.login')}>
            <input value={u.login} required autoCapitalize="none" spellCheck={false} autoComplete="off" onChange={(e) => change({ login: e.target.value })} />
          </Field>
          <Field label={isNew ? t('signin.password') : t('settings.newPassword')} hint={isNew ? t('admin.passwordHint') : t('admin.passwordChangeHint')}>
            <input type="password" value={u.password ?? ''} required={isNew} minLength={8} autoComplete="new-password" onChange={(e) => change({ password: e.target.value })} />
          </Field>
          <Choices
            legend={t('admin.roles')}
            all={whole ? roles : roles.filter((r) => r === 'clinician' || r === 'technician' || r === 'registrar')}
            chosen={u.roles}
            onChange={(chosen) => change({ roles: chosen })}
            nameOf={(role) => t(`roles.${role}`)}
          />
          {whole && (
            <label className="check">
              <input type="checkbox" checked={u.all_facilities ?? false} onChange={(e) => change({ all_facilities: e.target.checked })} />
              <span>{t('admin.allFacilities')}</span>
            </label>
          )}
          {!u.all_facilities && (
            <Choices
              legend={t('admin.facilitiesSeen')}
              all={user.facilities.map((f) => f.code)}
              chosen={u.facilities ?? []}
              onChange={(chosen) => change({ facilities: chosen })}
              nameOf={(code) => user.facilities.find((f) => f.code === code)?.name ?? code}
            />
          )}
          <Field label={t('settings.language')}>
            <select value={u.language ?? 'uz-Latn'} onChange={(e) => change({ language: e.target.value as UserRecord['language'] })}>
              {languages.map((code) => (
                <option key={code} value={code}>
                  {languageNames[code]}
                </option>
              ))}
            </select>
          </Field>
          <Field label={t('patient.pinfl')} hint={t('admin.pinflHint')}>
            <input value={u.pinfl ?? ''} inputMode="numeric" pattern="\d{14}" onChange={(e) => change({ pinfl: e.target.value })} />
          </Field>
          <Field label={t('admin.argos')} hint={t('admin.argosHint')}>
            <input value={u.argos ?? ''} onChange={(e) => change({ argos: e.target.value })} />
          </Field>
          <label className="check">
            <input type="checkbox" checked={u.active !== false} onChange={(e) => change({ active: e.target.checked })} />
            <span>{t('admin.mayCome')}</span>
          </label>
        </>
      )}
    />
  );
}

function Groups() {
  const { t } = useWords();
  const users = useResource('users', async () => (await api.users()).users ?? []);
  const nameOf = (id: string) => users.data?.find((u) => u.id === id)?.name ?? id;
  return (
    <TablePage<GroupRecord>
      name="groups"
      load={async () => (await api.groups()).groups ?? []}
      keyOf={(g) => g.id ?? g.name}
      nameOf={(g) => g.name}
      make={() => ({ name: '', members: [] })}
      save={(item, old) => (old ? api.putGroup(item) : api.addGroup(item))}
      columns={[
        { head: t('admin.name'), cell: (g) => g.name },
        { head: t('admin.members'), cell: (g) => (g.members ?? []).map(nameOf).join(', ') },
      ]}
      form={(g, change) => (
        <>
          <Field label={t('admin.name')}>
            <input value={g.name} required onChange={(e) => change({ name: e.target.value })} />
          </Field>
          <Choices
            legend={t('admin.members')}
            hint={t('admin.membersHint')}
            all={(users.data ?? []).filter((u) => u.roles.includes('radiologist')).map((u) => u.id ?? '')}
            chosen={g.members ?? []}
            onChange={(members) => change({ members })}
            nameOf={nameOf}
          />
        </>
      )}
    />
  );
}

function Rules() {
  const { t } = useWords();
  const groups = useResource('groups', async () => (await api.groups()).groups ?? []);
  const groupName = (id: string) => groups.data?.find((g) => g.id === id)?.name ?? id;
  return (
    <TablePage<Rule>
      name="rules"
      load={async () => [...((await api.rules()).rules ?? [])].sort((a, b) => (a.position ?? 0) - (b.position ?? 0))}
      keyOf={(r) => r.id ?? r.name}
      nameOf={(r) => r.name}
      make={() => ({ position: 1, name: '', condition: '', group: groups.data?.[0]?.id ?? '', priority: 'routine', deadline_minutes: 720, active: true })}
      save={(item, old) => (old ? api.putRule(item) : api.addRule(item))}
      remove={(r) => api.deleteRule(r.id ?? '')}
      columns={[
        { head: '№', cell: (r) => <span className="figures">{r.position}</span> },
        {
          head: t('admin.name'),
          cell: (r) => (
            <span className={r.active === false ? 'secondary' : ''}>
              {r.name}
              {r.active === false ? ` (${t('admin.off')})` : ''}
            </span>
          ),
        },
        { head: t('admin.condition'), cell: (r) => (r.condition ? <code>{r.condition}</code> : <span className="secondary">{t('admin.always')}</span>) },
        { head: t('admin.group'), cell: (r) => groupName(r.group) },
        { head: t('worklist.priority'), cell: (r) => <span data-priority={r.priority}>{t(`priority.${r.priority}`)}</span> },
        { head: t('admin.deadline'), cell: (r) => <span className="figures">{r.deadline_minutes}</span> },
      ]}
      form={(r, change) => (
        <>
          <Field label={t('admin.name')}>
            <input value={r.name} required onChange={(e) => change({ name: e.target.value })} />
          </Field>
          <Field label={t('admin.position')} hint={t('admin.positionHint')}>
            <input type="number" min={1} value={r.position ?? 1} onChange={(e) => change({ position: Number(e.target.value) })} />
          </Field>
          <Field label={t('admin.condition')} hint={t('admin.conditionHint')}>
            <textarea className="code" rows={3} spellCheck={false} value={r.condition} onChange={(e) => change({ condition: e.target.value })} />
          </Field>
          <Field label={t('admin.group')}>
            <select value={r.group} required onChange={(e) => change({ group: e.target.value })}>
              <option value="" disabled>
                –
              </option>
              {groups.data?.map((g) => (
                <option key={g.id} value={g.id}>
                  {g.name}
                </option>
              ))}
            </select>
          </Field>
          <Field label={t('worklist.priority')}>
            <select value={r.priority} onChange={(e) => change({ priority: e.target.value as Priority })}>
              {(['stat', 'urgent', 'routine'] as const).map((p) => (
                <option key={p} value={p}>
                  {t(`priority.${p}`)}
                </option>
              ))}
            </select>
          </Field>
          <Field label={t('admin.deadline')}>
            <input type="number" min={1} required value={r.deadline_minutes} onChange={(e) => change({ deadline_minutes: Number(e.target.value) })} />
          </Field>
          <label className="check">
            <input type="checkbox" checked={r.active !== false} onChange={(e) => change({ active: e.target.checked })} />
            <span>{t('admin.ruleActive')}</span>
          </label>
        </>
      )}
    />
  );
}
