import { useState, type ReactNode } from 'react';
import { Button, Modal, Textarea } from '@mantine/core';
import { keepPreviousData, useInfiniteQuery, useMutation, useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { IconCircleCheck, IconClock, IconDoorOff, IconHandStop, IconLoader2, IconShieldX } from '@tabler/icons-react';
import { ask, client, queries, useMe, type Schemas } from '../api/client';
import { DataTable } from '../components/table';
import { Empty, Failure, Loading, Meter, Note, PageHead, Panel, Tabs, Time } from '../components/parts';
import { exact, span } from '../lib/format';
import { conformanceRoute } from '../router';
import { Choice, clean, Text } from './inventory';

type Instance = Schemas['FleetInstance'];
type Demand = Schemas['GateDemand'];
type Search = Record<string, string | undefined>;

const tabs = [
  { id: 'fleet', text: 'Fleet' },
  { id: 'runs', text: 'Runs' },
  { id: 'schedule', text: 'Schedule' },
  { id: 'triggers', text: 'Triggers' },
  { id: 'changes', text: 'Breaking changes' },
];

const states: Record<string, { badge: string; icon: ReactNode; means: string }> = {
  held: { badge: 'flagged', icon: <IconHandStop size={13} aria-hidden />, means: 'Gets no request: not tested yet, or held by hand' },
  testing: { badge: 'invited', icon: <IconLoader2 size={13} aria-hidden />, means: 'Gets no request but those of its test' },
  admitted: { badge: 'good', icon: <IconCircleCheck size={13} aria-hidden />, means: 'Passed its tests and serves' },
  quarantined: { badge: 'refuse', icon: <IconShieldX size={13} aria-hidden />, means: 'Failed its tests, or could not be tested: gets no request' },
  retired: { badge: 'outline', icon: <IconDoorOff size={13} aria-hidden />, means: 'No longer among the upstreams' },
};

export function StateBadge({ state }: { state: string }) {
  const s = states[state];
  return (
    <span className={`badge ${s?.badge ?? 'outline'}`} title={s?.means}>
      {s?.icon}
      {state}
    </span>
  );
}

export function PassBadge({ passed }: { passed: boolean }) {
  return (
    <span className={`badge ${passed ? 'good' : 'refuse'}`}>
      {passed ? <IconCircleCheck size={13} aria-hidden /> : <IconShieldX size={13} aria-hidden />}
      {passed ? 'passed' : 'failed'}
    </span>
  );
}

export function VerdictLink({ id, children }: { id: string; children?: ReactNode }) {
  return (
    <Link to="/conformance/$id" params={{ id }} className={children ? undefined : 'mono'}>
      {children ?? id}
    </Link>
  );
}

function useDemands() {
  return useQuery({ queryKey: ['gate', 'demands'], refetchInterval: 5000, queryFn: () => ask(client.GET('/api/v1/gate/demands')) });
}

export function ConformancePage() {
  const search: Search = conformanceRoute.useSearch();
  const navigate = useNavigate();
  const set = (change: Search) => void navigate({ to: '/conformance', search: clean({ ...search, ...change }), replace: true });
  const view = search.view ?? 'fleet';
  const page: Record<string, ReactNode> = {
    fleet: <Fleet search={search} set={set} />,
    runs: <Runs search={search} set={set} />,
    schedule: <Schedule />,
    triggers: <Triggers search={search} set={set} />,
    changes: <Changes />,
  };
  return (
    <>
      <PageHead title="Conformance" sub="Every instance is tested before it serves, and again while it does; what fails gets no request" />
      <Tabs label="Conformance" tabs={tabs} active={view} to="/conformance" search={(id) => clean({ view: id === 'fleet' ? '' : id, api: search.api })} />
      {page[view] ?? page.fleet}
    </>
  );
}

const howLong = (seconds: number) => (seconds >= 3600 ? `${Math.round(seconds / 360) / 10} h` : span(seconds));

function Capacity({ demands }: { demands: Demand[] }) {
  return (
    <Panel title="Capacity by API" flush aside={<span className="sub small">what serves, of what there is</span>}>
      <DataTable
        label="Capacity by API"
        rows={demands}
        rowKey={(d) => d.api}
        columns={[
          { id: 'a', head: 'API', cell: (d) => <Link to="/inventory" search={{ api: d.api }}>{d.api}</Link> },
          {
            id: 's', head: 'Serving', width: '220px',
            cell: (d) => (
              <span className="row" style={{ gap: 8, flexWrap: 'nowrap' }}>
                <span style={{ flex: '0 0 80px' }}><Meter value={d.instances ? d.serving / d.instances : 0} label={`${d.serving} of ${d.instances} instances of ${d.api} serve`} /></span>
                <span className="num nowrap">{exact(d.serving)} of {exact(d.instances)}</span>
                {d.serving === 0 && <span className="badge refuse">nobody serves</span>}
              </span>
            ),
          },
          { id: 'n', head: 'When the last one fails', cell: (d) => (d.on_none === 'last-good' ? 'it serves on' : 'requests are refused') },
          { id: 'p', head: 'Admitted by', hidePhone: true, cell: (d) => `the ${d.admit} tests` },
          { id: 'r', head: 'Tested again', hidePhone: true, cell: (d) => (d.every ? `${d.recheck}, every ${howLong(d.every)}` : `${d.recheck}, not by time`) },
        ]}
      />
    </Panel>
  );
}

export function NoGate() {
  return (
    <Empty title="No API demands tests yet" icon={<IconHandStop size={22} aria-hidden />}>
      <p>
        Give an API a <code>gate</code> in the configuration, such as <code>gate: {'{admit: full, identity: {path: /version, header: X-Boot-Id}}'}</code>. From then on each of its instances is tested before it gets a request.
      </p>
    </Empty>
  );
}

type Act = { kind: 'test' | 'hold' | 'release'; api: string; url: string };

function Fleet({ search, set }: { search: Search; set(c: Search): void }) {
  const me = useMe();
  const [act, setAct] = useState<Act>();
  const fleet = useQuery({ queryKey: ['gate', 'fleet'], refetchInterval: 3000, queryFn: () => ask(client.GET('/api/v1/gate')) });
  const demands = useDemands();
  if (fleet.isPending || demands.isPending) return <div className="panel"><Loading lines={8} /></div>;
  if (fleet.isError) return <Failure error={fleet.error} retry={() => void fleet.refetch()} />;
  if (demands.isError) return <Failure error={demands.error} retry={() => void demands.refetch()} />;
  const gated = fleet.data.instances.filter((i) => i.gated);
  const others = fleet.data.instances.length - gated.length;
  const names = [...new Set(gated.map((i) => i.api))].sort();
  const words = (search.q ?? '').toLowerCase();
  const rows = gated
    .filter((i) => (!search.state || i.state === search.state) && (!search.api || i.api === search.api) && (!words || `${i.url} ${i.reason} ${i.boot}`.toLowerCase().includes(words)))
    .sort((x, y) => order(x.state) - order(y.state) || x.api.localeCompare(y.api) || x.url.localeCompare(y.url));
  const tally = (state: string) => gated.filter((i) => i.state === state).length;
  if (gated.length === 0)
    return (
      <div className="panel">
        <NoGate />
      </div>
    );
  return (
    <div className="stack">
      <div className="row" role="group" aria-label="Instances by state">
        {Object.keys(states).map((s) => (
          <button key={s} type="button" className="link-button" aria-pressed={search.state === s} title={states[s]?.means} onClick={() => set({ state: search.state === s ? '' : s })}>
            <span className="row" style={{ gap: 6 }}>
              <StateBadge state={s} /> <span className="num">{exact(tally(s))}</span>
            </span>
          </button>
        ))}
        {others > 0 && <span className="sub small">{exact(others)} more {others === 1 ? 'instance' : 'instances'} of APIs without a gate</span>}
      </div>
      <Capacity demands={demands.data.apis} />
      <Panel label="Fleet" flush>
        <div className="filters" role="search" aria-label="Filter the fleet">
          <Choice label="State" value={search.state ?? ''} onChange={(state) => set({ state })} options={[['', 'any'], ...Object.keys(states).map((s) => [s, s] as const)]} />
          <Choice label="API" value={search.api ?? ''} onChange={(api) => set({ api })} options={[['', 'all'], ...names.map((n) => [n, n] as const)]} />
          <Text label="Search" value={search.q ?? ''} onChange={(q) => set({ q })} placeholder="address, reason or start" filter />
        </div>
        {rows.length === 0 ? (
          <Empty title="No instance fits">
            <p>
              <button type="button" className="link-button" onClick={() => set({ state: '', api: '', q: '' })}>Show all {exact(gated.length)}</button>
            </p>
          </Empty>
        ) : (
          <DataTable
            label="Instances"
            rows={rows}
            rowKey={(i) => i.api + ' ' + i.url + ' ' + i.boot}
            columns={[
              { id: 's', head: 'State', width: '130px', cell: (i) => <div className="stack" style={{ gap: 3, alignItems: 'flex-start' }}><StateBadge state={i.state} />{i.testing && i.state === 'admitted' && <span className="badge invited">re-test runs</span>}{!i.healthy && i.state === 'admitted' && <span className="badge flagged">does not answer</span>}</div> },
              { id: 'i', head: 'Instance', cell: (i) => <div><span className="mono wrap-any">{i.url}</span><div className="sub small"><Link to="/inventory" search={{ api: i.api }}>{i.api}</Link>{i.boot && <> · start <span className="mono wrap-any">{i.boot}</span></>}</div>{i.doors?.map((x) => <div key={x.door} className="sub small wrap-any" title={x.error || undefined}>{x.door}: {x.error ? <span style={{ color: 'var(--refuse)' }}>not as it is to be, {x.error}</span> : !x.known ? 'does not have it' : x.open ? 'open' : 'closed'}</div>)}</div> },
              { id: 'w', head: 'Why', cell: (i) => <div className="wrap-any" style={{ minWidth: 160, maxWidth: 460 }}><Reason i={i} /></div> },
              { id: 'v', head: 'Verdict', hidePhone: true, width: '120px', cell: (i) => (i.verdict ? <VerdictLink id={i.verdict}><Time iso={i.tested} /></VerdictLink> : <span className="sub">none yet</span>) },
              ...(me.data?.role === 'admin'
                ? [{
                    id: 'x', head: <span className="visually-hidden">Act</span>, right: true, width: '150px',
                    cell: (i: Instance) =>
                      i.state === 'retired' ? null : (
                        <span className="row" style={{ gap: 4, justifyContent: 'flex-end' }}>
                          <Button size="compact-xs" variant="default" disabled={!!i.testing} onClick={() => setAct({ kind: 'test', api: i.api, url: i.url })} aria-label={`Test ${i.url}`}>Test</Button>
                          {i.by_hand ? (
                            <Button size="compact-xs" variant="default" onClick={() => setAct({ kind: 'release', api: i.api, url: i.url })} aria-label={`Release ${i.url}`}>Release</Button>
                          ) : (
                            <Button size="compact-xs" variant="default" onClick={() => setAct({ kind: 'hold', api: i.api, url: i.url })} aria-label={`Hold ${i.url}`}>Hold</Button>
                          )}
                        </span>
                      ),
                  }]
                : []),
            ]}
          />
        )}
      </Panel>
      {act && <ActDialog act={act} alone={gated.filter((i) => i.api === act.api && i.state === 'admitted').length === 1 && gated.some((i) => i.url === act.url && i.state === 'admitted')} close={() => setAct(undefined)} />}
    </div>
  );
}

const order = (state: string) => ['quarantined', 'held', 'testing', 'admitted', 'retired'].indexOf(state);

function Reason({ i }: { i: Instance }) {
  // The id of the verdict in the text is a link of its own.
  const at = i.verdict ? i.reason.indexOf(i.verdict) : -1;
  return (
    <>
      {at < 0 ? i.reason : <>{i.reason.slice(0, at)}<VerdictLink id={i.verdict} />{i.reason.slice(at + i.verdict.length)}</>}
      {i.failures > 1 && <div className="sub small">{exact(i.failures)} tests in a row did not pass</div>}
    </>
  );
}

const acts = {
  test: { title: 'Test an instance now', ask: 'It is tested as soon as a place is free. While it serves it goes on serving, and only the tests for instances that serve are run.', button: 'Test now', path: '/api/v1/gate/tests' },
  hold: { title: 'Hold an instance', ask: 'It gets no new request from now on; those in flight end as they would. It stays out until somebody releases it.', button: 'Hold it', path: '/api/v1/gate/holds' },
  release: { title: 'Release an instance', ask: 'It is tested, and serves again when it passes. Nothing else admits it.', button: 'Release it', path: '/api/v1/gate/releases' },
} as const;

export function ActDialog({ act, alone, close }: { act: Act; alone?: boolean; close(): void }) {
  const [reason, setReason] = useState('');
  const what = acts[act.kind];
  const send = useMutation({
    mutationFn: () => ask(client.POST(what.path, { body: { api: act.api, url: act.url, reason: reason.trim() } })),
    onSuccess: () => {
      void queries.invalidateQueries({ queryKey: ['gate'] });
      close();
    },
  });
  return (
    <Modal opened onClose={close} title={what.title} centered closeButtonProps={{ 'aria-label': 'Close' }}>
      <form className="stack" onSubmit={(e) => { e.preventDefault(); send.mutate(); }}>
        <p>
          <strong>{act.api}</strong> at <span className="mono wrap-any">{act.url}</span>
        </p>
        <Note kind={act.kind === 'hold' ? 'warn' : 'info'}>
          {what.ask}
          {act.kind === 'hold' && alone && <> <strong>It is the last one of {act.api} that serves: requests will be refused.</strong></>}
        </Note>
        <Textarea label="Reason" description="Stands in the audit log and among the triggers." value={reason} onChange={(e) => setReason(e.currentTarget.value)} required withAsterisk={false} minLength={3} maxLength={500} autosize minRows={2} data-autofocus />
        {send.isError && <Failure error={send.error} />}
        <div className="row" style={{ justifyContent: 'flex-end' }}>
          <Button variant="default" type="button" onClick={close}>Cancel</Button>
          <Button type="submit" color={act.kind === 'hold' ? 'red.9' : undefined} loading={send.isPending} disabled={reason.trim().length < 3}>{what.button}</Button>
        </div>
      </form>
    </Modal>
  );
}

function Runs({ search, set }: { search: Search; set(c: Search): void }) {
  const demands = useDemands();
  const query = clean({ api: search.api, url: search.url });
  const list = useInfiniteQuery({
    queryKey: ['gate', 'verdicts', query],
    initialPageParam: 0,
    placeholderData: keepPreviousData,
    refetchInterval: 10_000,
    queryFn: ({ pageParam }) => ask(client.GET('/api/v1/gate/verdicts', { params: { query: { ...query, limit: 50, ...(pageParam ? { before: pageParam } : {}) } } })),
    getNextPageParam: (p) => (p.verdicts.length === 50 ? new Date(p.verdicts[49]!.began).getTime() * 1000 : undefined),
  });
  const rows = list.data?.pages.flatMap((p) => p.verdicts) ?? [];
  return (
    <Panel label="Runs" flush>
      <div className="filters" role="search" aria-label="Filter runs">
        <Choice label="API" value={search.api ?? ''} onChange={(api) => set({ api })} options={[['', 'all'], ...(demands.data?.apis ?? []).map((d) => [d.api, d.api] as const)]} />
        <Text label="Instance" value={search.url ?? ''} onChange={(url) => set({ url })} placeholder="http://10.0.0.11:9001" filter />
      </div>
      {list.isPending ? (
        <Loading lines={8} />
      ) : list.isError ? (
        <div className="panel-body"><Failure error={list.error} retry={() => void list.refetch()} /></div>
      ) : rows.length === 0 ? (
        search.api || search.url ? <Empty title="No run fits"><p><button type="button" className="link-button" onClick={() => set({ api: '', url: '' })}>Show all</button></p></Empty> : demands.data?.apis.length === 0 ? <NoGate /> : <Empty title="No test has ended yet"><p>The first ones stand here in less than a minute, as a rule.</p></Empty>
      ) : (
        <>
          <div aria-busy={list.isPlaceholderData} className={list.isPlaceholderData ? 'pending' : undefined}>
            <DataTable
              label="Runs"
              rows={rows}
              rowKey={(v) => v.id}
              linked
              columns={[
                { id: 'p', head: 'Verdict', width: '100px', cell: (v) => <PassBadge passed={v.passed} /> },
                { id: 'i', head: 'Instance', cell: (v) => <div><Link className="row-link mono wrap-any" to="/conformance/$id" params={{ id: v.id }}>{v.url}</Link><div className="sub small">{v.api}, {v.profile}</div></div> },
                { id: 's', head: 'Found', cell: (v) => <span className="wrap-any">{v.summary}</span> },
                { id: 't', head: 'Why it was tested', hidePhone: true, cell: (v) => v.trigger },
                { id: 'd', head: 'Took', right: true, hidePhone: true, cell: (v) => <span className="num nowrap">{took(v)}</span> },
                { id: 'w', head: 'Ended', hidePhone: true, cell: (v) => <Time iso={v.ended} /> },
              ]}
            />
          </div>
          {list.hasNextPage && <More busy={list.isFetchingNextPage} more={() => void list.fetchNextPage()} />}
        </>
      )}
    </Panel>
  );
}

export const took = (v: { began: string; ended: string }) => {
  const s = (new Date(v.ended).getTime() - new Date(v.began).getTime()) / 1000;
  return s < 10 ? `${s.toFixed(1)} s` : span(Math.round(s));
};

function More({ busy, more }: { busy: boolean; more(): void }) {
  return (
    <div className="panel-body row" style={{ justifyContent: 'center' }}>
      <Button variant="default" size="xs" loading={busy} onClick={more}>Show older ones</Button>
    </div>
  );
}

const whyText: Record<string, string> = { timer: 'by the clock', 'failed before': 'it failed, or could not be tested', new: 'it is new', 'started again': 'it was started again', 'contract changed': 'the specification or the policy has changed', 'held by hand': 'held by hand: nothing until it is released', 'no timer': 'not by time: when something changes, or by hand' };

function Schedule() {
  const q = useQuery({ queryKey: ['gate', 'schedule'], refetchInterval: 5000, queryFn: () => ask(client.GET('/api/v1/gate/schedule')) });
  return (
    <Panel title="Next tests" flush aside={<span className="sub small">soonest first; tests by the clock are spread, so that a fleet is not tested at once</span>}>
      {q.isPending ? (
        <Loading lines={6} />
      ) : q.isError ? (
        <div className="panel-body"><Failure error={q.error} retry={() => void q.refetch()} /></div>
      ) : q.data.tests.length === 0 ? (
        <NoGate />
      ) : (
        <DataTable
          label="Next tests"
          rows={q.data.tests}
          rowKey={(t) => t.api + ' ' + t.url}
          columns={[
            { id: 't', head: 'When', width: '130px', cell: (t) => (t.running ? <span className="badge invited"><IconLoader2 size={13} aria-hidden />runs now</span> : t.time ? <span className="row" style={{ gap: 5, flexWrap: 'nowrap' }}><IconClock size={13} aria-hidden /><Time iso={t.time} /></span> : <span className="sub">not planned</span>) },
            { id: 'i', head: 'Instance', cell: (t) => <div><span className="mono wrap-any">{t.url}</span><div className="sub small">{t.api}</div></div> },
            { id: 'w', head: 'Why', cell: (t) => whyText[t.why] ?? t.why },
            { id: 'p', head: 'Tests', hidePhone: true, cell: (t) => t.profile },
          ]}
        />
      )}
    </Panel>
  );
}

const outcomes: Record<string, [string, string]> = { passed: ['good', 'passed'], failed: ['refuse', 'failed'], 'no verdict': ['flagged', 'no verdict'], stood: ['outline', 'an earlier verdict stands'], running: ['invited', 'runs'], done: ['outline', 'done'] };

function Triggers({ search, set }: { search: Search; set(c: Search): void }) {
  const demands = useDemands();
  const query = clean({ api: search.api, who: search.who, url: search.url });
  const list = useInfiniteQuery({
    queryKey: ['gate', 'triggers', query],
    initialPageParam: '',
    placeholderData: keepPreviousData,
    refetchInterval: 5000,
    queryFn: ({ pageParam }) => ask(client.GET('/api/v1/gate/triggers', { params: { query: { ...query, limit: 50, ...(pageParam ? { before: pageParam } : {}) } } })),
    getNextPageParam: (p) => p.next || undefined,
  });
  const rows = list.data?.pages.flatMap((p) => p.triggers) ?? [];
  return (
    <Panel label="Triggers" flush>
      <div className="filters" role="search" aria-label="Filter triggers">
        <Choice label="API" value={search.api ?? ''} onChange={(api) => set({ api })} options={[['', 'all'], ...(demands.data?.apis ?? []).map((d) => [d.api, d.api] as const)]} />
        <Text label="Instance" value={search.url ?? ''} onChange={(url) => set({ url })} placeholder="http://10.0.0.11:9001" filter />
        <Text label="By" value={search.who ?? ''} onChange={(who) => set({ who })} placeholder="a person" />
      </div>
      {list.isPending ? (
        <Loading lines={8} />
      ) : list.isError ? (
        <div className="panel-body"><Failure error={list.error} retry={() => void list.refetch()} /></div>
      ) : rows.length === 0 ? (
        search.api || search.who || search.url ? <Empty title="Nothing fits"><p><button type="button" className="link-button" onClick={() => set({ api: '', who: '', url: '' })}>Show all</button></p></Empty> : demands.data?.apis.length === 0 ? <NoGate /> : <Empty title="Nothing has triggered a test yet"><p>A new instance, a restart, a change of the specification or the policy, the clock and a person do.</p></Empty>
      ) : (
        <>
          <div aria-busy={list.isPlaceholderData} className={list.isPlaceholderData ? 'pending' : undefined}>
            <DataTable
              label="Triggers"
              rows={rows}
              rowKey={(t) => t.id}
              columns={[
                { id: 't', head: 'When', width: '100px', cell: (t) => <Time iso={t.time} /> },
                { id: 'w', head: 'What', cell: (t) => <div style={{ minWidth: 120 }}>{t.what}{t.who && <span className="sub"> by {t.who}</span>}<div className="sub small wrap-any">{t.detail}</div></div> },
                { id: 'i', head: 'Instance', cell: (t) => <div><span className="mono wrap-any">{t.url}</span><div className="sub small">{t.api}</div></div> },
                { id: 'o', head: 'What followed', cell: (t) => <span className="row" style={{ gap: 6 }}><span className={`badge ${outcomes[t.outcome]?.[0] ?? 'outline'}`}>{outcomes[t.outcome]?.[1] ?? t.outcome}</span>{t.verdict && <VerdictLink id={t.verdict}>report</VerdictLink>}</span> },
              ]}
            />
          </div>
          {list.hasNextPage && <More busy={list.isFetchingNextPage} more={() => void list.fetchNextPage()} />}
        </>
      )}
    </Panel>
  );
}

export function BreakTable({ breaks, label }: { breaks: Schemas['VerdictBreak'][]; label: string }) {
  return (
    <DataTable
      label={label}
      rows={breaks.map((b, n) => ({ ...b, n }))}
      rowKey={(b) => b.n}
      columns={[
        { id: 'o', head: 'Operation', cell: (b) => <div><span className="mono wrap-any">{b.operation}</span><div className="sub small wrap-any">{b.place}</div></div> },
        { id: 'c', head: 'Change', cell: (b) => <div>{b.rule}<div className="sub small wrap-any">{b.detail}</div></div> },
        { id: 'u', head: 'Breaks', cell: (b) => (b.consumers.length ? <ul className="plain-list">{b.consumers.map((c) => <li key={c} className="wrap-any">{c}</li>)}</ul> : <span className="sub">whoever uses it</span>) },
        { id: 'x', head: 'Allowed', cell: (b) => (b.allowed ? <div><span className="badge outline">until {b.expires}</span><div className="sub small wrap-any">by {b.approver}{b.reason && `: ${b.reason}`}</div></div> : <span className="badge refuse">no</span>) },
      ]}
    />
  );
}

function Changes() {
  const demands = useDemands();
  const fleet = useQuery({ queryKey: ['gate', 'fleet'], refetchInterval: 5000, queryFn: () => ask(client.GET('/api/v1/gate')) });
  // Of each API, one newest verdict says what its contract breaks.
  const newest = new Map<string, Instance>();
  for (const i of fleet.data?.instances ?? []) {
    const at = newest.get(i.api);
    if (i.verdict && (!at || (i.tested ?? '') > (at.tested ?? ''))) newest.set(i.api, i);
  }
  if (demands.isPending || fleet.isPending) return <div className="panel"><Loading lines={6} /></div>;
  if (demands.isError) return <Failure error={demands.error} retry={() => void demands.refetch()} />;
  if (fleet.isError) return <Failure error={fleet.error} retry={() => void fleet.refetch()} />;
  if (demands.data.apis.length === 0) return <div className="panel"><NoGate /></div>;
  return (
    <div className="stack">
      {demands.data.apis.map((d) => (
        <Panel key={d.api} title={d.api} flush aside={<span className="sub small">{d.window ? `whoever used an operation within ${howLong(d.window)} counts` : 'contracts are not compared'}</span>}>
          {newest.get(d.api) ? <APIBreaks api={d.api} verdict={newest.get(d.api)!.verdict} /> : <Empty title="Nothing has been tested yet" />}
          {d.exceptions.length > 0 && (
            <>
              <h3 style={{ padding: '10px 14px 4px' }}>Exceptions of the configuration</h3>
              <DataTable
                label={`Exceptions of ${d.api}`}
                rows={d.exceptions.map((x, n) => ({ ...x, n }))}
                rowKey={(x) => x.n}
                columns={[
                  { id: 'o', head: 'Operation', cell: (x) => <span className="mono wrap-any">{x.operation}</span> },
                  { id: 'c', head: 'Change', cell: (x) => x.change || 'any' },
                  { id: 'a', head: 'Approved by', cell: (x) => <div>{x.approver}<div className="sub small wrap-any">{x.reason}</div></div> },
                  { id: 'e', head: 'Until', cell: (x) => <span className={`badge ${x.ended ? 'flagged' : 'outline'}`}>{x.expires}{x.ended && ', ended'}</span> },
                ]}
              />
            </>
          )}
        </Panel>
      ))}
    </div>
  );
}

function APIBreaks({ api, verdict }: { api: string; verdict: string }) {
  const q = useQuery({ queryKey: ['verdict', verdict], staleTime: 60_000, queryFn: () => ask(client.GET('/api/v1/gate/verdicts/{id}', { params: { path: { id: verdict } } })) });
  if (q.isPending) return <Loading lines={3} />;
  if (q.isError) return <div className="panel-body"><Failure error={q.error} retry={() => void q.refetch()} /></div>;
  const breaks = q.data.report?.breaks ?? [];
  if (breaks.length === 0)
    return (
      <div className="panel-body sub">
        The <VerdictLink id={verdict}>newest verdict</VerdictLink> found no change that breaks who uses it.
      </div>
    );
  return (
    <>
      <div className="panel-body sub">
        By the <VerdictLink id={verdict}>newest verdict</VerdictLink>, held against the contract of the last test that passed:
      </div>
      <BreakTable breaks={breaks} label={`Breaking changes of ${api}`} />
    </>
  );
}
