import { useState, type ReactNode } from 'react';
import { Button, CopyButton, Modal, Select, TextInput } from '@mantine/core';
import { keepPreviousData, useMutation, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { IconAlertTriangle, IconBulb, IconCheck, IconCircleCheck, IconCopy, IconFlame, IconGauge, IconLink, IconPlayerPause, IconPlayerPlay, IconPlus, IconServer, IconTrash, IconUnlink } from '@tabler/icons-react';
import { ask, client, queries, useMe, type Schemas } from '../api/client';
import { DataTable } from '../components/table';
import { Distribution } from '../components/distribution';
import { Empty, Facts, Failure, Loading, Meter, Note, PageHead, Panel, Tabs, Time } from '../components/parts';
import { bytes, count, exact, share, whole } from '../lib/format';
import { limitsRoute } from '../router';
import { Choice } from './inventory';

type Limit = Schemas['LimitView'];
type Suggestion = Schemas['SuggestionView'];
type Pool = Schemas['Pool'];
type Offer = Schemas['SideloadOffer'];
type Rule = Schemas['SideloadRule'];

const tabs = [
  { id: 'limits', text: 'In force' },
  { id: 'suggestions', text: 'Suggestions' },
  { id: 'load', text: 'Load' },
  { id: 'relief', text: 'Relief' },
];

const every = 3000; // ms between two looks

export function LimitsPage() {
  const { view = 'limits', api = '' } = limitsRoute.useSearch();
  const [paused, setPaused] = useState(false);
  const apis = useQuery({ queryKey: ['apis'], queryFn: () => ask(client.GET('/api/v1/apis')) });
  const names = apis.data?.apis.map((a) => a.name).filter(Boolean) ?? [];
  const again = paused ? (false as const) : every;
  const page: Record<string, ReactNode> = {
    limits: <InForce api={api} again={again} />,
    suggestions: <Suggestions api={api} />,
    load: <Load api={api} again={again} />,
    relief: <Relief api={api} again={again} names={names} />,
  };
  const navigate = limitsRoute.useNavigate();
  return (
    <>
      <PageHead title="Limits" sub="What may happen how often, what callers use, and what spares upstreams work before anyone is turned away">
        {view !== 'suggestions' && (
          <>
        <button type="button" className="link-button" data-pause onClick={() => setPaused(!paused)}>
          <span className="row" style={{ gap: 5 }}>
            {paused ? <IconPlayerPlay size={13} aria-hidden /> : <IconPlayerPause size={13} aria-hidden />}
            {paused ? 'Resume' : 'Pause'}
          </span>
        </button>
        <span className={`live live-${paused ? 'off' : 'live'}`} role="status">
          <i aria-hidden />
          {paused ? 'paused' : 'every 3 s'}
        </span>
          </>
        )}
        <span className="filters-inline">
          <Choice label="API" value={api} onChange={(a) => void navigate({ search: (s) => ({ ...s, api: a }), replace: true })} options={[['', 'all'], ...names.map((n) => [n, n] as const), ...(api && !names.includes(api) ? [[api, api] as const] : [])]} />
        </span>
      </PageHead>
      <Tabs label="Limits" tabs={tabs} active={view} to="/limits" search={(id) => ({ ...(id === 'limits' ? {} : { view: id }), ...(api ? { api } : {}) })} />
      {page[view] ?? page.limits}
    </>
  );
}

// amount writes what a limit counts in its unit.
export function amount(n: number, measure: string): string {
  switch (measure) {
    case 'bytes':
      return bytes(n);
    case 'cpu':
      return n >= 1e9 ? `${(n / 1e9).toFixed(1)} s of CPU` : `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} ms of CPU`;
    case 'money':
      return `${(n / 1e6).toFixed(2)} of money`;
    case 'units':
      return `${count(n / 1e6)} units`;
    case 'rows':
      return `${exact(n)} rows`;
    case 'concurrent':
      return `${exact(n)} at once`;
  }
  return `${exact(n)} ${n === 1 ? 'request' : 'requests'}`;
}

const perText: Record<string, string> = { client: 'address', principal: 'principal', key: 'API key', oauth_client: 'OAuth client', operation: 'operation', api: 'API' };
const nobody: Record<string, string> = { operation: 'all callers of the operation', api: 'all callers of the API' };

export function Mode({ mode }: { mode: string }) {
  return <span className={`badge ${mode === 'enforce' ? 'good' : mode === 'observe' ? 'flagged' : 'outline'}`}>{mode}</span>;
}

export function opLink(api: string, operation: string): ReactNode {
  const at = operation.indexOf(' ');
  if (at < 0 || !api) return <span className="mono wrap-any">{operation}</span>;
  return (
    <Link className="mono wrap-any" to="/inventory/operation" search={{ api, method: operation.slice(0, at), template: operation.slice(at + 1) }}>
      {operation}
    </Link>
  );
}

function Counters({ again }: { again: number | false }) {
  const q = useQuery({ queryKey: ['counters'], queryFn: () => ask(client.GET('/api/v1/limits/counters')), refetchInterval: again });
  const c = q.data;
  if (!c) return null;
  if (c.state === 'lost')
    return (
      <Note kind="bad">
        <strong>The shared counters do not answer.</strong> Limits go on, counted by this node alone: several nodes may together let through as many times a limit as there are nodes. Look after the server that <code>counters</code> names; sharing resumes by itself. It has ended {exact(c.outages)} {c.outages === 1 ? 'time' : 'times'} since the start.
      </Note>
    );
  return (
    <div className="row small sub" style={{ flexWrap: 'nowrap' }}>
      {c.state === 'together' ? <IconLink size={14} aria-hidden /> : <IconUnlink size={14} aria-hidden />}
      {c.state === 'together' ? (
        <span>
          Counted together with other nodes: {exact(c.keys)} keys shared; since the start {exact(c.late)} requests counted here because an answer was late, {exact(c.failures)} failed batches, {exact(c.outages)} {c.outages === 1 ? 'outage' : 'outages'}.
        </span>
      ) : (
        <span>Counted by this node alone. Where several nodes run, name a Redis under <code>counters</code> in the configuration.</span>
      )}
    </div>
  );
}

export function LimitTable({ limits, label }: { limits: Limit[]; label: string }) {
  return (
    <DataTable
      label={label}
      rows={limits}
      rowKey={(l) => [l.door, l.api, l.operation, l.name].join(' ')}
      columns={[
        {
          id: 'w',
          head: 'Limit',
          cell: (l) => (
            <div style={{ minWidth: 120 }}>
              <strong>{l.what}</strong> <span className="nowrap">per {perText[l.per] ?? l.per}</span>
              <div className="sub small wrap-any">
                {l.name} · {l.counted === 'together' ? 'shared' : 'this node'}
              </div>
              <div className="only-phone small">
                {l.api} {l.operation && opLink(l.api, l.operation)} <Mode mode={l.mode} />
                {l.refused > 0 && <> {exact(l.refused)} {l.mode === 'observe' ? 'would be turned away' : 'turned away'} in the last hour</>}
              </div>
            </div>
          ),
        },
        {
          id: 'a',
          head: 'Where',
          hidePhone: true,
          cell: (l) => (
            <div style={{ minWidth: 120 }}>
              {l.api}
              <div className="small">{l.operation ? opLink(l.api, l.operation) : <span className="sub">whole API</span>}</div>
            </div>
          ),
        },
        { id: 'm', head: 'Mode', hidePhone: true, cell: (l) => <Mode mode={l.mode} /> },
        {
          id: 'r',
          head: 'Turned away, last hour',
          hidePhone: true,
          right: true,
          cell: (l) =>
            l.refused ? (
              <Link to="/decisions" search={{ view: 'history', api: l.api, stage: 'limit' }}>
                {exact(l.refused)}
                {l.mode === 'observe' && <span className="sub"> would be</span>}
              </Link>
            ) : (
              <span className="sub">0</span>
            ),
        },
        { id: 'n', head: 'Nearest to it', width: '38%', cell: (l) => <Nearest l={l} /> },
      ]}
    />
  );
}

function Nearest({ l }: { l: Limit }) {
  if (!l.nearest.length) return <span className="sub">nobody has used any of it of late</span>;
  return (
    <ul className="meters">
      {l.nearest.slice(0, 3).map((u) => (
        <li key={u.subject}>
          <span className="mono small meter-name" title={u.subject}>{u.subject ? short(u.subject) : nobody[l.per] ?? 'all'}</span>
          <Meter value={u.used} label={`${u.subject || nobody[l.per] || 'all'} uses ${whole(100 * Math.min(1, u.used))} % of ${l.what}`} />
          <span className="small sub num">
            {amount(u.remaining, l.measure)} left
            {u.held > 0 && l.measure !== 'concurrent' ? `, ${amount(u.held, l.measure)} held` : ''}
          </span>
        </li>
      ))}
    </ul>
  );
}

// short is a principal without its issuer; the title has it whole.
function short(subject: string): string {
  const at = subject.lastIndexOf('#');
  return at >= 0 && at < subject.length - 1 ? subject.slice(at + 1) : subject;
}

function InForce({ api, again }: { api: string; again: number | false }) {
  const q = useQuery({
    queryKey: ['limits', api],
    placeholderData: keepPreviousData,
    refetchInterval: again,
    queryFn: () => ask(client.GET('/api/v1/limits', { params: { query: { ...(api ? { api } : {}), limit: 500 } } })),
  });
  return (
    <div className="stack">
      <Counters again={again} />
      <Panel title="Limits in force" flush aside={q.data && <span className="sub small num">{q.data.limits.length < q.data.total ? `${exact(q.data.limits.length)} of ${exact(q.data.total)}` : exact(q.data.total)}, those that turned most away first</span>}>
        {q.isPending ? (
          <Loading lines={6} />
        ) : q.isError && !q.data ? (
          <div className="panel-body"><Failure error={q.error} retry={() => void q.refetch()} /></div>
        ) : q.data!.limits.length === 0 ? (
          <Empty title={api ? `No limit holds for ${api}` : 'No limit is in force'} icon={<IconGauge size={26} aria-hidden />}>
            <p>
              Put <code>limits: [{'{rate: 100/min, per: principal}'}]</code> under an API in the configuration. The suggestions show what its callers do now.
            </p>
            <Link to="/limits" search={{ view: 'suggestions', ...(api ? { api } : {}) }}>Suggestions</Link>
          </Empty>
        ) : (
          <LimitTable label="Limits in force" limits={q.data!.limits} />
        )}
      </Panel>
    </div>
  );
}

function Suggestions({ api }: { api: string }) {
  const q = useQuery({
    queryKey: ['suggestions', api],
    placeholderData: keepPreviousData,
    queryFn: () => ask(client.GET('/api/v1/limits/suggestions', { params: { query: { ...(api ? { api } : {}), limit: 100 } } })),
  });
  if (q.isPending) return <div className="panel"><Loading lines={8} /></div>;
  if (q.isError) return <Failure error={q.error} retry={() => void q.refetch()} />;
  const d = q.data;
  return (
    <div className="stack">
      <p className="sub small">
        How often one caller asks for an operation in one minute. The suggested limit is the 99.9th percentile times {d.headroom}, once {exact(d.enough)} such minutes are known. Bars are as high as the logarithm of how many minutes they hold, so that rare ones show.
      </p>
      {d.suggestions.length === 0 ? (
        <div className="panel">
          <Empty title="Nothing is learned yet" icon={<IconBulb size={26} aria-hidden />}>
            <p>Once an API that is configured has carried requests for a few minutes, each of its operations shows here with how its callers ask.</p>
          </Empty>
        </div>
      ) : (
        <div className="grid-2">
          {d.suggestions.map((s) => (
            <SuggestionCard key={s.api + ' ' + s.operation} s={s} enough={d.enough} />
          ))}
        </div>
      )}
    </div>
  );
}

export function SuggestionCard({ s, enough }: { s: Suggestion; enough: number }) {
  const line = `- {operation: ${JSON.stringify(s.operation)}, limits: [{rate: ${s.suggested}/min, per: principal}]}`;
  return (
    <Panel title={opLink(s.api, s.operation)} aside={<span className="sub small">{s.api}</span>}>
      <div className="stack" style={{ gap: 10 }}>
        <Distribution s={s} />
        <div className="small num">
          One caller, one minute: median <strong>{exact(s.p50)}</strong>, 99 % at most <strong>{exact(s.p99)}</strong>, 99.9 % at most <strong>{exact(s.p999)}</strong>, ever <strong>{exact(s.max)}</strong> requests.{' '}
          <span className="sub">Of {exact(s.samples)} minutes{s.since ? <> since <Time iso={s.since} /></> : null}.</span>
        </div>
        {s.suggested ? (
          <div className="stack" style={{ gap: 6 }}>
            <div className="small">
              Suggested: <strong>{exact(s.suggested)} requests a minute</strong> per caller; it would have limited {s.beyond ? share(s.beyond, 1) : 'none'} of those minutes.
            </div>
            <div className="row" style={{ flexWrap: 'nowrap', alignItems: 'flex-start' }}>
              <code className="config-line" aria-label={`Configuration line for ${s.operation}`}>{line}</code>
              <CopyButton value={line}>
                {({ copied, copy }) => (
                  <Button size="compact-sm" variant="default" onClick={copy} leftSection={copied ? <IconCheck size={13} aria-hidden /> : <IconCopy size={13} aria-hidden />} style={{ flex: 'none' }}>
                    {copied ? 'Copied' : 'Copy'}
                  </Button>
                )}
              </CopyButton>
            </div>
            <div className="small sub">It goes under <code>operations</code> of {s.api}.</div>
          </div>
        ) : (
          <div className="small sub">
            Too little is known to suggest a limit: {exact(s.samples)} of {exact(enough)} minutes.
          </div>
        )}
        <div className="small sub">{s.current.length ? <>Now: {s.current.join('; ')}.</> : 'No limit of requests holds for it now.'}</div>
      </div>
    </Panel>
  );
}

const loadRule: Record<string, string> = {
  'load.queue-full': 'because the queue was full',
  'load.queue-time': 'because they had waited too long',
  'load.share': 'because a caller had more than its share',
  'load.dear': "because a caller's requests held places far longer than others', and so it is held to few of them",
  'load.cpu': 'because processors were busy',
  'load.memory': 'because memory was scarce',
  'load.pressure': 'because work waited for processors',
  'load.full': 'because every place was taken',
};

function Load({ api, again }: { api: string; again: number | false }) {
  const q = useQuery({ queryKey: ['pools'], queryFn: () => ask(client.GET('/api/v1/pools')), refetchInterval: again, placeholderData: keepPreviousData });
  if (q.isPending) return <div className="panel"><Loading lines={8} /></div>;
  if (q.isError && !q.data) return <Failure error={q.error} retry={() => void q.refetch()} />;
  const pools = q.data!.pools.filter((p) => !api || p.api === api);
  if (!pools.length)
    return (
      <div className="panel">
        <Empty title={api ? `${api} has no upstream here` : 'No upstream is known'} icon={<IconServer size={26} aria-hidden />}>
          <p>Give an API <code>upstreams</code> in the configuration; how busy they are shows here at once.</p>
        </Empty>
      </div>
    );
  return (
    <div className="stack">
      {pools.map((p) => (
        <PoolPanel key={p.api} p={p} />
      ))}
    </div>
  );
}

function part(n: number): string {
  return n > 0 ? `${whole(100 * n)} %` : 'not known';
}

function PoolPanel({ p }: { p: Pool }) {
  const l = p.load;
  const hot = !!l && l.over > 1;
  const refused = l ? Object.entries(l.refused).filter(([, n]) => n > 0) : [];
  return (
    <Panel
      title={p.api}
      flush
      aside={
        !l ? (
          <span className="badge outline">no limit of places</span>
        ) : hot ? (
          <span className="badge refuse"><IconFlame size={13} aria-hidden /> hot: {l.what || 'load'} over its threshold</span>
        ) : l.queued > 0 ? (
          <span className="badge flagged"><IconAlertTriangle size={13} aria-hidden /> full: {exact(l.queued)} waiting</span>
        ) : (
          <span className="badge good"><IconCircleCheck size={13} aria-hidden /> {l.over > 0 ? 'not hot' : 'calm'}</span>
        )
      }
    >
      {l && (
        <div className="panel-body stack" style={{ borderBottom: '1px solid var(--line-soft)' }}>
          {l.limit > 0 && (
            <div className="row" style={{ gap: 10 }}>
              <span className="small">Places</span>
              <span style={{ flex: '1 1 160px', maxWidth: 420 }}><Meter value={l.in_flight / l.limit} label={`${exact(l.in_flight)} of ${whole(l.limit)} places taken`} /></span>
              <span className="small num">{exact(l.in_flight)} of {whole(l.limit)} in flight, {exact(l.queued)} waiting</span>
            </div>
          )}
          <Facts
            wide
            rows={[
              ['Limit', l.limit > 0 ? `${whole(l.limit)} at once${l.adaptive ? ', found from how long answers take' : ''}` : 'none'],
              ['Answers', l.slow > 0 ? `${l.slow.toFixed(1)} times as slow as at their best` : 'how slow is not known'],
              ['Processors', part(l.cpu)],
              ['Memory', part(l.memory)],
              ['Pressure', part(l.pressure)],
              ['Load', l.over > 0 ? `${whole(100 * l.over)} % of the threshold of ${l.what}${l.cut > 0 ? `; ${whole(100 * l.cut)} % of the expected cost is turned away` : ''}` : 'no threshold, or not known yet'],
              ['Callers', `${exact(l.callers)}${l.fair > 0 ? `, ${l.fair.toFixed(1)} places could be each one's` : ''}${l.cap > 0 ? `; one may have ${l.cap.toFixed(1)} for now` : ''}`],
              ['Turned away', refused.length ? refused.map(([rule, n]) => `${exact(n)} ${loadRule[rule] ?? rule}`).join(', ') + ', since the start' : 'none since the start'],
              ['Most in flight', l.top.length ? l.top.map((t) => `${t.caller}: ${t.places.toFixed(1)} places${t.cpu > 0 ? `, ${t.cpu.toFixed(1)} processors` : ''}`).join('; ') : 'nobody of late'],
              ...l.sources.map((s): [string, ReactNode] => ['Read from', <span key={s.name}><span className="mono wrap-any">{s.name}</span>{s.failed ? <> <span className="badge refuse">fails</span> <span className="wrap-any">{s.failed}</span></> : s.read ? <> <Time iso={s.read} /></> : null}</span>]),
            ]}
          />
          {l.classes.length > 1 && (
            <DataTable
              label={`Classes of ${p.api}`}
              rows={l.classes}
              rowKey={(c) => c.name}
              columns={[
                { id: 'n', head: 'Class', cell: (c) => c.name || <span className="sub">everything else</span> },
                { id: 'f', head: 'Keeps', right: true, cell: (c) => (c.floor ? `${whole(100 * c.floor)} %` : <span className="sub">–</span>) },
                { id: 'i', head: 'In flight', right: true, cell: (c) => exact(c.in_flight) },
                { id: 'q', head: 'Waiting', right: true, cell: (c) => exact(c.queued) },
                { id: 'a', head: 'Let in', right: true, hidePhone: true, cell: (c) => count(c.admitted) },
                { id: 'w', head: 'After waiting', right: true, hidePhone: true, cell: (c) => count(c.waited) },
                { id: 's', head: 'Shed', right: true, cell: (c) => exact(c.shed) },
              ]}
            />
          )}
        </div>
      )}
      <DataTable
        label={`Instances of ${p.api}`}
        rows={p.instances}
        rowKey={(i) => i.url}
        columns={[
          { id: 'u', head: 'Instance', cell: (i) => <><span className="mono wrap-any">{i.url}</span>{i.standby && <span className="badge outline" style={{ marginLeft: 6 }}>standby</span>}</> },
          {
            id: 's',
            head: 'State',
            cell: (i) =>
              i.left_out_seconds > 0 ? (
                <span className="badge refuse">left out for {whole(i.left_out_seconds)} s</span>
              ) : i.admission !== 'admitted' ? (
                <><span className="badge flagged">{i.admission}</span> <span className="sub small">{i.reason}</span></>
              ) : !i.healthy ? (
                <span className="badge refuse">failing</span>
              ) : i.warming ? (
                <span className="badge flagged">warming up</span>
              ) : (
                <span className="badge good">in use</span>
              ),
          },
          { id: 'f', head: 'In flight', right: true, cell: (i) => <>{exact(i.in_flight)}{i.most > 0 && <span className="sub"> of {count(i.most)}</span>}</> },
          { id: 'a', head: 'Answered', right: true, hidePhone: true, cell: (i) => count(i.answered) },
          { id: 'x', head: 'Failed', right: true, cell: (i) => (i.failed ? exact(i.failed) : <span className="sub">0</span>) },
        ]}
      />
    </Panel>
  );
}

function Relief({ api, again, names }: { api: string; again: number | false; names: string[] }) {
  return (
    <div className="stack">
      <CachePanel api={api} again={again} names={names} />
      <Sideloading api={api} again={again} />
    </div>
  );
}

function CachePanel({ api, again, names }: { api: string; again: number | false; names: string[] }) {
  const who = useMe().data;
  const q = useQuery({ queryKey: ['cache'], queryFn: () => ask(client.GET('/api/v1/cache')), refetchInterval: again, placeholderData: keepPreviousData });
  const [asking, setAsking] = useState(false);
  const [done, setDone] = useState<string>();
  const c = q.data;
  const looked = c ? c.hits + c.stale + c.misses + c.revalidated : 0;
  return (
    <Panel title="Cache" aside={who?.role === 'admin' && c ? <Button size="xs" variant="default" onClick={() => setAsking(true)} leftSection={<IconTrash size={14} aria-hidden />}>Forget answers</Button> : undefined}>
      {q.isPending ? (
        <Loading lines={3} />
      ) : !c ? (
        <Failure error={q.error} retry={() => void q.refetch()} />
      ) : (
        <div className="stack">
          {done && <Note kind="good">{done}</Note>}
          {looked === 0 && c.entries === 0 ? (
            <Note>
              No request has been looked up in the cache. Where answers may be given again, put <code>cache: {'{mode: on}'}</code> under the API or the operation.
            </Note>
          ) : null}
          <div className="tiles tiles-inner">
            <Figure label="Spared the upstream" value={share(c.hits + c.stale, looked)} note={`of ${count(looked)} looked up since start`} />
            <Figure label="From the cache" value={count(c.hits - c.coalesced)} note={`${count(c.stale)} more while stale`} />
            <Figure label="Joined another's" value={count(c.coalesced)} note="asked at the same time" />
            <Figure label="Asked whether it holds" value={count(c.revalidated)} note="revalidated" />
            <Figure label="Forwarded" value={count(c.misses)} note="not stored, or not any more" />
            <Figure label="Held" value={bytes(c.bytes)} note={`${count(c.entries)} answers`} />
          </div>
          <ByAPI rows={c.apis.filter((a) => !api || a.api === api)} />
        </div>
      )}
      <Forget opened={asking} close={() => setAsking(false)} names={names} api={api} done={(text) => { setAsking(false); setDone(text); void queries.invalidateQueries({ queryKey: ['cache'] }); }} />
    </Panel>
  );
}

function ByAPI({ rows }: { rows: Schemas['CacheUse'][] }) {
  if (!rows.length) return null;
  return (
    <DataTable
      label="Cache by API"
      rows={rows}
      rowKey={(a) => a.api}
      columns={[
        { id: 'a', head: 'API', cell: (a) => a.api },
        { id: 'r', head: 'Spared', right: true, cell: (a) => share(a.spared, a.looked) },
        { id: 'h', head: 'Answered without the upstream', right: true, cell: (a) => count(a.spared) },
        { id: 'l', head: 'Looked up', right: true, cell: (a) => count(a.looked) },
      ]}
    />
  );
}

function Figure({ label, value, note }: { label: string; value: ReactNode; note: ReactNode }) {
  return (
    <div className="tile">
      <div className="tile-label">{label}</div>
      <div className="tile-value">{value}</div>
      <div className="tile-note">{note}</div>
    </div>
  );
}

function Forget({ opened, close, names, api, done }: { opened: boolean; close(): void; names: string[]; api: string; done(text: string): void }) {
  const [name, setName] = useState<string | null>(null);
  const [path, setPath] = useState('');
  const [tag, setTag] = useState('');
  const chosen = name ?? (api || names[0] || '');
  const forget = useMutation({
    mutationFn: () => ask(client.POST('/api/v1/cache/invalidations', { body: { api: chosen, ...(path ? { path } : {}), ...(tag ? { tag } : {}) } })),
    onSuccess: (r) => {
      setPath('');
      setTag('');
      done(`${exact(r.forgotten)} ${r.forgotten === 1 ? 'answer' : 'answers'} of ${chosen} forgotten; the audit log says so.`);
    },
  });
  return (
    <Modal opened={opened} onClose={() => { forget.reset(); close(); }} title="Forget stored answers" centered closeButtonProps={{ 'aria-label': 'Close' }}>
      <form
        className="stack"
        onSubmit={(e) => {
          e.preventDefault();
          forget.mutate();
        }}
      >
        <Select label="API" data={names} value={chosen} onChange={(v) => setName(v)} allowDeselect={false} required withAsterisk={false} comboboxProps={{ withinPortal: true }} />
        <TextInput label="Under this path only" description="By whole segments, as the upstream sees it. Empty: everything." placeholder="/products" value={path} onChange={(e) => setPath(e.currentTarget.value)} maxLength={2000} pattern="/[^?#]*" title="A path begins with / and has no ? or #" />
        <TextInput label="With this tag only" description="One of the words of Cache-Tag or Surrogate-Key. Empty: any." value={tag} onChange={(e) => setTag(e.currentTarget.value)} maxLength={200} pattern="[!-~]+" title="One word of plain characters" />
        <Note kind="warn">
          {path || tag ? <>Answers of <strong>{chosen}</strong>{path && <> under <code>{path}</code></>}{tag && <> with the tag <code>{tag}</code></>} are asked for anew.</> : <><strong>Every</strong> stored answer of <strong>{chosen}</strong> is forgotten: its upstreams get all requests until the cache has filled again.</>}
        </Note>
        {forget.isError && <Failure error={forget.error} />}
        <div className="row" style={{ justifyContent: 'flex-end' }}>
          <Button variant="default" type="button" onClick={close}>Keep them</Button>
          <Button type="submit" color="red.9" loading={forget.isPending} disabled={!chosen}>Forget</Button>
        </div>
      </form>
    </Modal>
  );
}

const sourceText: Record<string, string> = { configuration: 'configuration', specification: 'a link of the specification', accepted: 'accepted here' };

export function SideloadTable({ rules, label, drop, dropping }: { rules: Rule[]; label: string; drop?(r: Rule): void; dropping?: string }) {
  return (
    <DataTable
      label={label}
      rows={rules}
      rowKey={(r) => [r.api, r.operation, r.name].join(' ')}
      columns={[
        { id: 'n', head: 'Clients ask', cell: (r) => <div style={{ minWidth: 130 }}><code>?{r.param}={r.name}</code><div className="sub small">{r.api}</div></div> },
        { id: 'o', head: 'Of', cell: (r) => opLink(r.api, r.operation) },
        { id: 'f', head: 'Ids at', hidePhone: true, cell: (r) => <span className="mono wrap-any">{r.from}</span> },
        { id: 't', head: 'And get', cell: (r) => opLink(r.api, r.target) },
        { id: 's', head: 'From', cell: (r) => <>{sourceText[r.source] ?? r.source}{r.by && <div className="sub small">{r.by}, <Time iso={r.at} /></div>}</> },
        ...(drop
          ? [{
              id: 'x',
              head: <span className="visually-hidden">Undo</span>,
              right: true,
              cell: (r: Rule) => (r.id ? <Button size="compact-xs" variant="default" loading={dropping === r.id} onClick={() => drop(r)} aria-label={`Undo the rule ${r.name} of ${r.operation}`}>Undo</Button> : null),
            }]
          : []),
      ]}
    />
  );
}

function Sideloading({ api, again }: { api: string; again: number | false }) {
  const admin = useMe().data?.role === 'admin';
  const q = useQuery({ queryKey: ['sideloads'], queryFn: () => ask(client.GET('/api/v1/sideloads')), refetchInterval: again, placeholderData: keepPreviousData });
  const settled = () => void queries.invalidateQueries({ queryKey: ['sideloads'] });
  const accept = useMutation({
    mutationFn: (o: Offer) => ask(client.POST('/api/v1/sideloads', { body: { api: o.api, name: o.name, operation: o.operation, from: o.from, target: o.target } })),
    onSettled: settled,
  });
  const drop = useMutation({ mutationFn: (r: Rule) => ask(client.DELETE('/api/v1/sideloads/{id}', { params: { path: { id: r.id } } })), onSettled: settled });
  if (q.isPending) return <div className="panel"><Loading lines={5} /></div>;
  if (q.isError && !q.data) return <Failure error={q.error} retry={() => void q.refetch()} />;
  const rules = q.data!.rules.filter((r) => !api || r.api === api);
  const offers = q.data!.offers.filter((o) => !api || o.api === api);
  const key = (o: Offer) => [o.api, o.operation, o.from, o.target].join(' ');
  const error = accept.error ?? drop.error;
  return (
    <>
      {error && <Failure error={error} />}
      {accept.isSuccess && !error && !drop.isSuccess && <Note kind="good">The rule <code>{accept.variables.name}</code> is in force; Undo takes it away again.</Note>}
      <Panel title="Offered: ways of asking that a rule would spare" flush aside={<span className="sub small">from how clients ask</span>}>
        {offers.length === 0 ? (
          <Empty title="No client asks for one thing after the other" icon={<IconBulb size={26} aria-hidden />}>
            <p>When clients read a list and then fetch each of its elements by itself, a rule that puts those into the list stands here.</p>
          </Empty>
        ) : (
          <DataTable
            label="Offered rules"
            rows={offers}
            rowKey={key}
            columns={[
              { id: 'o', head: 'After', cell: (o) => <div style={{ minWidth: 130 }}>{opLink(o.api, o.operation)}<div className="sub small">{o.api}</div></div> },
              { id: 't', head: 'Clients fetch', cell: (o) => <>{opLink(o.api, o.target)}<div className="sub small">by the ids at <span className="mono wrap-any">{o.from}</span></div></> },
              { id: 'c', head: 'Requests that followed', right: true, cell: (o) => <>{count(o.calls)} <span className="sub">after {count(o.lists)}</span></> },
              { id: 'l', head: 'Last', hidePhone: true, cell: (o) => <Time iso={o.last} /> },
              {
                id: 'x',
                head: <span className="visually-hidden">Accept</span>,
                right: true,
                cell: (o) =>
                  admin ? (
                    <Button size="compact-xs" variant="default" leftSection={<IconPlus size={12} aria-hidden />} loading={accept.isPending && key(accept.variables) === key(o)} onClick={() => { drop.reset(); accept.mutate(o); }} aria-label={`Accept ${o.name} for ${o.operation}`}>
                      Accept
                    </Button>
                  ) : (
                    <span className="sub small">an administrator can accept it</span>
                  ),
              },
            ]}
          />
        )}
      </Panel>
      <Panel title="Sideloading rules" flush aside={<span className="sub small num">{exact(rules.length)}</span>}>
        {rules.length === 0 ? (
          <Empty title="No rule is in force">
            <p>Accept an offer, put rules under <code>sideload</code> in the configuration, or set <code>sideload: {'{links: true}'}</code> to take those of the specification's links.</p>
          </Empty>
        ) : (
          <SideloadTable label="Sideloading rules" rules={rules} {...(admin ? { drop: (r: Rule) => { accept.reset(); drop.mutate(r); }, dropping: drop.isPending ? drop.variables.id : undefined } : {})} />
        )}
      </Panel>
    </>
  );
}
