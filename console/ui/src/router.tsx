import { createRootRoute, createRoute, createRouter, Outlet } from '@tanstack/react-router';
import { Frame } from './components/frame';
import { Overview } from './pages/overview';
import { Inventory } from './pages/inventory';
import { OperationPage } from './pages/operation';
import { Discovery, ScanPage } from './pages/discovery';
import { Decisions } from './pages/decisions';
import { DecisionPage } from './pages/decision';
import { LimitsPage } from './pages/limits';
import { IdentityPage } from './pages/identity';
import { ConformancePage } from './pages/conformance';
import { VerdictPage } from './pages/verdict';
import { IncidentPage, Incidents } from './pages/incidents';
import { SettingsPage } from './pages/settings';
import { SignIn } from './pages/signin';
import { Setup } from './pages/setup';
import { Missing } from './pages/missing';

const root = createRootRoute({ component: Outlet, notFoundComponent: Missing });

// Search values are text, whatever they look like.
const words = (names: string[]) => (search: Record<string, unknown>) => {
  const out: Record<string, string> = {};
  for (const name of names) {
    const v = search[name];
    if (v !== undefined && v !== null && v !== '') out[name] = String(v);
  }
  return out;
};

const inside = createRoute({ getParentRoute: () => root, id: 'inside', component: Frame });

export const overviewRoute = createRoute({ getParentRoute: () => inside, path: '/', component: Overview });
export const inventoryRoute = createRoute({
  getParentRoute: () => inside,
  path: '/inventory',
  component: Inventory,
  validateSearch: words(['api', 'unmatched', 'q', 'tier', 'show', 'class', 'sort', 'reverse', 'view', 'where', 'days', 'field', 'of']),
});
export const operationRoute = createRoute({
  getParentRoute: () => inside,
  path: '/inventory/operation',
  component: OperationPage,
  validateSearch: words(['api', 'method', 'template']),
});
export const discoveryRoute = createRoute({ getParentRoute: () => inside, path: '/discovery', component: Discovery, validateSearch: words(['view', 'state', 'q']) });
export const scanRoute = createRoute({ getParentRoute: () => inside, path: '/discovery/scans/$id', component: ScanPage });
export const decisionsRoute = createRoute({
  getParentRoute: () => inside,
  path: '/decisions',
  component: Decisions,
  validateSearch: words(['view', 'api', 'operation', 'action', 'stage', 'rule', 'principal', 'client', 'status', 'findings', 'since']),
});
export const decisionRoute = createRoute({ getParentRoute: () => inside, path: '/decisions/$id', component: DecisionPage });
export const limitsRoute = createRoute({ getParentRoute: () => inside, path: '/limits', component: LimitsPage, validateSearch: words(['view', 'api']) });
export const identityRoute = createRoute({ getParentRoute: () => inside, path: '/identity', component: IdentityPage, validateSearch: words(['view']) });
export const conformanceRoute = createRoute({ getParentRoute: () => inside, path: '/conformance', component: ConformancePage, validateSearch: words(['view', 'api', 'state', 'q', 'url', 'who']) });
export const verdictRoute = createRoute({ getParentRoute: () => inside, path: '/conformance/$id', component: VerdictPage });
export const incidentsRoute = createRoute({ getParentRoute: () => inside, path: '/incidents', component: Incidents, validateSearch: words(['state', 'severity', 'api', 'owner', 'overdue']) });
export const incidentRoute = createRoute({ getParentRoute: () => inside, path: '/incidents/$id', component: IncidentPage });
export const settingsRoute = createRoute({ getParentRoute: () => inside, path: '/settings', component: SettingsPage });
export const settingsTabRoute = createRoute({ getParentRoute: () => inside, path: '/settings/$tab', component: SettingsPage });
export const signInRoute = createRoute({ getParentRoute: () => root, path: '/sign-in', component: SignIn, validateSearch: words(['to', 'why']) });
export const setupRoute = createRoute({ getParentRoute: () => root, path: '/setup', component: Setup });

export const router = createRouter({
  routeTree: root.addChildren([
    inside.addChildren([overviewRoute, inventoryRoute, operationRoute, discoveryRoute, scanRoute, decisionsRoute, decisionRoute, limitsRoute, identityRoute, conformanceRoute, verdictRoute, incidentsRoute, incidentRoute, settingsRoute, settingsTabRoute]),
    signInRoute,
    setupRoute,
  ]),
  parseSearch: (text) => Object.fromEntries(new URLSearchParams(text)),
  stringifySearch: (search) => {
    const p = new URLSearchParams();
    for (const [k, v] of Object.entries(search)) if (v !== undefined && v !== null && v !== '') p.set(k, String(v));
    const text = p.toString();
    return text ? '?' + text : '';
  },
  scrollRestoration: true,
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
