import { useCallback, useEffect, useMemo, useState } from 'react';
import { Button, Menu, Tooltip } from '@mantine/core';
import { keepPreviousData, useMutation, useQueries, useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { IconAlertTriangle, IconArrowsDiff, IconBookmark, IconChevronDown, IconRouteOff } from '@tabler/icons-react';
import { ask, client, queries, type Schemas } from '../api/client';
import { VirtualTable } from '../components/virtual';
import { Empty, Exposure, Failure, Loading, Note, Panel, Time } from '../components/parts';
import { exact, rate } from '../lib/format';
import { BulkEdit, Export, Import, UndoNote, useAdmin, useFields } from './edit';
import { clean, Text } from './inventory';
import { Classes } from './overview';
import './desk.css';

export type Card = Schemas['CardView'];
type Search = Record<string, string | undefined>;
type Where = Record<string, string[]>;

const page = 100;
const facets = ['state', 'findings.worst', 'lifecycle', 'exposure.declared', 'environment', 'owner.team', 'department', 'data.classes', 'compliance', 'auth.observed', 'criticality', 'kind', 'evidence', 'gateways', 'conformance.result'];

export const value = (c: Card, field: string) => c.values.find((v) => v.field === field)?.value ?? '';
export const number = (c: Card, field: string) => Number(value(c, field)) || 0;

// The filter stands in the address: field:value,field:value, each value encoded.
export function readWhere(text?: string): Where {
  const out: Where = {};
  for (const part of (text ?? '').split(',').filter(Boolean)) {
    const at = part.indexOf(':');
    if (at < 0) continue;
    const [field, v] = [part.slice(0, at), part.slice(at + 1)];
    try {
      (out[field] ??= []).push(decodeURIComponent(v));
    } catch {
      // Somebody wrote the address by hand.
    }
  }
  return out;
}

export function writeWhere(w: Where): string {
  return Object.entries(w)
    .flatMap(([field, list]) => list.map((v) => `${field}:${encodeURIComponent(v)}`))
    .join(',');
}

const stateText: Record<string, string> = {
  shadow: 'shadow: in no configuration',
  zombie: 'zombie: ended, and still used',
  orphan: 'orphan: nobody answers for it',
  dormant: 'dormant: not used',
};

const severityBadge: Record<string, string> = { critical: 'refuse', high: 'refuse', medium: 'flagged', low: 'outline', info: 'outline' };

export function SeverityBadge({ name }: { name: string }) {
  return <span className={`badge ${severityBadge[name] ?? ''}`}>{name}</span>;
}

export function States({ c }: { c: Card }) {
  if (!c.states.length) return <span className="sub">–</span>;
  return (
    <span className="states">
      {c.states.map((s, i) => (
        <Tooltip key={s} label={c.reasons[i] ?? s} withArrow multiline maw={320} openDelay={200}>
          <span className={`badge ${s === 'zombie' ? 'refuse' : s === 'dormant' ? '' : 'flagged'}`}>
            {s}
            <span className="visually-hidden">: {c.reasons[i]}</span>
          </span>
        </Tooltip>
      ))}
    </span>
  );
}

export function Score({ n }: { n: number }) {
  return (
    <span className="score">
      <span className="meter" aria-hidden>
        <i className={n >= 60 ? 'much' : n >= 30 ? 'some' : ''} style={{ width: `${n}%` }} />
      </span>
      <span className="num">{n}</span>
    </span>
  );
}

export function Conflicts({ c }: { c: Card }) {
  const fields = useFields();
  const list = c.values.filter((v) => v.conflict);
  if (!list.length) return null;
  const text = `Sources disagree about ${list.map((v) => fields.title(v.field).toLowerCase()).join(', ')}`;
  return (
    <span className="conflict" title={text}>
      <IconArrowsDiff size={15} aria-hidden />
      <span className="visually-hidden">{text}</span>
    </span>
  );
}

export const apiLink = (name: string): Record<string, string> => (name ? { api: name } : { unmatched: 'yes' });

// Desk is the list of APIs by any field.
export function Desk({ search }: { search: Search }) {
  const navigate = useNavigate();
  const admin = useAdmin();
  const fields = useFields();
  const [range, setRange] = useState<[number, number]>([0, 0]);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [dialog, setDialog] = useState<'' | 'edit' | 'export' | 'import'>('');
  const [whole, setWhole] = useState<string[] | null>(null);
  const [done, setDone] = useState<{ id: number; changes: number } | null>(null);

  const where = useMemo(() => readWhere(search.where), [search.where]);
  const set = useCallback((change: Search) => void navigate({ to: '/inventory', search: clean({ ...search, ...change }), replace: true }), [navigate, search]);
  const sort = search.sort ?? 'name';
  const query = useMemo(
    () => ({ q: search.q, where: Object.entries(where).flatMap(([f, l]) => l.map((v) => `${f}:${v}`)), sort, reverse: search.reverse ? true : undefined, limit: page }),
    [search.q, where, sort, search.reverse],
  );
  const filtered = !!search.q || Object.keys(where).length > 0;

  const head = useQuery({
    queryKey: ['cards', query],
    placeholderData: keepPreviousData,
    queryFn: () => ask(client.GET('/api/v1/inventory/apis', { params: { query: { ...query, facet: facets } } })),
  });
  const total = head.data?.total ?? 0;
  const pages = useMemo(() => {
    const from = Math.max(1, Math.floor(range[0] / page));
    const to = Math.min(Math.floor(Math.max(0, range[1] - 1) / page), Math.floor(Math.max(0, total - 1) / page));
    return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
  }, [range, total]);
  const more = useQueries({
    queries: pages.map((n) => ({
      queryKey: ['cards', query, n],
      queryFn: () => ask(client.GET('/api/v1/inventory/apis', { params: { query: { ...query, offset: n * page } } })),
    })),
  });
  const row = (i: number): Card | undefined => {
    const n = Math.floor(i / page);
    return n === 0 ? head.data?.apis[i] : more[pages.indexOf(n)]?.data?.apis[i % page];
  };
  const onRange = useCallback((a: number, b: number) => setRange([a, b]), []);
  useEffect(() => setChosen(new Set()), [search.q, search.where]);

  const toggle = (field: string, v: string) => {
    const list = where[field] ?? [];
    const next = list.includes(v) ? list.filter((x) => x !== v) : [...list, v];
    const w = { ...where, [field]: next };
    if (!next.length) delete w[field];
    set({ where: writeWhere(w) });
  };

  // All that fit, for an edit of many at once.
  const all = useMutation({
    mutationFn: async () => {
      const names: string[] = [];
      for (let offset = 0; offset < 10_000; offset += 1000) {
        const p = await ask(client.GET('/api/v1/inventory/apis', { params: { query: { ...query, limit: 1000, offset } } }));
        names.push(...p.apis.map((a) => a.name).filter(Boolean));
        if (offset + 1000 >= p.total) break;
      }
      return names;
    },
    onSuccess: (names) => setWhole(names),
  });

  const facetList = (
    <Facets
      list={head.data?.facets ?? []}
      where={where}
      title={(f) => (f === 'exposure.declared' ? 'Exposure' : f === 'findings.worst' ? 'Worst finding' : f === 'auth.observed' ? 'Credentials used' : fields.title(f))}
      toggle={toggle}
    />
  );

  return (
    <div className="desk">
      <div className="facets" role="group" aria-label="Filter by field">
        {facetList}
      </div>
      <div className="stack">
        {done && <UndoNote id={done.id} changes={done.changes} onGone={() => setDone(null)} />}
        <Panel
          title="APIs"
          flush
          aside={
            <span className="row">
              <span className="sub small num" role="status">{head.data ? `${exact(total)} ${filtered ? 'fit' : total === 1 ? 'API' : 'APIs'}` : ''}</span>
              <Views search={search} />
              <Button variant="default" size="compact-xs" onClick={() => setDialog('export')}>Export</Button>
              {admin && <Button variant="default" size="compact-xs" onClick={() => setDialog('import')}>Import</Button>}
            </span>
          }
        >
          <div className="filters" role="search" aria-label="Filter APIs">
            <Text label="Name, host, owner, department or tag" value={search.q ?? ''} onChange={(q) => set({ q })} placeholder="payments" filter />
            <span className="row" style={{ gap: 5, paddingBottom: 4 }}>
              {Object.entries(where).flatMap(([f, list]) =>
                list.map((v) => (
                  <button key={f + v} type="button" className="badge chip" onClick={() => toggle(f, v)} aria-label={`No longer only ${fields.title(f)} ${v || 'not stated'}`}>
                    {fields.title(f).toLowerCase()}: {v || 'not stated'} <span aria-hidden>×</span>
                  </button>
                )),
              )}
              {filtered && <button type="button" className="link-button" onClick={() => set({ q: '', where: '' })}>Clear all</button>}
            </span>
          </div>
          <details className="facets-phone">
            <summary>Filter by field{Object.keys(where).length ? ` (${Object.values(where).flat().length})` : ''}</summary>
            <div className="facets">{facetList}</div>
          </details>
          {admin && (
            <div className={`bulk ${chosen.size ? 'on' : ''}`}>
              {chosen.size ? (
                <>
                  <strong>{exact(chosen.size)} chosen</strong>
                  <Button size="compact-xs" onClick={() => { setWhole(null); setDialog('edit'); }}>Edit…</Button>
                  {total > chosen.size && <Button size="compact-xs" variant="default" loading={all.isPending} onClick={() => all.mutate(undefined, { onSuccess: () => setDialog('edit') })}>Edit all {exact(total)} that fit…</Button>}
                  <button type="button" className="link-button" onClick={() => setChosen(new Set())}>Choose none</button>
                </>
              ) : (
                <span className="sub small">Choose rows to edit many at once<span className="only-wide">: with the box, or <kbd>x</kbd> on a row; <kbd>j</kbd> <kbd>k</kbd> go down and up</span>.</span>
              )}
              {all.isError && <Failure error={all.error} />}
            </div>
          )}
          {head.isPending ? (
            <div className="desk-wait"><Loading lines={12} /></div>
          ) : head.isError ? (
            <div className="panel-body"><Failure error={head.error} retry={() => void head.refetch()} /></div>
          ) : total === 0 ? (
            filtered ? (
              <Empty title="No API fits"><p>Take a part of the filter away. What nobody has decided about yet stands in the inbox of Discovery, not here.</p></Empty>
            ) : (
              <Empty title="No API yet" icon={<IconRouteOff size={26} aria-hidden />}>
                <p>Name one under <code>apis</code> in the configuration file and send a request through the gateway, or let a scan or a catalogue find some. They show here within a second.</p>
              </Empty>
            )
          ) : (
            <div aria-busy={head.isPlaceholderData} className={head.isPlaceholderData ? 'pending' : undefined}>
              <VirtualTable
                label="APIs"
                total={total}
                row={row}
                rowKey={(c) => c.name}
                onRange={onRange}
                sort={sort}
                reverse={!!search.reverse}
                onSort={(s) => set(s === sort ? { reverse: search.reverse ? '' : 'yes' } : { sort: s === 'name' ? '' : s, reverse: s === 'name' || s === 'owner.team' || s === 'lifecycle' ? '' : 'yes' })}
                chosen={chosen}
                onChoose={admin ? (keys, on) => setChosen((was) => { const next = new Set(was); keys.forEach((k) => (on ? next.add(k) : next.delete(k))); return next; }) : undefined}
                chooseLabel={(c) => (c.name ? `Choose ${c.name}` : '')}
                columns={[
                  { id: 'name', head: 'API', sort: 'name', cell: (c) => <Name c={c} /> },
                  { id: 'state', head: 'State', sort: 'lifecycle', width: '126px', hidePhone: true, cell: (c) => <span className="cell-two">{c.states.length > 0 && <States c={c} />}<span className={c.states.length ? 'sub small' : ''}>{value(c, 'lifecycle')}</span></span> },
                  { id: 'owner', head: 'Owner', sort: 'owner.team', width: '132px', hidePhone: true, cell: (c) => <OwnerCell c={c} /> },
                  { id: 'exposure', head: 'Exposure', sort: 'exposure.declared', width: '104px', hidePhone: true, cell: (c) => <ExposureCell c={c} /> },
                  { id: 'risk', head: 'Risk', sort: 'risk', width: '100px', cell: (c) => <Score n={c.risk} /> },
                  { id: 'findings', head: 'Findings', sort: 'findings.open', width: '104px', hidePhone: true, cell: (c) => <FindingsCell c={c} /> },
                  { id: 'operations', head: 'Ops', sort: 'operations', right: true, width: '78px', hidePhone: true, cell: (c) => <OperationsCell c={c} /> },
                  { id: 'data', head: 'Data', width: '126px', wide: true, cell: (c) => <Classes list={c.values.find((v) => v.field === 'data.classes')?.list ?? []} most={1} /> },
                  { id: 'rate', head: 'Requests', sort: 'rate', right: true, width: '92px', hidePhone: true, cell: (c) => <span className="cell-two"><span>{rate(number(c, 'rate'))}/s</span><span className="sub small"><Time iso={value(c, 'last_seen')} /></span></span> },
                ]}
              />
            </div>
          )}
        </Panel>
      </div>
      {dialog === 'edit' && <BulkEdit apis={whole ?? [...chosen]} onClose={() => setDialog('')} onDone={(id, changes) => { setDialog(''); setDone({ id, changes }); setChosen(new Set()); }} />}
      {dialog === 'export' && <Export q={search.q} where={query.where} filtered={filtered} onClose={() => setDialog('')} />}
      {dialog === 'import' && <Import onClose={() => setDialog('')} />}
    </div>
  );
}

function Name({ c }: { c: Card }) {
  const hosts = c.values.find((v) => v.field === 'hosts')?.list ?? [];
  return (
    <span className="cell-two">
      <span>
        <Link className="row-link" to="/inventory" search={apiLink(c.name)}>
          <strong>{c.name || 'matched by no API'}</strong>
        </Link>{' '}
        <Conflicts c={c} />
      </span>
      <span className="sub small only-wide">{(hosts[0] ?? '') + (value(c, 'path') || '') + (hosts.length > 1 ? ` and ${hosts.length - 1} more` : '') || value(c, 'title')}</span>
      <span className="only-phone">{c.states.length ? <States c={c} /> : <span className="sub small">{value(c, 'owner.team')}</span>}</span>
    </span>
  );
}

function OwnerCell({ c }: { c: Card }) {
  const v = c.values.find((x) => x.field === 'owner.team');
  if (!v) return <span className="cell-two"><span className="sub">nobody</span>{c.escalates && <span className="sub small">escalates <Time iso={c.escalates} /></span>}</span>;
  return (
    <span className="cell-two" title={v.value}>
      <span>{v.value}</span>
      <span className="sub small">{v.power === 'claimed' ? `${Math.round(100 * v.confidence)} % sure` : v.power}</span>
    </span>
  );
}

function ExposureCell({ c }: { c: Card }) {
  const declared = value(c, 'exposure.declared');
  const seen = value(c, 'exposure.observed');
  return (
    <span className="cell-two">
      <span><Exposure value={declared} /></span>
      {declared === 'internal' && seen === 'external' && <span className="small" style={{ color: 'var(--refuse)' }}><IconAlertTriangle size={11} aria-hidden /> seen external</span>}
    </span>
  );
}

function FindingsCell({ c }: { c: Card }) {
  const n = number(c, 'findings.open');
  if (!n) return <span className="sub">0</span>;
  return <span className="row" style={{ gap: 6, flexWrap: 'nowrap' }}><span className="num">{exact(n)}</span><SeverityBadge name={value(c, 'findings.worst')} /></span>;
}

function OperationsCell({ c }: { c: Card }) {
  const shadow = number(c, 'operations.shadow');
  return (
    <span className="cell-two">
      <span>{exact(number(c, 'operations'))}</span>
      {shadow > 0 && <span className="small" style={{ color: 'var(--flagged)' }}>{exact(shadow)} shadow</span>}
    </span>
  );
}

function Facets({ list, where, title, toggle }: { list: Schemas['FacetView'][]; where: Where; title(f: string): string; toggle(f: string, v: string): void }) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const by = new Map(list.map((f) => [f.field, f.values]));
  return (
    <>
      {facets.map((name) => {
        const values = (by.get(name) ?? []).slice();
        const on = where[name] ?? [];
        for (const v of on) if (!values.some((x) => x.value === v)) values.push({ value: v, count: 0 });
        // Of a field that no API has, there is nothing to choose.
        if (!values.some((v) => v.value !== '')) return null;
        values.sort((x, y) => Number(x.value === '') - Number(y.value === ''));
        const most = open.has(name) ? values : values.filter((v, i) => i < 6 || on.includes(v.value));
        return (
          <fieldset key={name}>
            <legend>{title(name)}</legend>
            {most.map((v) => (
              <label key={v.value} className="facet" title={name === 'state' ? stateText[v.value] : v.value}>
                <input type="checkbox" checked={on.includes(v.value)} onChange={() => toggle(name, v.value)} />
                <span className={`cut ${v.value ? '' : 'sub'}`}>{v.value || (name === 'state' ? 'none of these' : 'not stated')}</span>
                <span>{exact(v.count)}</span>
              </label>
            ))}
            {values.length > most.length && (
              <button type="button" className="link-button" style={{ fontSize: 12, padding: '2px 4px' }} onClick={() => setOpen(new Set([...open, name]))}>
                {values.length - most.length} more<span className="visually-hidden"> of {title(name)}</span>
              </button>
            )}
          </fieldset>
        );
      })}
    </>
  );
}

// Views are questions that somebody saved for all.
function Views({ search }: { search: Search }) {
  const navigate = useNavigate();
  const admin = useAdmin();
  const [name, setName] = useState('');
  const [asking, setAsking] = useState(false);
  const q = useQuery({ queryKey: ['views'], queryFn: () => ask(client.GET('/api/v1/inventory/views')) });
  const save = useMutation({
    mutationFn: (v: { name: string; query: string }) => ask(client.PUT('/api/v1/inventory/views', { body: v })),
    onSuccess: () => {
      setAsking(false);
      setName('');
      void queries.invalidateQueries({ queryKey: ['views'] });
    },
  });
  const now = new URLSearchParams(clean(search)).toString();
  const views = q.data?.views ?? [];
  const current = views.find((v) => v.query === now);
  return (
    <>
      <Menu position="bottom-end" withinPortal width={260}>
        <Menu.Target>
          <Button variant="default" size="compact-xs" leftSection={<IconBookmark size={13} aria-hidden />} rightSection={<IconChevronDown size={12} aria-hidden />}>
            {current ? current.name : 'Saved views'}
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          {views.length === 0 && <Menu.Label>None is saved yet</Menu.Label>}
          {views.map((v) => (
            <Menu.Item key={v.name} onClick={() => void navigate({ to: '/inventory', search: Object.fromEntries(new URLSearchParams(v.query)) })}>
              {v.name}
            </Menu.Item>
          ))}
          {admin && (
            <>
              <Menu.Divider />
              {current ? (
                <Menu.Item onClick={() => save.mutate({ name: current.name, query: '' })}>Drop “{current.name}”</Menu.Item>
              ) : (
                <Menu.Item disabled={!now} onClick={() => setAsking(true)}>
                  Save this filter and order…
                </Menu.Item>
              )}
            </>
          )}
        </Menu.Dropdown>
      </Menu>
      {asking && (
        <form className="row" onSubmit={(e) => { e.preventDefault(); if (name.trim()) save.mutate({ name: name.trim(), query: now }); }}>
          <label className="field" style={{ flexDirection: 'row', alignItems: 'center', gap: 6 }}>
            Name of the view
            <input value={name} onChange={(e) => setName(e.target.value)} autoFocus maxLength={200} style={{ width: 150, height: 26 }} />
          </label>
          <Button type="submit" size="compact-xs" loading={save.isPending}>Save</Button>
          <button type="button" className="link-button" onClick={() => setAsking(false)}>Cancel</button>
        </form>
      )}
      {(save.isError || q.isError) && <Note kind="bad">{String((save.error ?? q.error)?.message)}</Note>}
    </>
  );
}
