import { Fragment } from 'react';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { IconGhost2 } from '@tabler/icons-react';
import { ask, client, Problem, type Schemas } from '../api/client';
import { DataTable } from '../components/table';
import { Empty, Facts, Failure, LiveMark, Loading, Method, Note, PageHead, Panel, Status, Tier, Time } from '../components/parts';
import { bytes, exact, milliseconds, share, stamp } from '../lib/format';
import { useSettings } from '../lib/settings';
import { operationRoute } from '../router';
import { DemandPanels } from './demand';
import { useInventoryLive } from './inventory';

type Detail = Schemas['OperationDetail'];
type Place = Schemas['PlaceView'];

export function OperationPage() {
  const { api = '', method = '', template = '' } = operationRoute.useSearch();
  const state = useInventoryLive();
  const q = useQuery({
    queryKey: ['operation', api, method, template],
    queryFn: () => ask(client.GET('/api/v1/operation', { params: { query: { ...(api ? { api } : {}), method, template } } })),
  });
  return (
    <>
      <PageHead
        crumbs={
          <>
            <Link to="/inventory">Inventory</Link> <span aria-hidden>/</span>{' '}
            <Link to="/inventory" search={api ? { api } : { unmatched: 'yes' }}>{api || 'matched by no API'}</Link>
          </>
        }
        title={<><Method name={method} /> <span className="mono">{template}</span></>}
        sub={q.data && [q.data.operation.name, q.data.summary].filter(Boolean).join(' · ')}
      >
        <LiveMark state={state} />
        <Link to="/decisions" search={{ view: 'history', operation: `${method} ${template}`, ...(api ? { api } : {}) }}>Its decisions</Link>
      </PageHead>
      {q.data ? (
        <Body d={q.data} />
      ) : q.error instanceof Problem && q.error.status === 404 ? (
        <div className="panel">
          <Empty title="This operation is not known">
            <p>It may have been folded into a wider path, or was not seen for so long that it went.</p>
            <Link to="/inventory" search={api ? { api } : { unmatched: 'yes' }}>All operations of {api || 'no API'}</Link>
          </Empty>
        </div>
      ) : q.isError ? <Failure error={q.error} retry={() => void q.refetch()} /> : <div className="panel"><Loading lines={10} /></div>}
    </>
  );
}

function Body({ d }: { d: Detail }) {
  const o = d.operation;
  const c = o.counts;
  return (
    <div className="stack">
      {o.shadow && (
        <Note kind="warn">
          <strong>Shadow operation.</strong> It was seen in traffic and stands in no specification. Add it to the specification, or have it taken down.
        </Note>
      )}
      {o.undeclared_since && <Note kind="warn">It left the specification <Time iso={o.undeclared_since} />, and may still be called.</Note>}
      {d.deprecated && <Note kind="warn">The specification calls it deprecated.</Note>}
      <div className="grid-2">
        <Panel title="Evidence">
          <Facts
            rows={[
              ['Tier', <Tier key="t" tier={o.tier} />],
              ['Contract', o.declared ? <>declared{d.declared_at ? <> since <Time iso={d.declared_at} /></> : null}</> : <span key="s" className="badge flagged"><IconGhost2 size={12} aria-hidden /> in no specification</span>],
              ['Security declared', d.security.length ? d.security.join(', ') : o.declared ? 'none: open to everyone' : 'nothing is declared'],
              ['Credentials seen', [...d.kinds, ...(d.anonymous ? [`anonymous (${share(d.anonymous, c.requests)})`] : [])].join(', ') || 'none yet'],
              ['First seen', <Time key="f" iso={o.first_seen} full />],
              ['Last seen', <Time key="l" iso={o.last_seen} full />],
              ...(d.reasons.length ? ([['Path folded because', <ul key="r" style={{ margin: 0, paddingLeft: 16 }}>{d.reasons.map((r) => <li key={r}>{r}</li>)}</ul>]] as [string, React.ReactNode][]) : []),
            ]}
          />
        </Panel>
        <Panel title="Traffic">
          <Facts
            rows={[
              ['Requests', `${exact(c.requests)}, ${share(c.refused, c.requests)} refused by the guard`],
              ['Answers', `2xx ${share(c.status_2xx, c.requests)} · 3xx ${share(c.status_3xx, c.requests)} · 4xx ${share(c.status_4xx, c.requests)} · 5xx ${share(c.status_5xx, c.requests)}`],
              ['Latency', `median ${milliseconds(c.p50_ms)}, p95 ${milliseconds(c.p95_ms)}, p99 ${milliseconds(c.p99_ms)}`],
              ['Volume', `${bytes(c.request_bytes)} in, ${bytes(c.response_bytes)} out`],
              ['Transport', d.plain ? `${share(d.plain, d.plain + d.tls)} without TLS` : d.tls ? 'all over TLS' : 'no request yet'],
            ]}
          />
          <Hours d={d} />
        </Panel>
      </div>
      <DemandPanels d={d} />
      <SchemaTable d={d} />
      <div className="grid-2">
        <Panel title="Consumers" flush aside={<span className="sub small">about {exact(o.principals)}</span>}>
          {d.users.length === 0 ? (
            <Empty title="Nobody has called it yet" />
          ) : (
            <DataTable
              label="Consumers"
              rows={d.users}
              rowKey={(u) => u.principal}
              columns={[
                { id: 'p', head: 'Principal', cell: (u) => <Link className="mono wrap-any" to="/decisions" search={{ view: 'history', principal: u.principal }}>{u.principal}</Link> },
                { id: 'n', head: 'Requests', right: true, cell: (u) => exact(u.count) },
                { id: 'f', head: 'First', hidePhone: true, cell: (u) => <Time iso={u.first_seen} /> },
                { id: 'l', head: 'Last', cell: (u) => <Time iso={u.last_seen} /> },
              ]}
            />
          )}
        </Panel>
        <Panel title="Statuses" flush>
          {d.statuses.length === 0 ? (
            <Empty title="No status is declared, and none was seen" />
          ) : (
            <DataTable
              label="Statuses"
              rows={d.statuses}
              rowKey={(s) => s.code}
              columns={[
                { id: 'c', head: 'Status', cell: (s) => <Status code={s.code} /> },
                { id: 'd', head: 'Contract', cell: (s) => (s.undocumented ? <span className="badge flagged">not declared</span> : s.declared ? 'declared' : <span className="sub">–</span>) },
                { id: 'n', head: 'Answers', right: true, cell: (s) => (s.count ? exact(s.count) : <span className="sub">never</span>) },
                { id: 'f', head: 'First', hidePhone: true, cell: (s) => <Time iso={s.first_seen} /> },
                { id: 'l', head: 'Last', cell: (s) => <Time iso={s.last_seen} /> },
              ]}
            />
          )}
        </Panel>
        <Panel title="Sensitive data" flush>
          {d.found.length === 0 ? (
            <Empty title="None was recognised">
              <p className="sub">Bodies are sampled: a class shows once a sample holds it. Values are never kept.</p>
            </Empty>
          ) : (
            <DataTable
              label="Sensitive data"
              rows={d.found}
              rowKey={(f) => f.class + f.in + f.name + f.response}
              columns={[
                { id: 'c', head: 'Class', cell: (f) => <span className="badge">{f.class}</span> },
                { id: 'p', head: 'Place', cell: (f) => <span className="mono wrap-any">{f.in} {f.name}</span> },
                { id: 'r', head: 'In', cell: (f) => (f.response ? 'answer' : 'request') },
                { id: 'n', head: 'Times', right: true, cell: (f) => exact(f.count) },
                { id: 'l', head: 'Last', hidePhone: true, cell: (f) => <Time iso={f.last_seen} /> },
              ]}
            />
          )}
        </Panel>
        <Panel title="History" flush>
          {d.changes.length === 0 ? (
            <Empty title="Nothing has changed" />
          ) : (
            <DataTable
              label="History"
              rows={d.changes}
              rowKey={(x) => x.id}
              columns={[
                { id: 't', head: 'When', cell: (x) => <Time iso={x.time} /> },
                { id: 'k', head: 'What', cell: (x) => x.kind },
                { id: 'd', head: 'Detail', cell: (x) => <span className="wrap-any">{x.detail}</span> },
              ]}
            />
          )}
        </Panel>
      </div>
    </div>
  );
}

function Hours({ d }: { d: Detail }) {
  const { zone } = useSettings();
  const last = d.hours.slice(-48);
  if (last.length < 2) return null;
  const most = Math.max(1, ...last.map((h) => h.requests));
  return (
    <div style={{ marginTop: 14 }}>
      <h3 style={{ marginBottom: 6 }}>Requests per hour</h3>
      <div className="hours" role="img" aria-label={`Requests in each of the last ${last.length} hours, at most ${exact(most)}`}>
        {last.map((h) => (
          <i key={h.time} style={{ height: `${Math.max(2, (100 * h.requests) / most)}%` }} title={`${stamp(h.time, zone).slice(0, 16)}: ${exact(h.requests)} requests, ${exact(h.refused)} refused`} />
        ))}
      </div>
    </div>
  );
}

const order = ['path', 'query', 'header', 'cookie', 'body'];

// SchemaTable sets what is declared beside what was observed.
function SchemaTable({ d }: { d: Detail }) {
  const groups: [string, Place[]][] = [
    ...order.map((part): [string, Place[]] => [part === 'body' ? 'request body' : part, d.places.filter((p) => !p.response && p.in === part)]),
    ['answer body', d.places.filter((p) => p.response)],
  ];
  const filled = groups.filter(([, list]) => list.length);
  return (
    <Panel title="Schema: declared against observed" flush>
      {filled.length === 0 ? (
        <Empty title="No parameter and no body is declared or was seen" />
      ) : (
        <div className="table-scroll" tabIndex={0} role="region" aria-label="Schema, declared against observed">
          <table className="data">
            <thead>
              <tr>
                <th scope="col">Place</th>
                <th scope="col">Declared</th>
                <th scope="col">Observed</th>
                <th scope="col">Verdict</th>
                <th scope="col" className="right">Seen</th>
                <th scope="col" className="hide-phone">Last</th>
              </tr>
            </thead>
            <tbody>
              {filled.map(([name, list]) => (
                <Fragment key={name}>
                  <tr>
                    <th scope="rowgroup" colSpan={6} style={{ background: 'var(--raised)' }}>
                      {name}
                    </th>
                  </tr>
                  {list.map((p) => (
                    <tr key={p.in + p.name + p.response}>
                      <td className="mono wrap-any">
                        {p.name || '/'}
                        {p.required && <span className="sub"> required</span>}
                      </td>
                      <td className="mono">{p.declared ? <>{p.type || 'any'}{p.format && <span className="sub"> {p.format}</span>}</> : <span className="sub">–</span>}</td>
                      <td className="mono">
                        {p.seen.length ? p.seen.map((s) => s.type).join(' | ') : p.count ? 'present' : <span className="sub">–</span>}
                        {p.seen_format && <span className="sub"> {p.seen_format}</span>}
                      </td>
                      <td><Verdict p={p} declared={d.operation.declared} /></td>
                      <td className="right">{p.count ? exact(p.count) : <span className="sub">never</span>}</td>
                      <td className="hide-phone"><Time iso={p.last_seen} /></td>
                    </tr>
                  ))}
                </Fragment>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

function Verdict({ p, declared }: { p: Place; declared: boolean }) {
  if (p.undocumented || (!p.declared && p.count > 0)) return declared ? <span className="badge flagged">undocumented</span> : <span className="sub">observed</span>;
  if (!p.count) return <span className="sub">not seen</span>;
  const strange = p.seen.filter((s) => p.type && p.type !== 'any' && !p.type.split('|').some((t) => t === s.type || (t === 'number' && s.type === 'integer')));
  if (strange.length) return <span className="badge refuse">type differs</span>;
  return <span className="badge good">agrees</span>;
}
