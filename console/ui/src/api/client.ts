import createClient from 'openapi-fetch';
import { QueryClient, useQuery } from '@tanstack/react-query';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];

export const client = createClient<paths>({ baseUrl: '/', credentials: 'same-origin' });

// A Problem is an answer that is not 2xx, as RFC 9457 says it.
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly places: { location?: string; message?: string }[] = [],
  ) {
    super(message);
  }
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

export async function ask<T>(call: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await call;
  } catch {
    throw new Problem(0, 'The console does not answer. Is Sallyport running, and is the network there?');
  }
  if (answer.response.ok) return answer.data as T;
  const e = (answer.error ?? {}) as Schemas['ErrorModel'];
  const places = (e.errors ?? []).map((d) => ({ location: d.location, message: d.message }));
  const said = places.length ? places.map((p) => p.message).join('; ') : e.detail || e.title || `Status ${answer.response.status}`;
  const problem = new Problem(answer.response.status, sentence(said), places);
  if (problem.status === 401 && queries.getQueryData(['me'])) queries.setQueryData(['me'], null);
  throw problem;
}

function sentence(s: string): string {
  return s.charAt(0).toUpperCase() + s.slice(1) + (/[.!?]$/.test(s) ? '' : '.');
}

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2000,
      refetchOnWindowFocus: false,
      retry: (n, e) => n < 2 && e instanceof Problem && (e.status === 0 || e.status === 503),
    },
  },
});

export type Me = Schemas['Me'];

// useMe is who is signed in: null for nobody, undefined while it is not known.
export function useMe() {
  return useQuery<Me | null>({
    queryKey: ['me'],
    staleTime: Infinity,
    queryFn: async () => {
      try {
        return await ask(client.GET('/api/v1/session'));
      } catch (e) {
        if (e instanceof Problem && e.status === 401) return null;
        throw e;
      }
    },
  });
}
