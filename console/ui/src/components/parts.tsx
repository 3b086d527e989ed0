import { type ReactNode, useId } from 'react';
import { Skeleton, Tooltip } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck, IconExternalLink, IconFlag, IconHourglass, IconInfoCircle, IconShieldX } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { ago, stamp, zoneName } from '../lib/format';
import { useSettings } from '../lib/settings';
import { Problem } from '../api/client';
import type { LiveState } from '../api/live';

export function Panel({ title, aside, children, flush, label }: { title?: ReactNode; aside?: ReactNode; children: ReactNode; flush?: boolean; label?: string }) {
  const id = useId();
  return (
    <section className="panel" aria-labelledby={title ? id : undefined} aria-label={title ? undefined : label}>
      {title !== undefined && (
        <div className="panel-head">
          <h2 id={id}>{title}</h2>
          {aside}
        </div>
      )}
      {flush ? children : <div className="panel-body">{children}</div>}
    </section>
  );
}

export type Act = 'allow' | 'flagged' | 'throttle' | 'refuse';

const acts: Record<Act, { text: string; icon: ReactNode }> = {
  allow: { text: 'allowed', icon: <IconCircleCheck size={13} aria-hidden /> },
  flagged: { text: 'flagged', icon: <IconFlag size={13} aria-hidden /> },
  throttle: { text: 'throttled', icon: <IconHourglass size={13} aria-hidden /> },
  refuse: { text: 'refused', icon: <IconShieldX size={13} aria-hidden /> },
};

// actOf tells flagged (allowed, with findings of observing checks) from allowed.
export function actOf(d: { action: string; reasons: unknown[] }): Act {
  if (d.action === 'refuse' || d.action === 'throttle') return d.action;
  return d.reasons.length ? 'flagged' : 'allow';
}

export function ActionBadge({ act }: { act: Act }) {
  return (
    <span className={`badge ${act}`}>
      {acts[act].icon}
      {acts[act].text}
    </span>
  );
}

const tiers = ['unseen', 'probed', 'seen once', 'corroborated', 'matched'];
const tierText: Record<string, string> = {
  unseen: 'Declared, and no request has come yet',
  probed: 'Only refused, or answered 404, 405 or 501',
  'seen once': 'Answered by the upstream',
  corroborated: 'Answered for two principals, or on several days',
  matched: 'Requests and answers match the contract',
};

export function Tier({ tier }: { tier: string }) {
  const n = tiers.indexOf(tier);
  return (
    <Tooltip label={tierText[tier] ?? tier} withArrow openDelay={300}>
      <span className="tier">
        <span className="tier-bars" aria-hidden>
          {[1, 2, 3, 4].map((i) => (
            <i key={i} className={i <= n ? 'on' : ''} />
          ))}
        </span>
        {tier}
      </span>
    </Tooltip>
  );
}

export function Exposure({ value }: { value: string }) {
  if (!value) return <span className="sub">not stated</span>;
  if (value === 'third-party')
    return (
      <span className="badge invited" title="An API of others, which our own services call">
        <IconExternalLink size={12} aria-hidden /> third-party
      </span>
    );
  return <span className="badge outline">{value}</span>;
}

export function Status({ code }: { code: number }) {
  if (!code) return <span className="sub">none</span>;
  return <span className="num mono">{code}</span>;
}

export function Method({ name }: { name: string }) {
  return <span className="method">{name}</span>;
}

export function Time({ iso, full, millis }: { iso?: string | null; full?: boolean; millis?: boolean }) {
  const { zone, now } = useSettings();
  if (!iso) return <span className="sub">never</span>;
  const long = `${stamp(iso, zone, millis)} ${zoneName(zone)}`;
  if (full)
    return (
      <time dateTime={iso} className="num">
        {stamp(iso, zone, millis)} <span className="sub">{zone === 'UTC' ? 'UTC' : ''}</span>
      </time>
    );
  return (
    <time dateTime={iso} title={long} className="nowrap num">
      {ago(iso, now)}
    </time>
  );
}

export function Empty({ title, children, icon }: { title: string; children?: ReactNode; icon?: ReactNode }) {
  return (
    <div className="empty">
      {icon}
      <strong>{title}</strong>
      {children}
    </div>
  );
}

export function Failure({ error, retry }: { error: unknown; retry?: () => void }) {
  const p = error instanceof Problem ? error : undefined;
  return (
    <div className="note bad" role="alert">
      <IconAlertTriangle size={17} aria-hidden />
      <div>
        {p?.message ?? (error instanceof Error ? error.message : 'Something went wrong.')}{' '}
        {retry && (
          <button type="button" className="link-button" onClick={retry}>
            Try again
          </button>
        )}
      </div>
    </div>
  );
}

export function Note({ kind = 'info', children }: { kind?: 'info' | 'warn' | 'bad' | 'good'; children: ReactNode }) {
  const Icon = kind === 'good' ? IconCircleCheck : kind === 'info' ? IconInfoCircle : IconAlertTriangle;
  return (
    <div className={`note ${kind}`}>
      <Icon size={17} aria-hidden />
      <div>{children}</div>
    </div>
  );
}

export function Loading({ lines = 6 }: { lines?: number }) {
  return (
    <div aria-busy="true">
      <span className="visually-hidden" role="status">
        Loading
      </span>
      <div className="panel-body stack" aria-hidden>
        {Array.from({ length: lines }, (_, i) => (
          <Skeleton key={i} height={14} width={`${90 - ((i * 17) % 40)}%`} radius={4} />
        ))}
      </div>
    </div>
  );
}

const liveText: Record<LiveState, string> = { live: 'live', connecting: 'connecting', lost: 'connection lost, trying again', off: 'paused' };

export function LiveMark({ state }: { state: LiveState }) {
  return (
    <span className={`live live-${state}`} role="status">
      <i aria-hidden />
      {liveText[state]}
    </span>
  );
}

export function Facts({ rows, wide }: { rows: [ReactNode, ReactNode][]; wide?: boolean }) {
  return (
    <dl className={wide ? 'facts wide' : 'facts'}>
      {rows.map(([k, v], i) => (
        <Fact key={i} k={k} v={v} />
      ))}
    </dl>
  );
}

function Fact({ k, v }: { k: ReactNode; v: ReactNode }) {
  return (
    <>
      <dt>{k}</dt>
      <dd>{v === '' || v === undefined || v === null ? <span className="sub">not stated</span> : v}</dd>
    </>
  );
}

export function PageHead({ title, sub, children, crumbs }: { title: ReactNode; sub?: ReactNode; children?: ReactNode; crumbs?: ReactNode }) {
  return (
    <div className="page-head">
      <div style={{ minWidth: 0 }}>
        {crumbs && (
          <nav className="crumbs" aria-label="Where this is">
            {crumbs}
          </nav>
        )}
        <h1 className="wrap-any">{title}</h1>
        {sub && <div className="sub">{sub}</div>}
      </div>
      {children && <div className="row">{children}</div>}
    </div>
  );
}

// Meter shows a part of a whole. Its words stand beside it; the label is for
// those who do not see it.
export function Meter({ value, label }: { value: number; label: string }) {
  const part = Math.max(0, Math.min(1, value));
  return (
    <span className="meter" role="img" aria-label={label} title={label}>
      <i className={part >= 1 ? 'full' : part >= 0.8 ? 'near' : ''} style={{ width: `${100 * part}%` }} />
    </span>
  );
}

export function Tabs({ label, tabs, active, to, search }: { label: string; tabs: { id: string; text: string }[]; active: string; to: '/limits' | '/identity' | '/inventory' | '/conformance' | '/discovery'; search(id: string): Record<string, string> }) {
  return (
    <nav className="tabs" aria-label={label}>
      {tabs.map((t) => (
        <Link key={t.id} to={to} search={search(t.id)} className={t.id === active ? 'active' : ''} activeProps={{}} aria-current={t.id === active ? 'page' : undefined}>
          {t.text}
        </Link>
      ))}
    </nav>
  );
}
