import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newPanel, panelsOf, paramsOf, parseTime } from '../src/panels';
import { hrefOf, placeOf } from '../src/router';

const of = (text: string) => panelsOf(new URLSearchParams(text));

test("links of Prometheus' pages, old and new, open what they mean", () => {
  assert.deepEqual(of('g0.expr=up&g0.tab=1'), [newPanel('up')]);
  assert.deepEqual(of('g0.expr=up&g0.tab=0&g0.stacked=1&g0.range_input=15m&g0.step_input=10'), [
    { ...newPanel('up'), tab: 'graph', stacked: true, range: 900, step: 10 }
  ]);
  assert.deepEqual(
    of('g0.expr=up&g0.show_tree=0&g0.tab=graph&g0.range_input=1h&g0.res_type=auto&g0.display_mode=stacked'),
    [{ ...newPanel('up'), tab: 'graph', stacked: true }]
  );
  assert.equal(
    of('g0.expr=up&g0.tab=table&g0.moment_input=2026-03-02+14%3A00%3A00')[0]?.moment,
    Date.UTC(2026, 2, 2, 14) / 1000
  );
  assert.deepEqual(of(''), [newPanel()]);
});

test('panels come back as they were from the address that they make', () => {
  const panels = [
    newPanel('rate(http_requests_total{code="200"}[5m]) > 1'),
    newPanel(),
    { ...newPanel('up'), tab: 'graph' as const, range: 5400, end: 1_700_000_000, step: 15, stacked: true }
  ];
  assert.deepEqual(of(new URLSearchParams(paramsOf(panels)).toString()), panels);
});

test('times', () => {
  assert.equal(parseTime('1700000000'), 1_700_000_000);
  assert.equal(parseTime('2023-11-14 22:13:20'), 1_700_000_000);
  assert.equal(parseTime('2023-11-14T22:13:20Z'), 1_700_000_000);
  assert.equal(parseTime('yesterday'), undefined);
});

test('views are found below any path', () => {
  assert.equal(placeOf('/', '').view, 'workloads');
  assert.equal(placeOf('/graph', '?g0.expr=up').view, 'query');
  assert.equal(placeOf('/api/v1/namespaces/a/services/b:web/proxy/targets', '').view, 'targets');
  assert.equal(placeOf('/nowhere', '').view, 'nowhere');
  assert.equal(hrefOf('workload', { name: 'a b', namespace: 'c' }), 'workload?name=a+b&namespace=c');
  assert.equal(hrefOf('workloads'), './');
});
