import { useCallback, useEffect, useLayoutEffect, useRef, useState, type KeyboardEvent, type ReactNode } from 'react';
import { IconArrowDown, IconArrowUp } from '@tabler/icons-react';
import type { Column } from './table';

interface Props<T> {
  label: string;
  columns: Column<T>[];
  total: number; // rows there are, loaded or not
  row(i: number): T | undefined; // undefined: it has not come yet
  rowKey(row: T): string;
  height?: number; // of every row, in pixels
  onRange?(first: number, last: number): void;
  sort?: string;
  reverse?: boolean;
  onSort?(sort: string): void;
  chosen?: ReadonlySet<string>;
  onChoose?(keys: string[], on: boolean): void;
  chooseLabel?(row: T): string; // '' = this row cannot be chosen
}

const overscan = 10;

// VirtualTable shows a list of any length and draws the rows in view only. All
// rows are equally high. Arrows or j and k go from row to row, Enter opens one,
// x chooses it, Shift with a click chooses all between.
export function VirtualTable<T>({ label, columns, total, row, rowKey, height = 52, onRange, sort, reverse, onSort, chosen, onChoose, chooseLabel }: Props<T>) {
  const box = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState({ top: 0, high: 700 });
  const anchor = useRef(-1);

  const look = useCallback(() => {
    const el = box.current;
    if (!el) return;
    setSeen((s) => (Math.abs(s.top - el.scrollTop) < height / 2 && s.high === el.clientHeight ? s : { top: el.scrollTop, high: el.clientHeight }));
  }, [height]);
  useLayoutEffect(look, [look, total]);
  useEffect(() => {
    const o = new ResizeObserver(look);
    if (box.current) o.observe(box.current);
    return () => o.disconnect();
  }, [look]);

  const first = Math.max(0, Math.min(total - 1, Math.floor(seen.top / height)) - overscan);
  const last = Math.min(total, Math.ceil((seen.top + seen.high) / height) + overscan);
  useEffect(() => onRange?.(first, last), [first, last]); // eslint-disable-line react-hooks/exhaustive-deps

  const pick = (i: number, on: boolean, all: boolean) => {
    const from = all && anchor.current >= 0 ? Math.min(anchor.current, i) : i;
    const to = all && anchor.current >= 0 ? Math.max(anchor.current, i) : i;
    anchor.current = i;
    const keys: string[] = [];
    for (let n = from; n <= to; n++) {
      const r = row(n);
      if (r !== undefined && chooseLabel?.(r)) keys.push(rowKey(r));
    }
    if (keys.length) onChoose?.(keys, on);
  };

  const key = (e: KeyboardEvent) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const el = box.current!;
    const at = Number((document.activeElement as HTMLElement | null)?.closest('tr')?.getAttribute('aria-rowindex') ?? 0) - 2;
    const step = e.key === 'ArrowDown' || e.key === 'j' ? 1 : e.key === 'ArrowUp' || e.key === 'k' ? -1 : 0;
    if (step) {
      e.preventDefault();
      const to = at < 0 ? Math.floor(el.scrollTop / height) : Math.max(0, Math.min(total - 1, at + step));
      const link = el.querySelector<HTMLElement>(`tr[aria-rowindex="${to + 2}"] .row-link`);
      link?.focus({ preventScroll: true });
      const head = el.querySelector('thead')?.clientHeight ?? 0;
      if (to * height < el.scrollTop) el.scrollTop = to * height;
      else if ((to + 1) * height + head > el.scrollTop + el.clientHeight) el.scrollTop = (to + 1) * height + head - el.clientHeight;
    } else if (e.key === 'x' && at >= 0 && onChoose) {
      e.preventDefault();
      const r = row(at);
      if (r !== undefined) pick(at, !chosen?.has(rowKey(r)), false);
    }
  };

  // Rows that only take room have one cell: in a table of fixed columns a span
  // over hidden ones would bring them back.
  const body: ReactNode[] = [];
  for (let i = first; i < last; i++) {
    const r = row(i);
    if (r === undefined) {
      body.push(
        <tr key={'#' + i} aria-rowindex={i + 2} aria-busy="true" style={{ height }}>
          {onChoose && <td className="choose" />}
          <td>
            <span className="visually-hidden">Loading</span>
            <span className="row-wait" aria-hidden />
          </td>
        </tr>,
      );
      continue;
    }
    const k = rowKey(r);
    const choose = chooseLabel?.(r);
    body.push(
      <tr key={k} aria-rowindex={i + 2} className={`linked ${chosen?.has(k) ? 'chosen' : ''}`} style={{ height }}>
        {onChoose && <td className="choose">{choose && <input type="checkbox" aria-label={choose} checked={chosen?.has(k) ?? false} onChange={(e) => pick(i, e.target.checked, (e.nativeEvent as MouseEvent).shiftKey)} />}</td>}
        {columns.map((c) => (
          <td key={c.id} className={`${c.right ? 'right' : ''} ${c.hidePhone ? 'hide-phone' : ''} ${c.wide ? 'hide-narrow' : ''}`}>
            {c.cell(r)}
          </td>
        ))}
      </tr>,
    );
  }

  return (
    <div className="table-scroll tall" tabIndex={0} role="region" aria-label={label} ref={box} onScroll={look} onKeyDown={key}>
      <table className="data fixed" aria-rowcount={total + 1}>
        <thead>
          <tr aria-rowindex={1}>
            {onChoose && (
              <th scope="col" className="choose">
                <span className="visually-hidden">Chosen</span>
              </th>
            )}
            {columns.map((c) => {
              const active = c.sort !== undefined && c.sort === sort;
              return (
                <th key={c.id} scope="col" className={`${c.right ? 'right' : ''} ${c.hidePhone ? 'hide-phone' : ''} ${c.wide ? 'hide-narrow' : ''}`} style={c.width ? { width: c.width } : undefined} aria-sort={active ? (reverse ? 'descending' : 'ascending') : undefined}>
                  {c.sort && onSort ? (
                    <button type="button" onClick={() => onSort(c.sort!)}>
                      {c.head}
                      {active && (reverse ? <IconArrowDown size={12} aria-hidden /> : <IconArrowUp size={12} aria-hidden />)}
                    </button>
                  ) : (
                    c.head
                  )}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {first > 0 && (
            <tr aria-hidden style={{ height: first * height }}>
              <td />
            </tr>
          )}
          {body}
          {last < total && (
            <tr aria-hidden style={{ height: (total - last) * height }}>
              <td />
            </tr>
          )}
        </tbody>
      </table>
    </div>
  );
}
