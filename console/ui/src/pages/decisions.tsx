import { useMemo, useRef, useState } from 'react';
import { Button, SegmentedControl } from '@mantine/core';
import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { IconPlayerPause, IconPlayerPlay, IconSearch } from '@tabler/icons-react';
import { ask, client, type Schemas } from '../api/client';
import { useLive } from '../api/live';
import { DataTable, type Column } from '../components/table';
import { ActionBadge, actOf, Empty, Failure, LiveMark, Loading, Method, Note, PageHead, Panel, Status } from '../components/parts';
import { clock, exact, milliseconds, stamp } from '../lib/format';
import { useSettings } from '../lib/settings';
import { decisionsRoute } from '../router';
import { Choice, clean, Text } from './inventory';

type Decision = Schemas['Decision'];
type Search = Record<string, string | undefined>;

export const stages = ['request', 'identify', 'limit', 'authenticate', 'authorise', 'validate', 'inspect', 'decide', 'relieve', 'rewrite', 'forward'];
const keep = 150; // rows of the live view

// filterOf takes from the address what the API filters by. "flagged" is no
// action of its own: it is allowed, with findings.
function filterOf(s: Search): Record<string, string> {
  const f = clean({ api: s.api, operation: s.operation, action: s.action, stage: s.stage, rule: s.rule, principal: s.principal, client: s.client, status: s.status, findings: s.findings });
  if (f.action === 'flagged') {
    f.action = 'allow';
    f.findings = 'yes';
  }
  return f;
}

export function Decisions() {
  const search: Search = decisionsRoute.useSearch();
  const navigate = useNavigate();
  const live = search.view !== 'history';
  const [paused, setPaused] = useState(false);
  const set = (change: Search) => void navigate({ to: '/decisions', search: clean({ ...search, ...change }), replace: true });
  const filter = useMemo(() => filterOf(search), [search]);
  const bad = search.client && !/^[0-9a-fA-F.:]+(\/\d+)?$/.test(search.client) ? 'The client is an address such as 192.0.2.7 or a prefix such as 192.0.2.0/24.' : undefined;

  return (
    <>
      <PageHead title="Decisions" sub="What was decided about each request, and why">
        <SegmentedControl size="xs" aria-label="Live or history" value={live ? 'live' : 'history'} onChange={(v) => set({ view: v === 'history' ? 'history' : '' })} data={[{ value: 'live', label: 'Live' }, { value: 'history', label: 'History' }]} />
        {live && (
          <Button variant="default" size="xs" data-pause onClick={() => setPaused(!paused)} leftSection={paused ? <IconPlayerPlay size={14} aria-hidden /> : <IconPlayerPause size={14} aria-hidden />}>
            {paused ? 'Resume' : 'Pause'}
          </Button>
        )}
      </PageHead>
      <Panel label="Decisions" flush>
        <Filters search={search} set={set} />
        {bad ? <div className="panel-body"><Note kind="warn">{bad}</Note></div> : live ? <Tail key={JSON.stringify(filter)} filter={filter} paused={paused} /> : <History filter={filter} since={search.since} />}
      </Panel>
    </>
  );
}

function Filters({ search, set }: { search: Search; set(change: Search): void }) {
  const navigate = useNavigate();
  const apis = useQuery({ queryKey: ['apis'], queryFn: () => ask(client.GET('/api/v1/apis')), staleTime: 30_000 });
  const [id, setID] = useState('');
  const [open, setOpen] = useState(false); // on a phone
  const any = ['api', 'operation', 'action', 'stage', 'rule', 'principal', 'client', 'status', 'findings', 'since'].some((k) => search[k]);
  return (
    <>
      <div className="filters only-phone">
        <button type="button" className="link-button" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? 'Hide the filters' : any ? 'Filters (in use)' : 'Filters'}
        </button>
      </div>
      <div className={open ? 'filters' : 'filters hide-phone'} role="search" aria-label="Filter decisions">
        <Choice label="Action" value={search.action ?? ''} onChange={(action) => set({ action })} options={[['', 'any'], ['refuse', 'refused'], ['throttle', 'throttled'], ['flagged', 'flagged'], ['allow', 'allowed']]} />
        <Choice label="API" value={search.api ?? ''} onChange={(api) => set({ api })} options={[['', 'all'], ...(apis.data?.apis ?? []).filter((a) => a.name).map((a) => [a.name, a.name] as const)]} />
        <Choice label="Stage" value={search.stage ?? ''} onChange={(stage) => set({ stage })} options={[['', 'any'], ...stages.map((s) => [s, s] as const)]} />
        <Text label="Rule" value={search.rule ?? ''} onChange={(rule) => set({ rule })} placeholder="sqli.*" filter />
        <Text label="Principal" value={search.principal ?? ''} onChange={(principal) => set({ principal })} placeholder="oidc:https://…#subject" />
        <Text label="Client" value={search.client ?? ''} onChange={(c) => set({ client: c })} placeholder="192.0.2.0/24" />
        <Text label="Status" value={search.status ?? ''} onChange={(status) => set({ status: /^\d{1,3}$/.test(status) ? status : '' })} placeholder="403, or 4 for 4xx" mode="numeric" />
        {search.view === 'history' && (
          <Choice label="Since" value={search.since ?? ''} onChange={(since) => set({ since })} options={[['', 'the beginning'], ['300', '5 minutes'], ['3600', '1 hour'], ['86400', '1 day'], ['604800', '7 days']]} />
        )}
        <form
          onSubmit={(e) => {
            e.preventDefault();
            if (id.trim()) void navigate({ to: '/decisions/$id', params: { id: id.trim() } });
          }}
          className="row"
          style={{ gap: 4, flexWrap: 'nowrap', alignItems: 'flex-end' }}
        >
          <label className="field">
            Request id
            <input value={id} onChange={(e) => setID(e.target.value)} placeholder="from an error answer" maxLength={64} spellCheck={false} pattern="\s*[0-9A-Za-z_\-]+\s*" />
          </label>
          <Button type="submit" variant="default" size="xs" aria-label="Open the decision of this request id" style={{ height: 32 }}>
            <IconSearch size={14} aria-hidden />
          </Button>
        </form>
        {any && (
          <Button variant="subtle" size="xs" onClick={() => set({ api: '', operation: '', action: '', stage: '', rule: '', principal: '', client: '', status: '', findings: '', since: '' })}>
            Clear
          </Button>
        )}
      </div>
      {search.operation && (
        <div className="filters">
          <span className="small">
            Only <span className="mono">{search.operation}</span>{' '}
            <button type="button" className="link-button" onClick={() => set({ operation: '' })}>
              all operations
            </button>
          </span>
        </div>
      )}
    </>
  );
}

function Tail({ filter, paused }: { filter: Record<string, string>; paused: boolean }) {
  const [rows, setRows] = useState<Decision[]>([]);
  const [lost, setLost] = useState(0);
  const fresh = useRef(new Set<string>());
  const url = '/api/v1/decisions/live?' + new URLSearchParams(filter).toString();
  const state = useLive<Schemas['DecisionBatch']>(paused ? null : url, 'decisions', (b) => {
    fresh.current = new Set(b.decisions.map((d) => d.id));
    setLost((n) => n + b.lost);
    if (b.decisions.length) setRows((old) => [...b.decisions.slice().reverse(), ...old].slice(0, keep));
  });
  return (
    <>
      <div className="panel-head" style={{ minHeight: 36, padding: '6px 14px' }}>
        <LiveMark state={state} />
        <span className="sub small num">
          {exact(rows.length)} shown, newest first{rows.length === keep ? `, the last ${keep} are kept` : ''}
          {lost > 0 && ` · ${exact(lost)} passed too quickly to show; narrow the filter or look in the history`}
        </span>
      </div>
      {rows.length === 0 ? (
        <Empty title={paused ? 'Paused' : 'Waiting for the next request that fits'}>
          {!paused && (
            <p className="sub">
              Send one through the gateway, or look at <Link to="/decisions" search={{ ...filter, view: 'history' }}>what was decided before</Link>.
            </p>
          )}
        </Empty>
      ) : (
        <DecisionTable rows={rows} arrived={(d) => fresh.current.has(d.id)} />
      )}
    </>
  );
}

function History({ filter, since }: { filter: Record<string, string>; since?: string }) {
  const query = useMemo(
    () => ({ ...filter, ...(filter.status ? { status: Number(filter.status) } : {}), ...(since ? { since: new Date(Date.now() - Number(since) * 1000).toISOString() } : {}), limit: 100 }),
    [filter, since],
  );
  const list = useInfiniteQuery({
    queryKey: ['decisions', query],
    initialPageParam: '',
    placeholderData: keepPreviousData,
    queryFn: ({ pageParam }) => ask(client.GET('/api/v1/decisions', { params: { query: { ...query, before: pageParam || undefined } as never } })),
    getNextPageParam: (p) => p.next || undefined,
  });
  const rows = list.data?.pages.flatMap((p) => p.decisions) ?? [];
  if (list.isPending) return <Loading lines={10} />;
  if (list.isError) return <div className="panel-body"><Failure error={list.error} retry={() => void list.refetch()} /></div>;
  if (!rows.length)
    return (
      <Empty title="No decision fits">
        <p>Every refusal and every finding is kept, and a sample of plain allows. Widen the filter, or send a request through the gateway.</p>
      </Empty>
    );
  return (
    <>
      <div aria-busy={list.isPlaceholderData} className={list.isPlaceholderData ? 'pending' : undefined}><DecisionTable rows={rows} dated /></div>
      <div className="panel-body row" style={{ justifyContent: 'center' }}>
        {list.hasNextPage ? (
          <Button variant="default" size="xs" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
            Show older ones
          </Button>
        ) : (
          <span className="sub small">{exact(rows.length)} decisions; there are no older ones that fit</span>
        )}
      </div>
    </>
  );
}

function DecisionTable({ rows, dated, arrived }: { rows: Decision[]; dated?: boolean; arrived?(d: Decision): boolean }) {
  const { zone } = useSettings();
  const at = (d: Decision) => (dated ? stamp(d.time, zone, true) : clock(new Date(d.time), zone, true));
  const columns: Column<Decision>[] = [
    { id: 'time', head: zone === 'UTC' ? 'Time, UTC' : 'Time', hidePhone: true, width: dated ? '178px' : '106px', cell: (d) => <span className="num nowrap">{at(d)}</span> },
    { id: 'action', head: 'Decision', width: '100px', cell: (d) => <><ActionBadge act={actOf(d)} /><div className="only-phone sub small num">{at(d).slice(-12, -4)}</div></> },
    { id: 'status', head: 'Status', right: true, hidePhone: true, width: '60px', cell: (d) => <Status code={d.status} /> },
    { id: 'request', head: 'Request', cell: (d) => <RequestLine d={d} /> },
    { id: 'why', head: 'Because', hidePhone: true, cell: (d) => <div className="cut why"><Why d={d} /></div> },
    { id: 'api', head: 'API', hidePhone: true, cell: (d) => <span className="nowrap">{d.api || <span className="sub">none</span>}{d.door === 'egress' && <span className="badge outline" style={{ marginLeft: 6 }} title="A call of our own services to an API of others">egress</span>}</span> },
    { id: 'principal', head: 'Principal', hidePhone: true, cell: (d) => <div className="cut" style={{ maxWidth: 160 }} title={d.principal}>{short(d.principal)}</div> },
    { id: 'client', head: 'Client', hidePhone: true, cell: (d) => <span className="mono nowrap">{d.client}</span> },
    { id: 'took', head: 'Took', right: true, hidePhone: true, cell: (d) => milliseconds(d.duration_ms) },
  ];
  return <DataTable label="Decisions" columns={columns} rows={rows} rowKey={(d) => d.id} linked arrived={arrived} />;
}

function RequestLine({ d }: { d: Decision }) {
  const target = d.path + (d.query ? '?' + d.query : '');
  return (
    <div className="request-line">
      <Link className="row-link cut" to="/decisions/$id" params={{ id: d.id }} title={target}>
        {d.method || target ? (
          <>
            <Method name={d.method} /> <span className="mono">{target}</span>
          </>
        ) : (
          <span className="sub">request that could not be read</span>
        )}
      </Link>
      <div className="only-phone small">
        <Status code={d.status} /> <Why d={d} />
      </div>
    </div>
  );
}

function Why({ d }: { d: Decision }) {
  const first = d.reasons.find((r) => r.stage === d.stage) ?? d.reasons[0];
  if (!first) return <span className="sub">–</span>;
  return (
    <span className="nowrap">
      <span className="sub">{first.stage}</span> <span className="mono">{first.rule}</span>
      {d.reasons.length > 1 && <span className="sub"> +{d.reasons.length - 1}</span>}
    </span>
  );
}

// short is a principal without its issuer.
export function short(p: string): string {
  const i = p.lastIndexOf('#');
  return i >= 0 ? p.slice(i + 1) : p;
}
