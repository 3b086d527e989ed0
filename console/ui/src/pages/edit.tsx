import { useMemo, useState } from 'react';
import { Button, Modal } from '@mantine/core';
import { useInfiniteQuery, useMutation, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { ask, client, queries, useMe, type Schemas } from '../api/client';
import { DataTable } from '../components/table';
import { Empty, Failure, Loading, Note, Panel, Time } from '../components/parts';
import { exact } from '../lib/format';
import { Choice, clean, Text } from './inventory';

export type Field = Schemas['FieldView'];
export type Edit = Schemas['EditView'];
type Change = Schemas['HistoryView'];
type Search = Record<string, string | undefined>;

export function useFields() {
  const q = useQuery({ queryKey: ['fields'], staleTime: Infinity, queryFn: () => ask(client.GET('/api/v1/inventory/fields')) });
  const list = q.data?.fields ?? [];
  return useMemo(() => ({ list, of: (name: string) => list.find((f) => f.name === name), title: (name: string) => list.find((f) => f.name === name)?.title ?? name }), [q.data]); // eslint-disable-line react-hooks/exhaustive-deps
}

export const useAdmin = () => useMe().data?.role === 'admin';

// refresh asks anew for whatever an edit may have changed.
export function refresh() {
  for (const key of ['cards', 'card', 'apis', 'changes', 'edits', 'graph', 'opcard', 'proposals', 'drift']) void queries.invalidateQueries({ queryKey: [key] });
}

export const editing = (edits: Edit[], dry = false) => ask(client.POST('/api/v1/inventory/edits', { body: { edits, dry_run: dry } }));

// shown makes stored lists readable.
function shown(value: string): string {
  if (value.startsWith('[')) {
    try {
      const list: unknown = JSON.parse(value);
      if (Array.isArray(list)) return list.join(', ');
    } catch {
      // It is a text that begins so.
    }
  }
  return value;
}

export function Was({ old, now }: { old: string; now: string }) {
  const a = shown(old);
  const b = shown(now);
  return (
    <>
      {a && <del className="was">{a}</del>} {a && b && <span aria-hidden>→ </span>}
      {b ? <ins className="becomes" style={{ textDecoration: 'none' }}>{b}</ins> : <span className="sub">nothing</span>}
    </>
  );
}

export function Changes({ list, total }: { list: Change[]; total?: number }) {
  const fields = useFields();
  if (!list.length) return <p className="sub small">Nothing changes: it is so already.</p>;
  return (
    <>
      <ul className="change-list" tabIndex={0} aria-label="Changes">
        {list.slice(0, 200).map((c, i) => (
          <li key={i}>
            <strong>{c.api || 'no API'}</strong> {c.key && <span className="mono small">{c.key}</span>} <span className="sub">{c.field ? fields.title(c.field) : c.kind}:</span> {c.field ? <Was old={c.old} now={c.new} /> : c.detail}
          </li>
        ))}
      </ul>
      {(total ?? list.length) > Math.min(200, list.length) && <p className="sub small">and {exact((total ?? list.length) - Math.min(200, list.length))} more</p>}
    </>
  );
}

// Value asks for a value in the form that the field has.
export function Value({ field, value, onChange, label = 'Value' }: { field?: Field; value: string; onChange(v: string): void; label?: string }) {
  if (field && (field.type === 'enum' || field.type === 'bool'))
    return <Choice label={label} value={value} onChange={onChange} options={[['', 'choose'], ...(field.type === 'bool' ? ['true', 'false'] : field.values).map((v) => [v, v] as const)]} />;
  return (
    <label className="field">
      {label}
      <input value={value} onChange={(e) => onChange(e.target.value)} type={field?.type === 'time' ? 'date' : 'text'} inputMode={field?.type === 'number' ? 'decimal' : undefined} maxLength={512} spellCheck={false} />
    </label>
  );
}

const actions = [
  ['confirm', 'set it (it counts as confirmed by you)'],
  ['clear', 'take back what people said'],
  ['reject', 'reject what sources say'],
  ['restore', 'restore what was rejected'],
] as const;

// BulkEdit sets one field of many APIs: first what would change, then the change.
export function BulkEdit({ apis, onClose, onDone }: { apis: string[]; onClose(): void; onDone(id: number, changes: number): void }) {
  const fields = useFields();
  const [action, setAction] = useState<string>('confirm');
  const [name, setName] = useState('owner.team');
  const [value, setValue] = useState('');
  const [reason, setReason] = useState('');
  const edits = () => apis.map((api) => ({ api, field: name, action: action as Edit['action'], ...(value ? { value } : {}), ...(reason ? { reason } : {}) }));
  const dry = useMutation({ mutationFn: () => editing(edits(), true) });
  const make = useMutation({
    mutationFn: () => editing(edits()),
    onSuccess: (r) => {
      refresh();
      onDone(r.id, r.changes.length);
    },
  });
  const reset = () => {
    dry.reset();
    make.reset();
  };
  const groups = [...new Set(fields.list.map((f) => f.group))];
  const field = fields.of(name);
  const ready = action !== 'confirm' || value.trim() !== '';
  return (
    <Modal opened onClose={onClose} title={`Edit ${apis.length === 1 ? apis[0] : exact(apis.length) + ' APIs'}`} centered size="lg" closeButtonProps={{ 'aria-label': 'Close' }}>
      <form
        className="form"
        onSubmit={(e) => {
          e.preventDefault();
          if (dry.data && dry.data.changes.length) make.mutate();
          else dry.mutate();
        }}
      >
        <div className="two">
          <label className="field">
            Field
            <select
              value={name}
              data-autofocus
              onChange={(e) => {
                setName(e.target.value);
                setValue('');
                reset();
              }}
            >
              {groups.map((g) => (
                <optgroup key={g} label={g}>
                  {fields.list
                    .filter((f) => f.group === g && f.sources.includes('person'))
                    .map((f) => (
                      <option key={f.name} value={f.name}>
                        {f.title}
                      </option>
                    ))}
                </optgroup>
              ))}
            </select>
          </label>
          <Choice label="What to do" value={action} onChange={(v) => { setAction(v); reset(); }} options={actions} />
        </div>
        {field && <p className="sub small">{field.doc}.{field.type === 'list' && action === 'confirm' ? ' The value is added to those that are there.' : ''} {field.sources.includes('configuration') ? 'What the configuration declares stays: it is changed there.' : ''}</p>}
        <div className="two">
          <Value field={field} value={value} onChange={(v) => { setValue(v); reset(); }} label={action === 'confirm' ? 'Value' : 'Only this value (empty: all)'} />
          <label className="field">
            Why (kept in the history)
            <input value={reason} onChange={(e) => setReason(e.target.value)} maxLength={500} />
          </label>
        </div>
        {(dry.isError || make.isError) && <Failure error={dry.error ?? make.error} />}
        {dry.data && (
          <div className="stack" style={{ gap: 6 }}>
            <strong className="small">{dry.data.changes.length === 1 ? 'One value would change' : `${exact(dry.data.changes.length)} values would change`}</strong>
            <Changes list={dry.data.changes} />
          </div>
        )}
        <div className="row" style={{ justifyContent: 'flex-end' }}>
          <Button variant="default" size="xs" onClick={onClose}>Cancel</Button>
          {dry.data && dry.data.changes.length ? (
            <Button type="submit" size="xs" loading={make.isPending}>Make {dry.data.changes.length === 1 ? 'the change' : `${exact(dry.data.changes.length)} changes`}</Button>
          ) : (
            <Button type="submit" size="xs" loading={dry.isPending} disabled={!ready}>See what would change</Button>
          )}
        </div>
      </form>
    </Modal>
  );
}

// Undo takes an edit back.
export function UndoNote({ id, changes, onGone }: { id: number; changes: number; onGone(): void }) {
  const undo = useMutation({ mutationFn: () => ask(client.POST('/api/v1/inventory/edits/{id}/undo', { params: { path: { id } } })), onSuccess: refresh });
  return (
    <div role="status">
      <Note kind="good">
        {undo.data ? 'Taken back: what stood before stands again.' : changes === 1 ? 'One value was changed.' : `${exact(changes)} values were changed.`}{' '}
        {!undo.data && (
          <button type="button" className="link-button" disabled={undo.isPending} onClick={() => undo.mutate()}>
            Undo
          </button>
        )}{' '}
        <button type="button" className="link-button" onClick={onGone}>
          Dismiss
        </button>
        {undo.isError && <Failure error={undo.error} />}
      </Note>
    </div>
  );
}

const formats = [
  ['csv', 'CSV: a row for each API'],
  ['json', 'JSON: every field'],
  ['cyclonedx', 'CycloneDX: services'],
  ['backstage', 'Backstage: catalog-info'],
] as const;

export function Export({ q, where, filtered, onClose }: { q?: string; where: string[]; filtered: boolean; onClose(): void }) {
  const [format, setFormat] = useState('csv');
  const get = useMutation({
    mutationFn: () => ask(client.GET('/api/v1/inventory/export', { params: { query: { format: format as 'csv', q, where } } })),
    onSuccess: (f) => {
      const a = document.createElement('a');
      a.href = URL.createObjectURL(new Blob([f.content], { type: f.type }));
      a.download = f.name;
      a.click();
      setTimeout(() => URL.revokeObjectURL(a.href), 10_000);
      onClose();
    },
  });
  return (
    <Modal opened onClose={onClose} title="Export" centered closeButtonProps={{ 'aria-label': 'Close' }}>
      <form className="form" onSubmit={(e) => { e.preventDefault(); get.mutate(); }}>
        <Choice label="Format" value={format} onChange={setFormat} options={formats} />
        <p className="sub small">{filtered ? 'The APIs that fit the filter.' : 'All APIs.'}</p>
        {get.isError && <Failure error={get.error} />}
        <div className="row" style={{ justifyContent: 'flex-end' }}>
          <Button variant="default" size="xs" onClick={onClose}>Cancel</Button>
          <Button type="submit" size="xs" loading={get.isPending}>Download</Button>
        </div>
      </form>
    </Modal>
  );
}

export function Import({ onClose }: { onClose(): void }) {
  const [format, setFormat] = useState('csv');
  const [name, setName] = useState('');
  const [content, setContent] = useState('');
  const body = (dry: boolean) => ({ format: format as 'csv', content, dry_run: dry, ...(name ? { name } : {}) });
  const dry = useMutation({ mutationFn: () => ask(client.POST('/api/v1/inventory/import', { body: body(true) })) });
  const make = useMutation({ mutationFn: () => ask(client.POST('/api/v1/inventory/import', { body: body(false) })), onSuccess: refresh });
  const reset = () => { dry.reset(); make.reset(); };
  return (
    <Modal opened onClose={onClose} title="Import" centered size="lg" closeButtonProps={{ 'aria-label': 'Close' }}>
      {make.data ? (
        <div className="form">
          <Note kind="good">{make.data.claims === 1 ? 'One value was' : `${exact(make.data.claims)} values were`} taken in. What the configuration declares and people confirmed stays above them.</Note>
          <div className="row" style={{ justifyContent: 'flex-end' }}><Button size="xs" onClick={onClose}>Close</Button></div>
        </div>
      ) : (
        <form className="form" onSubmit={(e) => { e.preventDefault(); if (dry.data) make.mutate(); else dry.mutate(); }}>
          <div className="two">
            <Choice label="Format" value={format} onChange={(v) => { setFormat(v); reset(); }} options={formats} />
            <label className="field">
              Where it is from
              <input value={name} onChange={(e) => { setName(e.target.value); reset(); }} placeholder="cmdb" maxLength={100} pattern="[A-Za-z0-9 ._\-]*" title="Letters, digits, spaces, dots, hyphens" />
            </label>
          </div>
          <label className="field">
            File
            <input
              type="file"
              accept=".csv,.json,.yaml,.yml"
              onChange={(e) => {
                const f = e.target.files?.[0];
                if (f) void f.text().then((t) => { setContent(t); reset(); });
                if (f && /\.ya?ml$/.test(f.name)) setFormat('backstage');
                else if (f && /\.cdx\.json$/.test(f.name)) setFormat('cyclonedx');
                else if (f && /\.json$/.test(f.name)) setFormat('json');
              }}
            />
          </label>
          <label className="field">
            or its text
            <textarea className="mono" value={content} onChange={(e) => { setContent(e.target.value); reset(); }} spellCheck={false} placeholder={'api,owner.team,department\npayments,Payments core,Retail banking'} />
          </label>
          <p className="sub small">What it says is kept as claims of this source beside those of others; an API nobody knows goes to the inbox of Discovery.</p>
          {(dry.isError || make.isError) && <Failure error={dry.error ?? make.error} />}
          {dry.data && (
            <div className="stack" style={{ gap: 6 }}>
              <strong className="small">{dry.data.claims === 1 ? 'One value' : `${exact(dry.data.claims)} values`} read</strong>
              <Changes list={dry.data.changes} />
            </div>
          )}
          <div className="row" style={{ justifyContent: 'flex-end' }}>
            <Button variant="default" size="xs" onClick={onClose}>Cancel</Button>
            <Button type="submit" size="xs" disabled={!content.trim()} loading={dry.isPending || make.isPending}>{dry.data ? 'Take it in' : 'See what would change'}</Button>
          </div>
        </form>
      )}
    </Modal>
  );
}

// Edits is what people decided, each of which can be taken back.
export function Edits() {
  const admin = useAdmin();
  const q = useQuery({ queryKey: ['edits'], queryFn: () => ask(client.GET('/api/v1/inventory/edits')) });
  const undo = useMutation({ mutationFn: (id: number) => ask(client.POST('/api/v1/inventory/edits/{id}/undo', { params: { path: { id } } })), onSettled: refresh });
  return (
    <Panel title="What people decided" flush>
      {undo.isError && <div className="panel-body"><Failure error={undo.error} /></div>}
      {q.isPending ? <Loading /> : q.isError ? <div className="panel-body"><Failure error={q.error} retry={() => void q.refetch()} /></div> : q.data.edits.length === 0 ? (
        <Empty title="Nobody has edited anything yet"><p>Choose APIs in the list and edit them, or confirm and reject values on an API's page. Each edit stands here and can be taken back.</p></Empty>
      ) : (
        <DataTable
          label="Edits"
          rows={q.data.edits}
          rowKey={(e) => e.id}
          columns={[
            { id: 'what', head: 'Edit', cell: (e) => <span className="wrap-any">{e.what}</span> },
            { id: 'who', head: 'By', cell: (e) => e.person },
            { id: 'when', head: 'When', hidePhone: true, cell: (e) => <Time iso={e.time} /> },
            { id: 'undo', head: '', right: true, cell: (e) => (e.undone ? <span className="sub">taken back by {e.undone_by}</span> : admin ? <Button variant="default" size="compact-xs" aria-label={`Undo ${e.what}`} loading={undo.isPending && undo.variables === e.id} onClick={() => undo.mutate(e.id)}>Undo</Button> : null) },
          ]}
        />
      )}
    </Panel>
  );
}

const windows = [['1', 'last day'], ['7', 'last 7 days'], ['30', 'last 30 days'], ['', 'ever']] as const;

// ChangeLog is what changed in a window, of one API or of all.
export function ChangeLog({ api, search, set, title = 'Changes' }: { api?: string; search: Search; set(change: Search): void; title?: string }) {
  const fields = useFields();
  const days = search.days ?? (api === undefined ? '7' : 'all');
  const from = useMemo(() => (Number(days) ? new Date(Date.now() - Number(days) * 86400e3).toISOString() : undefined), [days]);
  const query = { api: api ?? (search.of || '*'), ...clean({ field: search.field }), ...(from ? { from } : {}), limit: 100 };
  const q = useInfiniteQuery({
    queryKey: ['changes', { ...query, from: days }],
    initialPageParam: 0,
    queryFn: ({ pageParam }) => ask(client.GET('/api/v1/changes', { params: { query: { ...query, ...(pageParam ? { before: pageParam } : {}) } } })),
    getNextPageParam: (p) => p.next || undefined,
  });
  const rows = q.data?.pages.flatMap((p) => p.changes) ?? [];
  return (
    <Panel title={title} flush>
      <div className="filters" role="search" aria-label="Filter changes">
        <Choice label="Window" value={days} onChange={(v) => set({ days: v })} options={windows.map(([v, t]) => [v || 'all', t] as const)} />
        <Choice label="Field" value={search.field ?? ''} onChange={(field) => set({ field })} options={[['', 'any'], ...fields.list.map((f) => [f.name, f.title] as const)]} />
        {api === undefined && <Text label="API" value={search.of ?? ''} onChange={(of) => set({ of })} placeholder="exact name" filter />}
      </div>
      {q.isPending ? <Loading /> : q.isError ? <div className="panel-body"><Failure error={q.error} retry={() => void q.refetch()} /></div> : rows.length === 0 ? (
        <Empty title="Nothing changed"><p>{search.field || search.of ? 'Take a part of the filter away, or' : 'Try to'} look at a longer window.</p></Empty>
      ) : (
        <>
          <ol className="timeline" aria-label={title}>
            {rows.map((c) => (
              <li key={c.id}>
                <Time iso={c.time} />
                <div className="wrap-any">
                  {api === undefined && c.api && <Link to="/inventory" search={{ api: c.api }}>{c.api}</Link>} {c.key && <span className="mono small">{c.key}</span>}{' '}
                  {c.field ? <><strong>{fields.title(c.field)}</strong> <Was old={c.old} now={c.new} /></> : <><strong>{c.kind}</strong> {c.detail}</>}
                  {(c.source || c.evidence) && <div className="sub small">{[c.source, c.evidence].filter(Boolean).join(', ')}</div>}
                </div>
              </li>
            ))}
          </ol>
          {q.hasNextPage && (
            <div className="panel-body" style={{ textAlign: 'center' }}>
              <Button variant="default" size="xs" loading={q.isFetchingNextPage} onClick={() => void q.fetchNextPage()}>Show older ones</Button>
            </div>
          )}
        </>
      )}
    </Panel>
  );
}

