import type { ReactNode } from 'react';
import { Button, CopyButton } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { IconArrowRight, IconCheck, IconLockOpen, IconX } from '@tabler/icons-react';
import { ask, client, Problem, type Schemas, useMe } from '../api/client';
import { DataTable } from '../components/table';
import { ActionBadge, actOf, Empty, Facts, Failure, Loading, Method, Note, PageHead, Panel, Status, Time } from '../components/parts';
import { bytes, milliseconds } from '../lib/format';
import { decisionRoute } from '../router';
import { stages } from './decisions';

type Detail = Schemas['DecisionDetail'];

export function DecisionPage() {
  const { id } = decisionRoute.useParams();
  const q = useQuery({ queryKey: ['decision', id], queryFn: () => ask(client.GET('/api/v1/decisions/{id}', { params: { path: { id } } })), staleTime: 60_000 });
  const absent = q.error instanceof Problem && (q.error.status === 404 || q.error.status === 422);
  return (
    <>
      <PageHead
        crumbs={<><Link to="/decisions">Decisions</Link> <span aria-hidden>/</span> <span className="mono wrap-any">{id}</span></>}
        title={q.data ? <span className="row"><ActionBadge act={actOf(q.data.decision)} /> <span>{q.data.decision.method ? <><Method name={q.data.decision.method} /> <span className="mono">{q.data.decision.template || q.data.decision.path}</span></> : 'a request that could not be read'}</span></span> : 'Decision'}
        sub={q.data && <Sentence d={q.data} />}
      >
        <CopyButton value={window.location.href}>
          {({ copied, copy }) => (
            <button type="button" className="link-button" onClick={copy}>
              {copied ? 'Copied' : 'Copy the link'}
            </button>
          )}
        </CopyButton>
      </PageHead>
      {q.data ? (
        <Body d={q.data} />
      ) : absent ? (
        <div className="panel">
          <Empty title="No decision is kept under this id">
            <p>
              Refusals and findings are kept for as long as the retention says (Settings, About); of plain allows only a sample is. A request that just ended shows after a moment.
            </p>
            <button type="button" className="link-button" onClick={() => void q.refetch()}>
              Look again
            </button>
          </Empty>
        </div>
      ) : q.isError ? (
        <Failure error={q.error} retry={() => void q.refetch()} />
      ) : (
        <div className="panel"><Loading lines={10} /></div>
      )}
    </>
  );
}

function Sentence({ d }: { d: Detail }) {
  const x = d.decision;
  if (x.action === 'allow' && x.reasons.some((r) => r.stage === 'rewrite' && r.mode === 'enforce' && !r.exception))
    return <>{d.original || x.reasons.some((r) => r.stage === 'rewrite' && r.in === 'body') ? 'Allowed; the upstream\u2019s error was replaced on its way out.' : 'Allowed; the answer\u2019s head was cut on its way out.'}</>;
  if (x.action === 'allow') return <>{x.reasons.length ? 'Allowed, with findings of checks that only observe.' : 'Allowed; no check found anything.'}</>;
  return (
    <>
      {x.action === 'throttle' ? 'Refused for now' : 'Refused'} at the stage {x.stage || 'decide'} with status {x.status}. {x.origin ? 'The upstream had answered.' : 'The upstream was not asked.'}
    </>
  );
}

function Body({ d }: { d: Detail }) {
  const x = d.decision;
  return (
    <div className="stack">
      <Panel title="Stages" aside={<span className="sub small">program <code>{d.program || 'none'}</code></span>}>
        <Path d={d} />
      </Panel>
      <Panel title={x.reasons.length === 1 ? 'Reason' : 'Reasons'} flush>
        {x.reasons.length === 0 ? (
          <Empty title="No check found anything" />
        ) : (
          x.reasons.map((r, i) => (
            <div className="reason" key={i}>
              <div>
                <span className={`badge ${r.exception ? '' : r.mode === 'observe' ? 'flagged' : x.action === 'throttle' ? 'throttle' : x.action === 'refuse' ? 'refuse' : 'flagged'}`}>{r.exception ? 'spared' : r.mode}</span>
              </div>
              <div className="stack" style={{ gap: 4 }}>
                <div className="row">
                  <strong className="mono wrap-any">{r.rule}</strong>
                  <span className="sub">{r.stage}</span>
                  {r.class && <span className="badge">{r.class}</span>}
                </div>
                {r.detail && <div>{r.detail}</div>}
                {ruleText[r.rule] && <div className="sub">{ruleText[r.rule]}</div>}
                <div className="small sub">
                  {r.in ? <>Place: <span className="mono wrap-any">{r.in}{r.name ? ' ' + r.name : ''}</span></> : 'The message as a whole'}
                  {r.exception && <> · spared by exception <span className="mono">{r.exception}</span></>}
                  {' · '}
                  <Link to="/decisions" search={{ view: 'history', rule: r.rule }}>others by this rule</Link>
                </div>
              </div>
            </div>
          ))
        )}
      </Panel>
      {d.original && <Original id={x.id} />}
      {d.not_inspected.length > 0 && (
        <Note kind="warn">
          <strong>Not inspected:</strong>
          <ul style={{ margin: '4px 0 0', paddingLeft: 18 }}>
            {d.not_inspected.map((n) => (
              <li key={n}>{n}</li>
            ))}
          </ul>
        </Note>
      )}
      <div className="grid-2">
        <Panel title="Request">
          <Facts
            rows={[
              ['Request id', <span key="i" className="mono">{x.id}</span>],
              ['Time', <Time key="t" iso={x.time} full millis />],
              ['Target', x.method ? <span key="p" className="mono">{x.method} {x.path}{x.query ? '?' + x.query : ''}</span> : 'could not be read'],
              ['Host', <span key="h" className="mono">{x.host}</span>],
              ['API', x.api ? <Link key="a" to="/inventory" search={{ api: x.api }}>{x.api}</Link> : 'none matched'],
              ['Operation', x.template ? <span key="o"><Link className="mono" to="/inventory/operation" search={{ ...(x.api ? { api: x.api } : {}), method: x.method, template: x.template }}>{x.method} {x.template}</Link>{!x.declared && <span className="badge flagged" style={{ marginLeft: 6 }}>undeclared</span>}</span> : <span key="o" className="sub">not named</span>],
              ['Client', x.client ? <Link key="c" className="mono" to="/decisions" search={{ view: 'history', client: x.client }}>{x.client}</Link> : ''],
              ['Principal', <Link key="pr" className="mono" to="/decisions" search={{ view: 'history', principal: x.principal }}>{x.principal}</Link>],
              ...(x.app ? ([['Application', <span key="ap" className="mono">{x.app}</span>]] as [string, ReactNode][]) : []),
              ...(d.caller.issuer ? ([['Issuer', <span key="is" className="mono wrap-any">{d.caller.issuer}</span>]] as [string, ReactNode][]) : []),
              ...(d.caller.actor ? ([['Acts for them', <span key="ac" className="mono wrap-any">{d.caller.actor}</span>]] as [string, ReactNode][]) : []),
              ...(d.caller.kind === 'oidc' ? ([['Token', d.caller.binding ? `bound to its holder: ${d.caller.binding}` : 'not bound to its holder']] as [string, ReactNode][]) : []),
              ['Protocol', `${x.proto}${x.tls ? ' over TLS' : ' without TLS'}, door ${x.door}`],
              ['Body', bytes(x.request_bytes)],
            ]}
          />
        </Panel>
        <Panel title="Answer">
          <Facts
            rows={[
              ['Status', <Status key="s" code={x.status} />],
              ['Upstream', x.origin ? <span key="u"><Status code={x.origin} /> from <span className="mono">{x.instance}</span></span> : 'not asked'],
              ...(x.retries ? ([['Retries', String(x.retries)]] as [string, ReactNode][]) : []),
              ['Took', `${milliseconds(x.duration_ms)}${x.upstream_ms ? `, of which upstream ${milliseconds(x.upstream_ms)}` : ''}`],
              ['Relief', d.relief.length ? <span key="r" className="row" style={{ gap: 4 }}>{d.relief.map((r) => <span key={r} className="badge good" title={r}>{reliefText[r] ?? r}</span>)}</span> : x.reasons.some((r) => r.stage === 'relieve') ? 'turned away to spare the upstream; see the reason' : 'none: the upstream did all the work'],
              ['Cost', d.cost ? <Cost key="c" c={d.cost} /> : 'nobody tells'],
              ['Body', bytes(x.response_bytes)],
              ['Contract', d.new_status ? <span key="n" className="badge flagged">status not declared</span> : 'status as declared, or nothing declared'],
              ['Undocumented', d.undocumented.length ? <span key="ud" className="mono">{d.undocumented.map((p) => `${p.in} ${p.name}`).join(', ')}</span> : 'nothing'],
              ['Sensitive data', d.classes.length ? d.classes.map((c) => `${c.class} (${c.response ? 'answer' : 'request'} ${c.in} ${c.name})`).join(', ') : 'none recognised'],
            ]}
          />
        </Panel>
        <Lines title="Request headers" list={d.request_headers} />
        <Lines title="Answer headers" list={d.response_headers} />
        <Shape title="Request body as observed" list={d.request_shape} />
        <Shape title="Answer body as observed" list={d.response_shape} />
      </div>
    </div>
  );
}

// What a rule means, where its name and detail may not say enough.
const ruleText: Record<string, string> = {
  'load.share': 'A caller that makes others wait and holds more than its share of the places gets no further one.',
  'load.dear': "A caller whose requests hold places far longer than others' is held to few of them.",
};

const reliefText: Record<string, string> = {
  'cache.hit': 'answered from the cache',
  'cache.stale': 'answered from the cache, asked for anew behind',
  'cache.stale-if-error': 'answered from the cache because the upstream failed',
  'cache.revalidated': 'the stored answer still held',
  coalesced: "given the answer to another's request",
};

// Cost says what a request took of the upstream, as far as anybody knows.
function Cost({ c }: { c: Schemas['CostView'] }) {
  const parts = [
    c.cpu > 0 ? `${milliseconds(c.cpu)} of CPU${c.estimated ? ' (estimated from the time it took)' : ''}` : '',
    c.bytes > 0 ? bytes(c.bytes) : '',
    c.rows > 0 ? `${c.rows} ${c.rows === 1 ? 'row' : 'rows'}` : '',
    c.money > 0 ? `${c.money} of money` : '',
    c.units > 0 ? `${c.units.toFixed(2)} units` : '',
  ].filter(Boolean);
  return <>{parts.join(' · ') || 'nothing to speak of'}</>;
}

// Original opens what the upstream said in place of what the client got. It is
// asked for each time: each opening is an entry of the audit log.
function Original({ id }: { id: string }) {
  const who = useMe().data;
  const open = useMutation({ mutationFn: () => ask(client.POST('/api/v1/decisions/{id}/original', { params: { path: { id } } })) });
  const o = open.data;
  return (
    <Panel title="Original of the error" aside={o && <span className="sub small">opened; the audit log says so</span>}>
      {o ? (
        <div className="stack">
          <Facts
            rows={[
              ['Status', <Status key="s" code={o.status} />],
              ...o.headers.map((h): [string, ReactNode] => [h.name, <span key={h.name + h.value} className="mono wrap-any">{h.value}</span>]),
            ]}
          />
          <pre className="mono wrap-any" style={{ margin: 0, whiteSpace: 'pre-wrap', maxHeight: 420, overflow: 'auto' }} tabIndex={0} aria-label="Body of the original">
            {o.body || 'no body'}
          </pre>
          {(o.cut || o.base64) && <div className="sub small">{[o.cut && 'Only its beginning was kept.', o.base64 && 'It is no text and shown in base64.'].filter(Boolean).join(' ')}</div>}
        </div>
      ) : (
        <div className="stack">
          <div>What the upstream answered is kept, encrypted. {who?.role === 'admin' ? 'Opening it is an entry of the audit log.' : 'An administrator can open it.'}</div>
          {who?.role === 'admin' && (
            <div>
              <Button size="xs" variant="default" loading={open.isPending} onClick={() => open.mutate()} leftSection={<IconLockOpen size={14} aria-hidden />}>
                Open the original
              </Button>
            </div>
          )}
          {open.isError && <Failure error={open.error} />}
        </div>
      )}
    </Panel>
  );
}

// Path shows how far the request came.
function Path({ d }: { d: Detail }) {
  const x = d.decision;
  const order = ['identify', 'limit', 'authenticate', 'authorise', 'validate', 'inspect', 'decide', 'forward', ...(x.reasons.some((r) => r.stage === 'rewrite') ? ['rewrite'] : [])];
  const at = x.action === 'allow' ? order.length : x.stage && !order.includes(x.stage) && stages.indexOf(x.stage) < 1 ? -1 : order.indexOf(x.stage || 'decide');
  const findings = (s: string) => x.reasons.filter((r) => r.stage === s).length;
  const shown = x.stage === 'request' ? ['request', ...order] : order;
  return (
    <ol className="path" aria-label="Stages of the decision">
      {shown.map((s, i) => {
        const stopped = x.action !== 'allow' && s === (x.stage || 'decide');
        const reached = x.stage === 'request' ? s === 'request' : order.indexOf(s) <= at;
        const n = findings(s);
        return (
          <li key={s}>
            {i > 0 && <IconArrowRight size={13} aria-hidden style={{ opacity: 0.5 }} />}
            <span className={`badge ${stopped ? x.action : !reached ? 'outline' : n ? 'flagged' : 'good'}`}>
              {stopped ? <IconX size={12} aria-hidden /> : reached && !n ? <IconCheck size={12} aria-hidden /> : null}
              {s}
              {stopped ? ': stopped here' : !reached ? ': not reached' : n ? `: ${n} ${n === 1 ? 'finding' : 'findings'}` : ''}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

function Lines({ title, list }: { title: string; list: Schemas['HeaderLine'][] }) {
  return (
    <Panel title={title} flush>
      {list.length === 0 ? (
        <Empty title="None was recorded" />
      ) : (
        <DataTable
          label={title}
          rows={list.map((h, i) => ({ ...h, i }))}
          rowKey={(h) => h.i}
          columns={[
            { id: 'n', head: 'Name', width: '38%', cell: (h) => <span className="mono wrap-any">{h.name}</span> },
            { id: 'v', head: 'Value', cell: (h) => <span className="mono wrap-any">{h.value}</span> },
          ]}
        />
      )}
    </Panel>
  );
}

function Shape({ title, list }: { title: string; list: Schemas['ShapeLine'][] }) {
  if (!list.length) return null;
  return (
    <Panel title={title} flush aside={<span className="sub small">names and types, no values</span>}>
      <DataTable
        label={title}
        rows={list}
        rowKey={(s) => s.pointer + s.type}
        columns={[
          { id: 'p', head: 'Pointer', cell: (s) => <span className="mono wrap-any">{s.pointer || '/'}</span> },
          { id: 't', head: 'Type', cell: (s) => <span className="mono">{s.type}</span> },
          { id: 'f', head: 'Format', cell: (s) => (s.format ? <span className="mono">{s.format}</span> : <span className="sub">–</span>) },
        ]}
      />
    </Panel>
  );
}
