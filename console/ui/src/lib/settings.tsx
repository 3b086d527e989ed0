import { createContext, useCallback, useContext, useEffect, useMemo, useState, type ReactNode } from 'react';
import type { Zone } from './format';

interface Settings {
  zone: Zone;
  setZone(z: Zone): void;
  now: number; // ticks every few seconds, for "3 min ago"
}

const Context = createContext<Settings>({ zone: 'local', setZone: () => {}, now: Date.now() });

export function SettingsProvider({ children }: { children: ReactNode }) {
  const [zone, set] = useState<Zone>(() => (localStorage.getItem('sallyport-zone') === 'UTC' ? 'UTC' : 'local'));
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const t = setInterval(() => setNow(Date.now()), 5000);
    return () => clearInterval(t);
  }, []);
  const setZone = useCallback((z: Zone) => {
    localStorage.setItem('sallyport-zone', z);
    set(z);
  }, []);
  const value = useMemo(() => ({ zone, setZone, now }), [zone, setZone, now]);
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

export const useSettings = () => useContext(Context);
