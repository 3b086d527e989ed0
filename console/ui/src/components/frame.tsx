import { useEffect, useRef, useState } from 'react';
import { Modal, useMantineColorScheme, useComputedColorScheme } from '@mantine/core';
import { Link, Outlet, useNavigate, useRouterState } from '@tanstack/react-router';
import { IconActivity, IconAlertOctagon, IconClock, IconFingerprint, IconGauge, IconKeyboard, IconLayoutDashboard, IconLogout, IconMenu2, IconMoon, IconRadar2, IconRoute, IconSettings, IconShieldCheck, IconSun, IconX } from '@tabler/icons-react';
import { ask, client, queries, useMe } from '../api/client';
import { useSettings } from '../lib/settings';
import { zoneName } from '../lib/format';
import { router } from '../router';
import { Failure, Loading } from './parts';

const pages = [
  { to: '/', text: 'Overview', key: 'o', icon: IconLayoutDashboard },
  { to: '/inventory', text: 'Inventory', key: 'i', icon: IconRoute },
  { to: '/discovery', text: 'Discovery', key: 'v', icon: IconRadar2 },
  { to: '/decisions', text: 'Decisions', key: 'd', icon: IconActivity },
  { to: '/limits', text: 'Limits', key: 'l', icon: IconGauge },
  { to: '/identity', text: 'Identity', key: 'e', icon: IconFingerprint },
  { to: '/conformance', text: 'Conformance', key: 'c', icon: IconShieldCheck },
  { to: '/incidents', text: 'Incidents', key: 'n', icon: IconAlertOctagon },
  { to: '/settings', text: 'Settings', key: 's', icon: IconSettings },
] as const;

let leaving = false; // signing out on purpose: nobody asks to come back

export async function signOut(why?: string) {
  leaving = true;
  try {
    await ask(client.DELETE('/api/v1/session'));
  } catch {
    // The session is gone either way, or the next request says so.
  }
  queries.clear();
  queries.setQueryData(['me'], null);
  await router.navigate({ to: '/sign-in', search: why ? { why } : {} });
  leaving = false;
}

// Frame is what surrounds every page of someone who is signed in.
export function Frame() {
  const me = useMe();
  const navigate = useNavigate();
  const path = useRouterState({ select: (s) => s.location.pathname });
  const [menu, setMenu] = useState(false);
  const [help, setHelp] = useState(false);
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme('light');
  const { zone, setZone } = useSettings();
  const main = useRef<HTMLElement>(null);
  const was = useRef(path);

  useEffect(() => {
    if (me.data !== null || leaving) return;
    const { pathname, href } = router.state.location;
    if (pathname !== '/sign-in') void router.navigate({ to: '/sign-in', search: href === '/' ? {} : { to: href }, replace: true });
  }, [me.data]);

  // After a change of page the keyboard starts at its top, and the title says where it is.
  useEffect(() => {
    setMenu(false);
    const page = pages.find((p) => (p.to === '/' ? path === '/' : path.startsWith(p.to)));
    document.title = page ? `${page.text} · Sallyport` : 'Sallyport';
    if (was.current !== path) main.current?.focus({ preventScroll: true });
    was.current = path;
  }, [path]);

  useShortcuts((to) => void navigate({ to }), () => setHelp(true));
  useIdle(me.data?.idle_seconds);

  if (me.isPending) return <Loading />;
  if (me.isError)
    return (
      <main className="gate">
        <div className="gate-card">
          <Failure error={me.error} retry={() => void me.refetch()} />
        </div>
      </main>
    );
  if (!me.data) return null;

  return (
    <div className="frame">
      <a className="skip" href="#main" onClick={(e) => { e.preventDefault(); main.current?.focus(); }}>
        Skip to content
      </a>
      <header className="topbar">
        <span className="brand">
          <img src="/icon.svg" alt="" />
          Sallyport
        </span>
        <button type="button" className="side-button" aria-expanded={menu} aria-controls="side" onClick={() => setMenu(!menu)}>
          {menu ? <IconX size={20} aria-hidden /> : <IconMenu2 size={20} aria-hidden />}
          <span className="visually-hidden">{menu ? 'Close menu' : 'Open menu'}</span>
        </button>
      </header>
      <div className={`side ${menu ? 'open' : ''}`} id="side">
        <span className="brand">
          <img src="/icon.svg" alt="" />
          Sallyport
        </span>
        <nav aria-label="Pages" style={{ display: 'flex', flexDirection: 'column', gap: 2 }}>
          {pages.map((p) => (
            <Link key={p.to} to={p.to} className="nav-link" activeProps={{ className: 'nav-link active' }} activeOptions={{ exact: p.to === '/', includeSearch: false }} onClick={() => setMenu(false)}>
              <p.icon size={17} stroke={1.7} aria-hidden />
              {p.text}
            </Link>
          ))}
        </nav>
        <div className="side-foot">
          <button type="button" className="side-button" onClick={() => setZone(zone === 'UTC' ? 'local' : 'UTC')} title={`Times are shown in ${zoneName(zone)}`}>
            <IconClock size={16} stroke={1.7} aria-hidden />
            Times: {zone === 'UTC' ? 'UTC' : 'local'}
          </button>
          <button type="button" className="side-button" onClick={() => setColorScheme(scheme === 'dark' ? 'light' : 'dark')}>
            {scheme === 'dark' ? <IconSun size={16} stroke={1.7} aria-hidden /> : <IconMoon size={16} stroke={1.7} aria-hidden />}
            {scheme === 'dark' ? 'Light' : 'Dark'}
          </button>
          <button type="button" className="side-button" onClick={() => setHelp(true)}>
            <IconKeyboard size={16} stroke={1.7} aria-hidden />
            Shortcuts
          </button>
          <button type="button" className="side-button" onClick={() => void signOut()}>
            <IconLogout size={16} stroke={1.7} aria-hidden />
            <span className="cut">
              Sign out <span style={{ opacity: 0.75 }}>{me.data.name}</span>
            </span>
          </button>
        </div>
      </div>
      <main className="main" id="main" ref={main} tabIndex={-1}>
        <Outlet />
      </main>
      <Modal opened={help} onClose={() => setHelp(false)} title="Keyboard shortcuts" centered size="sm" closeButtonProps={{ 'aria-label': 'Close' }}>
        <table className="data">
          <tbody>
            {[
              ...pages.map((p) => [`g ${p.key}`, p.text] as const),
              ['/', 'Go to the filter of the page'] as const,
              ['p', 'Pause or resume the live view'] as const,
              ['?', 'This list'] as const,
              ['Esc', 'Close'] as const,
            ].map(([keys, text]) => (
              <tr key={keys}>
                <td style={{ width: 90 }}>
                  {keys.split(' ').map((k) => (
                    <span key={k}>
                      <kbd>{k}</kbd>{' '}
                    </span>
                  ))}
                </td>
                <td>{text}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Modal>
    </div>
  );
}

function typing(e: KeyboardEvent): boolean {
  const t = e.target as HTMLElement | null;
  return !!t && (t.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(t.tagName));
}

function useShortcuts(go: (to: (typeof pages)[number]['to']) => void, help: () => void) {
  const act = useRef({ go, help });
  act.current = { go, help };
  useEffect(() => {
    let lead = 0;
    const down = (e: KeyboardEvent) => {
      if (e.ctrlKey || e.metaKey || e.altKey || typing(e) || document.querySelector('[role=dialog]')) return;
      const page = pages.find((p) => p.key === e.key);
      if (e.key === 'g') lead = e.timeStamp;
      else if (page && e.timeStamp - lead < 1200) {
        lead = 0;
        act.current.go(page.to);
      } else if (e.key === '?') act.current.help();
      else if (e.key === '/') {
        const filter = document.querySelector<HTMLElement>('[data-filter]');
        if (filter) {
          e.preventDefault();
          filter.focus();
        }
      } else if (e.key === 'p') document.querySelector<HTMLElement>('[data-pause]')?.click();
    };
    window.addEventListener('keydown', down);
    return () => window.removeEventListener('keydown', down);
  }, []);
}

// useIdle signs out a browser that nobody touches, and keeps the session of one
// that is read without a request.
function useIdle(seconds?: number) {
  useEffect(() => {
    if (!seconds) return;
    let touched = Date.now();
    let told = Date.now();
    const touch = () => (touched = Date.now());
    const kinds = ['pointerdown', 'keydown', 'wheel', 'touchstart'] as const;
    kinds.forEach((k) => window.addEventListener(k, touch, { passive: true }));
    const t = setInterval(() => {
      const now = Date.now();
      if (now - touched > seconds * 1000) void signOut('idle');
      else if (touched > told && now - told > Math.min(300_000, (seconds * 1000) / 3)) {
        told = now;
        void client.GET('/api/v1/session').catch(() => {});
      }
    }, 15_000);
    return () => {
      clearInterval(t);
      kinds.forEach((k) => window.removeEventListener(k, touch));
    };
  }, [seconds]);
}
