import type { Schemas } from '../api/client';
import { exact } from '../lib/format';

// Distribution draws how often callers ask, each bar one step of doubling, and
// the lines of the 99th percentile and of the suggested limit.
export function Distribution({ s }: { s: Schemas['SuggestionView'] }) {
  const width = 480;
  const height = 118;
  const top = 26;
  const foot = 18;
  const far = Math.max(1, ...s.buckets.map((b) => b.up_to), s.suggested);
  const steps = Math.ceil(Math.log2(far)) + 1; // up to 1, 2, 4, …
  const bars = new Array<number>(steps).fill(0);
  for (const b of s.buckets) {
    const i = Math.min(steps - 1, Math.max(0, Math.ceil(Math.log2(b.up_to))));
    bars[i]! += b.samples;
  }
  const wide = width / steps;
  const most = Math.log1p(Math.max(1, ...bars));
  // n requests stand at the right edge of the bar that ends with n.
  const x = (n: number) => Math.min(width - 1, (Math.log2(Math.max(1, n)) + 1) * wide);
  const text = s.suggested ? `, suggested limit ${exact(s.suggested)} a minute` : '';
  const at = x(s.suggested);
  const tick = Math.max(1, Math.ceil(steps / 8));
  return (
    <svg className="distribution" viewBox={`0 0 ${width} ${height}`} role="img" aria-label={`Requests of one caller in one minute for ${s.operation}: median ${exact(s.p50)}, 99 percent at most ${exact(s.p99)}, 99.9 percent at most ${exact(s.p999)}${text}`}>
      {bars.map((n, i) => {
        const h = n ? Math.max(2, (Math.log1p(n) / most) * (height - top - foot)) : 0;
        return (
          <g key={i}>
            <rect x={i * wide + 1} y={height - foot - h} width={Math.max(1, wide - 2)} height={h} className="bar">
              <title>{`${i === 0 ? '1 request' : `${exact(2 ** (i - 1) + 1)} to ${exact(2 ** i)} requests`.replace(/^2 to 2 /, '2 ')}: ${exact(n)} minutes`}</title>
            </rect>
            {i % tick === 0 && (
              <text x={(i + 0.5) * wide} y={height - 5} textAnchor="middle">
                {i > 9 ? `${exact(2 ** i)}` : 2 ** i}
              </text>
            )}
          </g>
        );
      })}
      <line x1={0} x2={width} y1={height - foot} y2={height - foot} className="base" />
      {s.p99 > 0 && <line x1={x(s.p99)} x2={x(s.p99)} y1={top} y2={height - foot} className="mark" />}
      {s.p99 > 0 && (
        <text x={x(s.p99) - 4} y={top - 3} textAnchor="end" className="mark-text">
          99 %
        </text>
      )}
      {s.suggested > 0 && <line x1={at} x2={at} y1={top - 12} y2={height - foot} className="line" />}
      {s.suggested > 0 && (
        <text x={at > width * 0.6 ? at - 5 : at + 5} y={11} textAnchor={at > width * 0.6 ? 'end' : 'start'} className="line-text">
          suggested {exact(s.suggested)}/min
        </text>
      )}
    </svg>
  );
}
