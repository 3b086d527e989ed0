import type { Key, ReactNode } from 'react';
import { IconArrowDown, IconArrowUp } from '@tabler/icons-react';

export interface Column<T> {
  id: string;
  head: ReactNode;
  cell(row: T): ReactNode;
  right?: boolean;
  hidePhone?: boolean;
  wide?: boolean; // only where there is much room
  sort?: string; // name of the order, when the list can be ordered by it
  width?: string;
}

interface Props<T> {
  label: string;
  columns: Column<T>[];
  rows: T[];
  rowKey(row: T): Key;
  linked?: boolean; // each row holds one .row-link that covers it
  arrived?(row: T): boolean;
  sort?: string;
  reverse?: boolean;
  onSort?(sort: string): void;
}

export function DataTable<T>({ label, columns, rows, rowKey, linked, arrived, sort, reverse, onSort }: Props<T>) {
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label={label}>
      <table className="data">
        <thead>
          <tr>
            {columns.map((c) => {
              const active = c.sort !== undefined && c.sort === sort;
              const up = active && (sort === 'template') !== !!reverse;
              return (
                <th
                  key={c.id}
                  scope="col"
                  className={`${c.right ? 'right' : ''} ${c.hidePhone ? 'hide-phone' : ''}`}
                  style={c.width ? { width: c.width } : undefined}
                  aria-sort={active ? (up ? 'ascending' : 'descending') : undefined}
                >
                  {c.sort && onSort ? (
                    <button type="button" onClick={() => onSort(c.sort!)}>
                      {c.head}
                      {active && (up ? <IconArrowUp size={12} aria-hidden /> : <IconArrowDown size={12} aria-hidden />)}
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
          {rows.map((row) => (
            <tr key={rowKey(row)} className={`${linked ? 'linked' : ''} ${arrived?.(row) ? 'arrived' : ''}`}>
              {columns.map((c) => (
                <td key={c.id} className={`${c.right ? 'right' : ''} ${c.hidePhone ? 'hide-phone' : ''}`}>
                  {c.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
