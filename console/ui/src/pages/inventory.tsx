import { useEffect, useMemo, useState } from 'react';
import { Button } from '@mantine/core';
import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { IconGhost2, IconRouteOff } from '@tabler/icons-react';
import { ask, client, Problem, queries, type Schemas } from '../api/client';
import { useLive, type LiveState } from '../api/live';
import { VirtualTable } from '../components/virtual';
import { Empty, Facts, Failure, LiveMark, Loading, Method, Note, PageHead, Panel, Tabs, Tier, Time } from '../components/parts';
import { count, exact, milliseconds, share } from '../lib/format';
import { inventoryRoute } from '../router';
import { apiLink, Desk, value } from './desk';
import { CardFacts, Done, Drift, FieldTable, Findings, Graph, Owner, Risk, useCard, useEdit, Verdicts } from './card';
import { ChangeLog, Edits, useFields } from './edit';
import { Classes } from './overview';

type API = Schemas['APIView'];
type Operation = Schemas['OperationView'];
type Search = Record<string, string | undefined>;

const views = [
  { id: '', text: 'APIs' },
  { id: 'operations', text: 'Operations' },
  { id: 'changes', text: 'Changes' },
  { id: 'edits', text: 'Edits' },
];

export function Inventory() {
  const search: Search = inventoryRoute.useSearch();
  const navigate = useNavigate();
  const state = useInventoryLive();
  if (search.api || search.unmatched) return <OneAPI search={search} state={state} />;
  const view = search.view ?? '';
  const set = (change: Search) => void navigate({ to: '/inventory', search: clean({ ...search, ...change }), replace: true });
  return (
    <>
      <PageHead title="Inventory" sub="Every API that is declared or was seen: whose it is, what it carries, what is wrong with it">
        <LiveMark state={state} />
      </PageHead>
      <Tabs label="Inventory" tabs={views} active={view} to="/inventory" search={(id) => clean({ view: id })} />
      {view === 'operations' ? <AllOperations search={search} /> : view === 'changes' ? <ChangeLog search={search} set={set} /> : view === 'edits' ? <Edits /> : <Desk search={search} />}
    </>
  );
}

function AllOperations({ search }: { search: Search }) {
  const apis = useQuery({ queryKey: ['apis'], queryFn: () => ask(client.GET('/api/v1/apis')) });
  return <Operations search={search} apis={apis.data?.apis ?? []} />;
}

const apiViews = [
  { id: '', text: 'Overview' },
  { id: 'fields', text: 'Fields' },
  { id: 'operations', text: 'Operations' },
  { id: 'findings', text: 'Findings' },
  { id: 'drift', text: 'Drift' },
  { id: 'graph', text: 'Who calls what' },
  { id: 'changes', text: 'Timeline' },
];

// OneAPI is everything about one API.
function OneAPI({ search, state }: { search: Search; state: LiveState }) {
  const name = search.api ?? '';
  const navigate = useNavigate();
  const apis = useQuery({ queryKey: ['apis'], queryFn: () => ask(client.GET('/api/v1/apis')) });
  const card = useCard(name);
  const edit = useEdit();
  const fields = useFields();
  const here: Record<string, string> = apiLink(name);
  const set = (change: Search) => void navigate({ to: '/inventory', search: clean({ ...search, ...change }), replace: true });
  // An address that filters operations means them.
  const view = search.view ?? (search.show || search.q || search.tier || search.class ? 'operations' : '');
  const a = apis.data?.apis.find((x) => x.name === name);
  const d = card.data;
  const c = d?.api;
  const absent = card.error instanceof Problem && card.error.status === 404;
  const disputed = d?.fields.filter((f) => f.conflict) ?? [];
  return (
    <>
      <PageHead
        title={name || 'Matched by no API'}
        crumbs={<><Link to="/inventory">Inventory</Link> <span aria-hidden>/</span> <span>{name || 'matched by no API'}</span></>}
        sub={c && <>{[value(c, 'title'), value(c, 'description')].filter(Boolean).join(': ') || [value(c, 'environment'), value(c, 'lifecycle')].filter(Boolean).join(', ')}</>}
      >
        <LiveMark state={state} />
      </PageHead>
      {absent ? (
        <div className="panel"><Empty title="The inventory knows no API of this name"><p>It may have been merged into another one, or be in the inbox of Discovery, where nobody has decided about it yet.</p></Empty></div>
      ) : (
        <>
          <Tabs
            label="API"
            tabs={apiViews.filter((v) => name || !['fields', 'findings', 'drift'].includes(v.id)).map((v) => (v.id === 'findings' && d?.findings.length ? { ...v, text: `Findings ${exact(d.findings.length)}` } : v))}
            active={view}
            to="/inventory"
            search={(id) => clean({ ...here, view: id })}
          />
          <div className="stack">
            <Done edit={edit} />
            {view === 'operations' ? (
              <Operations search={search} apis={apis.data?.apis ?? []} />
            ) : card.isError ? (
              <Failure error={card.error} retry={() => void card.refetch()} />
            ) : !d || !c ? (
              <div className="panel"><Loading lines={12} /></div>
            ) : view === 'fields' ? (
              <>
                <FieldFilter value={search.q ?? ''} set={set} />
                <FieldTable d={d} edit={edit} q={search.q} />
              </>
            ) : view === 'findings' ? (
              <Findings list={d.findings} />
            ) : view === 'drift' ? (
              <Drift name={name} />
            ) : view === 'graph' ? (
              <Graph name={name} />
            ) : view === 'changes' ? (
              <ChangeLog api={name} search={search} set={set} title="Timeline" />
            ) : (
              <>
                {c.states.map((s, i) => (
                  <Note key={s} kind={s === 'zombie' ? 'bad' : 'warn'}><strong>{s}</strong>: {c.reasons[i]}{s === 'orphan' && c.escalates && <>; escalated <Time iso={c.escalates} /></>}.</Note>
                ))}
                {disputed.length > 0 && (
                  <Note kind="warn">Sources disagree about {disputed.map((f) => fields.title(f.field).toLowerCase()).join(', ')}. <Link to="/inventory" search={{ ...here, view: 'fields' }}>See what each says</Link></Note>
                )}
                <div className="grid-2 top">
                  <div className="stack">
                    {name && <Panel title="Who answers for it"><Owner d={d} edit={edit} /></Panel>}
                    <Panel title="What it is"><CardFacts c={c} /></Panel>
                    {name && <Panel title="Instances, and how they tested last"><Verdicts name={name} /></Panel>}
                  </div>
                  <Panel title="Risk"><Risk r={d.risk} /></Panel>
                </div>
                {a && <APIHead a={a} />}
              </>
            )}
          </div>
        </>
      )}
    </>
  );
}

function FieldFilter({ value: v, set }: { value: string; set(change: Search): void }) {
  return (
    <div className="filters panel" role="search" aria-label="Filter fields">
      <Text label="Field" value={v} onChange={(q) => set({ view: 'fields', q })} placeholder="owner" filter />
    </div>
  );
}

// useInventoryLive asks again for what is on screen when rows changed, at most
// every second.
export function useInventoryLive() {
  const [pending, setPending] = useState(0);
  useEffect(() => {
    if (!pending) return;
    const t = setTimeout(() => {
      setPending(0);
      for (const key of ['apis', 'operations', 'operation', 'cards', 'card']) void queries.invalidateQueries({ queryKey: [key] });
    }, 700);
    return () => clearTimeout(t);
  }, [pending !== 0]); // eslint-disable-line react-hooks/exhaustive-deps
  return useLive<Schemas['InventoryNotice']>('/api/v1/inventory/live', 'inventory', (n) => setPending(n.revision || 1));
}

const hintShow: Record<string, Search> = { shadow: { show: 'shadow' }, undocumented: { show: 'undocumented' }, 'undeclared since': { show: 'undeclared since' }, unused: { show: 'unused' } };

function APIHead({ a }: { a: API }) {
  return (
    <div className="grid-2">
      <div style={{ gridColumn: '1 / -1' }}>
        <Panel title="What was seen">
          <Facts
            wide
            rows={[
              ['Served at', <span key="s" className="mono">{(a.hosts.length ? a.hosts.join(', ') : 'any host') + (a.path || '/')}</span>],
              ['Operations', `${exact(a.seen)} of ${exact(a.declared)} declared ones seen, ${exact(a.shadow)} shadow, ${exact(a.probed)} only probed`],
              ['Requests', `${exact(a.counts.requests)}, ${share(a.counts.refused, a.counts.requests)} refused, ${share(a.counts.status_5xx, a.counts.requests)} answered 5xx`],
              ['Latency', `median ${milliseconds(a.counts.p50_ms)}, p95 ${milliseconds(a.counts.p95_ms)}, p99 ${milliseconds(a.counts.p99_ms)}`],
              ['Consumers', `about ${exact(a.principals)}`],
              ['First and last', <span key="f"><Time iso={a.first_seen} full /> – <Time iso={a.last_seen} /></span>],
            ]}
          />
        </Panel>
      </div>
      {a.hints.length > 0 && (
        <div style={{ gridColumn: '1 / -1' }} className="stack">
          {a.hints.map((h) => (
            <Note key={h.kind} kind="warn">
              {h.text}{' '}
              {hintShow[h.kind] && (
                <Link to="/inventory" search={{ ...(a.name ? { api: a.name } : { unmatched: 'yes' }), ...hintShow[h.kind], view: 'operations' } as Record<string, string>}>
                  Show them
                </Link>
              )}
            </Note>
          ))}
        </div>
      )}
    </div>
  );
}

const shows = [
  ['', 'all but only probed'],
  ['declared', 'declared'],
  ['shadow', 'shadow: in no specification'],
  ['undocumented', 'with something undocumented'],
  ['unused', 'declared, never used'],
  ['undeclared since', 'left the specification'],
  ['probed', 'also only probed'],
] as const;

function Operations({ search, apis }: { search: Search; apis: API[] }) {
  const navigate = useNavigate();
  const set = (change: Search) => void navigate({ to: '/inventory', search: clean({ ...search, view: 'operations', ...change }), replace: true });
  const sort = search.sort ?? 'template';
  const query = useMemo(() => {
    const show = search.show ?? '';
    return {
      api: search.api,
      unmatched: search.unmatched ? true : undefined,
      q: search.q,
      tier: search.tier ? [search.tier] : undefined,
      class: search.class,
      shadow: show === 'shadow' ? true : undefined,
      declared: show === 'declared' ? 'yes' : undefined,
      hint: ['undocumented', 'unused', 'undeclared since'].includes(show) ? show : undefined,
      probed: show === 'probed' ? true : undefined,
      sort,
      reverse: search.reverse ? true : undefined,
      limit: 100,
    };
  }, [search, sort]);
  const list = useInfiniteQuery({
    queryKey: ['operations', query],
    initialPageParam: '',
    placeholderData: keepPreviousData,
    queryFn: ({ pageParam }) => ask(client.GET('/api/v1/operations', { params: { query: { ...query, after: pageParam || undefined } as never } })),
    getNextPageParam: (p) => p.next || undefined,
  });
  const rows = list.data?.pages.flatMap((p) => p.operations) ?? [];
  const counted = useQuery({
    queryKey: ['operations', 'count', query],
    placeholderData: keepPreviousData,
    enabled: !query.tier && !query.declared && !query.hint && !query.unmatched,
    queryFn: () => ask(client.GET('/api/v1/inventory/operations/facets', { params: { query: { api: query.api, q: query.q, class: query.class, shadow: query.shadow, probed: query.probed } } })),
  });
  const total = counted.data && !counted.isPlaceholderData ? `${exact(counted.data.total)}${counted.data.at_least ? ' or more' : ''} fit` : list.data ? `${exact(rows.length)}${list.hasNextPage ? '+' : ''} shown` : '';
  const classes = useMemo(() => [...new Set(apis.flatMap((a) => a.classes))].sort(), [apis]);
  const filtered = !!(search.q || search.tier || search.show || search.class);

  return (
    <Panel title="Operations" flush aside={<span className="sub small num">{total}</span>}>
      <div className="filters" role="search">
        <Text label="Path, method or name" value={search.q ?? ''} onChange={(q) => set({ q })} placeholder="/accounts or listUsers" filter />
        {!search.unmatched && (
          <Choice label="API" value={search.api ?? ''} onChange={(api) => set({ api })} options={[['', 'all'], ...apis.filter((a) => a.name).map((a) => [a.name, a.name] as const)]} />
        )}
        <Choice label="Show" value={search.show ?? ''} onChange={(show) => set({ show })} options={shows} />
        <Choice label="Evidence" value={search.tier ?? ''} onChange={(tier) => set({ tier })} options={[['', 'any'], ['unseen', 'unseen'], ['probed', 'probed'], ['seen once', 'seen once'], ['corroborated', 'corroborated'], ['matched', 'matched']]} />
        <Choice label="Data" value={search.class ?? ''} onChange={(c) => set({ class: c })} options={[['', 'any'], ...classes.map((c) => [c, c] as const)]} />
        {filtered && (
          <Button variant="subtle" size="xs" onClick={() => set({ q: '', tier: '', show: '', class: '' })}>
            Clear
          </Button>
        )}
      </div>
      {list.isPending ? (
        <Loading lines={8} />
      ) : list.isError ? (
        <div className="panel-body"><Failure error={list.error} retry={() => void list.refetch()} /></div>
      ) : rows.length === 0 ? (
        filtered ? (
          <Empty title="No operation fits this filter">
            <p>Take a part of it away, or show the ones that were only probed too.</p>
          </Empty>
        ) : (
          <Empty title="No operation yet" icon={<IconRouteOff size={26} aria-hidden />}>
            <p>Give the API a specification, or send a request through the gateway: an operation shows here within a second of its first request.</p>
          </Empty>
        )
      ) : (
        <div aria-busy={list.isPlaceholderData} className={list.isPlaceholderData ? 'pending' : undefined}>
          <VirtualTable
            label="Operations"
            total={rows.length + (list.hasNextPage ? 1 : 0)}
            row={(i) => rows[i]}
            rowKey={(o) => o.api + ' ' + o.key}
            onRange={(_, last) => {
              if (last > rows.length - 30 && list.hasNextPage && !list.isFetchingNextPage) void list.fetchNextPage();
            }}
            sort={sort}
            reverse={(sort === 'template') === !!search.reverse}
            onSort={(s) => set(s === sort ? { reverse: search.reverse ? '' : 'yes' } : { sort: s === 'template' ? '' : s, reverse: '' })}
            columns={[
              { id: 'op', head: 'Operation', sort: 'template', cell: (o) => <OperationName o={o} withAPI={!search.api && !search.unmatched} /> },
              { id: 'tier', head: 'Evidence', width: '136px', hidePhone: true, cell: (o) => <Tier tier={o.tier} /> },
              { id: 'requests', head: 'Requests', sort: 'requests', right: true, width: '92px', cell: (o) => count(o.counts.requests) },
              { id: 'refused', head: 'Refused', right: true, width: '76px', hidePhone: true, cell: (o) => share(o.counts.refused, o.counts.requests) },
              { id: 'errors', head: '5xx', sort: 'errors', right: true, width: '70px', hidePhone: true, cell: (o) => share(o.counts.status_5xx + o.counts.no_answer, o.counts.requests) },
              { id: 'p95', head: 'p95', sort: 'latency', right: true, width: '78px', hidePhone: true, cell: (o) => milliseconds(o.counts.p95_ms) },
              { id: 'users', head: 'Consumers', right: true, width: '90px', hidePhone: true, cell: (o) => exact(o.principals) },
              { id: 'undocumented', head: 'Undocumented', right: true, width: '116px', hidePhone: true, cell: (o) => (o.declared && o.undocumented ? <span className="badge flagged">{exact(o.undocumented)}</span> : <span className="sub">{o.declared ? '0' : '–'}</span>) },
              { id: 'classes', head: 'Data', width: '126px', hidePhone: true, cell: (o) => <Classes list={o.classes} most={1} /> },
              { id: 'last', head: 'Last seen', sort: 'last_seen', width: '92px', hidePhone: true, cell: (o) => <Time iso={o.last_seen} /> },
            ]}
          />
        </div>
      )}
    </Panel>
  );
}

function OperationName({ o, withAPI }: { o: Operation; withAPI: boolean }) {
  return (
    <div className="cell-two">
      <Link className="row-link" to="/inventory/operation" search={{ ...(o.api ? { api: o.api } : {}), method: o.method, template: o.template }}>
        <Method name={o.method} /> <span className="mono wrap-any">{o.template}</span>
      </Link>
      <div className="row small sub" style={{ gap: 6, flexWrap: 'nowrap' }}>
        {o.shadow && (
          <span className="badge flagged">
            <IconGhost2 size={12} aria-hidden /> shadow
          </span>
        )}
        {o.undeclared_since && <span className="badge flagged">left the specification</span>}
        {withAPI && <span>{o.api || 'no API'}</span>}
        {o.name && <span className="cut">{o.name}</span>}
      </div>
    </div>
  );
}

export function clean(s: Search): Record<string, string> {
  return Object.fromEntries(Object.entries(s).filter((e): e is [string, string] => !!e[1]));
}

// Text waits until typing pauses.
export function Text({ label, value, onChange, placeholder, filter, mode }: { label: string; value: string; onChange(v: string): void; placeholder?: string; filter?: boolean; mode?: 'numeric' }) {
  const [draft, setDraft] = useState(value);
  useEffect(() => setDraft(value), [value]);
  useEffect(() => {
    if (draft === value) return;
    const t = setTimeout(() => onChange(draft.trim()), 350);
    return () => clearTimeout(t);
  }, [draft]); // eslint-disable-line react-hooks/exhaustive-deps
  return (
    <label className="field">
      {label}
      <input type="search" value={draft} placeholder={placeholder} onChange={(e) => setDraft(e.target.value)} data-filter={filter || undefined} maxLength={200} spellCheck={false} inputMode={mode} />
    </label>
  );
}

export function Choice({ label, value, onChange, options }: { label: string; value: string; onChange(v: string): void; options: readonly (readonly [string, string])[] }) {
  return (
    <label className="field">
      {label}
      <select value={value} onChange={(e) => onChange(e.target.value)}>
        {options.map(([v, text]) => (
          <option key={v} value={v}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}
