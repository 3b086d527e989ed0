import { useMemo, useState } from 'react';
import { Button } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { IconArrowsDiff, IconCheck, IconDownload, IconX } from '@tabler/icons-react';
import { ask, client, Problem, type Schemas } from '../api/client';
import { DataTable } from '../components/table';
import { Empty, Failure, Loading, Method, Note, Panel, Time } from '../components/parts';
import { exact } from '../lib/format';
import { apiLink, Score, SeverityBadge, value, type Card } from './desk';
import { editing, refresh, UndoNote, useAdmin, useFields, Value, type Edit } from './edit';

export type Detail = Schemas['CardDetail'];
type State = Schemas['FieldState'];
type Said = Schemas['SaidView'];

export function useCard(name: string) {
  return useQuery({ queryKey: ['card', name], retry: false, queryFn: () => ask(client.GET('/api/v1/inventory/api', { params: { query: name ? { name } : {} } })) });
}

const powerText: Record<string, string> = { computed: 'counted', claimed: 'a source says so', confirmed: 'confirmed by a person', declared: 'declared in the configuration' };

function Sure({ n, power }: { n: number; power: string }) {
  if (power !== 'claimed') return <span className="sub">{powerText[power] ?? power}</span>;
  return <span className="sub num">{Math.round(100 * n)} % sure</span>;
}

// useEdit makes one edit and keeps what is needed to take it back.
export function useEdit() {
  const [done, setDone] = useState<{ id: number; changes: number } | null>(null);
  const m = useMutation({
    mutationFn: (e: Edit) => editing([e]),
    onSuccess: (r) => {
      refresh();
      setDone({ id: r.id, changes: r.changes.length });
    },
  });
  return { m, done, gone: () => setDone(null) };
}

export function Done({ edit }: { edit: ReturnType<typeof useEdit> }) {
  return (
    <>
      {edit.m.isError && <Failure error={edit.m.error} />}
      {edit.done && <UndoNote key={edit.done.id} id={edit.done.id} changes={edit.done.changes} onGone={edit.gone} />}
    </>
  );
}

// Owner asks whoever looks to say whether the owner is right.
export function Owner({ d, edit }: { d: Detail; edit: ReturnType<typeof useEdit> }) {
  const admin = useAdmin();
  const [other, setOther] = useState('');
  const c = d.api;
  const s = d.fields.find((f) => f.field === 'owner.team');
  const rivals = [...new Set((s?.claims ?? []).filter((x) => !x.rejected && x.value !== s?.value).map((x) => x.value))];
  const settled = s && (s.power === 'declared' || s.power === 'confirmed');
  const act = (action: Edit['action'], v: string, source?: string) => edit.m.mutate({ api: c.name, field: 'owner.team', action, value: v, ...(source ? { source } : {}) });
  return (
    <div className="stack" style={{ gap: 10 }}>
      {s?.value ? (
        <div>
          <span style={{ fontSize: 18, fontWeight: 620 }}>{s.value}</span> {s.conflict && <span className="badge flagged"><IconArrowsDiff size={12} aria-hidden /> sources disagree</span>}
          <div className="small"><Sure n={s.confidence} power={s.power} /> {s.power !== 'declared' && <span className="sub">· {s.source}{s.evidence ? `, ${s.evidence}` : ''}</span>}</div>
        </div>
      ) : (
        <Note kind="warn">Nobody is named who answers for it.{c.escalates && <> It is escalated <Time iso={c.escalates} />.</>}</Note>
      )}
      {admin && s?.value && !settled && (
        <div className="row">
          <Button size="compact-sm" leftSection={<IconCheck size={14} aria-hidden />} loading={edit.m.isPending} onClick={() => act('confirm', s.value)}>{s.value} it is</Button>
          {rivals.map((v) => (
            <Button key={v} size="compact-sm" variant="default" loading={edit.m.isPending} onClick={() => act('confirm', v)}>No, {v}</Button>
          ))}
        </div>
      )}
      {admin && s?.power !== 'declared' && (
        <form className="row" onSubmit={(e) => { e.preventDefault(); if (other.trim()) { act('confirm', other.trim()); setOther(''); } }}>
          <label className="field" style={{ flex: '1 1 160px' }}>
            {s?.value ? 'Another team' : 'The team'}
            <input value={other} onChange={(e) => setOther(e.target.value)} maxLength={200} />
          </label>
          <Button type="submit" size="xs" variant="default" style={{ alignSelf: 'flex-end' }} disabled={!other.trim()}>Set</Button>
        </form>
      )}
      {s?.power === 'declared' && <p className="sub small">The configuration declares it: it is changed there, under <code>owner</code> of the API.</p>}
      <dl className="facts">
        {(['owner.contact', 'owner.deputy', 'owner.oncall', 'department', 'cost_centre'] as const).filter((f) => value(c, f)).map((f) => <Row key={f} name={f} v={value(c, f)} />)}
      </dl>
    </div>
  );
}

function Row({ name, v }: { name: string; v: string }) {
  const fields = useFields();
  return (
    <>
      <dt>{fields.title(name)}</dt>
      <dd>{v}</dd>
    </>
  );
}

export function Risk({ r, all }: { r: Schemas['RiskView']; all?: boolean }) {
  const [open, setOpen] = useState(!!all);
  const parts = [...r.parts].sort((a, b) => b.points - a.points);
  const better = parts.filter((p) => p.without < r.total && p.fix).sort((a, b) => a.without - b.without).slice(0, 3);
  const shown = open ? parts : parts.slice(0, 5);
  return (
    <div className="stack" style={{ gap: 12 }}>
      <div className="row" style={{ gap: 18, alignItems: 'baseline' }}>
        <span className="risk-total">{r.total}<small> of 100</small></span>
        <span className="small sub num">likelihood {r.likelihood} × impact {r.impact} / 100</span>
      </div>
      {better.length > 0 && (
        <div>
          <h3>What would lower it</h3>
          <ul className="plain-list" style={{ marginTop: 5 }}>
            {better.map((p) => (
              <li key={p.rule + p.adds}><span className="badge good num">to {p.without}</span> {p.fix} <span className="sub">({p.title.replace(/^./, (x) => x.toLowerCase())})</span></li>
            ))}
          </ul>
        </div>
      )}
      <div>
        <h3>Each point and where it is from</h3>
        <ul className="risk-parts">
          {shown.map((p) => (
            <li key={p.rule + p.adds + p.title}>
              <span className="num risk-points" title={`${p.points} points of ${p.adds}`}>+{p.points}</span>
              <div>
                <strong>{p.title}</strong> <span className="sub small">{p.adds}{p.rule ? `, ${p.rule}` : ''}</span>
                {p.why && <div className="sub small">{p.why}</div>}
                {p.evidence.length > 0 && <div className="small mono wrap-any">{p.evidence.join(' · ')}</div>}
              </div>
            </li>
          ))}
        </ul>
        {parts.length > shown.length && <button type="button" className="link-button" onClick={() => setOpen(true)}>All {parts.length} points</button>}
      </div>
    </div>
  );
}

export function Findings({ list, title = 'Findings' }: { list: Schemas['FindingView'][]; title?: string }) {
  const rank = ['critical', 'high', 'medium', 'low', 'info'];
  const rows = [...list].sort((a, b) => rank.indexOf(a.severity) - rank.indexOf(b.severity));
  return (
    <Panel title={title} flush aside={<span className="sub small">{exact(list.length)} open</span>}>
      {rows.length === 0 ? (
        <Empty title="Nothing is known to be wrong"><p>Scans, tests of instances, audits of specifications and the rules of risk report here what they find.</p></Empty>
      ) : (
        <ul className="finding-list">
          {rows.map((f) => (
            <li key={f.id}>
              <SeverityBadge name={f.severity} />
              <div>
                <strong>{f.title}</strong>
                {f.key && <span className="mono small"> {f.key}</span>}
                <div className="small sub wrap-any"><span className="mono">{f.rule}</span>{f.place && <> · <span className="mono">{f.place}</span></>} · {f.source} · since <Time iso={f.first} />{f.refs.length > 0 && <> · {f.refs.join(', ')}</>}</div>
                {f.evidence.length > 0 && <pre className="mono small finding-evidence" tabIndex={f.evidence.join('').length > 300 ? 0 : undefined}>{f.evidence.join('\n')}</pre>}
                {f.fix && <div className="small"><strong>Do:</strong> {f.fix}</div>}
              </div>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

// Fields shows each value with where it follows from, and lets people decide.
export function FieldTable({ d, edit, q }: { d: Detail; edit: ReturnType<typeof useEdit>; q?: string }) {
  const fields = useFields();
  const admin = useAdmin();
  const [more, setMore] = useState<ReadonlySet<string>>(new Set());
  const [adding, setAdding] = useState('');
  const [draft, setDraft] = useState('');
  const states = new Map(d.fields.map((f) => [f.field, f]));
  const groups = [...new Set(fields.list.map((f) => f.group))];
  const has = (name: string) => states.has(name) || d.api.values.some((v) => v.field === name);
  const act = (e: Omit<Edit, 'api'>) => edit.m.mutate({ api: d.api.name, ...e });
  return (
    <>
      {groups.map((g) => {
        const list = fields.list.filter((f) => f.group === g && has(f.name) && (!q || (f.title + f.name).toLowerCase().includes(q.toLowerCase())));
        if (!list.length) return null;
        return (
          <Panel key={g} title={g.replace(/^./, (x) => x.toUpperCase())} flush>
            <ul className="field-list">
              {list.map((f) => {
                const s = states.get(f.name);
                const v = d.api.values.find((x) => x.field === f.name);
                const shown = v ?? s;
                const claims = s?.claims ?? [];
                const open = more.has(f.name) || !!s?.conflict;
                return (
                  <li key={f.name}>
                    <div className="field-head">
                      <span title={f.doc}>{f.title}</span>
                      <span className="wrap-any">{f.type === 'time' && shown?.value ? <Time iso={shown.value} full /> : shown?.value || <span className="sub">nothing stands</span>} {s?.conflict && <span className="badge flagged"><IconArrowsDiff size={12} aria-hidden /> sources disagree</span>}</span>
                      <span className="small field-from">{shown && <><Sure n={shown.confidence} power={shown.power} />{shown.power !== 'computed' && shown.power !== 'declared' && <span className="sub"> · {shown.source}</span>}</>}</span>
                      <span>
                        {claims.length > 0 && (
                          <button type="button" className="link-button" aria-expanded={open} onClick={() => setMore((m) => { const n = new Set(m); if (n.has(f.name)) n.delete(f.name); else n.add(f.name); return n; })}>
                            {claims.length === 1 ? '1 claim' : `${claims.length} claims`}<span className="visually-hidden"> of {f.title}</span>
                          </button>
                        )}
                      </span>
                    </div>
                    {open && claims.length > 0 && (
                      <ul className="claims" aria-label={`Claims of ${f.title}`}>
                        {claims.map((x, i) => (
                          <Claim key={i} x={x} s={s!} admin={admin && f.sources.includes('person')} busy={edit.m.isPending} act={act} />
                        ))}
                      </ul>
                    )}
                  </li>
                );
              })}
            </ul>
          </Panel>
        );
      })}
      {admin && d.api.name && (
        <Panel title="Say something more">
          <form className="row" style={{ alignItems: 'flex-end' }} onSubmit={(e) => { e.preventDefault(); act({ field: adding, action: 'confirm', value: draft }); setAdding(''); setDraft(''); }}>
            <label className="field">
              Field
              <select value={adding} onChange={(e) => { setAdding(e.target.value); setDraft(''); }}>
                <option value="">choose</option>
                {groups.map((g) => (
                  <optgroup key={g} label={g}>
                    {fields.list.filter((f) => f.group === g && f.sources.includes('person')).map((f) => <option key={f.name} value={f.name}>{f.title}</option>)}
                  </optgroup>
                ))}
              </select>
            </label>
            {adding && <Value field={fields.of(adding)} value={draft} onChange={setDraft} />}
            <Button type="submit" size="xs" variant="default" disabled={!adding || !draft.trim()} loading={edit.m.isPending}>Set</Button>
          </form>
        </Panel>
      )}
    </>
  );
}

function Claim({ x, s, admin, busy, act }: { x: Said; s: State; admin: boolean; busy: boolean; act(e: Omit<Edit, 'api'>): void }) {
  const on = !x.rejected && (s.list.length ? s.list.includes(x.value) : s.value === x.value);
  return (
    <li className={x.rejected ? 'rejected' : ''}>
      <span className="wrap-any">{on && <IconCheck size={14} aria-label="stands" style={{ color: 'var(--good)', verticalAlign: -2 }} />} {x.value}</span>
      <span className="small sub wrap-any">
        {x.source}{x.power === 'claimed' ? `, ${Math.round(100 * x.confidence)} % sure` : `, ${powerText[x.power]}`}{x.evidence && <>, <span className="mono">{x.evidence}</span></>} · <Time iso={x.last} />
        {x.rejected && <> · rejected by {x.rejected_by}{x.rejected_for && `: ${x.rejected_for}`}</>}
      </span>
      {admin && x.power !== 'declared' && (
        <span className="row" style={{ gap: 4, flexWrap: 'nowrap' }}>
          {x.rejected ? (
            <Button size="compact-xs" variant="default" disabled={busy} aria-label={`Restore ${x.value} of ${x.source}`} onClick={() => act({ field: s.field, action: 'restore', value: x.value, source: x.source })}>Restore</Button>
          ) : (
            <>
              {x.power === 'claimed' && <Button size="compact-xs" variant="default" disabled={busy} leftSection={<IconCheck size={12} aria-hidden />} aria-label={`Confirm ${x.value}`} onClick={() => act({ field: s.field, action: 'confirm', value: x.value })}>Confirm</Button>}
              <Button size="compact-xs" variant="default" disabled={busy} leftSection={<IconX size={12} aria-hidden />} aria-label={`Reject ${x.value} of ${x.source}`} onClick={() => act({ field: s.field, action: 'reject', value: x.value, source: x.source })}>Reject</Button>
            </>
          )}
        </span>
      )}
    </li>
  );
}

// Graph draws who calls the API and what it calls: consumers at the left,
// upstreams at the right. The lists below say the same in words.
export function Graph({ name }: { name: string }) {
  const q = useQuery({ queryKey: ['graph', name], queryFn: () => ask(client.GET('/api/v1/inventory/graph', { params: { query: { api: name, limit: 200 } } })) });
  const g = q.data;
  const sides = useMemo(() => {
    if (!g) return undefined;
    const me = g.nodes.find((n) => n.kind === 'api' && n.name === name);
    const by = new Map(g.nodes.map((n) => [n.id, n]));
    const left = g.edges.filter((e) => e.to === me?.id).sort((a, b) => b.requests - a.requests);
    const right = g.edges.filter((e) => e.from === me?.id).sort((a, b) => b.requests - a.requests);
    return { by, left, right };
  }, [g, name]);
  if (q.isPending) return <div className="panel"><Loading /></div>;
  if (q.isError) return <Failure error={q.error} retry={() => void q.refetch()} />;
  if (!g || !sides) return null;
  const { by, left, right } = sides;
  if (!left.length && !right.length)
    return <div className="panel"><Empty title="Nobody is known to call it, and it is known to call nothing"><p>Consumers show with their first request. What it calls is said by catalogues (field <em>Upstreams</em>), or seen at the door out.</p></Empty></div>;
  const most = 14;
  const a = left.slice(0, most);
  const b = right.slice(0, most);
  const tall = Math.max(a.length, b.length, 1) * 34 + 20;
  const peak = Math.max(1, ...left.map((e) => e.requests), ...right.map((e) => e.requests));
  const y = (i: number, n: number) => tall / 2 + (i - (n - 1) / 2) * 34;
  const wide = (n: number) => (n ? 1 + 5 * (Math.log1p(n) / Math.log1p(peak)) : 1);
  const short = (s: string, n: number) => (s.length > n ? s.slice(0, n - 1) + '…' : s);
  // Of a principal the name is enough here; its issuer stands in the list.
  const label = (id: string) => (by.get(id)?.name ?? '').split('#').pop() || 'unnamed';
  return (
    <div className="stack">
      <Panel title="Who calls what">
        <svg className="graph" viewBox={`0 0 900 ${tall}`} role="img" aria-label={`${left.length} consumers call ${name || 'unmatched traffic'}, which calls ${right.length} upstreams; the lists below name them`}>
          {a.map((e, i) => <path key={e.from} d={`M250,${y(i, a.length)} C310,${y(i, a.length)} 310,${tall / 2} 370,${tall / 2}`} strokeWidth={wide(e.requests)} className={e.requests ? '' : 'said'} />)}
          {b.map((e, i) => <path key={e.to} d={`M530,${tall / 2} C590,${tall / 2} 590,${y(i, b.length)} 650,${y(i, b.length)}`} strokeWidth={wide(e.requests)} className={e.requests ? '' : 'said'} />)}
          {a.map((e, i) => <g key={e.from} transform={`translate(0 ${y(i, a.length)})`}><rect x="0" y="-13" width="250" height="26" rx="5" /><text x="10" y="4">{short(label(e.from), 36)}</text></g>)}
          <g transform={`translate(0 ${tall / 2})`} className="centre"><rect x="370" y="-17" width="160" height="34" rx="6" /><text x="450" y="5" textAnchor="middle">{short(name || 'no API', 22)}</text></g>
          {b.map((e, i) => <g key={e.to} transform={`translate(0 ${y(i, b.length)})`}><rect x="650" y="-13" width="250" height="26" rx="5" /><text x="660" y="4">{short(label(e.to), 36)}</text></g>)}
        </svg>
        <p className="sub small">The thicker a line, the more requests. Dashed: somebody says so, no request was counted.{left.length > most && ` ${left.length - most} further consumers are in the list.`}{g.cut && ' There are more consumers than are named.'}</p>
      </Panel>
      <div className="grid-2">
        <Edges title="Consumers" list={left.map((e) => ({ ...e, node: by.get(e.from), id: e.from }))} />
        <Edges title="What it calls" list={right.map((e) => ({ ...e, node: by.get(e.to), id: e.to }))} />
      </div>
    </div>
  );
}

function Edges({ title, list }: { title: string; list: (Schemas['GraphEdge'] & { node?: Schemas['GraphNode']; id: string })[] }) {
  return (
    <Panel title={title} flush>
      {list.length === 0 ? <Empty title="None is known" /> : (
        <DataTable
          label={title}
          rows={list}
          rowKey={(e) => e.id}
          columns={[
            { id: 'n', head: 'Name', cell: (e) => (e.node?.kind === 'api' ? <Link to="/inventory" search={apiLink(e.node.name)}>{e.node.name}</Link> : <span className="wrap-any">{e.node?.name}</span>) },
            { id: 'r', head: 'Requests', right: true, cell: (e) => (e.requests ? exact(e.requests) : <span className="sub">only said</span>) },
            { id: 's', head: 'Known from', hidePhone: true, cell: (e) => <span className="sub">{e.source}</span> },
          ]}
        />
      )}
    </Panel>
  );
}

// Drift shows what traffic does beyond the specification and what of it is
// never used, as a reviewer reads a change: + and − by operation.
export function Drift({ name }: { name: string }) {
  const q = useQuery({ queryKey: ['drift', name], retry: false, queryFn: () => ask(client.GET('/api/v1/apis/{api}/drift', { params: { path: { api: name } } })) });
  const learned = useQuery({ queryKey: ['learned', name], retry: false, queryFn: () => ask(client.GET('/api/v1/apis/{api}/learned', { params: { path: { api: name } } })) });
  const [side, setSide] = useState<'' | 'beyond' | 'unused'>('');
  const nothing = (e: unknown) => e instanceof Problem && [404, 422].includes(e.status);
  if (q.isPending) return <div className="panel"><Loading /></div>;
  if (q.isError && !nothing(q.error)) return <Failure error={q.error} retry={() => void q.refetch()} />;
  const d = q.data;
  const groups = new Map<string, Schemas['DriftView'][]>();
  for (const x of d?.differences ?? []) {
    if ((side === 'beyond' && !x.beyond) || (side === 'unused' && x.beyond)) continue;
    const key = `${x.method} ${x.template}`;
    groups.set(key, [...(groups.get(key) ?? []), x]);
  }
  return (
    <div className="stack">
      <Panel
        title="Declared against learned from traffic"
        flush
        aside={d && d.differences.length > 0 ? (
          <span className="row" style={{ gap: 4 }} role="group" aria-label="Show">
            {([['', 'all'], ['beyond', `+ ${exact(d.beyond)} beyond`], ['unused', `− ${exact(d.unused)} never used`]] as const).map(([id, text]) => <Button key={id} size="compact-xs" variant={side === id ? 'filled' : 'default'} aria-pressed={side === id} onClick={() => setSide(id)}>{text}</Button>)}
          </span>
        ) : undefined}
      >
        {!d ? (
          <Empty title="Nothing was learned yet"><p>Traffic teaches parameters, types and answers. They stand here after the first requests, beside what the specification declares.</p></Empty>
        ) : d.differences.length === 0 ? (
          <Empty title="Traffic is as the specification says" />
        ) : (
          <>
            {!d.specified && <div className="panel-body"><Note kind="warn">The API has no specification: all that traffic does is beyond it. Download what was learned below, and begin with that.</Note></div>}
            <div className="diff" role="region" aria-label="Differences" tabIndex={0}>
              {[...groups].map(([key, list]) => (
                <section key={key}>
                  <h3><Link to="/inventory/operation" search={{ api: name, method: key.split(' ')[0]!, template: key.slice(key.indexOf(' ') + 1) }}><Method name={key.split(' ')[0]!} /> <span className="mono wrap-any">{key.slice(key.indexOf(' ') + 1)}</span></Link></h3>
                  {list.map((x, i) => (
                    <div key={i} className={x.beyond ? 'plus' : 'minus'}>
                      <span aria-hidden>{x.beyond ? '+' : '−'}</span>
                      <span className="wrap-any"><span className="visually-hidden">{x.beyond ? 'Beyond the specification: ' : 'Never used: '}</span>{x.place && <span className="mono">{x.place}</span>} {x.text}{x.declared && x.seen && <span className="sub"> (declared {x.declared}, seen {x.seen})</span>}</span>
                      <span className="num sub small">{x.beyond && x.count > 0 ? `${exact(x.count)} ×` : ''}</span>
                    </div>
                  ))}
                </section>
              ))}
            </div>
          </>
        )}
      </Panel>
      {learned.data && (
        <Panel
          title="What traffic has taught"
          flush
          aside={<span className="row">
            <a className="small" href={`/api/v1/apis/${encodeURIComponent(name)}/learned.openapi.yaml`} download={`${name}.openapi.yaml`}><IconDownload size={13} aria-hidden /> OpenAPI 3.1, YAML</a>
            <a className="small" href={`/api/v1/apis/${encodeURIComponent(name)}/learned.openapi.json`} download={`${name}.openapi.json`}>JSON</a>
          </span>}
        >
          <DataTable
            label="What traffic has taught"
            rows={learned.data.operations}
            rowKey={(o) => o.method + o.template}
            columns={[
              { id: 'o', head: 'Operation', cell: (o) => <><Method name={o.method} /> <span className="mono wrap-any">{o.template}</span> {!o.declared && <span className="badge flagged">not declared</span>}{o.reasons.length > 0 && <div className="sub small">{o.reasons.join('; ')}</div>}</> },
              { id: 's', head: 'State', hidePhone: true, cell: (o) => o.state },
              { id: 'r', head: 'Requests', right: true, cell: (o) => exact(o.requests) },
              { id: 'p', head: 'Parameters', hidePhone: true, cell: (o) => <span className="mono small wrap-any">{o.parameters.join(', ') || '–'}</span> },
              { id: 'a', head: 'Credentials', hidePhone: true, cell: (o) => o.auth.join(', ') || '–' },
              { id: 'c', head: 'Statuses', hidePhone: true, cell: (o) => <span className="num">{o.statuses.join(', ')}</span> },
            ]}
          />
        </Panel>
      )}
    </div>
  );
}

const gateBadge: Record<string, string> = { admitted: 'good', held: 'flagged', testing: 'invited', quarantined: 'refuse', retired: '' };

// Verdicts are the instances of an API with the end of their latest test.
export function Verdicts({ name }: { name: string }) {
  const fleet = useQuery({ queryKey: ['gate', 'fleet'], refetchInterval: 10_000, queryFn: () => ask(client.GET('/api/v1/gate')) });
  const verdicts = useQuery({ queryKey: ['gate', 'verdicts', name], refetchInterval: 10_000, enabled: !!name, queryFn: () => ask(client.GET('/api/v1/gate/verdicts', { params: { query: { api: name, limit: 100 } } })) });
  const rows = (fleet.data?.instances ?? []).filter((i) => i.api === name);
  if (!rows.length) return <p className="sub small">No instance of it stands behind this gateway.</p>;
  return (
    <ul className="plain-list">
      {rows.map((i) => {
        const v = verdicts.data?.verdicts.find((x) => x.id === i.verdict) ?? verdicts.data?.verdicts.find((x) => x.url === i.url);
        return (
          <li key={i.url + i.boot}>
            <span className="row" style={{ gap: 6 }}><span className={`badge ${gateBadge[i.state] ?? ''}`}>{i.state}</span> <span className="mono wrap-any">{i.url}</span></span>
            <div className="sub small">{v ? <>{v.passed ? 'passed' : 'failed'} <Time iso={v.ended} />: {v.summary}</> : i.reason || 'not tested yet'}</div>
          </li>
        );
      })}
    </ul>
  );
}

export function CardFacts({ c }: { c: Card }) {
  const fields = useFields();
  const list = ['lifecycle', 'environment', 'exposure.declared', 'exposure.observed', 'criticality', 'auth.observed', 'data.classes', 'compliance', 'kind', 'technology', 'gateways'].filter((f) => value(c, f));
  return (
    <dl className="facts">
      {list.map((f) => (
        <Row key={f} name={f} v={value(c, f)} />
      ))}
      <dt>{fields.title('risk')}</dt>
      <dd><Score n={c.risk} /></dd>
    </dl>
  );
}
