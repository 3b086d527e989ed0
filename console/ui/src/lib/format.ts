// Numbers and times for people. Units stand beside every figure.

const integers = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export function count(n: number): string {
  return Math.abs(n) < 100_000 ? integers.format(n) : compact.format(n);
}

export function whole(n: number): string {
  return integers.format(Math.round(n));
}

export function exact(n: number): string {
  return integers.format(n);
}

export function rate(perSecond: number): string {
  if (perSecond === 0) return '0';
  if (perSecond < 0.1) return '< 0.1';
  if (perSecond < 10) return perSecond.toFixed(1);
  return count(perSecond);
}

export function share(part: number, of: number): string {
  if (of === 0) return '–';
  const p = (100 * part) / of;
  if (part === 0) return '0 %';
  if (p < 0.01) return '< 0.01 %';
  if (p < 1) return p.toFixed(2) + ' %';
  if (p < 10) return p.toFixed(1) + ' %';
  return p.toFixed(0) + ' %';
}

export function milliseconds(ms: number): string {
  if (ms <= 0) return '–';
  if (ms < 1) return (ms * 1000).toFixed(0) + ' µs';
  if (ms < 10) return ms.toFixed(1) + ' ms';
  if (ms < 1000) return ms.toFixed(0) + ' ms';
  return (ms / 1000).toFixed(1) + ' s';
}

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let v = n;
  let i = -1;
  do {
    v /= 1024;
    i++;
  } while (v >= 1024 && i < units.length - 1);
  return `${v < 10 ? v.toFixed(1) : v.toFixed(0)} ${units[i]}`;
}

export type Zone = 'local' | 'UTC';

const pad = (n: number, w = 2) => String(n).padStart(w, '0');

// stamp gives 2026-03-04 05:06:07.089, sortable and the same everywhere.
export function stamp(iso: string, zone: Zone, withMillis = false): string {
  const d = new Date(iso);
  if (Number.isNaN(d.getTime())) return iso;
  const u = zone === 'UTC';
  const day = u
    ? `${d.getUTCFullYear()}-${pad(d.getUTCMonth() + 1)}-${pad(d.getUTCDate())}`
    : `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`;
  return `${day} ${clock(d, zone, withMillis)}`;
}

export function clock(d: Date, zone: Zone, withMillis = false): string {
  const u = zone === 'UTC';
  const [h, m, s, ms] = u
    ? [d.getUTCHours(), d.getUTCMinutes(), d.getUTCSeconds(), d.getUTCMilliseconds()]
    : [d.getHours(), d.getMinutes(), d.getSeconds(), d.getMilliseconds()];
  return `${pad(h)}:${pad(m)}:${pad(s)}${withMillis ? '.' + pad(ms, 3) : ''}`;
}

export function zoneName(zone: Zone): string {
  if (zone === 'UTC') return 'UTC';
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'local time';
}

export function ago(iso: string, now: number): string {
  const s = Math.round((now - new Date(iso).getTime()) / 1000);
  if (s < -9) return within(-s); // clocks differ a little
  if (s < 2) return 'now';
  return span(s) + ' ago';
}

function within(s: number): string {
  return 'in ' + span(Math.max(1, s));
}

export function span(s: number): string {
  if (s < 90) return `${s} s`;
  if (s < 90 * 60) return `${Math.round(s / 60)} min`;
  if (s < 36 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

// until says how far away a day is, or how long it has been over.
export function until(iso: string, now: number): string {
  const s = Math.round((new Date(iso).getTime() - now) / 1000);
  return s > 0 ? within(s) : span(-s) + ' ago';
}
