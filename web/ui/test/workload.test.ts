import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Signal, Workload } from '../src/types';
import { byAttention, loadOf, stateOf } from '../src/workload';

const signal: Signal = {
  name: 's',
  type: 'redis',
  value: 5,
  target: 10,
  proposal: 1,
  active: true,
  error: '',
  detail: ''
};

function workload(change: Partial<Workload>): Workload {
  return {
    controller: 'ScaledObject',
    namespace: 'shop',
    name: 'web',
    target: 'Deployment/web',
    minReplicas: 0,
    maxReplicas: 5,
    currentReplicas: 2,
    desiredReplicas: 2,
    readyReplicas: 2,
    held: false,
    paused: false,
    why: '',
    signals: [signal],
    steps: [],
    conditions: [],
    events: [],
    ...change
  };
}

test('the state of a workload is the most telling one', () => {
  const failing = { type: 'Ready', status: 'False', reason: 'TriggerError', message: '', since: '' };
  const rows: [Partial<Workload>, string][] = [
    [{}, 'steady'],
    [{ held: true, paused: true }, 'held'],
    [{ paused: true }, 'paused'],
    [{ desiredReplicas: 4 }, 'up'],
    [{ desiredReplicas: 1 }, 'down'],
    [{ conditions: [failing] }, 'problem'],
    [{ conditions: [{ ...failing, reason: 'ScalingDisabled' }] }, 'steady'],
    [{ conditions: [{ ...failing, type: 'Active' }] }, 'steady'],
    [{ currentReplicas: 5, desiredReplicas: 5, signals: [{ ...signal, proposal: 9 }] }, 'maximum'],
    [{ currentReplicas: 0, desiredReplicas: 0 }, 'asleep']
  ];
  for (const [change, id] of rows) assert.equal(stateOf(workload(change)).id, id);
});

test('what needs attention comes first', () => {
  const names = [workload({ name: 'b' }), workload({ name: 'c', held: true }), workload({ name: 'a' })]
    .sort(byAttention)
    .map(one => one.name);
  assert.deepEqual(names, ['c', 'a', 'b']);
});

test('load is known only with a value and a target', () => {
  assert.equal(loadOf({ value: 5, target: 10 }), 0.5);
  assert.equal(loadOf({ value: null, target: 10 }), undefined);
  assert.equal(loadOf({ value: 5, target: 0 }), undefined);
});
