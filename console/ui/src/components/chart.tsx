import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { useComputedColorScheme } from '@mantine/core';
import { clock, rate } from '../lib/format';
import { useSettings } from '../lib/settings';

export interface Line {
  label: string;
  color: string; // name of a CSS variable
  values: number[];
}

interface Props {
  times: number[];
  lines: Line[]; // stacked in this order, the first at the bottom
  height: number;
  label: string; // what a reader who does not see it is told
  sync: string;
}

// RateChart draws stacked areas of rates per second over time.
export function RateChart({ times, lines, height, label, sync }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const scheme = useComputedColorScheme('light');
  const { zone } = useSettings();
  const stacked = stack(times, lines);
  const latest = useRef(stacked);
  latest.current = stacked;
  const shape = lines.map((l) => l.label + l.color).join();

  useEffect(() => {
    const box = host.current;
    if (!box) return;
    const css = getComputedStyle(document.documentElement);
    const pick = (name: string) => css.getPropertyValue(name).trim();
    const font = "11px 'Inter', system-ui, sans-serif";
    const top = lines.length;
    const u = new uPlot(
      {
        width: box.clientWidth,
        height,
        cursor: { sync: { key: sync }, drag: { x: false, y: false }, points: { show: false } },
        legend: { show: false },
        padding: [8, 6, 0, 0],
        scales: { x: { time: true }, y: { range: (_u, _min, max) => [0, Math.max(max * 1.12, 1)] } },
        axes: [
          {
            stroke: pick('--ink-3'),
            font,
            grid: { show: false },
            ticks: { show: false },
            size: 24,
            space: 90,
            values: (_u, at) => at.map((t) => clock(new Date(t * 1000), zone).slice(0, at.length > 1 && (at[1] ?? 0) - (at[0] ?? 0) >= 60 ? 5 : 8)),
          },
          {
            stroke: pick('--ink-3'),
            font,
            grid: { stroke: pick('--line-soft'), width: 1 },
            ticks: { show: false },
            size: 46,
            space: 34,
            values: (_u, at) => at.map((v) => (v >= 10 || v === 0 ? rate(v) : v.toFixed(v < 1 ? 1 : v % 1 ? 1 : 0))),
          },
        ],
        series: [
          {},
          ...lines.map((_, i) => {
            const line = lines[top - 1 - i]!;
            return { label: line.label, stroke: pick(line.color), fill: pick(line.color), width: 0, points: { show: false }, paths: uPlot.paths.stepped!({ align: 1 }) };
          }),
        ],
      },
      latest.current,
      box,
    );
    plot.current = u;
    const watch = new ResizeObserver(() => u.setSize({ width: box.clientWidth, height }));
    watch.observe(box);
    return () => {
      watch.disconnect();
      u.destroy();
      plot.current = undefined;
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [scheme, zone, height, shape, sync]);

  useEffect(() => {
    plot.current?.setData(stacked);
  });

  return <div className="chart" ref={host} role="img" aria-label={label} style={{ height }} />;
}

// stack gives uPlot the highest area first, so that lower ones are drawn over it.
function stack(times: number[], lines: Line[]): uPlot.AlignedData {
  const sums = new Array<number>(times.length).fill(0);
  const columns: number[][] = [];
  for (const line of lines) {
    const column = new Array<number>(times.length);
    for (let i = 0; i < times.length; i++) {
      sums[i]! += line.values[i] ?? 0;
      column[i] = sums[i]!;
    }
    columns.unshift(column);
  }
  return [times, ...columns] as uPlot.AlignedData;
}
