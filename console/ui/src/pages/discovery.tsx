import { useState, type ReactNode } from 'react';
import { Button, Modal } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { IconInbox, IconRadar2 } from '@tabler/icons-react';
import { ask, client, Problem, queries, type Schemas } from '../api/client';
import { DataTable } from '../components/table';
import { Empty, Facts, Failure, Loading, Meter, Note, PageHead, Panel, Tabs, Time } from '../components/parts';
import { exact, span } from '../lib/format';
import { discoveryRoute, scanRoute } from '../router';
import { apiLink, SeverityBadge } from './desk';
import { refresh, useAdmin } from './edit';
import { Choice, clean, Text } from './inventory';

type Search = Record<string, string | undefined>;
type Proposal = Schemas['ProposalView'];
type Scan = Schemas['Scan'];

const tabs = [
  { id: '', text: 'Inbox' },
  { id: 'scans', text: 'Scans' },
  { id: 'sources', text: 'Sources' },
  { id: 'catalogues', text: 'Catalogues' },
  { id: 'doors', text: 'Doors' },
];

export function Discovery() {
  const search: Search = discoveryRoute.useSearch();
  const view = search.view ?? '';
  return (
    <>
      <PageHead title="Discovery" sub="How APIs become known: looked for from outside, read from what already runs, and what waits for a decision" />
      <Tabs label="Discovery" tabs={tabs} active={view} to="/discovery" search={(id) => clean({ view: id })} />
      {view === 'scans' ? <Scans /> : view === 'sources' ? <Sources /> : view === 'catalogues' ? <Catalogues /> : view === 'doors' ? <Doors /> : <Inbox search={search} />}
    </>
  );
}

function Fetched<T>({ q, children }: { q: { isPending: boolean; isError: boolean; error: unknown; data?: T; refetch(): unknown }; children(data: T): ReactNode }) {
  if (q.isPending) return <Loading lines={7} />;
  if (q.data === undefined) return <div className="panel-body"><Failure error={q.error} retry={() => void q.refetch()} /></div>;
  return <>{children(q.data)}</>;
}

const stateText: Record<string, string> = { proposed: 'wait for a decision', accepted: 'accepted', ignored: 'ignored', merged: 'merged into others', all: 'all' };

type Decision = Schemas['ProposalDecision'];

// Inbox is what somebody spoke of and nobody has decided about.
function Inbox({ search }: { search: Search }) {
  const navigate = useNavigate();
  const admin = useAdmin();
  const [asking, setAsking] = useState<{ p: Proposal; action: Decision['action'] } | null>(null);
  const [last, setLast] = useState<{ name: string; action: string } | null>(null);
  const state = search.state ?? 'proposed';
  const set = (change: Search) => void navigate({ to: '/discovery', search: clean({ ...search, ...change }), replace: true });
  const q = useQuery({ queryKey: ['proposals', state], refetchInterval: 10_000, queryFn: () => ask(client.GET('/api/v1/inventory/proposals', { params: { query: { state: state as 'proposed' } } })) });
  const decide = useMutation({
    mutationFn: (d: Decision) => ask(client.POST('/api/v1/inventory/proposals', { body: d })),
    onSuccess: (_, d) => {
      setAsking(null);
      setLast(d.action === 'reopen' ? null : { name: d.name, action: d.action });
      refresh();
    },
  });
  const text = (search.q ?? '').toLowerCase();
  const rows = (q.data?.proposals ?? []).filter((p) => !text || [p.name, p.path, ...p.hosts, ...p.sources].join(' ').toLowerCase().includes(text));
  const shown = rows.slice(0, 200);
  const done: Record<string, string> = { accept: 'is accepted: it stands in the inventory', ignore: 'is ignored', merge: 'was merged', split: 'was split' };
  return (
    <div className="stack">
      {last && (
        <div role="status">
          <Note kind="good">
            <strong>{last.name}</strong> {done[last.action]}.{' '}
            {last.action !== 'split' && <button type="button" className="link-button" onClick={() => decide.mutate({ name: last.name, action: 'reopen' })}>Undo</button>}{' '}
            <button type="button" className="link-button" onClick={() => setLast(null)}>Dismiss</button>
          </Note>
        </div>
      )}
      {decide.isError && !asking && <Failure error={decide.error} />}
      <Panel title="APIs that somebody spoke of" flush aside={<span className="sub small num">{q.data ? `${exact(rows.length)} ${rows.length === 1 ? 'API' : 'APIs'}` : ''}</span>}>
        <div className="filters" role="search" aria-label="Filter the inbox">
          <Choice label="Show those that" value={state} onChange={(v) => set({ state: v === 'proposed' ? '' : v })} options={Object.entries(stateText)} />
          <Text label="Name, host or source" value={search.q ?? ''} onChange={(v) => set({ q: v })} placeholder="admin" filter />
        </div>
        <Fetched q={q}>
          {() =>
            shown.length === 0 ? (
              <Empty title={text ? 'Nothing fits' : state === 'proposed' ? 'The inbox is empty' : 'There are none'} icon={<IconInbox size={26} aria-hidden />}>
                <p>{text ? 'Take a part of the filter away.' : state === 'proposed' ? 'What a scan, a catalogue or an import names and no configuration knows arrives here, to be accepted, merged into an API that is known, split, or ignored with a reason.' : 'Nobody has decided so yet.'}</p>
              </Empty>
            ) : (
              <DataTable
                label="Inbox"
                rows={shown}
                rowKey={(p) => p.name}
                columns={[
                  { id: 'n', head: 'API', cell: (p) => <div style={{ minWidth: 150 }}>{p.state === 'accepted' ? <Link to="/inventory" search={apiLink(p.name)}><strong className="wrap-any">{p.name}</strong></Link> : <strong className="wrap-any">{p.name}</strong>}{p.hosts.join(', ') + p.path !== p.name && <div className="sub small mono wrap-any">{p.hosts.join(', ')}{p.path}</div>}</div> },
                  { id: 's', head: 'Who spoke of it', hidePhone: true, cell: (p) => <span className="wrap-any">{p.sources.join(', ')}<span className="sub small"> {exact(p.claims)} {p.claims === 1 ? 'value' : 'values'}</span></span> },
                  { id: 'f', head: 'Findings', right: true, hidePhone: true, cell: (p) => (p.open_findings ? <span className="badge flagged">{exact(p.open_findings)}</span> : <span className="sub">0</span>) },
                  { id: 't', head: 'Since', hidePhone: true, cell: (p) => <Time iso={p.since} /> },
                  ...(state !== 'proposed' ? [{ id: 'd', head: 'Decision', cell: (p: Proposal) => <span>{p.state}{p.into && <> into <Link to="/inventory" search={apiLink(p.into)}>{p.into}</Link></>}{p.reason && <span className="sub small">: {p.reason}</span>}</span> }] : []),
                  ...(admin ? [{ id: 'a', head: '', right: true, cell: (p: Proposal) => (
                    <span className="row decide">
                      {p.state === 'proposed' ? (
                        <>
                          <Button size="compact-xs" aria-label={`Accept ${p.name}`} loading={decide.isPending && decide.variables?.name === p.name && decide.variables.action === 'accept'} onClick={() => decide.mutate({ name: p.name, action: 'accept' })}>Accept</Button>
                          {(['merge', 'split', 'ignore'] as const).map((action) => <Button key={action} size="compact-xs" variant="default" aria-label={`${action.replace(/^./, (x) => x.toUpperCase())} ${p.name}`} onClick={() => { decide.reset(); setAsking({ p, action }); }}>{action.replace(/^./, (x) => x.toUpperCase())}…</Button>)}
                        </>
                      ) : (
                        <Button size="compact-xs" variant="default" aria-label={`Reopen ${p.name}`} onClick={() => decide.mutate({ name: p.name, action: 'reopen' })}>Reopen</Button>
                      )}
                    </span>
                  ) }] : []),
                ]}
              />
            )
          }
        </Fetched>
        {rows.length > shown.length && <div className="panel-body sub small">{exact(rows.length - shown.length)} more: filter to see them.</div>}
      </Panel>
      {asking && <Ask key={asking.p.name + asking.action} p={asking.p} action={asking.action} busy={decide.isPending} error={decide.error} onClose={() => setAsking(null)} onDecide={(d) => decide.mutate(d)} />}
    </div>
  );
}

function Ask({ p, action, busy, error, onClose, onDecide }: { p: Proposal; action: Decision['action']; busy: boolean; error: unknown; onClose(): void; onDecide(d: Decision): void }) {
  const [into, setInto] = useState('');
  const [host, setHost] = useState(p.hosts[0] ?? '');
  const [path, setPath] = useState('');
  const [reason, setReason] = useState('');
  const apis = useQuery({ queryKey: ['apis'], enabled: action === 'merge', queryFn: () => ask(client.GET('/api/v1/apis')) });
  const title = { merge: 'Merge', split: 'Split', ignore: 'Ignore' }[action as 'merge'];
  return (
    <Modal opened onClose={onClose} title={`${title} ${p.name}`} centered closeButtonProps={{ 'aria-label': 'Close' }}>
      <form className="form" onSubmit={(e) => { e.preventDefault(); onDecide(clean({ name: p.name, action, into: into.trim(), host: action === 'split' ? host.trim() : '', path: path.trim(), reason: reason.trim() }) as unknown as Decision); }}>
        {action === 'merge' && (
          <>
            <p className="sub small">It is the same as another API: all that was said of it moves there.</p>
            <label className="field">
              Into
              <select value={into} onChange={(e) => setInto(e.target.value)} required data-autofocus>
                <option value="">choose</option>
                {(apis.data?.apis ?? []).filter((a) => a.name && a.name !== p.name).map((a) => <option key={a.name} value={a.name}>{a.name}</option>)}
              </select>
            </label>
          </>
        )}
        {action === 'split' && (
          <>
            <p className="sub small">Several APIs stand in one: what lies below a host and path becomes a proposal of its own.</p>
            <label className="field">New name<input value={into} onChange={(e) => setInto(e.target.value)} maxLength={200} data-autofocus /></label>
            <div className="two">
              <label className="field">Host<input value={host} onChange={(e) => setHost(e.target.value)} maxLength={300} required /></label>
              <label className="field">Path<input value={path} onChange={(e) => setPath(e.target.value)} maxLength={500} placeholder="/v2" /></label>
            </div>
          </>
        )}
        {action === 'ignore' && <p className="sub small">It is no API, or none of ours. It is not proposed again; the reason stays with it.</p>}
        <label className="field">
          {action === 'ignore' ? 'Because' : 'Because (optional)'}
          <input value={reason} onChange={(e) => setReason(e.target.value)} maxLength={500} required={action === 'ignore'} data-autofocus={action === 'ignore' || undefined} />
        </label>
        {error ? <Failure error={error} /> : null}
        <div className="row" style={{ justifyContent: 'flex-end' }}>
          <Button variant="default" size="xs" onClick={onClose}>Cancel</Button>
          <Button type="submit" size="xs" loading={busy}>{title}</Button>
        </div>
      </form>
    </Modal>
  );
}

const scanBadge: Record<string, string> = { running: 'invited', done: 'good', cancelled: 'flagged', failed: 'refuse' };

function Scans() {
  const admin = useAdmin();
  const [asking, setAsking] = useState(false);
  const q = useQuery({ queryKey: ['scans'], refetchInterval: (s) => (s.state.data?.scans.some((x) => x.state === 'running') ? 1500 : 8000), queryFn: () => ask(client.GET('/api/v1/scans')) });
  const again = () => void queries.invalidateQueries({ queryKey: ['scans'] });
  const start = useMutation({ mutationFn: (b: Schemas['ScanAsk']) => ask(client.POST('/api/v1/scans', { body: b })), onSuccess: () => { setAsking(false); again(); } });
  return (
    <div className="stack">
      {start.isError && !asking && <Failure error={start.error} />}
      <Panel title="Scheduled" flush>
        <Fetched q={q}>
          {(d) => d.scheduled.length === 0 ? (
            <Empty title="No scan is scheduled"><p>Name one under <code>discover</code> in the configuration, with its targets and how often.</p></Empty>
          ) : (
            <DataTable label="Scheduled scans" rows={d.scheduled} rowKey={(s) => s.name} columns={[
              { id: 'n', head: 'Scan', cell: (s) => <strong>{s.name}</strong> },
              { id: 't', head: 'Scope', cell: (s) => <span className="mono small wrap-any">{s.targets.join(', ')}{s.exclude.length > 0 && <span className="sub"> without {s.exclude.join(', ')}</span>}</span> },
              { id: 'c', head: 'Consent', hidePhone: true, cell: (s) => (s.consent ? 'given' : <span className="sub">own addresses only</span>) },
              { id: 'e', head: 'Every', hidePhone: true, cell: (s) => s.every.replace(/(h)0m0s$|(m)0s$/, '$1$2') },
              { id: 'x', head: 'Next', hidePhone: true, cell: (s) => <Time iso={s.next} /> },
              ...(admin ? [{ id: 'a', head: '', right: true, cell: (s: Schemas['ScheduledScan']) => <Button size="compact-xs" variant="default" aria-label={`Scan now: ${s.name}`} loading={start.isPending && start.variables?.name === s.name} onClick={() => start.mutate({ name: s.name })}>Scan now</Button> }] : []),
            ]} />
          )}
        </Fetched>
      </Panel>
      <Panel title="Scans" flush aside={admin && <Button size="compact-xs" onClick={() => { start.reset(); setAsking(true); }}>Scan something…</Button>}>
        <Fetched q={q}>
          {(d) => d.scans.length === 0 ? (
            <Empty title="Nothing was scanned yet" icon={<IconRadar2 size={26} aria-hidden />}><p>A scan asks hosts from outside which APIs they serve. It begins with the scope and with your consent, and leaves neither.</p></Empty>
          ) : (
            <DataTable label="Scans" rows={d.scans} rowKey={(s) => s.id} linked columns={[
              { id: 's', head: 'State', width: '96px', cell: (s) => <span className={`badge ${scanBadge[s.state]}`}>{s.state}</span> },
              { id: 'n', head: 'Scan', cell: (s) => <div><Link className="row-link" to="/discovery/scans/$id" params={{ id: s.id }}><strong>{s.name || 'by hand'}</strong></Link><div className="sub small mono wrap-any">{s.targets.slice(0, 4).join(', ')}{s.targets.length > 4 && ` and ${s.targets.length - 4} more`}</div></div> },
              { id: 'p', head: 'Progress', width: '140px', cell: (s) => <Progress s={s} /> },
              { id: 'a', head: 'APIs', right: true, cell: (s) => exact(s.apis) },
              { id: 'f', head: 'Findings', right: true, hidePhone: true, cell: (s) => exact(s.findings) },
              { id: 'r', head: 'Requests', right: true, hidePhone: true, cell: (s) => exact(s.requests) },
              { id: 'b', head: 'Began', hidePhone: true, cell: (s) => <Time iso={s.began} /> },
            ]} />
          )}
        </Fetched>
      </Panel>
      {asking && <StartScan busy={start.isPending} error={start.error} onClose={() => setAsking(false)} onStart={(b) => start.mutate(b)} />}
    </div>
  );
}

function Progress({ s }: { s: Scan }) {
  if (s.state !== 'running') return <span className="sub num">{exact(s.done)} of {exact(s.hosts)} addresses</span>;
  return (
    <span className="cell-two">
      <Meter value={s.hosts ? s.done / s.hosts : 0} label={`${s.done} of ${s.hosts} addresses looked at`} />
      <span className="sub small num">{exact(s.done)} of {exact(s.hosts)}</span>
    </span>
  );
}

const lines = (s: string) => s.split(/[\s,]+/).filter(Boolean);

function StartScan({ busy, error, onClose, onStart }: { busy: boolean; error: unknown; onClose(): void; onStart(b: Schemas['ScanAsk']): void }) {
  const [targets, setTargets] = useState('');
  const [exclude, setExclude] = useState('');
  const [consent, setConsent] = useState(false);
  const list = lines(targets);
  return (
    <Modal opened onClose={onClose} title="Look at APIs from outside" centered size="lg" closeButtonProps={{ 'aria-label': 'Close' }}>
      <form className="form" onSubmit={(e) => { e.preventDefault(); onStart({ targets: list, ...(exclude ? { exclude: lines(exclude) } : {}), ...(consent ? { consent } : {}) }); }}>
        <label className="field">
          Scope: hosts, *.domains, addresses, ranges or URLs, one a line
          <textarea className="mono" value={targets} onChange={(e) => setTargets(e.target.value)} spellCheck={false} data-autofocus placeholder={'api.example.org\n10.20.0.0/24'} />
        </label>
        <label className="field">
          Never ask
          <input value={exclude} onChange={(e) => setExclude(e.target.value)} spellCheck={false} placeholder="10.20.0.7 billing.example.org" />
        </label>
        <label className="facet" style={{ gridTemplateColumns: '16px minmax(0, 1fr)' }}>
          <input type="checkbox" checked={consent} onChange={(e) => setConsent(e.target.checked)} />
          <span style={{ color: 'var(--ink)', fontSize: 13 }}>I may scan these targets. Needed for all but loopback and private addresses; the audit log keeps it.</span>
        </label>
        <p className="sub small">At most 50 requests and connections a second in all, and 4,000 requests to one address. It asks what reading asks, honours robots.txt and opt-outs, and never leaves the scope.</p>
        {error ? <Failure error={error} /> : null}
        <div className="row" style={{ justifyContent: 'flex-end' }}>
          <Button variant="default" size="xs" onClick={onClose}>Cancel</Button>
          <Button type="submit" size="xs" loading={busy} disabled={!list.length}>Scan {list.length > 1 ? `${exact(list.length)} targets` : ''}</Button>
        </div>
      </form>
    </Modal>
  );
}

interface Report {
  apis?: { kind: string; host: string; path: string; address: string; title?: string; confidence?: number; evidence?: string[] | null; operations?: unknown[] | null }[] | null;
  findings?: { rule: string; title: string; severity: string; place?: string; evidence?: string[] | null; fix?: string; asset?: { host?: string; path?: string; address?: string } }[] | null;
}

export function ScanPage() {
  const { id } = scanRoute.useParams();
  const admin = useAdmin();
  const q = useQuery({ queryKey: ['scan', id], retry: false, refetchInterval: (s) => (s.state.data?.scan.state === 'running' ? 1500 : false), queryFn: () => ask(client.GET('/api/v1/scans/{id}', { params: { path: { id } } })) });
  const cancel = useMutation({ mutationFn: () => ask(client.POST('/api/v1/scans/{id}/cancel', { params: { path: { id } } })), onSettled: () => void q.refetch() });
  const absent = q.error instanceof Problem && [404, 422].includes(q.error.status);
  const s = q.data?.scan;
  const r = (q.data?.report ?? {}) as Report;
  return (
    <>
      <PageHead title={s?.name || 'Scan by hand'} crumbs={<><Link to="/discovery">Discovery</Link> <span aria-hidden>/</span> <Link to="/discovery" search={{ view: 'scans' }}>Scans</Link> <span aria-hidden>/</span> <span className="mono">{id}</span></>} sub={s && <span className={`badge ${scanBadge[s.state]}`}>{s.state}</span>}>
        {admin && s?.state === 'running' && <Button size="xs" variant="default" loading={cancel.isPending} onClick={() => cancel.mutate()}>End it; what it found stays</Button>}
      </PageHead>
      {absent ? <div className="panel"><Empty title="No scan is kept under this id"><p>The newest twenty are kept while the process runs; what they found stands in the inventory.</p></Empty></div> : q.isError ? <Failure error={q.error} retry={() => void q.refetch()} /> : !s ? <div className="panel"><Loading /></div> : (
        <div className="stack">
          {s.state === 'failed' && <Note kind="bad">{s.why}. What was found until then stands in the inventory; mend the reason and scan again.</Note>}
          {cancel.isError && <Failure error={cancel.error} />}
          <Panel title="Scope and progress">
            <Facts wide rows={[
              ['Targets', <span key="t" className="mono small wrap-any">{s.targets.join(', ')}</span>],
              ['Began', <span key="b"><Time iso={s.began} full /> {s.why && s.state !== 'failed' && <span className="sub">({s.why})</span>}</span>],
              ['Addresses', <span key="a">{exact(s.done)} of {exact(s.hosts)} looked at, {exact(s.open)} open ports</span>],
              ['Ended', s.ended ? <Time key="e" iso={s.ended} full /> : <Progress key="e" s={s} />],
              ['Requests', exact(s.requests)],
              ['Found', `${exact(s.apis)} APIs, ${exact(s.findings)} findings`],
            ]} />
          </Panel>
          {s.state !== 'running' && (
            <>
              <Panel title="APIs it found" flush>
                {!r.apis?.length ? <Empty title="None"><p>Nothing in scope answered as an API does.</p></Empty> : (
                  <DataTable label="APIs it found" rows={r.apis} rowKey={(a) => a.kind + a.host + a.address + a.path} columns={[
                    { id: 'k', head: 'Kind', cell: (a) => <span className="badge outline">{a.kind}</span> },
                    { id: 'w', head: 'Where', cell: (a) => <span className="mono wrap-any">{a.host || a.address}{a.path}</span> },
                    { id: 'a', head: 'Address', hidePhone: true, cell: (a) => <span className="mono">{a.address}</span> },
                    { id: 'o', head: 'Operations', right: true, hidePhone: true, cell: (a) => exact(a.operations?.length ?? 0) },
                    { id: 'e', head: 'Because', hidePhone: true, cell: (a) => <span className="sub small wrap-any">{(a.evidence ?? []).slice(0, 2).join('; ')}</span> },
                  ]} />
                )}
              </Panel>
              <Panel title="What it found wrong" flush>
                {!r.findings?.length ? <Empty title="Nothing" /> : (
                  <ul className="finding-list">
                    {r.findings.slice(0, 300).map((f, i) => (
                      <li key={i}>
                        <SeverityBadge name={f.severity} />
                        <div><strong>{f.title}</strong><div className="small sub wrap-any"><span className="mono">{f.rule}</span> · <span className="mono">{f.asset?.host || f.asset?.address}{f.place && !f.place.startsWith('/') ? ' ' : ''}{f.place || f.asset?.path}</span></div>{f.fix && <div className="small"><strong>Do:</strong> {f.fix}</div>}</div>
                      </li>
                    ))}
                  </ul>
                )}
              </Panel>
            </>
          )}
        </div>
      )}
    </>
  );
}

const sourceBadge: Record<string, string> = { reading: 'good', watching: 'good', waiting: 'outline', done: 'outline', failed: 'refuse' };

function Sources() {
  const q = useQuery({ queryKey: ['sources'], refetchInterval: 5000, queryFn: () => ask(client.GET('/api/v1/sources')) });
  return (
    <Panel title="Sources of exchanges" flush>
      <Fetched q={q}>
        {(d) => d.sources.length === 0 ? (
          <Empty title="No source is configured"><p>Under <code>sources</code> the configuration names access logs, syslog, mirrored traffic and archives of other gateways; what passes them is learned from like our own.</p></Empty>
        ) : (
          <DataTable label="Sources of exchanges" rows={d.sources} rowKey={(s) => s.kind + s.name} columns={[
            { id: 's', head: 'State', width: '92px', cell: (s) => <span className={`badge ${sourceBadge[s.state] ?? ''}`}>{s.state}</span> },
            { id: 'n', head: 'Source', cell: (s) => <div><strong className="wrap-any">{s.name}</strong><div className="sub small">{s.kind}{s.format && `, ${s.format}`}</div>{s.error && <div className="small bad-text">{s.error}</div>}{s.notice && <div className="small sub">{s.notice}</div>}{s.bad > 0 && <div className="small sub wrap-any">First that could not be read: <span className="mono">{s.first_bad}</span></div>}</div> },
            { id: 'l', head: 'Lag', right: true, cell: (s) => <span className={s.lag_seconds > 60 ? 'badge flagged' : ''}>{span(Math.round(s.lag_seconds))}</span> },
            { id: 'r', head: 'Read', right: true, hidePhone: true, cell: (s) => exact(s.read) },
            { id: 'e', head: 'Exchanges', right: true, cell: (s) => exact(s.emitted) },
            { id: 'b', head: 'Unreadable', right: true, hidePhone: true, cell: (s) => (s.bad ? <span className="badge flagged">{exact(s.bad)}</span> : <span className="sub">0</span>) },
            { id: 'x', head: 'Lost', right: true, hidePhone: true, cell: (s) => (s.lost ? <span className="badge refuse">{exact(s.lost)}</span> : <span className="sub">0</span>) },
            { id: 't', head: 'Last exchange', hidePhone: true, cell: (s) => <Time iso={s.last} /> },
          ]} />
        )}
      </Fetched>
    </Panel>
  );
}

function Catalogues() {
  const q = useQuery({ queryKey: ['catalogues'], refetchInterval: 5000, queryFn: () => ask(client.GET('/api/v1/catalogues')) });
  return (
    <Panel title="Catalogues and controllers" flush>
      <Fetched q={q}>
        {(d) => d.catalogues.length === 0 ? (
          <Empty title="No catalogue is configured"><p>Under <code>catalogues</code> the configuration names clusters, proxies, registries and trees of source code that know owners, hosts and routes.</p></Empty>
        ) : (
          <DataTable label="Catalogues and controllers" rows={d.catalogues} rowKey={(c) => c.kind + c.name + c.at} columns={[
            { id: 's', head: 'State', width: '92px', cell: (c) => <span className={`badge ${sourceBadge[c.state] ?? ''}`}>{c.state}</span> },
            { id: 'n', head: 'Catalogue', cell: (c) => <div><strong className="wrap-any">{c.name || c.kind}</strong><div className="sub small mono wrap-any">{c.kind} {c.at}</div>{c.error && <div className="small bad-text wrap-any">{c.error}</div>}</div> },
            { id: 'c', head: 'Claims', right: true, cell: (c) => exact(c.claims) },
            { id: 'r', head: 'Refused', right: true, hidePhone: true, cell: (c) => (c.refused ? <span className="badge flagged">{exact(c.refused)}</span> : <span className="sub">0</span>) },
            { id: 'f', head: 'Speaks of', hidePhone: true, cell: (c) => <span className="sub small wrap-any">{c.fields.slice(0, 6).join(', ')}{c.fields.length > 6 && ` and ${c.fields.length - 6} more`}</span> },
            { id: 't', head: 'Last news', hidePhone: true, cell: (c) => <Time iso={c.last} /> },
          ]} />
        )}
      </Fetched>
    </Panel>
  );
}

function Doors() {
  const q = useQuery({ queryKey: ['doors'], refetchInterval: 5000, queryFn: () => ask(client.GET('/api/v1/doors')) });
  return (
    <Panel title="Doors at which other proxies ask" flush>
      <Fetched q={q}>
        {(d) => d.doors.length === 0 ? (
          <Empty title="No door is configured"><p>Through a door, HAProxy, nginx, Caddy, Traefik, Envoy or Squid ask for the same decisions that the gateway makes: name one under <code>doors</code> in the configuration.</p></Empty>
        ) : (
          <DataTable label="Doors at which other proxies ask" rows={d.doors} rowKey={(x) => x.kind + x.name} columns={[
            { id: 'n', head: 'Door', cell: (x) => <div><strong>{x.name || x.kind}</strong><div className="sub small mono">{x.kind} {x.address}</div></div> },
            { id: 'f', head: 'If undecided', hidePhone: true, cell: (x) => <span>{x.fail === 'open' ? 'lets pass' : 'refuses'}<span className="sub small"> within {x.within_ms} ms</span></span> },
            { id: 'a', head: 'Asked', right: true, cell: (x) => exact(x.asked) },
            { id: 'r', head: 'Refused', right: true, cell: (x) => exact(x.refused) },
            { id: 'x', head: 'Not decided', right: true, hidePhone: true, cell: (x) => (x.failed ? <span className="badge refuse">{exact(x.failed)}</span> : <span className="sub">0</span>) },
            { id: 'u', head: 'Body not shown', right: true, hidePhone: true, cell: (x) => (x.not_shown ? <span className="badge flagged">{exact(x.not_shown)}</span> : <span className="sub">0</span>) },
            { id: 's', head: 'Unreadable', right: true, hidePhone: true, cell: (x) => (x.strange ? <span className="badge flagged">{exact(x.strange)}</span> : <span className="sub">0</span>) },
            { id: 'm', head: 'Mean', right: true, hidePhone: true, cell: (x) => `${exact(Math.round(x.mean_micros))} µs` },
            { id: 't', head: 'Last asked', hidePhone: true, cell: (x) => <Time iso={x.last} /> },
          ]} />
        )}
      </Fetched>
    </Panel>
  );
}
