import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alignedRange, changes, columnsOf, stacked } from '../src/plot_data';
import { stepPath } from '../src/sparkline';

test('columns have a row for each step, and gaps where nothing is', () => {
  const [times, first, second] = columnsOf(
    [
      {
        metric: {},
        values: [
          [10, '1'],
          [30, '3']
        ]
      },
      {
        metric: {},
        values: [
          [20, 'NaN'],
          [30, '+Inf'],
          [40, '4'],
          [99, '9']
        ]
      }
    ],
    10,
    40,
    10
  );
  assert.deepEqual(times, [10, 20, 30, 40]);
  assert.deepEqual(first, [1, null, 3, null]);
  assert.deepEqual(second, [null, null, null, 4]);
});

test('a native histogram is drawn by its count', () => {
  const [, column] = columnsOf([{ metric: {}, histograms: [[10, { count: '7', sum: '1' }]] }], 10, 20, 10);
  assert.deepEqual(column, [7, null]);
});

test('stacking adds up, and gaps stay gaps', () => {
  assert.deepEqual(
    stacked([
      [1, 2],
      [1, null],
      [2, 5],
      [null, 1]
    ]),
    [
      [1, 2],
      [1, null],
      [3, 5],
      [null, 6]
    ]
  );
});

test('ranges begin and end at whole steps', () => {
  assert.deepEqual(alignedRange(1007, 60, 15), { start: 945, end: 1005 });
});

test('changes are found over gaps', () => {
  assert.deepEqual(changes([null, 1, 1, null, 3, 2]), [
    [4, 1, 3],
    [5, 3, 2]
  ]);
});

test('a sparkline is made of steps and interrupted by gaps', () => {
  assert.equal(stepPath([0, 2, null, 2], 2, 30, 13), 'M0.0,11.5H10.0V1.5M30.0,1.5');
  assert.equal(stepPath([], 2, 30, 13), '');
});
