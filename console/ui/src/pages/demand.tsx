import type { ReactNode } from 'react';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { ask, client, type Schemas } from '../api/client';
import { Empty, Facts, Failure, Loading, Panel } from '../components/parts';
import { bytes, exact, milliseconds, share, span } from '../lib/format';
import { anonymousText, RuleTable } from './identity';
import { LimitTable, Mode, SideloadTable, SuggestionCard } from './limits';

type Demand = Schemas['Demand'];

// DemandPanels show what holds for one operation now: who may call it, within
// which limits, at which cost, and what spares its upstream work.
export function DemandPanels({ d }: { d: Schemas['OperationDetail'] }) {
  const { api, method, template, key } = d.operation;
  const q = useQuery({ queryKey: ['operation', 'demand', api, method, template], queryFn: () => ask(client.GET('/api/v1/operation/demand', { params: { query: { api, method, template } } })) });
  const limits = useQuery({ queryKey: ['limits', api], enabled: !!api, queryFn: () => ask(client.GET('/api/v1/limits', { params: { query: { api, limit: 500 } } })) });
  const learned = useQuery({ queryKey: ['suggestions', api], enabled: !!api, queryFn: () => ask(client.GET('/api/v1/limits/suggestions', { params: { query: { api, limit: 100 } } })) });
  if (q.isPending) return <div className="panel"><Loading lines={6} /></div>;
  if (q.isError) return <Failure error={q.error} retry={() => void q.refetch()} />;
  const x = q.data.demand;
  const own = limits.data?.limits.filter((l) => !l.operation || l.operation === key || l.operation === d.operation.name) ?? [];
  const pace = learned.data?.suggestions.find((s) => s.operation === key);
  const outside = new Set(x?.sensitive ?? []);
  const undeclared = [...new Set(d.found.filter((f) => f.response && !outside.has(f.class)).map((f) => f.class))];
  return (
    <>
      {x ? (
        <div className="grid-2">
          <Panel title="Who may call it" aside={<Link className="small" to="/identity">Identity</Link>}>
            <Facts
              rows={[
                ['Without a credential', anonymousText[x.anonymous] ?? x.anonymous],
                ['Specification', x.security.length ? x.security.join(', or ') : x.declared ? 'asks for no credential' : 'does not declare it'],
                ['Further scopes', x.scopes.length ? x.scopes.join(', ') : 'none'],
                ['Authentication', x.acr.length ? `one of ${x.acr.join(', ')}` : 'any context (acr)'],
                ['Signed in', x.max_age_seconds ? `at most ${span(x.max_age_seconds)} ago` : 'any time ago'],
                ...(x.login ? ([['Sign-in', 'all failures are answered alike']] as [string, ReactNode][]) : []),
                ['Stages', <span key="m" className="row" style={{ gap: '4px 10px' }}>{stageOrder.filter((s) => x.modes[s]).map((s) => <span key={s} className="nowrap">{s} <Mode mode={x.modes[s]!} /></span>)}</span>],
              ]}
            />
          </Panel>
          <Panel title="What it takes and gives">
            <Facts
              rows={[
                ['Format', x.format || 'HTTP'],
                ...(x.about.length ? ([['Bounds', x.about.join(' · ')]] as [string, ReactNode][]) : []),
                ['Request bodies', x.bodies.length ? x.bodies.join(', ') + ', looked into' : 'none that is declared'],
                ['Sensitive kinds', x.sensitive.length ? `${x.sensitive.join(', ')} may be in answers` : 'none may be in answers'],
                ['Found besides', undeclared.length ? <span key="u" className="row" style={{ gap: 4 }}>{undeclared.map((c) => <span key={c} className="badge flagged">{c}: not declared</span>)}</span> : 'nothing that is not declared'],
                ['Cost', <CostFact key="c" c={q.data.cost} price={x.price} />],
                ['Cache', <CacheFact key="k" x={x} />],
              ]}
            />
          </Panel>
        </div>
      ) : (
        <Panel title="What is demanded of it">
          <Empty title="No API in force answers for it">
            <p>Name its API under <code>apis</code> in the configuration: then who may call it, its limits and its rules stand here.</p>
          </Empty>
        </Panel>
      )}
      {x && x.rules.length > 0 && (
        <Panel title="Rules" flush>
          <RuleTable api={api} rules={x.rules} label="Rules" />
        </Panel>
      )}
      {x && (
        <Panel title="Limits" flush aside={<Link className="small" to="/limits" search={{ api }}>All of {api}</Link>}>
          {own.length ? (
            <LimitTable label="Limits of the operation" limits={own} />
          ) : limits.isPending ? (
            <Loading lines={2} />
          ) : (
            <Empty title="No limit holds for it">
              <p>{pace?.suggested ? 'What its callers do suggests one, below.' : <>Put one under <code>operations</code> of {api} in the configuration.</>}</p>
            </Empty>
          )}
        </Panel>
      )}
      {pace && <SuggestionCard s={pace} enough={learned.data!.enough} />}
      {x && x.sideload.length > 0 && (
        <Panel title="Sideloading" flush>
          <SideloadTable label="Sideloading" rules={x.sideload} />
        </Panel>
      )}
    </>
  );
}

const stageOrder = ['identify', 'limit', 'authenticate', 'authorise', 'validate', 'inspect', 'errors'];

function CostFact({ c, price }: { c?: Schemas['CostSeen']; price: number }) {
  const priced = price > 0 ? `price ${price} of money` : '';
  if (!c) return <>{priced || 'no kept decision tells one'}</>;
  const parts = [
    c.cpu_max_ms > 0 ? `CPU median ${milliseconds(c.cpu_p50_ms)}, p95 ${milliseconds(c.cpu_p95_ms)}, most ${milliseconds(c.cpu_max_ms)}` : '',
    c.bytes_p95 > 0 ? `median ${bytes(c.bytes_p50)}, p95 ${bytes(c.bytes_p95)}` : '',
    c.rows_mean > 0 ? `${c.rows_mean.toFixed(1)} rows` : '',
    c.money_mean > 0 ? `${c.money_mean.toFixed(4)} of money` : '',
    c.units_mean > 0 ? `${c.units_mean.toFixed(2)} units` : '',
    priced,
  ].filter(Boolean);
  return (
    <>
      {parts.join(' · ')}
      <div className="sub small">
        of the latest {exact(c.requests)} kept decisions with a cost{c.estimated ? `; CPU estimated in ${share(c.estimated, c.requests)}` : ''}
      </div>
    </>
  );
}

function CacheFact({ x }: { x: Demand }) {
  const c = x.cache;
  if (!c) return <>answers are not stored</>;
  const parts = [
    c.per === 'principal' ? 'kept for each caller' : 'given to everyone',
    c.lifetime_seconds ? `fresh ${span(c.lifetime_seconds)} unless they say` : 'only answers that say how long',
    `at most ${span(c.longest_seconds)}`,
    c.stale_while_revalidate_seconds ? `stale ${span(c.stale_while_revalidate_seconds)} while asked anew` : '',
    c.stale_if_error_seconds ? `stale ${span(c.stale_if_error_seconds)} if the upstream fails` : '',
    c.coalesce ? 'equal requests are sent once' : '',
  ].filter(Boolean);
  return <>{parts.join(' · ')}</>;
}
