import { useEffect, useRef, useState } from 'react';
import { queries } from './client';

export type LiveState = 'connecting' | 'live' | 'lost' | 'off';

// useLive keeps a stream of server-sent events open while url is given. The
// browser reconnects by itself after a break; after a refusal we ask who is
// signed in, and try again later.
export function useLive<T>(url: string | null, event: string, take: (data: T) => void): LiveState {
  const [state, setState] = useState<LiveState>('off');
  const taker = useRef(take);
  taker.current = take;
  useEffect(() => {
    if (!url) {
      setState('off');
      return;
    }
    let source: EventSource | undefined;
    let again: ReturnType<typeof setTimeout> | undefined;
    const open = () => {
      setState('connecting');
      source = new EventSource(url);
      source.onopen = () => setState('live');
      source.addEventListener(event, (e) => taker.current(JSON.parse((e as MessageEvent<string>).data) as T));
      source.addEventListener('end', () => {
        source?.close();
        void queries.invalidateQueries({ queryKey: ['me'] });
      });
      source.onerror = () => {
        setState('lost');
        if (source?.readyState === EventSource.CLOSED) {
          void queries.invalidateQueries({ queryKey: ['me'] });
          again = setTimeout(open, 5000);
        }
      };
    };
    open();
    return () => {
      source?.close();
      clearTimeout(again);
    };
  }, [url, event]);
  return state;
}
