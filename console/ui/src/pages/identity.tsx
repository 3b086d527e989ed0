import type { ReactNode } from 'react';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { IconAlertTriangle, IconCertificate, IconCircleCheck, IconClock, IconFingerprint, IconKey, IconLock, IconRefresh, IconShieldX, IconSignature, IconUserQuestion } from '@tabler/icons-react';
import { ask, client, type Schemas } from '../api/client';
import { DataTable } from '../components/table';
import { Empty, Failure, Loading, Note, PageHead, Panel, Tabs, Time } from '../components/parts';
import { exact, until } from '../lib/format';
import { useSettings } from '../lib/settings';
import { identityRoute } from '../router';
import { Mode, opLink } from './limits';

type Key = Schemas['KeyView'];
type Certificate = Schemas['CertificateView'];

const tabs = [
  { id: 'accepted', text: 'What is accepted' },
  { id: 'providers', text: 'Providers and tokens' },
  { id: 'keys', text: 'API keys' },
  { id: 'certificates', text: 'Certificates' },
];
const every = 10_000;

export function IdentityPage() {
  const { view = 'accepted' } = identityRoute.useSearch();
  const page: Record<string, ReactNode> = { accepted: <AcceptedView />, providers: <Providers />, keys: <Keys />, certificates: <Certificates /> };
  return (
    <>
      <PageHead title="Identity" sub="Who may call, by which credentials, and what of them ends soon" />
      <Tabs label="Identity" tabs={tabs} active={view} to="/identity" search={(id): Record<string, string> => (id === 'accepted' ? {} : { view: id })} />
      {page[view] ?? page.accepted}
    </>
  );
}

const kindText: Record<string, { text: string; icon: ReactNode }> = {
  issuer: { text: 'tokens', icon: <IconFingerprint size={13} aria-hidden /> },
  keys: { text: 'API keys', icon: <IconKey size={13} aria-hidden /> },
  certificate: { text: 'certificate', icon: <IconCertificate size={13} aria-hidden /> },
  signature: { text: 'signature', icon: <IconSignature size={13} aria-hidden /> },
};
export const anonymousText: Record<string, string> = {
  contract: 'without a credential only where the specification asks for none',
  never: 'never without a credential',
  always: 'also without a credential; one that is presented is checked',
};
const bindingText: Record<string, string> = { dpop: 'only tokens bound to their holder by DPoP', certificate: 'only tokens bound to a certificate', any: 'only tokens bound to their holder' };

function AcceptedView() {
  const q = useQuery({ queryKey: ['access'], queryFn: () => ask(client.GET('/api/v1/access')), refetchInterval: every });
  if (q.isPending) return <div className="panel"><Loading lines={8} /></div>;
  if (q.isError) return <Failure error={q.error} retry={() => void q.refetch()} />;
  if (!q.data.apis.length)
    return (
      <div className="panel">
        <Empty title="No API is in force" icon={<IconUserQuestion size={26} aria-hidden />}>
          <p>Name one under <code>apis</code> in the configuration, and who may call it under its <code>auth</code>.</p>
        </Empty>
      </div>
    );
  return (
    <div className="stack">
      {q.data.apis.map((a) => (
        <Panel
          key={a.door + a.api}
          title={<>{a.api} {a.door !== 'gateway' && <span className="badge outline">{a.door}</span>}</>}
          aside={
            <span className="row small">
              <span className="sub">authenticate</span> <Mode mode={a.mode} />
              <span className="sub">authorise</span> <Mode mode={a.authorise} />
            </span>
          }
        >
          <div className="stack">
            {a.accepted.length === 0 ? (
              <Note kind={a.door === 'gateway' ? 'warn' : 'info'}>
                Nobody is asked for a credential. {a.door === 'gateway' ? <>Name issuers, keys, certificates or signatures under <code>auth</code> of {a.api}.</> : 'Our own services call it through this door.'}
              </Note>
            ) : (
              <ul className="plain-list">
                {a.accepted.map((x) => (
                  <li key={x.kind + x.name}>
                    <span className="badge">{kindText[x.kind]?.icon}{kindText[x.kind]?.text ?? x.kind}</span>{' '}
                    <strong className="wrap-any">{x.name}</strong> <span className="sub wrap-any">{x.detail}</span>
                    {x.scopes.length > 0 && <span className="small"> · scopes {x.scopes.join(', ')}</span>}
                  </li>
                ))}
              </ul>
            )}
            <div className="small sub">
              {a.accepted.length > 0 && <>Requests pass {anonymousText[a.anonymous]}. </>}
              {a.binding && <>Accepted are {bindingText[a.binding] ?? a.binding}. </>}
              {a.exceptions > 0 && <>{exact(a.exceptions)} {a.exceptions === 1 ? 'exception is' : 'exceptions are'} in force. </>}
              <Link to="/decisions" search={{ view: 'history', api: a.api, stage: 'authenticate' }}>Credentials that failed</Link>
            </div>
            {a.rules.length > 0 && <RuleTable api={a.api} rules={a.rules} label={`Rules of ${a.api}`}  />}
          </div>
        </Panel>
      ))}
    </div>
  );
}

export function RuleTable({ api, rules, label }: { api: string; rules: Schemas['RuleDemand'][]; label: string }) {
  return (
    <DataTable
      label={label}
      rows={rules}
      rowKey={(r) => r.operation + ' ' + r.name}
      columns={[
        { id: 'n', head: 'Rule', cell: (r) => <><strong className="mono">{r.name}</strong><div className="small">{r.operation ? opLink(api, r.operation) : <span className="sub">every operation</span>}</div></> },
        { id: 'r', head: 'Must be true', cell: (r) => <><code className="wrap-any">{r.require}</code><div className="only-phone small"><Mode mode={r.mode} /></div></> },
        { id: 'm', head: 'Mode', hidePhone: true, cell: (r) => <Mode mode={r.mode} /> },
        {
          id: 'c',
          head: <>Refused,<span className="only-phone"><br /></span> last day</>,
          right: true,
          cell: (r) =>
            r.spoke === undefined ? (
              <span className="sub" title="It is not among the fifty most frequent reasons, which are counted">few</span>
            ) : r.spoke === 0 ? (
              <span className="sub">0</span>
            ) : (
              <Link to="/decisions" search={{ view: 'history', rule: 'rule.' + r.name, api }}>
                {exact(r.spoke)}
                {r.mode === 'observe' && <span className="sub"> would be</span>}
              </Link>
            ),
        },
      ]}
    />
  );
}

function Providers() {
  const o = useQuery({ queryKey: ['overview', '5m'], queryFn: () => ask(client.GET('/api/v1/overview', { params: { query: { span: '5m' } } })), refetchInterval: every });
  const c = useQuery({ queryKey: ['credentials'], queryFn: () => ask(client.GET('/api/v1/credentials')), refetchInterval: every });
  return (
    <div className="stack">
      <Panel title="Identity providers" flush aside={<span className="sub small">whose tokens callers show</span>}>
        {o.isPending ? (
          <Loading lines={3} />
        ) : o.isError ? (
          <div className="panel-body"><Failure error={o.error} retry={() => void o.refetch()} /></div>
        ) : o.data.providers.length === 0 ? (
          <Empty title="No identity provider is configured" icon={<IconFingerprint size={26} aria-hidden />}>
            <p>Name an issuer and an audience under <code>auth.oidc</code> of an API; its keys are fetched by themselves.</p>
          </Empty>
        ) : (
          <DataTable
            label="Identity providers"
            rows={o.data.providers}
            rowKey={(p) => p.issuer}
            columns={[
              { id: 'i', head: 'Issuer', cell: (p) => <span className="mono wrap-any">{p.issuer}</span> },
              {
                id: 's',
                head: 'State',
                cell: (p) =>
                  p.failing ? (
                    <>
                      <span className="badge refuse"><IconAlertTriangle size={13} aria-hidden /> keys not refreshed</span>
                      <div className="small wrap-any">{p.failing}</div>
                      <div className="small sub">{p.keys > 0 ? 'The known keys stay good for now; see that the issuer can be reached from here.' : 'Its tokens are refused until its keys can be fetched; see that the issuer can be reached from here.'}</div>
                    </>
                  ) : p.keys > 0 ? (
                    <span className="badge good"><IconCircleCheck size={13} aria-hidden /> keys known</span>
                  ) : (
                    <span className="badge flagged"><IconClock size={13} aria-hidden /> no keys yet</span>
                  ),
              },
              { id: 'k', head: 'Keys', right: true, cell: (p) => exact(p.keys) },
              { id: 'r', head: 'Last refresh', cell: (p) => <Time iso={p.refreshed} /> },
            ]}
          />
        )}
      </Panel>
      <Panel title="Tokens for upstreams" flush aside={<span className="sub small">so that no service holds a key</span>}>
        {c.isPending ? (
          <Loading lines={3} />
        ) : c.isError ? (
          <div className="panel-body"><Failure error={c.error} retry={() => void c.refetch()} /></div>
        ) : c.data.upstream_tokens.length === 0 ? (
          <Empty title="No token is carried to upstreams" icon={<IconRefresh size={26} aria-hidden />}>
            <p>Set <code>credentials</code> under an API to have the gateway fetch and renew tokens for its upstreams, or exchange those of callers.</p>
          </Empty>
        ) : (
          <DataTable
            label="Tokens for upstreams"
            rows={c.data.upstream_tokens}
            rowKey={(t) => t.name + t.exchange}
            columns={[
              { id: 'n', head: 'Token', cell: (t) => <><span className="mono wrap-any">{t.name}</span><div className="sub small">{t.exchange ? `callers' tokens exchanged, ${exact(t.held)} held` : 'client credentials'}</div></> },
              {
                id: 's',
                head: 'State',
                cell: (t) =>
                  t.failing ? (
                    <><span className="badge refuse"><IconAlertTriangle size={13} aria-hidden /> not renewed</span><div className="small wrap-any">{t.failing}</div></>
                  ) : t.fetched ? (
                    <span className="badge good"><IconCircleCheck size={13} aria-hidden /> renewed by itself</span>
                  ) : (
                    <span className="badge outline">not asked for yet</span>
                  ),
              },
              { id: 'u', head: 'Ends', cell: (t) => (t.until ? <Time iso={t.until} /> : <span className="sub">–</span>) },
              { id: 'f', head: 'Fetched', hidePhone: true, cell: (t) => <Time iso={t.fetched} /> },
            ]}
          />
        )}
      </Panel>
    </div>
  );
}

function KeyState({ k }: { k: Key }) {
  if (k.state === 'ended') return <span className="badge refuse"><IconShieldX size={13} aria-hidden /> ended</span>;
  if (k.state === 'ending') return <span className="badge flagged"><IconAlertTriangle size={13} aria-hidden /> ends soon</span>;
  return <span className="badge good"><IconCircleCheck size={13} aria-hidden /> live</span>;
}

function Ends({ iso }: { iso?: string | null }) {
  const { now } = useSettings();
  if (!iso) return <span className="sub">never</span>;
  return (
    <>
      <Time iso={iso} full />
      <div className="small sub">{until(iso, now)}</div>
    </>
  );
}

const urgency: Record<string, number> = { ended: 0, ending: 1, live: 2 };

function Keys() {
  const q = useQuery({ queryKey: ['credentials'], queryFn: () => ask(client.GET('/api/v1/credentials')), refetchInterval: every });
  if (q.isPending) return <div className="panel"><Loading lines={6} /></div>;
  if (q.isError) return <Failure error={q.error} retry={() => void q.refetch()} />;
  const alive = new Map<string, number>();
  for (const k of q.data.keys) if (k.state !== 'ended') alive.set(k.api + ' ' + k.subject, (alive.get(k.api + ' ' + k.subject) ?? 0) + 1);
  const live = (k: Key) => alive.get(k.api + ' ' + k.subject) ?? 0;
  const keys = [...q.data.keys].sort((x, y) => (urgency[x.state] ?? 3) - (urgency[y.state] ?? 3) || (x.expires ?? '9').localeCompare(y.expires ?? '9'));
  const alone = keys.filter((k) => k.state === 'ending' && live(k) < 2);
  return (
    <div className="stack">
      {alone.length > 0 && (
        <Note kind="warn">
          {alone.length === 1 ? 'The only live key of ' : 'The only live keys of '}
          <strong>{[...new Set(alone.map((k) => k.subject))].join(', ')}</strong> {alone.length === 1 ? 'ends' : 'end'} soon. <code>sallyport key new</code> makes a second one beside it; hand it over, and let the older one end.
        </Note>
      )}
      <Panel title="API keys" flush aside={<span className="sub small">known by their hashes only; those that end first stand first</span>}>
        {keys.length === 0 ? (
          <Empty title="No API key is configured" icon={<IconKey size={26} aria-hidden />}>
            <p><code>sallyport key new NAME</code> prints a key once, and the line for <code>auth.keys</code> of an API.</p>
          </Empty>
        ) : (
          <DataTable
            label="API keys"
            rows={keys}
            rowKey={(k) => k.api + ' ' + k.id}
            columns={[
              { id: 'k', head: 'Key', cell: (k) => <><strong className="mono wrap-any">{k.id}</strong><div className="sub small">{k.api}</div></> },
              { id: 'h', head: 'Holder', cell: (k) => <><span className="wrap-any">{k.subject}</span>{live(k) > 1 && <div className="small"><span className="badge invited"><IconRefresh size={12} aria-hidden /> {exact(live(k))} live: in rotation</span></div>}</> },
              { id: 's', head: 'State', cell: (k) => <><KeyState k={k} /><div className="only-phone small"><Ends iso={k.expires} /></div></> },
              { id: 'e', head: 'Ends', hidePhone: true, cell: (k) => <Ends iso={k.expires} /> },
              { id: 'u', head: 'Last used', hidePhone: true, cell: (k) => (k.used ? <Time iso={k.used} /> : <span className="sub">not since the start</span>) },
            ]}
          />
        )}
      </Panel>
    </div>
  );
}

const useText: Record<string, string> = { served: 'shown to clients', client_ca: 'authority of client certificates', upstream: 'shown by an upstream', upstream_ca: 'authority of upstreams', upstream_client: 'shown to upstreams' };

function CertificateState({ c }: { c: Certificate }) {
  const { now } = useSettings();
  if (new Date(c.until).getTime() <= now) return <span className="badge refuse"><IconShieldX size={13} aria-hidden /> ended</span>;
  if (c.ocsp?.status === 'revoked') return <span className="badge refuse"><IconShieldX size={13} aria-hidden /> revoked</span>;
  if (c.soon) return <span className="badge flagged"><IconAlertTriangle size={13} aria-hidden /> ends soon</span>;
  return <span className="badge good"><IconCircleCheck size={13} aria-hidden /> valid</span>;
}

function Certificates() {
  const q = useQuery({ queryKey: ['certificates'], queryFn: () => ask(client.GET('/api/v1/certificates')), refetchInterval: every });
  if (q.isPending) return <div className="panel"><Loading lines={6} /></div>;
  if (q.isError) return <Failure error={q.error} retry={() => void q.refetch()} />;
  return (
    <Panel title="Certificates" flush aside={<span className="sub small">those that end first stand first</span>}>
      {q.data.certificates.length === 0 ? (
        <Empty title="No certificate is known" icon={<IconLock size={26} aria-hidden />}>
          <p>Those of <code>tls</code> in the configuration stand here, and those that upstreams show once they were connected to over TLS.</p>
        </Empty>
      ) : (
        <DataTable
          label="Certificates"
          rows={q.data.certificates}
          rowKey={(c) => c.use + c.where + c.fingerprint}
          columns={[
            { id: 'c', head: 'Certificate', cell: (c) => <div style={{ minWidth: 150 }}><strong className="wrap-any">{c.subject}</strong><div className="sub small wrap-any">{c.names.length ? c.names.join(', ') + ' · ' : ''}by {c.issuer}</div></div> },
            { id: 'u', head: 'Use', cell: (c) => <>{useText[c.use] ?? c.use}<div className="sub small mono wrap-any">{c.where}</div></> },
            { id: 's', head: 'State', cell: (c) => <><CertificateState c={c} />{c.soon && !c.renewed && <div className="small sub">put a new one in its place</div>}{c.renewed && <div className="small sub">renewed by itself</div>}</> },
            { id: 'e', head: 'Ends', cell: (c) => <Ends iso={c.until} /> },
            { id: 'o', head: 'OCSP', cell: (c) => <OCSP c={c} /> },
          ]}
        />
      )}
    </Panel>
  );
}

function OCSP({ c }: { c: Certificate }) {
  const o = c.ocsp;
  if (!o) return <span className="sub">–</span>;
  return (
    <>
      {o.status === 'good' ? (
        <span className="badge good"><IconCircleCheck size={13} aria-hidden /> good</span>
      ) : o.status === 'revoked' ? (
        <span className="badge refuse"><IconShieldX size={13} aria-hidden /> revoked</span>
      ) : (
        <span className="badge flagged"><IconAlertTriangle size={13} aria-hidden /> no answer</span>
      )}
      <div className="sub small">{o.until ? <>stapled until <Time iso={o.until} full /></> : o.must ? 'the certificate demands one' : 'nothing is stapled'}</div>
      {o.failing && <div className="small wrap-any">{o.failing}</div>}
    </>
  );
}
