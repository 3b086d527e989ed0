import { useState, type ReactNode } from 'react';
import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { IconDownload } from '@tabler/icons-react';
import { ask, client, Problem, useMe, type Schemas } from '../api/client';
import { Copyable } from '../components/copy';
import { DataTable } from '../components/table';
import { Empty, Facts, Failure, Loading, Note, PageHead, Panel, Time } from '../components/parts';
import { exact } from '../lib/format';
import { verdictRoute } from '../router';
import { ActDialog, BreakTable, PassBadge, took, VerdictLink } from './conformance';

type Detail = Schemas['VerdictDetail'];
type Finding = Schemas['VerdictFinding'];

export function VerdictPage() {
  const { id } = verdictRoute.useParams();
  const me = useMe();
  const [testing, setTesting] = useState(false);
  const q = useQuery({ queryKey: ['verdict', id], staleTime: 60_000, queryFn: () => ask(client.GET('/api/v1/gate/verdicts/{id}', { params: { path: { id } } })) });
  const absent = q.error instanceof Problem && [400, 404, 422].includes(q.error.status);
  const v = q.data?.verdict;
  return (
    <>
      <PageHead crumbs={<><Link to="/conformance">Conformance</Link> <span aria-hidden>/</span> <span className="mono wrap-any">{id}</span></>} title={v ? <>{v.api} at <span className="mono">{v.url}</span></> : 'Verdict'} sub={v && <span className="row" style={{ gap: 6 }}><PassBadge passed={v.passed} /><span><Time iso={v.ended} />, {v.profile} tests</span></span>}>
        {q.data?.report && (
          <>
            <Button component="a" href={`/api/v1/gate/verdicts/${id}/report.html`} download variant="default" size="xs" leftSection={<IconDownload size={14} aria-hidden />}>HTML</Button>
            <Button component="a" href={`/api/v1/gate/verdicts/${id}/report.json`} download variant="default" size="xs" leftSection={<IconDownload size={14} aria-hidden />}>JSON</Button>
          </>
        )}
        {v && me.data?.role === 'admin' && <Button size="xs" onClick={() => setTesting(true)}>Test again</Button>}
      </PageHead>
      {q.data ? <Whole d={q.data} /> : absent ? <div className="panel"><Empty title="No verdict is kept under this id"><p>Verdicts are removed when they are older than <code>retention.verdicts</code>. <Link to="/conformance" search={{ view: 'runs' }}>All runs</Link></p></Empty></div> : q.isError ? <Failure error={q.error} retry={() => void q.refetch()} /> : <div className="panel"><Loading lines={10} /></div>}
      {testing && v && <ActDialog act={{ kind: 'test', api: v.api, url: v.url }} close={() => setTesting(false)} />}
    </>
  );
}

function Whole({ d }: { d: Detail }) {
  const v = d.verdict;
  const r = d.report;
  const facts: [ReactNode, ReactNode][] = [
    ['API', <Link key="a" to="/inventory" search={{ api: v.api }}>{v.api}</Link>],
    ['Instance', <span key="i"><span className="mono wrap-any">{v.url}</span> · <Link to="/conformance" search={{ view: 'runs', api: v.api, url: v.url }}>its runs</Link></span>],
    ['Start of it', <span key="b" className="mono wrap-any">{v.boot}</span>],
    ['Why it was tested', v.trigger],
    ['Began', <Time key="t" iso={v.began} full />],
    ['Took', r ? `${took(v)}, ${exact(r.requests)} requests` : took(v)],
    ['Seed', r && <span key="s" className="mono">{r.seed}</span>],
    ['Incident', d.incident ? <Link key="n" to="/incidents/$id" params={{ id: d.incident }}>{v.passed ? 'ended by it' : 'belongs to one'}: <span className="mono">{d.incident}</span></Link> : <span key="n" className="sub">none</span>],
  ];
  return (
    <div className="stack">
      <div className="grid-2">
        <Panel title="What was tested"><Facts rows={facts} /></Panel>
        <Difference d={d} />
      </div>
      {!r ? (
        <Note kind="warn">The report of this run is kept no more: reports of all runs together are bounded by <code>retention.report_bytes</code>. What it found, in short: {v.summary}</Note>
      ) : (
        <>
          {r.breaks.length > 0 && <Panel title="Changes that break who uses the API" flush><BreakTable breaks={r.breaks} label="Breaking changes" /></Panel>}
          <Findings list={r.findings} title={`Findings (${exact(r.findings.length)})`} passed={v.passed} />
          {r.flaky.length > 0 && <Findings list={r.flaky} title={`Seen once and not again (${exact(r.flaky.length)})`} passed />}
          <Reached c={r.coverage} />
          {(r.not_run.length > 0 || r.left.length > 0) && (
            <div className="grid-2">
              {r.not_run.length > 0 && <Panel title="Not run"><Lines list={r.not_run} /></Panel>}
              {r.left.length > 0 && <Panel title="Left behind"><p className="sub small">The test made these and could not delete them.</p><Lines list={r.left} /></Panel>}
            </div>
          )}
        </>
      )}
    </div>
  );
}

function Lines({ list }: { list: string[] }) {
  return (
    <ul className="plain-list">
      {list.map((x, n) => (
        <li key={n} className="wrap-any" style={{ padding: '3px 0' }}>{x}</li>
      ))}
    </ul>
  );
}

function Difference({ d }: { d: Detail }) {
  const x = d.difference;
  return (
    <Panel title="Different from what passed last">
      {!x ? (
        <p className="sub">Nothing of {d.verdict.api} had passed before.</p>
      ) : (
        <div className="stack">
          <p>
            <VerdictLink id={x.verdict}>Passed <Time iso={x.time} /></VerdictLink>, {x.same_instance ? (x.same_start ? 'the same start of the same instance' : 'another start of the same instance') : <>another instance, <span className="mono wrap-any">{x.url}</span></>}, {x.same_contract ? 'the same specification and settings' : 'another specification or other settings'}.
          </p>
          {x.text ? (
            <pre className="mono small difference" tabIndex={0} aria-label="Difference">
              {x.text.trimEnd().split('\n').map((line, n) => (
                <span key={n} className={line.startsWith('+') ? 'more' : 'less'}>{line}{'\n'}</span>
              ))}
            </pre>
          ) : (
            <p className="sub">No finding and no operation is different.</p>
          )}
        </div>
      )}
    </Panel>
  );
}

const levels: Record<string, string> = { error: 'refuse', warning: 'flagged', note: 'outline' };

function Findings({ list, title, passed }: { list: Finding[]; title: string; passed: boolean }) {
  const [all, setAll] = useState(false);
  const shown = all ? list : list.slice(0, 20);
  return (
    <Panel title={title}>
      {list.length === 0 ? (
        <p className="sub">{passed ? 'Nothing is wrong with it, as far as the tests reach.' : 'None.'}</p>
      ) : (
        <div className="stack findings">
          {shown.map((f, n) => (
            <article key={n} className={`finding ${levels[f.level] ?? ''}`} aria-label={`${f.check} at ${f.operation}`}>
              <div className="row" style={{ gap: 6 }}>
                <span className={`badge ${levels[f.level] ?? 'outline'}`}>{f.level}</span>
                <strong className="wrap-any">{f.title}</strong>
                <code className="sub wrap-any">{f.check}</code>
              </div>
              <p className="wrap-any">
                <span className="mono">{f.operation}</span>
                {f.place && <> · {f.place}</>}
                {f.status > 0 && <> · answered <span className="mono">{f.status}</span></>}
                {f.identity && <> · as {f.identity}</>}
              </p>
              <p className="wrap-any">{f.detail}</p>
              {f.why && <p className="sub small">{f.why} {[f.owasp, f.cwe].filter(Boolean).join(', ')}{f.seen && ` Seen ${f.seen} times.`}</p>}
              {f.curl && <Copyable text={f.curl} label={`Reproduction of ${f.check} at ${f.operation}`} />}
            </article>
          ))}
          {list.length > shown.length && <div><Button variant="default" size="xs" onClick={() => setAll(true)}>Show all {exact(list.length)}</Button></div>}
        </div>
      )}
    </Panel>
  );
}

function Reached({ c }: { c: Schemas['VerdictCoverage'] }) {
  return (
    <Panel title="Reached" flush aside={<span className="sub small">each figure beside what there is</span>}>
      <div className="panel-body">
        <span className="num">{exact(c.succeeded)}</span> of {exact(c.operations)} operations succeeded × <span className="num">{exact(c.reached)}</span> of {exact(c.declared)} declared statuses × <span className="num">{exact(c.judged)}</span> of {exact(c.checks)} checks × <span className="num">{exact(c.sent)}</span> of {exact(c.params)} parameters
      </div>
      <DataTable
        label="Reached"
        rows={c.rows}
        rowKey={(o) => o.operation}
        columns={[
          { id: 'o', head: 'Operation', cell: (o) => <div><span className="mono wrap-any">{o.operation}</span>{o.why && <div className="small wrap-any" style={{ color: 'var(--refuse)' }}>none succeeded: {o.why}</div>}</div> },
          { id: 's', head: 'Statuses', cell: (o) => <span className="row" style={{ gap: 4 }}>{o.statuses.map((s) => <span key={s.status + s.declared} className={`badge ${!s.declared ? 'flagged' : s.answers ? 'good' : 'outline'}`} title={s.declared ? (s.answers ? `answered ${s.answers} times` : 'declared, never answered') : `not declared, answered ${s.answers} times`}>{s.status}{s.answers ? ` × ${exact(s.answers)}` : ' never'}</span>)}</span> },
          { id: 'p', head: 'Parameters', hidePhone: true, cell: (o) => (o.params.length === 0 ? <span className="sub">none declared</span> : <span>{exact(o.params.filter((p) => p.sent).length)} of {exact(o.params.length)}{o.params.some((p) => !p.sent) && <span className="sub small wrap-any"> not {o.params.filter((p) => !p.sent).map((p) => p.name).join(', ')}</span>}</span>) },
          { id: 'c', head: 'Checks', hidePhone: true, cell: (o) => <details><summary>{exact(o.checks.length)} kinds</summary><span className="small sub wrap-any">{o.checks.map((k) => `${k.check} × ${k.times}`).join(', ')}</span></details> },
        ]}
      />
    </Panel>
  );
}

