import { useState, type ReactNode } from 'react';
import { Button } from '@mantine/core';
import { keepPreviousData, useInfiniteQuery, useMutation, useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { ask, client, Problem, queries, useMe, type Schemas } from '../api/client';
import { DataTable } from '../components/table';
import { Empty, Facts, Failure, Loading, Note, PageHead, Panel, Time } from '../components/parts';
import { exact } from '../lib/format';
import { Copyable } from '../components/copy';
import { incidentRoute, incidentsRoute } from '../router';
import { ActDialog, VerdictLink } from './conformance';
import { Choice, clean, Text } from './inventory';

type Incident = Schemas['IncidentView'];
type Search = Record<string, string | undefined>;

const severityBadge: Record<string, string> = { critical: 'refuse', high: 'refuse', medium: 'flagged', low: 'outline' };
const stateBadge: Record<string, string> = { open: 'flagged', acknowledged: 'invited', excepted: 'outline', resolved: 'good' };

export function Badges({ i }: { i: Incident }) {
  return (
    <span className="row" style={{ gap: 4 }}>
      <span className={`badge ${severityBadge[i.severity] ?? ''}`}>{i.severity}</span>
      <span className={`badge ${stateBadge[i.state] ?? ''}`}>{i.state}</span>
      {i.overdue && <span className="badge refuse">overdue</span>}
    </span>
  );
}

// useCounts are the incidents that ask for somebody, for badges elsewhere.
export function useCounts() {
  const q = useQuery({ queryKey: ['incidents', 'counts'], refetchInterval: 15_000, queryFn: () => ask(client.GET('/api/v1/incidents', { params: { query: { state: 'current', limit: 1 } } })) });
  return q.data?.counts;
}

export function Incidents() {
  const search: Search = incidentsRoute.useSearch();
  const navigate = useNavigate();
  const me = useMe();
  const set = (change: Search) => void navigate({ to: '/incidents', search: clean({ ...search, ...change }), replace: true });
  const state = search.state ?? 'current';
  const query = { ...(state === 'all' ? {} : { state }), ...clean({ severity: search.severity, api: search.api, owner: search.owner }), ...(search.overdue ? { overdue: true } : {}), limit: 50 };
  const list = useInfiniteQuery({
    queryKey: ['incidents', query],
    initialPageParam: '',
    placeholderData: keepPreviousData,
    refetchInterval: 10_000,
    queryFn: ({ pageParam }) => ask(client.GET('/api/v1/incidents', { params: { query: { ...query, before: pageParam || undefined } as never } })),
    getNextPageParam: (p) => p.next || undefined,
  });
  const apis = useQuery({ queryKey: ['apis'], queryFn: () => ask(client.GET('/api/v1/apis')), staleTime: 30_000 });
  const rows = list.data?.pages.flatMap((p) => p.incidents) ?? [];
  const counts = list.data?.pages[0]?.counts;
  const test = useMutation({ mutationFn: () => ask(client.POST('/api/v1/notifications/test')) });
  return (
    <>
      <PageHead title="Incidents" sub={counts ? `${exact(counts.critical + counts.high + counts.medium + counts.low)} open, ${exact(counts.overdue)} of them overdue; ${exact(counts.excepted)} rest by an exception` : 'What failed, who deals with it, and until when'}>
        {me.data?.role === 'admin' && (
          <Button variant="default" size="xs" loading={test.isPending} onClick={() => test.mutate()}>
            Test the notifications
          </Button>
        )}
      </PageHead>
      <div className="stack">
        {test.isError && <Failure error={test.error} />}
        {test.data && (test.data.targets.length === 0 ? <Note kind="warn">Nobody is notified: the configuration has no <code>notify</code>.</Note> : test.data.targets.map((t) => <Note key={t.target} kind={t.problem ? 'bad' : 'good'}>{t.target}: {t.problem || 'delivered'}</Note>))}
        <Panel label="Incidents" flush>
          <div className="filters" role="search" aria-label="Filter incidents">
            <Choice label="State" value={state} onChange={(v) => set({ state: v === 'current' ? '' : v })} options={[['current', 'not resolved'], ['open', 'open'], ['acknowledged', 'acknowledged'], ['excepted', 'excepted'], ['resolved', 'resolved'], ['all', 'all']]} />
            <Choice label="Severity" value={search.severity ?? ''} onChange={(severity) => set({ severity })} options={[['', 'any'], ['critical', 'critical'], ['high', 'high'], ['medium', 'medium'], ['low', 'low']]} />
            <Choice label="API" value={search.api ?? ''} onChange={(api) => set({ api })} options={[['', 'all'], ...(apis.data?.apis ?? []).filter((a) => a.name).map((a) => [a.name, a.name] as const)]} />
            <Choice label="Due" value={search.overdue ?? ''} onChange={(overdue) => set({ overdue })} options={[['', 'whenever'], ['yes', 'overdue']]} />
            <Text label="Owner" value={search.owner ?? ''} onChange={(owner) => set({ owner })} placeholder="team, contact or assignee" filter />
          </div>
          {list.isPending ? (
            <Loading lines={8} />
          ) : list.isError ? (
            <div className="panel-body"><Failure error={list.error} retry={() => void list.refetch()} /></div>
          ) : rows.length === 0 ? (
            <Empty title="No incident fits"><p>When a test of an instance fails, an incident opens by itself and stands here until a test of the same instance passes.</p></Empty>
          ) : (
            <>
              <div aria-busy={list.isPlaceholderData} className={list.isPlaceholderData ? 'pending' : undefined}>
                <DataTable
                  label="Incidents"
                  rows={rows}
                  rowKey={(i) => i.id}
                  linked
                  columns={[
                    { id: 's', head: 'Severity and state', width: '190px', cell: (i) => <Badges i={i} /> },
                    { id: 't', head: 'Incident', cell: (i) => <div><Link className="row-link wrap-any" to="/incidents/$id" params={{ id: i.id }}>{i.title}</Link><div className="sub small mono wrap-any">{i.subject}</div></div> },
                    { id: 'a', head: 'API', hidePhone: true, cell: (i) => i.api || <span className="sub">none</span> },
                    { id: 'o', head: 'Assigned to', hidePhone: true, cell: (i) => i.assignee || <span className="sub">{i.team ? `${i.team} (owner)` : 'nobody'}</span> },
                    { id: 'n', head: 'Failures', right: true, hidePhone: true, cell: (i) => exact(i.occurrences) },
                    { id: 'd', head: 'Due', hidePhone: true, cell: (i) => (i.state === 'resolved' ? <span className="sub">done</span> : <Time iso={i.due} />) },
                    { id: 'l', head: 'Opened', hidePhone: true, cell: (i) => <Time iso={i.opened} /> },
                  ]}
                />
              </div>
              {list.hasNextPage && (
                <div className="panel-body row" style={{ justifyContent: 'center' }}>
                  <Button variant="default" size="xs" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>Show older ones</Button>
                </div>
              )}
            </>
          )}
        </Panel>
      </div>
    </>
  );
}

export function IncidentPage() {
  const { id } = incidentRoute.useParams();
  const q = useQuery({ queryKey: ['incident', id], refetchInterval: 10_000, queryFn: () => ask(client.GET('/api/v1/incidents/{id}', { params: { path: { id } } })) });
  const absent = q.error instanceof Problem && [400, 404, 422].includes(q.error.status);
  const i = q.data?.incident;
  return (
    <>
      <PageHead crumbs={<><Link to="/incidents">Incidents</Link> <span aria-hidden>/</span> <span className="mono wrap-any">{id}</span></>} title={i?.title ?? 'Incident'} sub={i && <Badges i={i} />} />
      {q.data ? <Whole d={q.data} /> : absent ? <div className="panel"><Empty title="No incident is kept under this id"><p>Resolved ones are removed when they are older than the configuration keeps them.</p></Empty></div> : q.isError ? <Failure error={q.error} retry={() => void q.refetch()} /> : <div className="panel"><Loading lines={10} /></div>}
    </>
  );
}

function Block({ text }: { text: string }) {
  return <pre className="mono small" tabIndex={0} style={{ margin: 0, whiteSpace: 'pre-wrap', overflowWrap: 'anywhere', maxHeight: 400, overflow: 'auto' }}>{text}</pre>;
}

// Source is where the evidence stands in full.
function Source({ i, id }: { i: Incident; id: string }) {
  return i.kind === 'conformance' && /^v[0-9a-f]+$/.test(id) ? <VerdictLink id={id} /> : <span className="mono wrap-any">{id}</span>;
}

function Whole({ d }: { d: Schemas['IncidentDetail'] }) {
  const me = useMe();
  const i = d.incident;
  return (
    <div className="stack">
      <div className="grid-2">
        <Panel title="What and who">
          <Facts
            rows={[
              ['API', i.api && <Link to="/inventory" search={{ api: i.api }}>{i.api}</Link>],
              ['Subject', <span className="mono wrap-any" key="s">{i.subject}</span>],
              ['Kind', i.kind],
              ['Newest verdict', <Source key="v" i={i} id={i.source} />],
              ['Opened', <Time iso={i.opened} full key="o" />],
              ['Failures', <span key="n">{exact(i.occurrences)}, the last <Time iso={i.seen} /></span>],
              ['Due', <Time iso={i.due} full key="d" />],
              ['Escalated', i.escalated ? <span key="e"><Time iso={i.escalated} /> to {i.deputy || 'nobody: the API names no deputy'}</span> : <span className="sub" key="e">no</span>],
              ['Owner', [i.team, i.contact].filter(Boolean).join(', ')],
              ['Deputy', i.deputy],
              ['Assigned to', i.assignee || <span className="sub" key="a">nobody</span>],
              ...(i.state === 'excepted' ? ([['Exception', <span key="x" className="wrap-any">by {i.approver}, until <Time iso={i.until} full />: {i.reason}</span>]] as [ReactNode, ReactNode][]) : []),
            ]}
          />
        </Panel>
        {me.data?.role === 'admin' ? <Acts i={i} /> : <Panel title="Act"><p className="sub">Changes need the role admin.</p></Panel>}
      </div>
      <Panel title="Timeline" flush>
        <DataTable
          label="Timeline"
          rows={d.timeline.map((e, n) => ({ ...e, n }))}
          rowKey={(e) => e.n}
          columns={[
            { id: 't', head: 'When', width: '110px', cell: (e) => <Time iso={e.time} /> },
            { id: 'w', head: 'Who', hidePhone: true, width: '140px', cell: (e) => e.who },
            { id: 'h', head: 'What', width: '140px', cell: (e) => <span>{e.what}<span className="only-phone sub small"> by {e.who}</span></span> },
            { id: 'x', head: 'Said', cell: (e) => <span className="wrap-any" style={{ whiteSpace: 'pre-wrap' }}>{e.text}</span> },
          ]}
        />
      </Panel>
      <div className="grid-2">
        <Panel title="Reproduction">{d.reproduction ? <Copyable text={d.reproduction} label="Reproduction" /> : <p className="sub">None was given.</p>}</Panel>
        <Panel title="Difference to the last passing test">{d.difference ? <Block text={d.difference} /> : <p className="sub">No test of it has passed before.</p>}</Panel>
      </div>
      <Panel title="Evidence">
        {d.evidence.length === 0 ? <p className="sub">The verdict holds all of it.</p> : (
          <div className="stack">
            {d.evidence.map((e, n) => (
              <div key={n}>
                <h3 style={{ margin: '0 0 2px' }} className="wrap-any">{e.title}</h3>
                <div className="sub small">{e.kind}, <Time iso={e.time} />, verdict <Source i={i} id={e.source} /></div>
                {e.body && <Block text={e.body} />}
              </div>
            ))}
          </div>
        )}
      </Panel>
      <Panel title="Notifications" flush>
        {d.deliveries.length === 0 ? <Empty title="Nobody was notified"><p>The configuration names no place under <code>notify</code> that wants this.</p></Empty> : (
          <DataTable
            label="Notifications"
            rows={d.deliveries.map((x, n) => ({ ...x, n }))}
            rowKey={(x) => x.n}
            columns={[
              { id: 't', head: 'When', cell: (x) => <Time iso={x.time} /> },
              { id: 'e', head: 'Event', cell: (x) => x.event },
              { id: 'p', head: 'Place', cell: (x) => x.target },
              { id: 's', head: 'State', cell: (x) => <span className={`badge ${x.state === 'sent' ? 'good' : x.state === 'failed' ? 'refuse' : 'outline'}`}>{x.state}</span> },
              { id: 'x', head: 'Problem', hidePhone: true, cell: (x) => <span className="wrap-any">{x.problem}</span> },
            ]}
          />
        )}
      </Panel>
    </div>
  );
}

function Acts({ i }: { i: Incident }) {
  const [to, setTo] = useState(i.assignee);
  const [text, setText] = useState('');
  const [reason, setReason] = useState('');
  const [until, setUntil] = useState('');
  const [testing, setTesting] = useState(false);
  const path = { params: { path: { id: i.id } } };
  const act = useMutation({
    mutationFn: (f: () => Promise<unknown>) => f(),
    onSuccess: () => {
      setText('');
      setReason('');
      void queries.invalidateQueries({ queryKey: ['incident', i.id] });
      void queries.invalidateQueries({ queryKey: ['incidents'] });
    },
  });
  const form = (f: () => Promise<unknown>) => (e: React.FormEvent) => {
    e.preventDefault();
    act.mutate(f);
  };
  const ended = i.state === 'resolved';
  return (
    <Panel title="Act">
      <div className="stack">
        {act.isError && <Failure error={act.error} />}
        {ended && <Note kind="good">A test of the same subject passed <Time iso={i.closed} />; nothing else ends an incident.</Note>}
        {!ended && <p className="sub small">It ends by a passing test of {i.subject || 'the same subject'} that looks as deep; an exception lets it rest until its day.</p>}
        {!ended && (
          <div className="row">
            {i.state === 'open' && <Button size="xs" loading={act.isPending} onClick={() => act.mutate(() => ask(client.POST('/api/v1/incidents/{id}/acknowledgement', path)))}>Acknowledge</Button>}
            {i.kind === 'conformance' && <Button size="xs" variant="default" onClick={() => setTesting(true)}>Test again</Button>}
          </div>
        )}
        {testing && <ActDialog act={{ kind: 'test', api: i.api, url: i.subject }} close={() => setTesting(false)} />}
        {!ended && (
          <form className="row" style={{ alignItems: 'flex-end' }} onSubmit={form(() => ask(client.PUT('/api/v1/incidents/{id}/assignee', { ...path, body: { to } })))}>
            <label className="field" style={{ flex: 1 }}>Assign to<input value={to} maxLength={200} onChange={(e) => setTo(e.target.value)} placeholder="a person or a team" /></label>
            <Button type="submit" size="xs" variant="default" style={{ height: 32 }}>Assign</Button>
          </form>
        )}
        <form className="row" style={{ alignItems: 'flex-end' }} onSubmit={form(() => ask(client.POST('/api/v1/incidents/{id}/comments', { ...path, body: { text } })))}>
          <label className="field" style={{ flex: 1 }}>Comment<input value={text} maxLength={8000} required onChange={(e) => setText(e.target.value)} /></label>
          <Button type="submit" size="xs" variant="default" style={{ height: 32 }}>Comment</Button>
        </form>
        {!ended && (
          <form className="row" style={{ alignItems: 'flex-end' }} onSubmit={form(() => ask(client.PUT('/api/v1/incidents/{id}/exception', { ...path, body: { reason, until: new Date(until).toISOString() } })))}>
            <label className="field" style={{ flex: 1 }}>Exception because<input value={reason} maxLength={2000} required onChange={(e) => setReason(e.target.value)} /></label>
            <label className="field">until<input type="date" value={until} required onChange={(e) => setUntil(e.target.value)} /></label>
            <Button type="submit" size="xs" variant="default" style={{ height: 32 }}>Approve</Button>
          </form>
        )}
      </div>
    </Panel>
  );
}
