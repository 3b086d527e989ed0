import { useEffect, useMemo, useState } from 'react';
import { Button } from '@mantine/core';
import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { IconGhost2, IconRouteOff } from '@tabler/icons-react';
import { ask, client, queries, type Schemas } from '../api/client';
import { useLive } from '../api/live';
import { DataTable } from '../components/table';
import { Empty, Exposure, Facts, Failure, LiveMark, Loading, Method, Note, PageHead, Panel, Tier, Time } from '../components/parts';
import { count, exact, milliseconds, rate, share } from '../lib/format';
import { inventoryRoute } from '../router';
import { Classes } from './overview';

type API = Schemas['APIView'];
type Operation = Schemas['OperationView'];
type Search = Record<string, string | undefined>;

export function Inventory() {
  const search: Search = inventoryRoute.useSearch();
  const apis = useQuery({ queryKey: ['apis'], queryFn: () => ask(client.GET('/api/v1/apis')) });
  const state = useInventoryLive();
  const chosen = search.unmatched ? apis.data?.apis.find((a) => a.name === '') : search.api ? apis.data?.apis.find((a) => a.name === search.api) : undefined;
  const narrowed = !!search.api || !!search.unmatched;

  return (
    <>
      <PageHead
        title={narrowed ? search.api || 'Matched by no API' : 'Inventory'}
        crumbs={narrowed ? <><Link to="/inventory">Inventory</Link> <span aria-hidden>/</span> <span>{search.api || 'matched by no API'}</span></> : undefined}
        sub={narrowed ? (chosen && !chosen.configured && chosen.name ? 'no longer configured' : undefined) : 'Every API and operation that is declared or was seen'}
      >
        <LiveMark state={state} />
      </PageHead>
      <div className="stack">
        {apis.isError ? <Failure error={apis.error} retry={() => void apis.refetch()} /> : narrowed ? chosen ? <APIHead a={chosen} /> : null : <APITable apis={apis.data?.apis} search={search} />}
        <Operations search={search} apis={apis.data?.apis ?? []} />
      </div>
    </>
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
      for (const key of ['apis', 'operations', 'operation']) void queries.invalidateQueries({ queryKey: [key] });
    }, 700);
    return () => clearTimeout(t);
  }, [pending !== 0]); // eslint-disable-line react-hooks/exhaustive-deps
  return useLive<Schemas['InventoryNotice']>('/api/v1/inventory/live', 'inventory', (n) => setPending(n.revision || 1));
}

const exposures = [['', 'any'], ['external', 'external'], ['partner', 'partner'], ['internal', 'internal'], ['third-party', 'third-party: we call them'], ['none', 'not stated']] as const;

function APITable({ apis: all, search }: { apis?: API[]; search: Search }) {
  const navigate = useNavigate();
  const want = search.exposure ?? '';
  const apis = all?.filter((a) => !want || (want === 'none' ? !a.exposure : a.exposure === want));
  return (
    <Panel
      title="APIs"
      flush
      aside={
        all && all.length > 0 ? (
          <span className="filters-inline">
            <Choice label="Exposure" value={want} onChange={(exposure) => void navigate({ to: '/inventory', search: clean({ ...search, exposure }), replace: true })} options={exposures} />
          </span>
        ) : undefined
      }
    >
      {!apis ? (
        <Loading lines={3} />
      ) : apis.length === 0 && want ? (
        <Empty title={want === 'third-party' ? 'No API of others is known' : 'No API has this exposure'}>
          <p>{want === 'third-party' ? <>Name those that our own services may call under <code>egress.destinations</code> in the configuration.</> : <>It is set by <code>exposure</code> of an API in the configuration.</>}</p>
        </Empty>
      ) : apis.length === 0 ? (
        <Empty title="No API yet" icon={<IconRouteOff size={26} aria-hidden />}>
          <p>Name one under <code>apis</code> in the configuration file, with its specification and its upstreams, and send a request through the gateway. It shows here within a second.</p>
        </Empty>
      ) : (
        <DataTable
          label="APIs"
          rows={apis}
          rowKey={(a) => a.name}
          linked
          columns={[
            { id: 'name', head: 'API', cell: (a) => <Link className="row-link" to="/inventory" search={a.name ? { api: a.name } : { unmatched: 'yes' }}><strong>{a.name || 'matched by no API'}</strong></Link> },
            { id: 'team', head: 'Owner', cell: (a) => a.team || <span className="sub">nobody named</span> },
            { id: 'department', head: 'Department', hidePhone: true, cell: (a) => a.department || <span className="sub">not stated</span> },
            { id: 'exposure', head: 'Exposure', cell: (a) => <Exposure value={a.exposure} /> },
            { id: 'declared', head: 'Declared', right: true, cell: (a) => exact(a.declared) },
            { id: 'seen', head: 'Seen', right: true, hidePhone: true, cell: (a) => share(a.seen, a.declared) },
            { id: 'shadow', head: 'Shadow', right: true, cell: (a) => (a.shadow ? <span className="badge flagged">{exact(a.shadow)}</span> : <span className="sub">0</span>) },
            { id: 'probed', head: 'Probed only', right: true, hidePhone: true, cell: (a) => exact(a.probed) },
            { id: 'users', head: 'Consumers', right: true, hidePhone: true, cell: (a) => exact(a.principals) },
            { id: 'rate', head: 'Requests/s', right: true, hidePhone: true, cell: (a) => rate(a.rate) },
            { id: 'classes', head: 'Data', hidePhone: true, cell: (a) => <Classes list={a.classes} most={3} /> },
            { id: 'last', head: 'Last request', hidePhone: true, cell: (a) => <Time iso={a.last_seen} /> },
          ]}
        />
      )}
    </Panel>
  );
}

const hintShow: Record<string, Search> = { shadow: { show: 'shadow' }, undocumented: { show: 'undocumented' }, 'undeclared since': { show: 'undeclared since' }, unused: { show: 'unused' } };

function APIHead({ a }: { a: API }) {
  return (
    <div className="grid-2">
      <Panel title="Who answers for it">
        <Facts
          rows={[
            ['Owner', a.team],
            ['Contact', a.contact],
            ['Deputy', a.deputy],
            ['Department', a.department],
            ['Exposure', <Exposure key="e" value={a.exposure} />],
            ['Served at', <span key="s" className="mono">{(a.hosts.length ? a.hosts.join(', ') : 'any host') + (a.path || '/')}</span>],
          ]}
        />
      </Panel>
      <Panel title="What was seen">
        <Facts
          rows={[
            ['Operations', `${exact(a.seen)} of ${exact(a.declared)} declared ones seen, ${exact(a.shadow)} shadow, ${exact(a.probed)} only probed`],
            ['Requests', `${exact(a.counts.requests)}, ${share(a.counts.refused, a.counts.requests)} refused, ${share(a.counts.status_5xx, a.counts.requests)} answered 5xx`],
            ['Latency', `median ${milliseconds(a.counts.p50_ms)}, p95 ${milliseconds(a.counts.p95_ms)}, p99 ${milliseconds(a.counts.p99_ms)}`],
            ['Consumers', `about ${exact(a.principals)}`],
            ['Data', <Classes key="d" list={a.classes} most={8} />],
            ['First and last', <span key="f"><Time iso={a.first_seen} full /> – <Time iso={a.last_seen} /></span>],
          ]}
        />
      </Panel>
      {a.hints.length > 0 && (
        <div style={{ gridColumn: '1 / -1' }} className="stack">
          {a.hints.map((h) => (
            <Note key={h.kind} kind="warn">
              {h.text}{' '}
              {hintShow[h.kind] && (
                <Link to="/inventory" search={{ ...(a.name ? { api: a.name } : { unmatched: 'yes' }), ...hintShow[h.kind] } as Record<string, string>}>
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
  const set = (change: Search) => void navigate({ to: '/inventory', search: clean({ ...search, ...change }), replace: true });
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
      limit: 50,
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
  const classes = useMemo(() => [...new Set(apis.flatMap((a) => a.classes))].sort(), [apis]);
  const filtered = !!(search.q || search.tier || search.show || search.class);

  return (
    <Panel title="Operations" flush aside={<span className="sub small num">{list.data ? `${exact(rows.length)}${list.hasNextPage ? '+' : ''} shown` : ''}</span>}>
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
          <DataTable
            label="Operations"
            rows={rows}
            rowKey={(o) => o.api + ' ' + o.key}
            linked
            sort={sort}
            reverse={!!search.reverse}
            onSort={(s) => set(s === sort ? { reverse: search.reverse ? '' : 'yes' } : { sort: s === 'template' ? '' : s, reverse: '' })}
            columns={[
              { id: 'op', head: 'Operation', sort: 'template', cell: (o) => <OperationName o={o} withAPI={!search.api && !search.unmatched} /> },
              { id: 'tier', head: 'Evidence', cell: (o) => <Tier tier={o.tier} /> },
              { id: 'requests', head: 'Requests', sort: 'requests', right: true, cell: (o) => count(o.counts.requests) },
              { id: 'refused', head: 'Refused', right: true, hidePhone: true, cell: (o) => share(o.counts.refused, o.counts.requests) },
              { id: 'errors', head: '5xx', sort: 'errors', right: true, hidePhone: true, cell: (o) => share(o.counts.status_5xx + o.counts.no_answer, o.counts.requests) },
              { id: 'p95', head: 'p95', sort: 'latency', right: true, hidePhone: true, cell: (o) => milliseconds(o.counts.p95_ms) },
              { id: 'users', head: 'Consumers', right: true, hidePhone: true, cell: (o) => exact(o.principals) },
              { id: 'undocumented', head: 'Undocumented', right: true, hidePhone: true, cell: (o) => (o.declared && o.undocumented ? <span className="badge flagged">{exact(o.undocumented)}</span> : <span className="sub">{o.declared ? '0' : '–'}</span>) },
              { id: 'classes', head: 'Data', hidePhone: true, cell: (o) => <Classes list={o.classes} /> },
              { id: 'last', head: 'Last seen', sort: 'last_seen', hidePhone: true, cell: (o) => <Time iso={o.last_seen} /> },
            ]}
          />
          {list.hasNextPage && (
            <div className="panel-body" style={{ textAlign: 'center' }}>
              <Button variant="default" size="xs" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
                Show more
              </Button>
            </div>
          )}
        </div>
      )}
    </Panel>
  );
}

function OperationName({ o, withAPI }: { o: Operation; withAPI: boolean }) {
  return (
    <div style={{ minWidth: 200 }}>
      <Link className="row-link" to="/inventory/operation" search={{ ...(o.api ? { api: o.api } : {}), method: o.method, template: o.template }}>
        <Method name={o.method} /> <span className="mono wrap-any">{o.template}</span>
      </Link>
      <div className="row small sub" style={{ gap: 6 }}>
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
