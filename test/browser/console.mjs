// Drives the console in Chromium as a person would: setup, overview,
// inventory, a decision by its id, administration, sign-out, sign-in by
// keyboard alone. Any violation of the content security policy, any request
// to another host, any uncaught error and any serious finding of axe fails it.
//
// node console.mjs PROGRAM [FOLDER]   with a folder, screenshots are kept there
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [program, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const started = Date.now();
const password = 'plum kayak orbit fern';
if (folder) mkdirSync(folder, { recursive: true });

const server = spawn(program, [], { stdio: ['ignore', 'pipe', 'inherit'] });
const profile = mkdtempSync(join(tmpdir(), 'sallyport-browser-'));
let context;
const faults = [];

try {
  const line = await new Promise((resolve, reject) => {
    createInterface({ input: server.stdout }).once('line', resolve);
    server.once('exit', (code) => reject(new Error(`the console ended with ${code}`)));
  });
  const [base, setup, harbour] = line.split(' ');

  context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    ignoreHTTPSErrors: true,
    viewport: { width: 1440, height: 900 },
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const page = context.pages()[0] ?? (await context.newPage());
  page.setDefaultTimeout(20_000);
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (e) => console.error(`CSP: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`));
  });
  page.on('console', (m) => {
    if (/CSP:|Content Security Policy|Refused to/i.test(m.text())) faults.push(m.text());
  });
  page.on('pageerror', (e) => faults.push(`uncaught: ${e.message}`));
  page.on('request', (r) => {
    if (!r.url().startsWith(base)) faults.push(`a request to another host: ${r.url()}`);
  });
  page.on('response', (r) => {
    if (r.status() >= 500) faults.push(`${r.status()} from ${r.url()}`);
  });

  let step = '';
  const begin = (name) => {
    step = name;
    console.log(`${((Date.now() - started) / 1000).toFixed(1).padStart(5)} s  ${name}`);
  };
  const shot = async (name) => {
    if (folder) await page.screenshot({ path: join(folder, `${name}.png`) });
  };
  // accessible runs axe on what is shown. It is evaluated by the debugger and
  // so needs no exception from the policy.
  const accessible = async (name) => {
    // What fades in is judged when it is there.
    await page.evaluate(() => Promise.race([Promise.all(document.getAnimations().map((a) => a.finished.catch(() => {}))), new Promise((r) => setTimeout(r, 600))]));
    await page.locator('.pending').first().waitFor({ state: 'detached' });
    await page.evaluate(axe);
    const found = await page.evaluate(async () => {
      const r = await globalThis.axe.run(document, { resultTypes: ['violations'] });
      return r.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical').map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join(' | ')}`);
    });
    for (const f of found) faults.push(`axe on ${name}: ${f}`);
    await shot(name);
  };
  const heading = (name) => page.getByRole('heading', { level: 1, name }).waitFor();

  begin('a link without its token says where to get one');
  await page.goto(base + '/setup');
  await page.getByText('lacks the token').waitFor();

  begin('setup makes the first administrator');
  await page.goto(base + setup);
  await page.reload(); // the token left the address bar, and with it the page
  await page.goto('about:blank');
  await page.goto(base + setup);
  await page.getByLabel('Name').fill('anna');
  assert.equal(new URL(page.url()).hash, '', 'the token stays in the address bar');
  await page.getByLabel('Password', { exact: true }).fill('password1234');
  await page.getByLabel('Password again').fill('password1234');
  await page.getByRole('button', { name: 'Make the administrator' }).click();
  await page.getByRole('alert').filter({ hasText: 'guessed early' }).waitFor();
  await accessible('setup');
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByLabel('Password again').fill(password);
  await page.getByRole('button', { name: 'Make the administrator' }).click();

  begin('the overview is live');
  await heading('Overview');
  await page.getByRole('status').filter({ hasText: /^live$/ }).waitFor();
  const lost = () => page.locator('.tile', { hasText: 'Records lost' }).locator('.tile-note').innerText();
  const before = await lost();
  await page.waitForFunction((was) => [...document.querySelectorAll('.tile-note')].at(-1)?.textContent !== was, before);
  await page.getByText('no gate configured').filter({ visible: true }).first().waitFor();
  await page.getByRole('link', { name: /sqli\.tautology/ }).waitFor();
  await page.getByText('Programs in force').waitFor();
  await accessible('overview');
  await page.getByText('1 h', { exact: true }).click();
  await page.getByText('last hour').waitFor();

  begin('the inventory: facets, order, keys, a long list');
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Inventory' }).click();
  await heading('Inventory');
  const table = page.getByRole('region', { name: 'APIs', exact: true }).last();
  await table.getByRole('row', { name: /accounts/ }).locator('.badge', { hasText: 'zombie' }).last().waitFor();
  await page.getByText(/^40\d APIs$/).waitFor();
  await accessible('inventory');
  await table.evaluate((el) => (el.scrollTop = el.scrollHeight));
  await table.getByRole('row', { name: /treasury-/ }).last().waitFor();
  assert.ok((await table.locator('tbody tr').count()) < 60, 'rows out of view are drawn');
  await page.getByRole('group', { name: 'Filter by field' }).getByLabel(/^zombie/).check();
  await page.waitForURL(/where=state%3Azombie/);
  await page.getByText('1 fit', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'No longer only State zombie' }).click();
  await page.getByRole('button', { name: 'Risk' }).click();
  await page.waitForURL(/sort=risk&reverse=yes/);
  await table.getByRole('row').nth(1).filter({ hasText: /accounts|branch-finder|payments/ }).waitFor();

  begin('many are edited at once, after a look at what would change, and taken back');
  await page.keyboard.press('/');
  await page.keyboard.type('branch');
  await page.waitForURL(/q=branch/);
  await page.getByText('1 fit', { exact: true }).waitFor();
  await table.getByRole('row', { name: /branch-finder/ }).getByText(/^Sources disagree about owner/).waitFor();
  await table.focus();
  await page.keyboard.press('j');
  await page.keyboard.press('x');
  await page.getByText('1 chosen').waitFor();
  await page.getByRole('button', { name: 'Edit…' }).click();
  const edit = page.getByRole('dialog', { name: 'Edit branch-finder' });
  await edit.getByLabel('Value').fill('Branch services');
  await edit.getByRole('button', { name: 'See what would change' }).click();
  await edit.getByText('One value would change').waitFor();
  await edit.locator('del', { hasText: 'Web shop' }).waitFor();
  await accessible('edit');
  await edit.getByRole('button', { name: 'Make the change' }).click();
  await page.getByText('One value was changed').waitFor();
  await table.getByRole('row', { name: /branch-finder/ }).getByText('confirmed').waitFor();
  await page.getByRole('button', { name: 'Undo' }).click();
  await page.getByText('Taken back').waitFor();
  await table.getByRole('row', { name: /branch-finder/ }).getByText('60 % sure').waitFor();

  begin('views are saved, files go out and come in');
  await page.getByRole('button', { name: 'Saved views' }).click();
  await page.getByRole('menuitem', { name: /Save this filter/ }).click();
  await page.getByLabel('Name of the view').fill('branches by risk');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'branches by risk' }).waitFor();
  const [file] = await Promise.all([page.waitForEvent('download'), (async () => {
    await page.getByRole('button', { name: 'Export' }).click();
    await page.getByRole('dialog', { name: 'Export' }).getByRole('button', { name: 'Download' }).click();
  })()]);
  assert.equal(file.suggestedFilename(), 'inventory.csv');
  assert.match(readFileSync(await file.path(), 'utf8'), /^[^\n]*owner\.team[^\n]*\n[^\n]*branch-finder[^\n]*\n$/s);
  await page.getByRole('button', { name: 'Import' }).click();
  const taken = page.getByRole('dialog', { name: 'Import' });
  await taken.getByLabel('or its text').fill('api,cost_centre\nbranch-finder,4711\n');
  await taken.getByRole('button', { name: 'See what would change' }).click();
  await taken.locator('ins', { hasText: '4711' }).waitFor();
  await accessible('import');
  await taken.getByRole('button', { name: 'Take it in' }).click();
  await taken.getByText('One value was taken in').waitFor();
  await taken.getByRole('button', { name: 'Close' }).last().click();
  await page.getByRole('navigation', { name: 'Inventory' }).getByRole('link', { name: 'Changes' }).click();
  await page.getByRole('list', { name: 'Changes' }).getByText('4711').waitFor();
  await accessible('changes');
  await page.getByRole('navigation', { name: 'Inventory' }).getByRole('link', { name: 'Edits' }).click();
  await page.getByText('taken back by anna').waitFor();
  await accessible('edits');

  begin('an API leads to its operations');
  await page.goto(base + '/inventory?view=operations');
  await page.getByRole('region', { name: 'Operations' }).getByText('/payments/v1/transfers').first().waitFor();
  await accessible('operations');
  await page.goto(base + '/inventory?api=payments');
  await heading('payments');
  await page.getByText('J. Okafor').waitFor();
  await page.getByText('The configuration declares it').waitFor();
  await page.getByRole('region', { name: 'Instances, and how they tested last' }).waitFor();
  await page.getByText('What would lower it').waitFor();
  const of = (name) => page.getByRole('navigation', { name: 'API', exact: true }).getByRole('link', { name });
  await accessible('api-overview');
  await of('Drift').click();
  const drift = page.getByRole('region', { name: 'Differences' });
  await drift.locator('.plus', { hasText: '/channel' }).waitFor();
  await drift.locator('.minus', { hasText: '/execute_on' }).waitFor();
  await page.getByRole('region', { name: 'What traffic has taught' }).last().getByRole('row', { name: /createTransfer|transfers/ }).first().waitFor();
  await accessible('drift');
  await page.getByRole('button', { name: /never used/ }).click();
  await drift.locator('.plus').first().waitFor({ state: 'detached' });
  const [learned] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'OpenAPI 3.1, YAML' }).click()]);
  assert.match(readFileSync(await learned.path(), 'utf8'), /openapi: .?3\.1/);
  await of('Who calls what').click();
  await page.getByRole('img', { name: /consumers call payments/ }).waitFor();
  await page.getByRole('region', { name: 'What it calls' }).last().getByRole('row', { name: /accounts/ }).waitFor();
  await accessible('graph');
  await of('Timeline').click();
  await page.getByRole('list', { name: 'Timeline' }).getByText('undocumented').first().waitFor();
  await accessible('timeline');
  await of('Operations').click();
  await page.getByRole('button', { name: 'Requests' }).click();
  await page.waitForURL(/sort=requests/);
  await page.keyboard.press('/');
  await page.keyboard.type('createTransfer');
  await page.waitForURL(/q=createTransfer/);
  await accessible('api');
  await page.getByRole('region', { name: 'Operations' }).getByRole('link', { name: /POST/ }).first().click();
  await heading(/\/payments\/v1\/transfers/);
  const schema = page.getByRole('region', { name: 'Schema, declared against observed' });
  await schema.getByRole('row', { name: /\/channel/ }).getByText('undocumented').waitFor();
  await schema.getByRole('row', { name: /\/amount/ }).getByText('agrees').waitFor();
  await page.getByText('iban').first().waitFor();
  await accessible('operation');

  begin('people confirm and reject what sources say, and take it back');
  await page.goto(base + '/inventory?api=branch-finder');
  await page.getByText('Sources disagree about owner').waitFor();
  await page.getByRole('button', { name: 'Web shop it is' }).click();
  await page.getByText('confirmed by a person').first().waitFor();
  await page.getByText('Sources disagree about owner').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Undo' }).click();
  await page.getByText('Sources disagree about owner').waitFor();
  await page.getByRole('link', { name: 'See what each says' }).click();
  const said = page.getByRole('list', { name: 'Claims of Owner', exact: true });
  await said.getByRole('button', { name: 'Reject Web shop of codeowners:branch-web' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: '2 claims of Owner' }).click();
  await said.getByText('rejected by anna').waitFor();
  await accessible('fields');
  await said.getByRole('button', { name: 'Restore Web shop of codeowners:branch-web' }).click();
  await page.getByText('sources disagree').first().waitFor();
  await of('Findings').click();
  await page.getByText('A debug route answers').waitFor();
  await page.getByText('Switch the route off').waitFor();
  await accessible('findings');
  await page.goto(base + '/inventory?api=nothing-of-this-name');
  await page.getByText('The inventory knows no API of this name').waitFor();

  begin('what was found is accepted, merged, split and ignored, and that is taken back');
  await page.keyboard.press('g');
  await page.keyboard.press('v');
  await heading('Discovery');
  const inbox = page.getByRole('region', { name: 'Inbox' });
  await inbox.getByRole('row', { name: /admin\.harbour\.example/ }).getByText('scan:estate').waitFor();
  await accessible('inbox');
  await inbox.getByRole('button', { name: 'Accept data.harbour.example/graphql', exact: true }).focus();
  await page.keyboard.press('Enter');
  await page.getByText('is accepted').waitFor();
  await page.getByRole('button', { name: 'Undo' }).click();
  await inbox.getByRole('button', { name: 'Accept data.harbour.example/graphql', exact: true }).waitFor();
  await inbox.getByRole('button', { name: 'Merge data.harbour.example/graphql-beta' }).click();
  await page.getByRole('dialog').getByLabel('Into').selectOption('branch-finder');
  await accessible('merge');
  await page.getByRole('dialog').getByRole('button', { name: 'Merge' }).click();
  await page.getByText('was merged').waitFor();
  await inbox.getByRole('button', { name: 'Split admin.harbour.example/console' }).click();
  await page.getByRole('dialog').getByLabel('New name').fill('admin-jobs');
  await page.getByRole('dialog').getByLabel('Path').fill('/console/jobs');
  await page.getByRole('dialog').getByRole('button', { name: 'Split' }).click();
  await inbox.getByRole('row', { name: /admin-jobs/ }).waitFor();
  await inbox.getByRole('button', { name: 'Ignore legacy.harbour.example/soap' }).click();
  await page.getByRole('dialog').getByLabel('Because').fill('switched off in May');
  await page.keyboard.press('Enter');
  await page.getByText('is ignored').waitFor();
  await page.getByLabel('Show those that').selectOption('ignored');
  await inbox.getByRole('row', { name: /legacy/ }).getByText('switched off in May').waitFor();
  await inbox.getByRole('button', { name: 'Reopen legacy.harbour.example/soap' }).click();
  await page.getByText('There are none').waitFor();
  await page.getByLabel('Show those that').selectOption('merged');
  await inbox.getByRole('row', { name: /graphql-beta/ }).getByRole('link', { name: 'branch-finder' }).waitFor();

  begin('a scan begins with scope and consent, shows how far it is and what it found');
  const ways = (name) => page.getByRole('navigation', { name: 'Discovery' }).getByRole('link', { name });
  await ways('Scans').click();
  await page.getByRole('region', { name: 'Scheduled scans' }).getByText('without 10.20.9.0/24').waitFor();
  await page.getByRole('button', { name: 'Scan something…' }).click();
  const scan = page.getByRole('dialog', { name: 'Look at APIs from outside' });
  await scan.getByRole('textbox', { name: /^Scope/ }).fill('not a host!');
  await scan.getByRole('button', { name: 'Scan' }).click();
  await scan.getByRole('alert').waitFor();
  await accessible('scan-dialog');
  await scan.getByRole('textbox', { name: /^Scope/ }).fill(harbour);
  await scan.getByRole('button', { name: 'Scan' }).click();
  await page.getByRole('region', { name: 'Scans' }).last().getByRole('row', { name: /by hand/ }).getByText('done').waitFor({ timeout: 60_000 });
  await accessible('scans');
  await page.getByRole('link', { name: 'by hand' }).click();
  await page.getByRole('region', { name: 'APIs it found' }).last().getByText('rest').first().waitFor();
  await accessible('scan');
  await page.goto(base + '/discovery?q=127.0.0.1');
  await page.getByRole('region', { name: 'Inbox' }).getByRole('row', { name: /127\.0\.0\.1/ }).first().waitFor();

  begin('sources, catalogues and doors tell how they do');
  await ways('Sources').click();
  await page.getByText('line 88112: the request is cut in the middle').waitFor();
  await page.getByText('permission denied').waitFor();
  await accessible('sources');
  await ways('Catalogues').click();
  await page.getByText('2 claims refused').waitFor();
  await accessible('catalogues');
  await ways('Doors').click();
  await page.getByRole('row', { name: /intranet/ }).getByText('lets pass').waitFor();
  await accessible('doors');

  begin('a shadow operation is folded and marked');
  await page.goto(base + '/inventory?api=accounts&show=shadow');
  await page.getByRole('region', { name: 'Operations' }).locator('.badge', { hasText: 'shadow' }).first().waitFor();

  begin('decisions arrive, pause, and are filtered');
  await page.keyboard.press('g');
  await page.keyboard.press('d');
  await heading('Decisions');
  await page.getByRole('region', { name: 'Decisions' }).locator('tbody tr').nth(5).waitFor();
  await accessible('decisions');
  await page.keyboard.press('p');
  await page.getByRole('button', { name: 'Resume' }).waitFor();
  const count = await page.locator('tbody tr').count();
  await page.waitForTimeout(600);
  assert.equal(await page.locator('tbody tr').count(), count, 'rows arrive while paused');
  await page.getByText('History', { exact: true }).click();
  await page.getByLabel('Action').selectOption('refuse');
  await page.getByLabel('Stage').selectOption('inspect');
  await page.waitForURL(/stage=inspect/);
  const row = page.getByRole('row').filter({ hasText: 'sqli.tautology' }).first();
  await row.waitFor();
  await page.locator('tbody tr').filter({ hasNotText: 'refused' }).first().waitFor({ state: 'detached' }); // the filter lets no other through
  await row.waitFor();
  await accessible('history');

  begin('one decision in full, and by its id');
  await row.getByRole('link').first().click();
  await page.getByText('inspect: stopped here').waitFor();
  await page.getByText('The upstream was not asked').waitFor();
  await accessible('decision');
  const id = new URL(page.url()).pathname.split('/').pop();
  await page.goto(base + '/decisions');
  await page.getByRole('textbox', { name: 'Request id' }).fill(id);
  await page.keyboard.press('Enter');
  await page.waitForURL(base + '/decisions/' + id);
  await page.getByText('sqli.tautology').first().waitFor();
  await page.goto(base + '/decisions/01J00000000000000000000000');
  await page.getByText('No decision is kept under this id').waitFor();

  begin('the original of a replaced error is opened, and the audit log says so');
  await page.goto(base + '/decisions?view=history&stage=rewrite');
  await page.getByRole('row').filter({ hasText: 'error.server' }).first().getByRole('link').first().click();
  await page.getByText('was replaced on its way out').waitFor();
  assert.equal(await page.getByText('Limits.java').count(), 0, 'the original shows before it is opened');
  await accessible('sealed');
  await page.getByRole('button', { name: 'Open the original' }).click();
  await page.getByText('Limits.java:42').waitFor();
  await accessible('original');
  await page.goto(base + '/settings/audit');
  await page.getByRole('region', { name: 'Audit log' }).getByText('original opened').waitFor();

  begin('limits: who is nearest, suggestions that are copied, load');
  await page.keyboard.press('g');
  await page.keyboard.press('l');
  await heading('Limits');
  const limits = page.getByRole('region', { name: 'Limits in force' });
  await limits.getByRole('row', { name: /100\/min/ }).getByText('0 requests left').waitFor();
  await limits.getByRole('img', { name: /nightly-batch uses 81 %/ }).waitFor();
  await page.getByText('214 keys shared').waitFor();
  await accessible('limits');
  await page.getByRole('navigation', { name: 'Limits' }).getByRole('link', { name: 'Suggestions' }).click();
  await page.getByText('88 requests a minute').waitFor();
  await page.getByText('Too little is known to suggest a limit').waitFor();
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: base });
  await page.getByRole('button', { name: 'Copy' }).click();
  await page.getByRole('button', { name: 'Copied' }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), '- {operation: "GET /payments/v1/transfers/{id}", limits: [{rate: 88/min, per: principal}]}');
  await accessible('suggestions');
  await page.getByRole('navigation', { name: 'Limits' }).getByRole('link', { name: 'Load' }).click();
  await page.getByText('23 of 24 in flight, 7 waiting').waitFor();
  await page.getByRole('region', { name: 'Classes of payments' }).getByRole('row', { name: /settlement/ }).getByText('30 %').waitFor();
  await accessible('load');
  await page.getByLabel('API').selectOption('accounts');
  await page.waitForURL(/api=accounts/);
  await page.getByRole('region', { name: 'Instances of payments' }).waitFor({ state: 'detached' });

  begin('relief: answers are forgotten and a rule is accepted and undone, on record');
  await page.goto(base + '/limits?view=relief');
  await page.getByRole('region', { name: 'Cache by API' }).getByRole('row', { name: /branch-finder/ }).getByText('92 %').waitFor();
  await accessible('relief');
  await page.getByRole('button', { name: 'Forget answers' }).click();
  const forget = page.getByRole('dialog', { name: 'Forget stored answers' });
  await forget.getByText('Every stored answer of').waitFor();
  await forget.getByLabel('Under this path only').fill('/accounts');
  await accessible('forget');
  await forget.getByRole('button', { name: 'Forget' }).click();
  await page.getByText('150 answers of accounts forgotten').waitFor();
  await page.getByRole('button', { name: 'Accept owner for GET /accounts/v2/accounts' }).focus();
  await page.keyboard.press('Enter');
  const rules = page.getByRole('region', { name: 'Sideloading rules' });
  await rules.getByRole('row', { name: /include=owner/ }).getByText('accepted here').waitFor();
  await rules.getByRole('row', { name: /include=owner/ }).getByText('anna,').waitFor();
  await accessible('accepted');
  await page.getByRole('button', { name: 'Undo the rule owner of GET /accounts/v2/accounts' }).click();
  await page.getByRole('button', { name: 'Accept owner for' }).waitFor();
  await page.goto(base + '/settings/audit');
  for (const said of ['stored answers forgotten', 'sideloading rule accepted', 'sideloading rule undone']) await page.getByRole('region', { name: 'Audit log' }).getByText(said).waitFor();

  begin('identity: what is accepted, providers, keys and certificates');
  await page.keyboard.press('g');
  await page.keyboard.press('e');
  await heading('Identity');
  await page.getByText('only tokens bound to their holder by DPoP').waitFor();
  await page.getByRole('region', { name: 'Rules of payments' }).getByRole('row', { name: /own-transfers/ }).getByText('claims.sub == principal.subject').waitFor();
  await page.getByText('Nobody is asked for a credential').first().waitFor();
  await accessible('identity');
  await page.getByRole('navigation', { name: 'Identity' }).getByRole('link', { name: 'Providers and tokens' }).click();
  await page.getByText('keys not refreshed').waitFor();
  await page.getByText('not renewed').waitFor();
  await accessible('providers');
  await page.getByRole('navigation', { name: 'Identity' }).getByRole('link', { name: 'API keys' }).click();
  const keys = page.getByRole('region', { name: 'API keys' });
  await keys.getByRole('row', { name: /batch-2025/ }).getByText('2 live: in rotation').waitFor();
  await keys.getByRole('row', { name: /old-terminal/ }).getByText('ended').waitFor();
  await page.getByText('The only live key of ledger-sync').waitFor();
  await accessible('keys');
  await page.getByRole('navigation', { name: 'Identity' }).getByRole('link', { name: 'Certificates' }).click();
  await page.getByRole('row', { name: /payments.internal/ }).getByText('ends soon').waitFor();
  await page.getByRole('row', { name: /api.harbour.example/ }).getByText('stapled until').waitFor();
  await accessible('certificates');

  begin('an operation shows what is demanded of it, a decision its cost and relief');
  await page.goto(base + '/inventory/operation?api=payments&method=GET&template=' + encodeURIComponent('/payments/v1/transfers/{id}'));
  await page.getByText('kept for each caller').waitFor();
  await page.getByText('oauth2 (transfers:read)').waitFor();
  await page.getByRole('region', { name: 'Rules', exact: true }).getByText('own-transfers').waitFor();
  await page.getByText(/CPU median/).waitFor();
  await page.getByRole('region', { name: 'Limits of the operation' }).getByText('100/min').waitFor();
  await page.getByText('88 requests a minute').waitFor();
  await accessible('demand');
  await page.goto(base + '/decisions?view=history&operation=' + encodeURIComponent('GET /accounts/v2/accounts') + '&findings=no');
  await page.locator('tbody tr').first().getByRole('link').first().click();
  await page.getByText('Cost', { exact: true }).waitFor();
  await page.getByText('Relief', { exact: true }).waitFor();
  await page.goto(base + '/inventory');
  await page.getByRole('group', { name: 'Filter by field' }).getByLabel(/^third-party/).check();
  await page.getByText('1 fit', { exact: true }).waitFor();
  await page.getByRole('region', { name: 'APIs', exact: true }).last().getByRole('row', { name: /sanctions-list/ }).locator('.badge', { hasText: 'third-party' }).waitFor();
  await accessible('third-party');
  await page.goto(base + '/decisions?view=history&api=sanctions-list');
  await page.locator('.badge', { hasText: 'egress' }).first().waitFor();
  begin('an incident leads from the overview to its evidence, and is dealt with by keyboard');
  await page.goto(base + '/');
  await page.getByRole('link', { name: '3 open incidents' }).click();
  await heading('Incidents');
  await page.getByRole('row', { name: /auth\.missing/ }).getByText('critical').waitFor();
  await accessible('incidents');
  await page.getByLabel('Severity').selectOption('low');
  await page.waitForURL(/severity=low/);
  await page.getByRole('row', { name: /auth\.missing/ }).waitFor({ state: 'detached' });
  await page.getByLabel('Severity').selectOption('');
  await page.getByRole('row', { name: /auth\.missing/ }).getByRole('link').first().click();
  await heading(/2 of 46 checks failed/);
  await page.getByText('curl -X POST http://10.20.0.11:9001').waitFor();
  await page.getByText('createTransfer answers 201 without credentials').waitFor();
  await page.getByRole('button', { name: 'Acknowledge' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('region', { name: 'Timeline' }).getByText('acknowledged').first().waitFor();
  await page.getByRole('textbox', { name: 'Assign to' }).fill('vera');
  await page.keyboard.press('Enter');
  await page.getByRole('region', { name: 'Timeline' }).getByText('assigned').first().waitFor();
  await page.getByRole('textbox', { name: 'Comment' }).fill('the new build lost its middleware');
  await page.keyboard.press('Enter');
  await page.getByRole('region', { name: 'Timeline' }).getByText('the new build lost its middleware').waitFor();
  await accessible('incident');
  const incident = new URL(page.url()).pathname;
  await page.getByRole('textbox', { name: 'Exception because' }).fill('rolled back; fixed with build 43');
  await page.getByLabel('until').fill(new Date(Date.now() + 5 * 86400e3).toISOString().slice(0, 10));
  await page.getByRole('button', { name: 'Approve' }).click();
  await page.getByText('by anna, until').waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('n');
  await heading('Incidents');
  await page.getByRole('row', { name: /auth\.missing/ }).getByText('excepted').waitFor();
  await page.goto(base + '/incidents/i0');
  await page.getByText('No incident is kept under this id').waitFor();

  begin('the gate: the fleet, a report with its reproduction, an instance held and released by keyboard');
  await page.keyboard.press('g');
  await page.keyboard.press('c');
  await heading('Conformance');
  const fleet = page.getByRole('region', { name: 'Instances', exact: true });
  const row2 = fleet.getByRole('row').filter({ hasText: 'failed full' });
  await row2.getByText('quarantined').first().waitFor();
  await fleet.getByRole('row').filter({ hasText: 'passed full' }).getByText('admitted').waitFor();
  await fleet.getByText('connection refused').first().waitFor();
  await page.getByRole('region', { name: 'Capacity by API' }).getByText('1 of 3').waitFor();
  await accessible('fleet');
  await page.getByRole('search', { name: 'Filter the fleet' }).getByLabel('State').selectOption('admitted');
  await page.waitForURL(/state=admitted/);
  await row2.waitFor({ state: 'detached' });
  await page.getByLabel('Search').fill('nowhere');
  await page.getByText('No instance fits').waitFor();
  await page.getByRole('button', { name: 'Show all 3' }).click();
  await row2.getByRole('link', { name: /^v[0-9a-f]+$/ }).click();
  await heading(/receipts at/);
  const verdict = new URL(page.url()).pathname;
  await page.getByText('failed', { exact: true }).first().waitFor();
  const findings = page.getByRole('article').filter({ hasText: 'body /id' }).first();
  await findings.waitFor();
  await findings.getByRole('button', { name: /^Copy: Reproduction of/ }).click();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^curl .*receipts\/\d/);
  await page.getByRole('region', { name: 'Breaking changes' }).getByText('partner-isle').first().waitFor();
  await page.getByRole('region', { name: 'Reached' }).getByRole('row', { name: /GET \/receipts\/\{id\}/ }).getByText(/^200 ×/).waitFor();
  await page.getByText(/declared statuses ×/).waitFor();
  await accessible('verdict');
  const [report] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'HTML' }).click()]);
  assert.match(report.suggestedFilename(), /^v[0-9a-f]+\.html$/);
  await page.getByRole('link', { name: /belongs to one/ }).click();
  await heading(/An instance of receipts failed/);
  await page.getByRole('link', { name: verdict.split('/').pop() }).first().waitFor();
  await page.getByRole('button', { name: 'Test again' }).waitFor();
  await accessible('incident-of-verdict');
  await page.goto(base + '/conformance');
  const served = fleet.getByRole('row').filter({ hasText: 'passed full' });
  await served.getByRole('button', { name: /^Hold/ }).focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Hold an instance' });
  await dialog.getByText('It is the last one of receipts that serves').waitFor();
  await accessible('hold');
  await dialog.getByLabel('Reason').fill('the disk is odd');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await dialog.waitFor({ state: 'hidden' });
  await fleet.getByText('held by hand: anna: the disk is odd').waitFor();
  await fleet.getByRole('button', { name: /^Release/ }).click();
  await page.getByRole('dialog').getByLabel('Reason').fill('the disk is new');
  await page.getByRole('button', { name: 'Release it' }).click();
  await fleet.getByRole('row').filter({ hasText: 'passed full' }).getByText('admitted').waitFor();
  await page.getByRole('navigation', { name: 'Conformance' }).getByRole('link', { name: 'Runs' }).click();
  await page.getByRole('region', { name: 'Runs', exact: true }).last().getByText('passed').first().waitFor();
  await accessible('runs');
  await page.getByRole('navigation', { name: 'Conformance' }).getByRole('link', { name: 'Schedule' }).click();
  await page.getByText('by the clock', { exact: true }).waitFor();
  await page.getByText('it failed, or could not be tested').first().waitFor();
  await accessible('schedule');
  await page.getByRole('navigation', { name: 'Conformance' }).getByRole('link', { name: 'Triggers' }).click();
  await page.getByText('held by hand').first().waitFor();
  await page.getByText('the disk is new').first().waitFor();
  await accessible('triggers');
  await page.getByRole('textbox', { name: 'By' }).or(page.getByRole('searchbox', { name: 'By' })).fill('nobody');
  await page.getByText('Nothing fits').waitFor();
  await page.getByRole('navigation', { name: 'Conformance' }).getByRole('link', { name: 'Breaking changes' }).click();
  await page.getByText('Head of APIs').first().waitFor();
  await accessible('changes');
  await page.goto(base + '/conformance/v0');
  await page.getByText('No verdict is kept under this id').waitFor();

  begin('people, sessions and the audit log');
  await page.goto(base + '/settings/people');
  await page.getByRole('button', { name: 'Add a person' }).click();
  await page.getByRole('dialog').getByLabel('Name').fill('vera');
  await accessible('dialog');
  await page.getByRole('button', { name: 'Make an invitation' }).click();
  await page.getByText(/\/setup#[A-Za-z0-9_-]{43}/).waitFor();
  await page.getByRole('dialog', { name: 'Add a person' }).waitFor({ state: 'hidden' });
  await page.keyboard.press('Escape');
  await page.getByRole('dialog', { name: 'Invitation for' }).waitFor({ state: 'hidden' });
  await page.getByRole('row', { name: /vera/ }).getByText('invited').waitFor();
  await accessible('people');
  await page.goto(base + '/settings');
  await page.getByText('this browser').waitFor();
  await accessible('account');
  await page.goto(base + '/settings/audit');
  await page.getByText('The log is intact.').waitFor();
  await page.getByRole('region', { name: 'Audit log' }).getByText('person added').waitFor();
  await accessible('audit');
  await page.goto(base + '/settings/about');
  await page.getByText('OpenAPI 3.1 document').waitFor();
  await accessible('about');

  begin('dark, and as wide as a phone');
  await page.emulateMedia({ colorScheme: 'dark' });
  for (const [path, name] of [['/', 'Overview'], ['/inventory', 'Inventory'], ['/inventory?view=operations', 'Inventory'], ['/inventory?view=changes', 'Inventory'], ['/discovery', 'Discovery'], ['/discovery?view=scans', 'Discovery'], ['/discovery?view=sources', 'Discovery'], ['/discovery?view=doors', 'Discovery'], ['/inventory?api=payments', 'payments'], ['/inventory?api=branch-finder&view=fields', 'branch-finder'], ['/inventory?api=payments&view=drift', 'payments'], ['/inventory?api=accounts&view=graph', 'accounts'], ['/decisions?view=history', 'Decisions'], ['/decisions/' + id, /search/], ['/conformance', 'Conformance'], ['/conformance?view=runs', 'Conformance'], ['/conformance?view=schedule', 'Conformance'], ['/conformance?view=triggers', 'Conformance'], ['/conformance?view=changes', 'Conformance'], [verdict, /receipts at/], ['/incidents', 'Incidents'], [incident, /2 of 46/], ['/limits', 'Limits'], ['/limits?view=suggestions', 'Limits'], ['/limits?view=load', 'Limits'], ['/limits?view=relief', 'Limits'],
    ['/identity', 'Identity'], ['/identity?view=providers', 'Identity'], ['/identity?view=keys', 'Identity'], ['/identity?view=certificates', 'Identity'], ['/inventory/operation?api=payments&method=GET&template=/payments/v1/transfers/{id}', /transfers/]]) {
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.goto(base + path);
    await heading(name);
    await page.locator('table, svg.distribution, ol.timeline, dl.facts, ul.field-list').first().waitFor();
    await accessible(`dark-${path.replace(/\W+/g, '') || 'overview'}`);
    await page.setViewportSize({ width: 390, height: 844 });
    // A chart learns of its new width a frame later.
    await page.waitForFunction(() => document.documentElement.scrollWidth <= 390, null, { timeout: 5000 }).catch(async () => {
      assert.fail(`${path} is ${await page.evaluate(() => document.documentElement.scrollWidth + ' wide, by ' + [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > 391 && !e.closest('.table-scroll')).slice(0, 4).map((e) => e.tagName + '.' + e.className))} on a phone of 390`);
    });
    await shot(`phone-${path.replace(/\W+/g, '') || 'overview'}`);
  }
  await page.getByRole('button', { name: 'Open menu' }).click();
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Overview' }).waitFor();
  await accessible('phone-menu');
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.emulateMedia({ colorScheme: 'light' });

  begin('sign-out leads back to where one was after sign-in by keyboard alone');
  await page.getByRole('button', { name: /Sign out/ }).click();
  await page.waitForURL(/\/sign-in/);
  await page.goto(base + '/decisions/' + id);
  await page.waitForURL(/\/sign-in\?to=/);
  await page.getByLabel('Name').waitFor();
  await accessible('sign-in');
  await page.waitForFunction(() => document.activeElement?.getAttribute('autocomplete') === 'username');
  await page.keyboard.type('anna');
  await page.keyboard.press('Tab');
  await page.keyboard.type('not this one at all');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').filter({ hasText: 'is wrong' }).waitFor();
  for (let i = 0; i < 8 && !(await page.evaluate(() => document.activeElement?.getAttribute('autocomplete') === 'current-password')); i++) await page.keyboard.press('Tab');
  await page.keyboard.type(password);
  await page.keyboard.press('Enter');
  await page.waitForURL(base + '/decisions/' + id);
  await page.getByText('inspect: stopped here').waitFor();
  await page.reload();
  await page.getByText('inspect: stopped here').waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement?.textContent?.trim()), 'Skip to content', 'the first stop of the keyboard is not the skip link');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'main', 'the skip link does not lead to the content');
  await page.keyboard.press('?');
  await page.getByRole('dialog').getByText('Keyboard shortcuts').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });

  assert.deepEqual(faults, []);
  console.log(`passed in ${((Date.now() - started) / 1000).toFixed(1)} s`);
} catch (e) {
  console.error(e);
  for (const f of faults) console.error('also:', f);
  process.exitCode = 1;
  if (context && folder) await context.pages()[0]?.screenshot({ path: join(folder, 'failed.png') });
} finally {
  await context?.close();
  server.kill('SIGTERM');
  await new Promise((resolve) => (server.exitCode !== null ? resolve() : server.once('exit', resolve)));
  rmSync(profile, { recursive: true, force: true });
}
