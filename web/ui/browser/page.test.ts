// Walks through every view on a running sandbox, as people do. Screenshots stay in the results folder of the build.
import assert from 'node:assert/strict';
import { createServer, request as proxied, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import type { Page } from 'playwright-core';
import { Sandbox } from './sandbox';
import { overflow, unnamed, Visitor } from './visitor';

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; run this through ctest`);
  return value;
}

const BUDGET_BYTES = 300 * 1024;
const WORKLOAD = '/workload?namespace=shop&name=back-office&controller=ScaledObject';

let sandbox: Sandbox;
let visitor: Visitor;

before(async () => {
  sandbox = await Sandbox.start(setting('TIDEWRIGHT_BINARY'), setting('TIDEWRIGHT_SOURCE'));
  visitor = await Visitor.start(sandbox.url, setting('PAGE_RESULTS'));
});

after(async () => {
  await visitor?.stop();
  await sandbox?.stop();
});

async function seen(page: Page, text: string | RegExp): Promise<void> {
  await page.getByText(text).first().waitFor();
}

async function heading(page: Page, name: string): Promise<void> {
  await page.getByRole('heading', { level: 1, name }).waitFor();
}

async function close(page: Page): Promise<void> {
  await page.context().close();
}

test('loads within its budget, and only once', async () => {
  const context = await visitor.context();
  const page = await context.newPage();
  const network = await context.newCDPSession(page);
  await network.send('Network.enable');
  const kinds = new Map<string, string>();
  let transferred = 0;
  let plain = 0;
  network.on('Network.requestWillBeSent', event => kinds.set(event.requestId, event.request.url));
  const ofPage = (id: string) => !(kinds.get(id) ?? '').includes('/api/');
  network.on('Network.loadingFinished', event => {
    if (ofPage(event.requestId)) transferred += event.encodedDataLength;
  });
  network.on('Network.dataReceived', event => {
    if (ofPage(event.requestId)) plain += event.dataLength;
  });
  await page.goto(sandbox.url);
  await page.locator('.workload').first().waitFor();
  const ms = await page.evaluate(() => performance.getEntriesByType('navigation')[0]?.toJSON().loadEventEnd as number);
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0);
  console.log(
    `page: ${transferred} bytes transferred, ${plain} bytes plain, loaded in ${ms.toFixed(0)} ms, painted at ${paint.toFixed(0)} ms`
  );
  assert.ok(transferred > 10_000 && transferred < BUDGET_BYTES, `${transferred} bytes transferred`);
  assert.ok(plain < BUDGET_BYTES, `${plain} bytes plain`);

  const before = transferred;
  await page.reload();
  await page.locator('.workload').first().waitFor();
  assert.ok(transferred - before < 2048, `${transferred - before} bytes transferred the second time`);
  await close(page);
});

test('workloads show replicas, signals and reasons, and can be filtered', async () => {
  const page = await visitor.open('/');
  await heading(page, 'Workloads');
  for (const name of ['back-office', 'queue-worker', 'web-checkout', 'web-shop']) {
    await page.getByRole('link', { name, exact: true }).waitFor();
  }
  await seen(page, 'redis orders');
  await seen(page, /window is open until|no trigger is active/);
  await page.locator('.sparkline path[d^="M"]').first().waitFor({ state: 'attached' });
  await visitor.shoot(page, 'workloads');
  await page.keyboard.press('/');
  await page.keyboard.type('redis');
  await page.waitForFunction(() => document.querySelectorAll('.workload').length === 1);
  assert.match(page.url(), /search=redis/);
  await page.keyboard.type(' nothing');
  await seen(page, 'No workload is like that');
  await page.getByRole('button', { name: 'Show all' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.workload').length === 4);
  await close(page);
});

test('a change tells step by step why it was made', async () => {
  const page = await visitor.open('/');
  await page.getByRole('link', { name: 'back-office', exact: true }).click();
  await heading(page, 'back-office');
  await seen(page, 'Why it is so now');
  await seen(page, 'The object is valid and its triggers can be read.');
  const mark = page.getByRole('button', { name: /0 to 3\. Show why/ }).first();
  await mark.waitFor();
  await mark.click();
  await seen(page, 'Why it changed');
  await page.locator('.trace').getByText('waking up from 0 replicas').first().waitFor();
  assert.ok((await page.locator('.steps li').count()) >= 2);
  assert.equal(await mark.getAttribute('aria-pressed'), 'true');
  await page.locator('.plot canvas').first().waitFor();
  await visitor.shoot(page, 'workload');
  assert.match(page.url(), /decision=/);
  await page.reload();
  await seen(page, 'Why it changed');
  await page.getByRole('button', { name: 'Show now' }).click();
  await seen(page, 'Why it is so now');
  await page.getByRole('button', { name: '5m', exact: true }).click();
  await page.getByRole('link', { name: 'All workloads' }).click();
  await heading(page, 'Workloads');
  await page.goto(`${sandbox.url}/workload?namespace=shop&name=nobody`);
  await seen(page, 'Nothing scales shop/nobody');
  await close(page);
});

test('an expression is completed, run as a table and as a graph, and shared', async () => {
  const page = await visitor.open('/query');
  const field = page.getByRole('textbox', { name: 'Expression' }).first();
  await field.waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('workload_rep');
  await page.getByRole('option', { name: /^tidewright_workload_replicas/, selected: true }).waitFor();
  await visitor.shoot(page, 'query-completion');
  await page.keyboard.press('Enter');
  assert.equal(await field.inputValue(), 'tidewright_workload_replicas');
  await page.keyboard.type('{na');
  await page.getByRole('option', { name: /namespace/ }).waitFor();
  await page
    .getByRole('option', { name: /^l?name/ })
    .first()
    .waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.type('mespace="');
  await page.getByRole('option', { name: /^shop/, selected: true }).waitFor();
  await page.keyboard.press('Tab');
  await page.keyboard.type('}');
  assert.equal(await field.inputValue(), 'tidewright_workload_replicas{namespace="shop"}');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('.results tbody tr').length === 4);
  await visitor.shoot(page, 'query-table');

  await page.getByRole('button', { name: 'Graph' }).click();
  await page.locator('.graph-legend li').nth(3).waitFor();
  await page.locator('.plot canvas').waitFor();
  await visitor.shoot(page, 'query-graph');
  assert.match(page.url(), /g0\.expr=tidewright_workload_replicas.*g0\.tab=graph/);
  await page.getByRole('button', { name: 'Add a panel' }).click();
  await page.getByRole('textbox', { name: 'Expression' }).nth(1).fill('rate(tidewright_workload_replicas[1m])');
  await page.keyboard.press('Enter');
  await seen(page, /metric might not be a counter/);
  await visitor.shoot(page, 'query-panels');

  const copy = await visitor.open(page.url().slice(sandbox.url.length));
  await seen(copy, /metric might not be a counter/);
  await copy.locator('.graph-legend li').nth(3).waitFor();
  await close(copy);
  await close(page);
});

test('what is wrong with an expression is said, and where', async () => {
  visitor.allowFailures = true; // The browser reports a reply of 400 as a failure.
  const page = await visitor.open('/query?g0.expr=up%7B&g0.tab=1');
  await page
    .getByRole('alert')
    .getByText(/parse error/)
    .waitFor();
  await page.getByRole('textbox', { name: 'Expression' }).fill('nothing_like_this');
  await page.keyboard.press('Control+Enter');
  await seen(page, 'No series');
  await page.getByRole('textbox', { name: 'Expression' }).fill('sum(up)by(job)');
  await page.getByRole('button', { name: 'Format' }).click();
  await page.waitForFunction(() => document.querySelector('textarea')?.value === 'sum by (job) (up)');
  await page.getByRole('button', { name: 'Metrics' }).click();
  await page.getByRole('searchbox', { name: 'Filter by name or description' }).fill('desired replicas');
  await page.keyboard.press('Escape');
  await close(page);
  visitor.allowFailures = false;
});

test("links of Prometheus' pages open what they mean", async () => {
  const page = await visitor.open('/graph?g0.expr=up&g0.tab=0&g0.range_input=15m');
  await page.locator('.plot canvas').waitFor();
  assert.equal(await page.getByRole('textbox', { name: 'Range' }).inputValue(), '15m');
  for (const [path, title] of [
    ['/targets', 'Targets'],
    ['/service-discovery', 'Service discovery'],
    ['/alerts', 'Alerts'],
    ['/rules', 'Rules'],
    ['/status', 'Status'],
    ['/tsdb-status', 'Storage'],
    ['/config', 'Configuration'],
    ['/flags', 'Flags'],
    ['/metric-rules', 'Metrics APIs']
  ] as const) {
    await page.goto(sandbox.url + path);
    await heading(page, title);
  }
  await close(page);
});

test('targets say how their last scrape went, and discovery why others are not scraped', async () => {
  const page = await visitor.open('/targets');
  await heading(page, 'Targets');
  await seen(page, /connection refused|Connection refused|refused/i);
  await visitor.shoot(page, 'targets');
  await page.getByRole('button', { name: /^Down/ }).click();
  await page.getByRole('searchbox', { name: 'Filter targets' }).fill('unreachable');
  await page.waitForFunction(() => document.querySelectorAll('.row').length === 1);
  await page
    .getByText(/Discovered labels/)
    .first()
    .click();
  await page.locator('.label-table').getByText('__address__').waitFor();
  await page.goto(`${sandbox.url}/service-discovery`);
  await seen(page, /relabel_configs/);
  await page
    .getByText(/^All labels/)
    .first()
    .click();
  await page.getByRole('button', { name: 'Show relabelling, rule by rule' }).click();
  await seen(page, 'drops the target');
  await visitor.shoot(page, 'discovery');
  await close(page);
});

test('alerts and rules show their state, their expression and their errors', async () => {
  const page = await visitor.open('/alerts');
  await page.getByText('1 firing').waitFor();
  await seen(page, 'This is 42');
  await page.getByText('1 pending').waitFor();
  await visitor.shoot(page, 'alerts');
  await page.getByRole('button', { name: /^Quiet/ }).click();
  await page.waitForFunction(() => document.querySelectorAll('.alert').length === 1);
  await page.getByRole('link', { name: /^Rules/ }).click();
  await heading(page, 'Rules');
  await seen(page, 'namespace_app:http_requests:rate15s');
  await visitor.shoot(page, 'rules');
  await page.getByRole('link', { name: 'Open in Query' }).first().click();
  await heading(page, 'Query');
  assert.notEqual(await page.getByRole('textbox', { name: 'Expression' }).inputValue(), '');
  await close(page);
});

test('status, storage, configuration, flags and metrics APIs', async () => {
  const page = await visitor.open('/status');
  await seen(page, 'Single replica');
  await seen(page, 'in force');
  await visitor.shoot(page, 'status');
  await page.getByRole('link', { name: 'Storage' }).click();
  await seen(page, 'Series by metric');
  await page.locator('.ranking li').first().waitFor();
  await visitor.shoot(page, 'storage');
  await page.getByRole('link', { name: 'Metrics APIs' }).click();
  await page.locator('.names').getByText('pods/http_requests_per_second').waitFor();
  await page.getByRole('combobox', { name: 'Metric' }).fill('pods/http_requests_per_secnd');
  await page.getByRole('textbox', { name: 'Namespace' }).fill('shop');
  await page.getByRole('button', { name: 'Explain' }).click();
  await seen(page, /did you mean http_requests_per_second/);
  await visitor.shoot(page, 'metric-rules');
  await page.getByRole('link', { name: 'Configuration' }).click();
  await seen(page, 'scrape_configs');
  await page.keyboard.press('/');
  await page.keyboard.type('unreachable');
  await page.locator('.line.found').first().waitFor();
  await visitor.shoot(page, 'config');
  await page.getByRole('link', { name: 'Flags' }).click();
  await heading(page, 'Flags');
  await close(page);
});

test('the keyboard reaches everything', async () => {
  const page = await visitor.open('/');
  await page.locator('.workload').first().waitFor();
  for (const [key, title] of [
    ['t', 'Targets'],
    ['d', 'Service discovery'],
    ['q', 'Query'],
    ['a', 'Alerts'],
    ['r', 'Rules'],
    ['s', 'Status'],
    ['c', 'Configuration'],
    ['m', 'Metrics APIs'],
    ['w', 'Workloads']
  ] as const) {
    await page.keyboard.press('g');
    await page.keyboard.press(key);
    await heading(page, title);
    await page.locator('.loading').waitFor({ state: 'detached' });
    assert.deepEqual(await unnamed(page), [], `${title}: controls without a name`);
  }
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
  await visitor.shoot(page, 'help');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  const reached = new Set<string>();
  for (let i = 0; i < 25; i++) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => document.activeElement?.textContent?.trim() ?? ''));
  }
  for (const name of ['Query', 'web-shop', 'queue-worker'])
    assert.ok(reached.has(name), `${name} is not reached by Tab`);
  await page.getByRole('link', { name: 'web-shop', exact: true }).focus();
  await page.keyboard.press('Enter');
  await heading(page, 'web-shop');
  await page.goBack();
  await heading(page, 'Workloads');
  await close(page);
});

const VIEWS = [
  '/',
  WORKLOAD,
  '/query?g0.expr=up&g0.tab=0',
  '/targets',
  '/service-discovery',
  '/alerts',
  '/rules',
  '/status',
  '/tsdb-status',
  '/config'
];

function nameOf(path: string): string {
  return path.slice(1).split('?')[0] || 'workloads';
}

async function settled(page: Page): Promise<void> {
  await page.locator('h1').waitFor();
  await page.locator('.workload, .detail, .row, .alert, .tile, .yaml, .graph-legend').first().waitFor();
  await page.locator('.loading').waitFor({ state: 'detached' });
}

test('every view fits a phone', async () => {
  const page = await visitor.open('/', { phone: true });
  for (const path of VIEWS) {
    await page.goto(sandbox.url + path);
    await settled(page);
    assert.ok((await overflow(page)) <= 0, `${path} is wider than a phone`);
    await visitor.shoot(page, `phone-${nameOf(path)}`);
  }
  await close(page);
});

function brightness(page: Page): Promise<number> {
  return page.evaluate(() => Number(/\d+/.exec(getComputedStyle(document.body).backgroundColor)?.[0]));
}

test('every view is dark where the system is', async () => {
  const page = await visitor.open('/', { dark: true });
  for (const path of VIEWS) {
    await page.goto(sandbox.url + path);
    await settled(page);
    assert.ok((await brightness(page)) < 60, path);
    await visitor.shoot(page, `dark-${nameOf(path)}`);
  }
  await close(page);
});

test('colours may be chosen, and the choice outlives the page', async () => {
  const page = await visitor.open('/');
  await page.getByRole('button', { name: /^Colours: auto/ }).click();
  await page.getByRole('button', { name: /^Colours: light/ }).click();
  await page.getByRole('button', { name: /^Colours: dark/ }).waitFor();
  assert.ok((await brightness(page)) < 60);
  await page.reload();
  await page.getByRole('button', { name: /^Colours: dark/ }).waitFor();
  assert.ok((await brightness(page)) < 60);
  await close(page);
});

// As kubectl proxy shows the page of a Service.
async function prefixProxy(prefix: string): Promise<Server> {
  const upstream = new URL(sandbox.url);
  const server = createServer((incoming, outgoing) => {
    const path = incoming.url ?? '/';
    if (!path.startsWith(prefix)) {
      outgoing.writeHead(404).end();
      return;
    }
    const options = {
      host: upstream.hostname,
      port: upstream.port,
      path: path.slice(prefix.length - 1),
      method: incoming.method,
      headers: incoming.headers
    };
    incoming.pipe(
      proxied(options, reply => {
        outgoing.writeHead(reply.statusCode ?? 500, reply.headers);
        reply.pipe(outgoing);
      })
    );
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return server;
}

test('it works below the path of a proxy', async () => {
  const prefix = '/api/v1/namespaces/tidewright/services/tidewright:web/proxy/';
  const server = await prefixProxy(prefix);
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const other = await Visitor.start(origin, setting('PAGE_RESULTS'));
  const page = await other.open(prefix);
  await page.locator('.workload').first().waitFor();
  await page.getByRole('link', { name: 'Targets' }).click();
  await heading(page, 'Targets');
  await page.locator('.row').first().waitFor();
  assert.equal(new URL(page.url()).pathname, `${prefix}targets`);
  await page.reload();
  await page.locator('.row').first().waitFor();
  assert.deepEqual(other.faults, []);
  await other.stop();
  server.closeAllConnections();
  server.close();
});

// A reply of the program's own form, with what a hostile target could have put in it.
const HOSTILE = '<img src=x onerror="document.title=1">';

test('text stays text, and long results are cut', async () => {
  const page = await visitor.open('/query');
  const many = Array.from({ length: 2000 }, (_, i) => ({
    metric: { __name__: HOSTILE, i: String(i) },
    value: [0, String(i)]
  }));
  const histogram = {
    count: '7',
    sum: '12.5',
    buckets: [
      [3, '-1', '1', '3'],
      [0, '1', '2', '4']
    ]
  };
  const result = [{ metric: { job: HOSTILE }, histogram: [0, histogram] }, ...many];
  await page.route('**/api/v1/query*', route =>
    route.fulfill({ json: { status: 'success', warnings: [HOSTILE], data: { resultType: 'vector', result } } })
  );
  await page.getByRole('textbox', { name: 'Expression' }).fill('x');
  await page.keyboard.press('Control+Enter');
  await page.getByRole('status').getByText(HOSTILE).waitFor();
  await page.getByRole('img', { name: '2 buckets' }).waitFor();
  assert.equal(await page.locator('.results tbody tr').count(), 100);
  await page.getByRole('button', { name: 'Show 100 more of 2001' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.results tbody tr').length === 200);
  await page.getByRole('button', { name: 'Value' }).click();
  await page.waitForFunction(() => document.querySelector('.results tbody td.number')?.textContent === '1999');
  assert.equal(await page.locator('main img:not([role])').count(), 0);
  assert.match(await page.title(), /^Query/);
  await close(page);
});

test('a workload whose signal cannot be read is held, and says so', async () => {
  sandbox.killQueue();
  const page = await visitor.open('/');
  await page.locator('.workload.bad').getByText('queue-worker').waitFor();
  await page
    .getByRole('status', { name: 'Problems' })
    .getByText(/queue-worker/)
    .waitFor();
  await seen(page, 'unreadable');
  await visitor.shoot(page, 'held');
  await page.getByRole('link', { name: 'queue-worker', exact: true }).click();
  await heading(page, 'queue-worker Held');
  await page.locator('.conditions .bad').first().waitFor();
  await visitor.shoot(page, 'held-workload');
  await close(page);
});

test('no view wrote an error or asked another origin', () => {
  assert.deepEqual(visitor.faults, []);
});

test('without an answer, what was last known stays, and the page says so', async () => {
  const page = await visitor.open('/');
  await page.locator('.workload').first().waitFor();
  visitor.allowFailures = true;
  await sandbox.stop();
  await seen(page, 'No connection');
  assert.equal(await page.locator('.workload').count(), 4);
  await visitor.shoot(page, 'no-connection');
  await close(page);
});
