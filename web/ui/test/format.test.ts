import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDuration, parseDuration, stepFor } from '../src/duration';
import { ago, bytes, labelText, matches, seconds, selector, short } from '../src/format';

test('short keeps three digits that matter', () => {
  const rows: [number, string][] = [
    [0, '0'],
    [1, '1'],
    [12.3456, '12.3'],
    [0.12345, '0.123'],
    [0.00001, '1.0e-5'],
    [999, '999'],
    [9999, '9999'],
    [12345, '12.3k'],
    [-2.5e6, '-2.5M'],
    [3e9, '3G'],
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, '+Inf'],
    [Number.NEGATIVE_INFINITY, '-Inf']
  ];
  for (const [value, text] of rows) assert.equal(short(value), text);
});

test('seconds are said in at most two units', () => {
  const rows: [number, string][] = [
    [0.0004, '0.4 ms'],
    [0.25, '250 ms'],
    [3.2468, '3.25 s'],
    [59.9, '59.9 s'],
    [60, '1 min'],
    [245, '4 min 5 s'],
    [7380, '2 h 3 min'],
    [3600, '1 h'],
    [90000, '1 d 1 h'],
    [86400, '1 d']
  ];
  for (const [value, text] of rows) assert.equal(seconds(value), text);
});

test('ago knows that the year 1 is no time', () => {
  const now = Date.parse('2026-03-02T12:00:00Z');
  assert.equal(ago('0001-01-01T00:00:00Z', now), 'never');
  assert.equal(ago(undefined, now), 'never');
  assert.equal(ago('2026-03-02T11:59:48Z', now), '12 s ago');
  assert.equal(ago('2026-03-02T11:56:30Z', now), '3 min ago');
  assert.equal(ago('2026-03-02T12:00:00Z', now), 'just now');
  assert.equal(ago('2026-03-02T12:02:00Z', now), 'in 2 min');
});

test('bytes', () => {
  assert.equal(bytes(512), '512 B');
  assert.equal(bytes(1536), '1.5 KiB');
  assert.equal(bytes(5 * 1024 ** 3), '5 GiB');
});

test('a selector selects its series, whatever the labels contain', () => {
  const rows: [Record<string, string>, string][] = [
    [{ __name__: 'up' }, 'up'],
    [{}, '{}'],
    [{ __name__: 'up', job: 'a"b\\c\nd' }, 'up{job="a\\"b\\\\c\\nd"}'],
    [{ __name__: 'my.metric', 'a.b': 'c' }, '{"my.metric", "a.b"="c"}']
  ];
  for (const [labels, text] of rows) assert.equal(selector(labels), text);
  assert.equal(labelText({ a: 'b', c: 'd' }), 'a="b" c="d"');
});

test('all words of a filter must occur', () => {
  assert.ok(matches('', 'anything'));
  assert.ok(matches('Shop  WEB', 'web-shop in shop'));
  assert.ok(!matches('shop mail', 'web-shop in shop'));
});

test('durations are read and written as Prometheus does', () => {
  const rows: [string, number | undefined][] = [
    ['15m', 900],
    ['1h30m', 5400],
    ['250ms', 0.25],
    ['1d', 86400],
    ['90', 90],
    ['', undefined],
    ['0s', undefined],
    ['1m1h', undefined],
    ['5 minutes', undefined]
  ];
  for (const [text, value] of rows) assert.equal(parseDuration(text), value, text);
  for (const text of ['15m', '1h30m', '250ms', '1d', '2w3d'])
    assert.equal(formatDuration(parseDuration(text) ?? 0), text);
});

test('a step gives about as many points as asked for', () => {
  assert.equal(stepFor(60, 250), 1);
  assert.equal(stepFor(3600, 250), 15);
  assert.equal(stepFor(30 * 86400, 250), 14400);
  assert.equal(stepFor(365 * 86400 * 3, 250), 5 * 86400);
});
