import { useState, type ReactNode } from 'react';
import { Button, CopyButton, Modal, PasswordInput, TextInput } from '@mantine/core';
import { useInfiniteQuery, useMutation, useQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { ask, client, Problem, queries, useMe, type Schemas } from '../api/client';
import { DataTable } from '../components/table';
import { Empty, Facts, Failure, Loading, Note, PageHead, Panel, Time } from '../components/parts';
import { exact } from '../lib/format';
import { Choice } from './inventory';

const tabs = [
  { id: 'account', text: 'Your account', admin: false },
  { id: 'people', text: 'People', admin: true },
  { id: 'sessions', text: 'Sessions', admin: true },
  { id: 'audit', text: 'Audit log', admin: true },
  { id: 'about', text: 'About', admin: false },
];

export function SettingsPage() {
  const { tab = 'account' } = useParams({ strict: false }) as { tab?: string };
  const me = useMe();
  const isAdmin = me.data?.role === 'admin';
  const shown = tabs.filter((t) => isAdmin || !t.admin);
  const page: Record<string, ReactNode> = { account: <Account />, people: <People />, sessions: <Sessions />, audit: <Audit />, about: <About /> };
  const allowed = shown.some((t) => t.id === tab);
  return (
    <>
      <PageHead title="Settings" />
      <nav className="tabs" aria-label="Settings">
        {shown.map((t) => (
          <Link key={t.id} to="/settings/$tab" params={{ tab: t.id }} className={t.id === tab ? 'active' : ''} aria-current={t.id === tab ? 'page' : undefined}>
            {t.text}
          </Link>
        ))}
      </nav>
      {allowed ? page[tab] : <Empty title="Nothing here for you"><p>This page does not exist, or needs the role admin.</p></Empty>}
    </>
  );
}

function Account() {
  const me = useMe();
  const [current, setCurrent] = useState('');
  const [next, setNext] = useState('');
  const [again, setAgain] = useState('');
  const change = useMutation({
    mutationFn: async () => {
      if (next !== again) throw new Problem(0, 'The two new passwords differ.');
      await ask(client.PUT('/api/v1/session/password', { body: { current, next } }));
    },
    onSuccess: () => {
      setCurrent('');
      setNext('');
      setAgain('');
      void queries.invalidateQueries({ queryKey: ['me'] });
      void queries.invalidateQueries({ queryKey: ['sessions'] });
    },
  });
  const eye = (text: string) => ({ 'aria-label': text, tabIndex: 0 });
  return (
    <div className="stack">
      <div className="grid-2">
        <Panel title="You">
          <Facts
            rows={[
              ['Name', me.data?.name],
              ['Role', me.data?.role === 'admin' ? 'admin: sees everything, manages people' : 'viewer: sees traffic and inventory'],
              ['Password set', <Time key="p" iso={me.data?.password_changed} />],
              ['Signed in until', <Time key="d" iso={me.data?.deadline} full />],
              ['Without a request', `this session ends after ${Math.round((me.data?.idle_seconds ?? 0) / 60)} min`],
            ]}
          />
        </Panel>
        <Panel title="Change your password">
          <form
            className="stack"
            onSubmit={(e) => {
              e.preventDefault();
              change.mutate();
            }}
          >
            <input type="text" name="username" autoComplete="username" value={me.data?.name ?? ''} readOnly hidden />
            <PasswordInput label="Current password" autoComplete="current-password" required withAsterisk={false} value={current} onChange={(e) => setCurrent(e.currentTarget.value)} visibilityToggleButtonProps={eye('Show the current password')} />
            <PasswordInput label="New password" description="At least 12 characters. Your other sessions end." autoComplete="new-password" required withAsterisk={false} minLength={12} maxLength={128} value={next} onChange={(e) => setNext(e.currentTarget.value)} visibilityToggleButtonProps={eye('Show the new password')} />
            <PasswordInput label="New password again" autoComplete="new-password" required withAsterisk={false} value={again} onChange={(e) => setAgain(e.currentTarget.value)} visibilityToggleButtonProps={eye('Show the repeated password')} />
            {change.isError && <Failure error={change.error} />}
            {change.isSuccess && <Note kind="good">The password was changed, and your other sessions were ended.</Note>}
            <div>
              <Button type="submit" loading={change.isPending}>
                Change password
              </Button>
            </div>
          </form>
        </Panel>
      </div>
      <SessionTable title="Your sessions" all={false} />
    </div>
  );
}

function SessionTable({ title, all }: { title: string; all: boolean }) {
  const list = useQuery({ queryKey: ['sessions', all], queryFn: () => ask(client.GET('/api/v1/sessions', { params: { query: all ? { all: true } : {} } })) });
  const end = useMutation({
    mutationFn: (id: string) => ask(client.DELETE('/api/v1/sessions/{id}', { params: { path: { id } } })),
    onSettled: () => {
      void queries.invalidateQueries({ queryKey: ['sessions'] });
      void queries.invalidateQueries({ queryKey: ['me'] });
    },
  });
  return (
    <Panel title={title} flush>
      {end.isError && <div className="panel-body"><Failure error={end.error} /></div>}
      {list.isPending ? (
        <Loading lines={3} />
      ) : list.isError ? (
        <div className="panel-body"><Failure error={list.error} retry={() => void list.refetch()} /></div>
      ) : (
        <DataTable
          label={title}
          rows={list.data.sessions}
          rowKey={(s) => s.id}
          columns={[
            ...(all ? [{ id: 'n', head: 'Name', cell: (s: Schemas['SessionView']) => <strong>{s.name}</strong> }] : []),
            { id: 'c', head: 'Client', cell: (s) => <><span className="mono">{s.client}</span> {s.current && <span className="badge good">this browser</span>}</> },
            { id: 'a', head: 'Browser', hidePhone: true, cell: (s) => <div className="cut" style={{ maxWidth: 340 }} title={s.agent}>{agent(s.agent)}</div> },
            { id: 'b', head: 'Begun', cell: (s) => <Time iso={s.created} /> },
            { id: 's', head: 'Last request', hidePhone: true, cell: (s) => <Time iso={s.seen} /> },
            { id: 'e', head: 'Ends', hidePhone: true, cell: (s) => <Time iso={s.expires} /> },
            {
              id: 'x',
              head: <span className="visually-hidden">End it</span>,
              right: true,
              cell: (s) => (
                <Button size="compact-xs" variant="default" onClick={() => end.mutate(s.id)} loading={end.isPending && end.variables === s.id} aria-label={`End the session from ${s.client}`}>
                  End
                </Button>
              ),
            },
          ]}
        />
      )}
    </Panel>
  );
}

function agent(s: string): string {
  const browser = /(Firefox|Edg|Chrome|Version)\/(\d+)/.exec(s);
  const system = /(Windows|Mac OS X|Android|iPhone|Linux)/.exec(s);
  const names: Record<string, string> = { Edg: 'Edge', Version: 'Safari' };
  if (!browser) return s || 'unknown';
  return `${names[browser[1]!] ?? browser[1]} ${browser[2]}${system ? ' on ' + system[1] : ''}`;
}

function Sessions() {
  return <SessionTable title="All sessions" all />;
}

const stateBadge: Record<string, string> = { active: 'good', invited: 'invited', lapsed: 'flagged', disabled: '' };

function People() {
  const me = useMe();
  const list = useQuery({ queryKey: ['people'], queryFn: () => ask(client.GET('/api/v1/people')) });
  const [adding, setAdding] = useState(false);
  const [invitation, setInvitation] = useState<Schemas['Invitation']>();
  const done = () => void queries.invalidateQueries({ queryKey: ['people'] });
  const change = useMutation({
    mutationFn: ({ id, ...body }: { id: string; role?: 'admin' | 'viewer'; disabled?: boolean }) => ask(client.PATCH('/api/v1/people/{id}', { params: { path: { id } }, body })),
    onSettled: done,
  });
  const invite = useMutation({
    mutationFn: (id: string) => ask(client.POST('/api/v1/people/{id}/invitation', { params: { path: { id } } })),
    onSuccess: setInvitation,
    onSettled: done,
  });
  const error = change.error ?? invite.error;
  return (
    <div className="stack">
      <Panel title="People" flush aside={<Button size="xs" onClick={() => setAdding(true)}>Add a person</Button>}>
        {error && <div className="panel-body"><Failure error={error} /></div>}
        {list.isPending ? (
          <Loading lines={4} />
        ) : list.isError ? (
          <div className="panel-body"><Failure error={list.error} retry={() => void list.refetch()} /></div>
        ) : (
          <DataTable
            label="People"
            rows={list.data.people}
            rowKey={(p) => p.id}
            columns={[
              { id: 'n', head: 'Name', cell: (p) => <><strong>{p.name}</strong> {p.id === me.data?.id && <span className="sub">you</span>}</> },
              { id: 'r', head: 'Role', cell: (p) => p.role },
              { id: 's', head: 'State', cell: (p) => <span className={`badge ${stateBadge[p.state] ?? ''}`}>{p.state}</span> },
              { id: 'l', head: 'Last sign-in', hidePhone: true, cell: (p) => <Time iso={p.signed_in} /> },
              { id: 'c', head: 'Added', hidePhone: true, cell: (p) => <Time iso={p.created} /> },
              {
                id: 'x',
                head: <span className="visually-hidden">Actions</span>,
                right: true,
                cell: (p) =>
                  p.id === me.data?.id ? null : (
                    <span className="row" style={{ justifyContent: 'flex-end' }}>
                      {p.state !== 'disabled' && (
                        <>
                          <Button size="compact-xs" variant="default" onClick={() => change.mutate({ id: p.id, role: p.role === 'admin' ? 'viewer' : 'admin' })} aria-label={`Make ${p.role === 'admin' ? 'viewer' : 'admin'}: ${p.name}`}>
                            Make {p.role === 'admin' ? 'viewer' : 'admin'}
                          </Button>
                          <Button size="compact-xs" variant="default" onClick={() => invite.mutate(p.id)} aria-label={`New link for ${p.name}`}>
                            New link
                          </Button>
                        </>
                      )}
                      <Button size="compact-xs" variant="default" onClick={() => change.mutate({ id: p.id, disabled: p.state !== 'disabled' })} aria-label={`${p.state === 'disabled' ? 'Enable' : 'Disable'} ${p.name}`}>
                        {p.state === 'disabled' ? 'Enable' : 'Disable'}
                      </Button>
                    </span>
                  ),
              },
            ]}
          />
        )}
        {list.data?.people.length === 1 && (
          <div className="panel-body">
            <Note>You are the only one. Add a second administrator, so that a lost password does not lock everyone out.</Note>
          </div>
        )}
      </Panel>
      <AddPerson
        opened={adding}
        close={() => setAdding(false)}
        added={(i) => {
          setAdding(false);
          setInvitation(i);
          done();
        }}
      />
      <Modal opened={!!invitation} onClose={() => setInvitation(undefined)} title={`Invitation for ${invitation?.person.name ?? ''}`} centered closeButtonProps={{ 'aria-label': 'Close' }}>
        {invitation && (
          <div className="stack">
            <p>Hand this link over on a way you trust. It works once, until <Time iso={invitation.until} full />, and is not shown again.</p>
            <code className="wrap-any panel" style={{ padding: 10 }}>{window.location.origin + invitation.path}</code>
            <CopyButton value={window.location.origin + invitation.path}>
              {({ copied, copy }) => <Button onClick={copy}>{copied ? 'Copied' : 'Copy the link'}</Button>}
            </CopyButton>
          </div>
        )}
      </Modal>
    </div>
  );
}

function AddPerson({ opened, close, added }: { opened: boolean; close(): void; added(i: Schemas['Invitation']): void }) {
  const [name, setName] = useState('');
  const [role, setRole] = useState<'admin' | 'viewer'>('viewer');
  const add = useMutation({
    mutationFn: () => ask(client.POST('/api/v1/people', { body: { name, role } })),
    onSuccess: (i) => {
      setName('');
      added(i);
    },
  });
  return (
    <Modal opened={opened} onClose={close} title="Add a person" centered closeButtonProps={{ 'aria-label': 'Close' }}>
      <form
        className="stack"
        onSubmit={(e) => {
          e.preventDefault();
          add.mutate();
        }}
      >
        <TextInput label="Name" description="What they sign in with: a-z, 0-9 and . _ @ + -" required withAsterisk={false} maxLength={64} pattern="[A-Za-z0-9][A-Za-z0-9._@+\-]{1,63}" autoCapitalize="none" spellCheck={false} data-autofocus value={name} onChange={(e) => setName(e.currentTarget.value)} />
        <Choice label="Role" value={role} onChange={(v) => setRole(v as 'admin' | 'viewer')} options={[['viewer', 'viewer: sees traffic and inventory'], ['admin', 'admin: sees everything, manages people']]} />
        {add.isError && <Failure error={add.error} />}
        <Button type="submit" loading={add.isPending}>
          Make an invitation
        </Button>
      </form>
    </Modal>
  );
}

const acts: Record<string, string> = {
  'session.create': 'sign-in',
  'session.end': 'sign-out',
  'session.revoke': 'session ended',
  'invitation.take': 'link used',
  'account.add': 'person added',
  'account.invite': 'new link',
  'account.role': 'role changed',
  'account.disable': 'person disabled',
  'account.enable': 'person enabled',
  'password.change': 'password changed',
  'original.open': 'original opened',
  'cache.invalidate': 'stored answers forgotten',
  'gate.test': 'test of an instance asked for',
  'gate.hold': 'instance held',
  'gate.release': 'instance released',
  'incident.acknowledge': 'incident acknowledged',
  'incident.assign': 'incident assigned',
  'incident.comment': 'incident commented',
  'incident.except': 'incident excepted',
  'notifications.test': 'notifications tested',
  'sideload.accept': 'sideloading rule accepted',
  'sideload.drop': 'sideloading rule undone',
  access: 'access without the role',
};

function Audit() {
  const [action, setAction] = useState('');
  const [outcome, setOutcome] = useState('');
  const verdict = useQuery({ queryKey: ['audit', 'verdict'], queryFn: () => ask(client.GET('/api/v1/audit/verification')), staleTime: 0 });
  const list = useInfiniteQuery({
    queryKey: ['audit', action, outcome],
    initialPageParam: 0,
    queryFn: ({ pageParam }) =>
      ask(client.GET('/api/v1/audit', { params: { query: { limit: 50, ...(pageParam ? { before: pageParam } : {}), ...(action ? { action } : {}), ...(outcome ? { outcome: outcome as 'done' } : {}) } } })),
    getNextPageParam: (p) => p.next || undefined,
  });
  const rows = list.data?.pages.flatMap((p) => p.entries) ?? [];
  return (
    <div className="stack">
      {verdict.isError ? (
        <Failure error={verdict.error} retry={() => void verdict.refetch()} />
      ) : !verdict.data ? (
        <Note>Recomputing the chain of the audit log…</Note>
      ) : verdict.data.intact ? (
        <Note kind="good">
          <strong>The log is intact.</strong> {exact(verdict.data.checked)} entries were recomputed and agree, checked <Time iso={verdict.data.at} />.{' '}
          <button type="button" className="link-button" onClick={() => void verdict.refetch()}>
            Check again
          </button>
          {verdict.data.head && <div className="small sub">Head <code className="wrap-any">{verdict.data.head}</code>; the process log holds the same.</div>}
        </Note>
      ) : (
        <Note kind="bad">
          <strong>The log does not verify: {verdict.data.problem}.</strong> {exact(verdict.data.checked)} entries before it agree. Compare with the process log and with a backup, and find out who can write the database.
        </Note>
      )}
      <Panel title="What administrators did" flush>
        <div className="filters" role="search">
          <Choice label="Act" value={action} onChange={setAction} options={[['', 'all'], ...Object.entries(acts)]} />
          <Choice label="Outcome" value={outcome} onChange={setOutcome} options={[['', 'any'], ['done', 'done'], ['refused', 'refused']]} />
        </div>
        {list.isPending ? (
          <Loading lines={6} />
        ) : list.isError ? (
          <div className="panel-body"><Failure error={list.error} retry={() => void list.refetch()} /></div>
        ) : rows.length === 0 ? (
          <Empty title="No entry fits" />
        ) : (
          <DataTable
            label="Audit log"
            rows={rows}
            rowKey={(e) => e.seq}
            columns={[
              { id: 'q', head: 'No.', right: true, width: '60px', cell: (e) => <span className="sub">{exact(e.seq)}</span> },
              { id: 't', head: 'Time', cell: (e) => <Time iso={e.time} full /> },
              { id: 'n', head: 'Who', cell: (e) => e.name || <span className="sub">nobody known</span> },
              { id: 'a', head: 'Act', cell: (e) => acts[e.action] ?? e.action },
              { id: 'g', head: 'On', hidePhone: true, cell: (e) => e.target },
              { id: 'o', head: 'Outcome', cell: (e) => <span className={`badge ${e.outcome === 'done' ? 'good' : 'refuse'}`}>{e.outcome}</span> },
              { id: 'd', head: 'Detail', hidePhone: true, cell: (e) => e.detail || <span className="sub">–</span> },
              { id: 'c', head: 'Client', hidePhone: true, cell: (e) => <span className="mono">{e.client}</span> },
            ]}
          />
        )}
        {list.hasNextPage && (
          <div className="panel-body" style={{ textAlign: 'center' }}>
            <Button variant="default" size="xs" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
              Show older ones
            </Button>
          </div>
        )}
      </Panel>
    </div>
  );
}

function About() {
  const q = useQuery({ queryKey: ['about'], queryFn: () => ask(client.GET('/api/v1/about')) });
  if (q.isPending) return <div className="panel"><Loading lines={5} /></div>;
  if (q.isError) return <Failure error={q.error} retry={() => void q.refetch()} />;
  return (
    <div className="grid-2">
      <Panel title="This program">
        <Facts
          rows={[
            ['Version', q.data.version],
            ['Revision', <span key="r" className="mono">{q.data.revision}</span>],
            ['Built with', q.data.go],
            ['Started', <Time key="s" iso={q.data.started} full />],
            ['Its clock', <Time key="n" iso={q.data.now} full />],
            ['Management API', <a key="a" href="/api/openapi.json">OpenAPI 3.1 document</a>],
            ['Licences', <a key="l" href="/licenses.txt">of what these pages are built with</a>],
          ]}
        />
      </Panel>
      <Panel title="How long things are kept">
        <Facts rows={q.data.retention.map((r) => [r.what, r.kept])} />
      </Panel>
    </div>
  );
}
