import { useState, type ReactNode } from 'react';
import { SegmentedControl } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { IconArrowRight, IconWorldOff } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { ask, client, type Schemas } from '../api/client';
import { useLive } from '../api/live';
import { RateChart } from '../components/chart';
import { DataTable } from '../components/table';
import { Empty, Exposure, Facts, Failure, LiveMark, Loading, Note, PageHead, Panel, Time } from '../components/parts';
import { useCounts } from './incidents';
import { bytes, count, exact, milliseconds, rate, share, span } from '../lib/format';

type View = Schemas['Overview'];
const spans = { '5m': 'last 5 minutes', '1h': 'last hour', '1d': 'last day' } as const;
const seconds = { '5m': 300, '1h': 3600, '1d': 86400 };
type Span = keyof typeof spans;

export function Overview() {
  const [back, setBack] = useState<Span>('5m');
  const [pushed, setPushed] = useState<View>();
  const first = useQuery({ queryKey: ['overview', back], queryFn: () => ask(client.GET('/api/v1/overview', { params: { query: { span: back } } })) });
  const state = useLive<View>(`/api/v1/overview/live?span=${back}`, 'overview', setPushed);
  const o = pushed && pushed.span_seconds === seconds[back] ? pushed : first.data;

  return (
    <>
      <PageHead title="Overview" sub={o ? `${count(o.operations)} operations of ${count(o.apis.filter((a) => a.name).length)} APIs, ${spans[back]}` : ' '}>
        <LiveMark state={state} />
        <SegmentedControl size="xs" aria-label="How far to look back" value={back} onChange={(v) => setBack(v as Span)} data={[{ value: '5m', label: '5 min' }, { value: '1h', label: '1 h' }, { value: '1d', label: '1 d' }]} />
      </PageHead>
      {o ? <Desk o={o} /> : first.isError ? <Failure error={first.error} retry={() => void first.refetch()} /> : <div className="panel"><Loading lines={12} /></div>}
    </>
  );
}

function Desk({ o }: { o: View }) {
  return (
    <div className="stack">
      <Warnings o={o} />
      <Tiles o={o} />
      <div className="grid-wide">
        <Charts o={o} />
        <Reasons o={o} />
      </div>
      <APIs o={o} />
      <div className="grid-wide">
        <Instances o={o} />
        <InForce o={o} />
      </div>
      <RecordingPanel o={o} />
    </div>
  );
}

function Warnings({ o }: { o: View }) {
  const list: ReactNode[] = [];
  for (const p of o.programs)
    if (p.failed)
      list.push(
        <Note key={p.name + p.door} kind="bad">
          The newest change at the {p.door} was refused <Time iso={p.failed_at} />; the program before it stays in force. <span className="wrap-any mono">{p.failed}</span>
        </Note>,
      );
  if (o.recording.full) list.push(<Note key="full" kind="bad">The disk is full. Guarding goes on; recording has stopped, and resumes by itself when there is space.</Note>);
  if (o.recording.failing) list.push(<Note key="failing" kind="bad">Requests are guarded, and not recorded at present: {o.recording.failing}</Note>);
  for (const p of o.providers)
    if (p.failing)
      list.push(
        <Note key={p.issuer} kind="warn">
          Keys of <span className="mono wrap-any">{p.issuer}</span> could not be refreshed ({p.failing}). {p.keys > 0 ? `The ${p.keys} known ones stay good.` : 'Its tokens are refused until they can.'}
        </Note>,
      );
  for (const n of o.notices)
    list.push(
      <Note key={n.rule + n.where + n.text} kind={n.severe ? 'bad' : 'warn'}>
        <span className="wrap-any">{n.text}</span> <span className="mono wrap-any">{n.where}</span>
      </Note>,
    );
  return list.length ? <>{list}</> : null;
}

function Tile({ label, value, unit, note, dot }: { label: string; value: ReactNode; unit?: string; note: ReactNode; dot?: string }) {
  return (
    <div className="tile">
      <div className="tile-label">
        {dot && <span className={`dot ${dot}`} aria-hidden />}
        {label}
      </div>
      <div className="tile-value">
        {value} {unit && <small>{unit}</small>}
      </div>
      <div className="tile-note">{note}</div>
    </div>
  );
}

// recent is the rate over the last full steps, ten seconds or one step.
function recent(o: View): number {
  const { allow, flagged, throttle, refuse } = o.series;
  const n = Math.max(1, Math.round(10 / o.step_seconds));
  let sum = 0;
  const last = allow.length - 1; // still filling
  for (let i = Math.max(0, last - n); i < last; i++) sum += allow[i]! + flagged[i]! + throttle[i]! + refuse[i]!;
  return sum / (n * o.step_seconds);
}

function IncidentTile() {
  const c = useCounts();
  const open = c ? c.critical + c.high + c.medium + c.low : 0;
  return (
    <Tile
      label="Incidents"
      dot={c && c.critical + c.high + c.overdue > 0 ? 'refuse' : undefined}
      value={<Link to="/incidents" aria-label={`${open} open incidents`}>{count(open)}</Link>}
      note={c ? `${c.critical + c.high} high or critical, ${c.overdue} overdue` : ' '}
    />
  );
}

function Tiles({ o }: { o: View }) {
  const t = o.totals;
  const dropped = Object.values(o.recording.dropped).reduce((a, b) => a + b, 0) + o.recording.lost;
  return (
    <div className="tiles">
      <Tile label="Requests" value={rate(recent(o))} unit="per s" note={`${count(t.requests)} in ${span(o.span_seconds)}`} />
      <Tile label="Refused" dot="refuse" value={count(t.refuse)} note={share(t.refuse, t.requests)} />
      <Tile label="Throttled" dot="throttle" value={count(t.throttle)} note={share(t.throttle, t.requests)} />
      <Tile label="Flagged" dot="flagged" value={count(t.flagged)} note="allowed, with findings" />
      <Tile label="Answers 5xx" value={count(t.errors)} note={share(t.errors, t.requests)} />
      <IncidentTile />
      <Tile label="Records lost" value={count(dropped)} note={`of ${count(o.recording.recorded)} since start`} />
    </div>
  );
}

function Charts({ o }: { o: View }) {
  const per = (values: number[]) => values.map((v) => v / o.step_seconds);
  const s = o.series;
  return (
    <Panel
      title="Requests per second"
      aside={
        <div className="legend">
          <span><i className="dot allow" aria-hidden /> allowed</span>
          <span><i className="dot flagged" aria-hidden /> flagged</span>
          <span><i className="dot throttle" aria-hidden /> throttled</span>
          <span><i className="dot refuse" aria-hidden /> refused</span>
        </div>
      }
    >
      <RateChart
        sync="overview"
        height={150}
        times={s.times}
        label={`All requests over the ${span(o.span_seconds)}: ${exact(o.totals.requests)}`}
        lines={[
          { label: 'refused', color: '--refuse-fill', values: per(s.refuse) },
          { label: 'throttled', color: '--throttle-fill', values: per(s.throttle) },
          { label: 'flagged', color: '--flagged-fill', values: per(s.flagged) },
          { label: 'allowed', color: '--allow-fill', values: per(s.allow) },
        ]}
      />
      <h3 style={{ margin: '8px 0 2px' }}>Turned away or flagged, on a scale of their own</h3>
      <RateChart
        sync="overview"
        height={110}
        times={s.times}
        label={`Refused ${exact(o.totals.refuse)}, throttled ${exact(o.totals.throttle)}, flagged ${exact(o.totals.flagged)}`}
        lines={[
          { label: 'refused', color: '--refuse-fill', values: per(s.refuse) },
          { label: 'throttled', color: '--throttle-fill', values: per(s.throttle) },
          { label: 'flagged', color: '--flagged-fill', values: per(s.flagged) },
        ]}
      />
    </Panel>
  );
}

function Reasons({ o }: { o: View }) {
  const most = Math.max(1, ...o.reasons.map((r) => r.count));
  return (
    <Panel title="Top reasons" flush aside={<Link to="/decisions" search={{ view: 'history', findings: 'yes' }} className="small">All findings</Link>}>
      {o.reasons.length === 0 ? (
        <Empty title="No finding in this span">
          <p className="sub">When a check refuses, throttles or flags a request, its rule stands here.</p>
        </Empty>
      ) : (
        <div style={{ padding: '4px 0' }}>
          {o.reasons.slice(0, 8).map((r) => (
            <Link key={r.api + r.stage + r.rule + r.action} to="/decisions" search={{ view: 'history', rule: r.rule, ...(r.api ? { api: r.api } : {}) }} className="bar-row">
              <span className="cut">
                <span className="mono">{r.rule}</span> <span className="sub small">{r.stage}{r.api ? ` · ${r.api}` : ''}</span>
              </span>
              <span className="num">
                {count(r.count)} <span className="sub small">{r.action === 'refuse' ? 'refused' : r.action === 'throttle' ? 'throttled' : 'findings'}</span>
              </span>
              <span className="bar-track" aria-hidden>
                <i className={r.action} style={{ width: `${Math.max(1.5, (100 * r.count) / most)}%` }} />
              </span>
            </Link>
          ))}
        </div>
      )}
    </Panel>
  );
}

const busiest = 15; // of many APIs only these show here

function APIs({ o }: { o: View }) {
  return (
    <Panel title="APIs" flush aside={<Link to="/inventory" className="small">{o.apis.length > busiest ? `All ${exact(o.apis.length)} in the inventory` : 'Inventory'} <IconArrowRight size={12} aria-hidden /></Link>}>
      {o.apis.length === 0 ? (
        <Empty title="No API is configured, and none has been seen" icon={<IconWorldOff size={26} aria-hidden />}>
          <p>Name one under <code>apis</code> in the configuration file, with its specification and its upstreams. Sallyport takes the change without a restart.</p>
        </Empty>
      ) : (
        <DataTable
          label="APIs at a glance"
          rows={o.apis.length > busiest ? [...o.apis].sort((a, b) => b.rate - a.rate).slice(0, busiest) : o.apis}
          rowKey={(a) => a.name}
          linked
          columns={[
            { id: 'name', head: 'API', cell: (a) => <Link className="row-link" to="/inventory" search={a.name ? { api: a.name } : { unmatched: 'yes' }}><strong>{a.name || 'matched by no API'}</strong></Link> },
            { id: 'team', head: 'Owner', hidePhone: true, cell: (a) => a.team || <span className="sub">nobody named</span> },
            { id: 'exposure', head: 'Exposure', hidePhone: true, cell: (a) => <Exposure value={a.exposure} /> },
            { id: 'ops', head: 'Operations seen', right: true, cell: (a) => <>{exact(a.seen)} <span className="sub">of {exact(a.declared)}</span></> },
            { id: 'shadow', head: 'Shadow', right: true, cell: (a) => (a.shadow ? <span className="badge flagged">{exact(a.shadow)}</span> : <span className="sub">0</span>) },
            { id: 'rate', head: 'Requests/s', right: true, cell: (a) => rate(a.rate) },
            { id: 'refused', head: 'Refused', right: true, hidePhone: true, cell: (a) => share(a.counts.refused, a.counts.requests) },
            { id: 'errors', head: '5xx', right: true, hidePhone: true, cell: (a) => share(a.counts.status_5xx, a.counts.requests) },
            { id: 'p95', head: 'p95', right: true, hidePhone: true, cell: (a) => milliseconds(a.counts.p95_ms) },
            { id: 'classes', head: 'Data', hidePhone: true, cell: (a) => <Classes list={a.classes} /> },
            { id: 'seen', head: 'Last request', hidePhone: true, cell: (a) => <Time iso={a.last_seen} /> },
          ]}
        />
      )}
    </Panel>
  );
}

export function Classes({ list, most = 2 }: { list: string[]; most?: number }) {
  if (!list.length) return <span className="sub">–</span>;
  return (
    <span className="row" style={{ gap: 4, ...(most < 8 ? { flexWrap: 'nowrap' } : {}) }} title={list.join(', ')}>
      {list.slice(0, most).map((c) => (
        <span key={c} className="badge">{c}</span>
      ))}
      {list.length > most && <span className="sub small">+{list.length - most}</span>}
    </span>
  );
}

const admissionClass: Record<string, string> = { admitted: 'good', held: 'flagged', testing: 'invited', quarantined: 'refuse', retired: '' };

function Instances({ o }: { o: View }) {
  return (
    <Panel title="Instances" flush aside={<span className="sub small">only admitted ones carry requests</span>}>
      {o.instances.length === 0 ? (
        <Empty title="No instance is known">
          <p className="sub">Give an API <code>upstreams</code>, as URLs or as DNS names.</p>
        </Empty>
      ) : (
        <DataTable
          label="Instances"
          rows={o.instances}
          rowKey={(i) => i.api + ' ' + i.url + ' ' + i.address}
          columns={[
            { id: 'url', head: 'Instance', cell: (i) => <><span className="mono wrap-any">{i.url}</span>{i.address && !i.url.includes(i.address) ? <div className="sub small mono">{i.address}</div> : null}<div className="only-phone sub small">{i.api}</div></> },
            { id: 'api', head: 'API', hidePhone: true, cell: (i) => i.api },
            { id: 'admission', head: 'Admission', cell: (i) => <><span className={`badge ${admissionClass[i.admission] ?? ''}`}>{i.admission}</span><div className="only-phone sub small">{i.reason}</div></> },
            { id: 'reason', head: 'Because', hidePhone: true, cell: (i) => i.reason || <span className="sub">–</span> },
            { id: 'health', head: 'Health', cell: (i) => (i.healthy ? <span className="badge good">healthy</span> : <span className="badge refuse">failing</span>) },
            { id: 'since', head: 'Since', hidePhone: true, cell: (i) => <Time iso={i.since} /> },
          ]}
        />
      )}
    </Panel>
  );
}

function InForce({ o }: { o: View }) {
  return (
    <Panel title="Programs in force">
      {o.programs.length === 0 ? (
        <p className="sub">No program has been compiled yet.</p>
      ) : (
        <div className="stack" style={{ gap: 10 }}>
          {o.programs.map((p) => (
            <div key={p.door + p.name}>
              <div className="row">
                <strong>{p.door}</strong>
                <code className="sub">{p.name}</code>
                <span className="sub small">since <Time iso={p.since} /></span>
              </div>
              <div className="small sub">
                {p.apis.map((a) => `${a.name}: ${a.mode}, ${count(a.operations)} operations${a.exceptions ? `, ${a.exceptions} exceptions` : ''}`).join(' · ') || 'no API'}
              </div>
            </div>
          ))}
        </div>
      )}
      {o.providers.length > 0 && (
        <>
          <h3 style={{ margin: '14px 0 6px' }}>Identity providers</h3>
          <div className="stack" style={{ gap: 6 }}>
            {o.providers.map((p) => (
              <div key={p.issuer} className="small">
                <span className="mono wrap-any">{p.issuer}</span>
                <div className="sub">
                  {p.keys} {p.keys === 1 ? 'key' : 'keys'}, refreshed <Time iso={p.refreshed} />
                </div>
              </div>
            ))}
          </div>
        </>
      )}
    </Panel>
  );
}

function RecordingPanel({ o }: { o: View }) {
  const r = o.recording;
  const dropped = Object.entries(r.dropped).filter(([, n]) => n > 0);
  return (
    <Panel title="Recording" aside={<span className="sub small">what became of the records of requests</span>}>
      <Facts
        wide
        rows={[
          ['Recorded', `${exact(r.recorded)} since start`],
          ['Acknowledged', exact(r.acked)],
          ['Waiting', `${exact(r.queued + r.in_flight)} (at most ${exact(r.bound)} can be lost)`],
          ['Dropped', dropped.length ? dropped.map(([why, n]) => `${exact(n)}: ${why}`).join(', ') : '0'],
          ['Lost after publishing', exact(r.lost)],
          ['Stream', `${count(r.messages)} messages, ${bytes(r.bytes)}, ${r.embedded ? 'embedded' : 'NATS cluster'}`],
          ['Behind', r.consumers.length ? r.consumers.map((c) => `${c.name} ${exact(c.lag)}`).join(' · ') + ' messages' : 'no consumer'],
          ['Inventory', `${r.behind_seconds < 10 ? r.behind_seconds.toFixed(2) : span(Math.round(r.behind_seconds))}${r.behind_seconds < 10 ? ' s' : ''} after the request`],
        ]}
      />
    </Panel>
  );
}
