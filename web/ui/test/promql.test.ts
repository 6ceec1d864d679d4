import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applied, bestSuggestions, contextAt, fit, type Suggestion, tokenize } from '../src/promql';

const kinds = (text: string) =>
  tokenize(text)
    .filter(token => token.kind !== 'space')
    .map(token => `${token.kind}:${token.text}`);

test('tokens say what a word is by where it stands', () => {
  assert.deepEqual(kinds('sum by (job) (rate(up{job="a"}[5m]))'), [
    'keyword:sum',
    'keyword:by',
    'operator:(',
    'label:job',
    'operator:)',
    'operator:(',
    'function:rate',
    'operator:(',
    'metric:up',
    'operator:{',
    'label:job',
    'operator:=',
    'string:"a"',
    'operator:}',
    'operator:[',
    'number:5m',
    'operator:]',
    'operator:)',
    'operator:)'
  ]);
  assert.deepEqual(kinds('rate == count'), ['metric:rate', 'operator:==', 'metric:count']);
  assert.deepEqual(kinds('1e3 + 0x1F # end'), ['number:1e3', 'operator:+', 'number:0x1F', 'comment:# end']);
});

test('tokens lose nothing, whatever is typed', () => {
  for (const text of ['', 'up{job="', 'a{b=~"c\\"', '`x', '}}))', '\u{1f600} up', 'sum(', 'a\n#b\nc', "'it'"]) {
    assert.equal(
      tokenize(text)
        .map(token => token.text)
        .join(''),
      text
    );
  }
});

// The cursor is at the bar.
const wanted = (text: string) => {
  const cursor = text.indexOf('|');
  const { wanted: found, prefix } = contextAt(text.replace('|', ''), cursor);
  return { ...found, prefix };
};

test('what is wanted follows from what is before the cursor', () => {
  assert.deepEqual(wanted('htt|'), { want: 'expression', prefix: 'htt' });
  assert.deepEqual(wanted('rate(ht|)'), { want: 'expression', prefix: 'ht' });
  assert.deepEqual(wanted('up{jo|}'), { want: 'label', metric: 'up', metricsBefore: ['up'], prefix: 'jo' });
  assert.deepEqual(wanted('up{job="a",|}'), { want: 'label', metric: 'up', metricsBefore: ['up'], prefix: '' });
  assert.deepEqual(wanted('up{job="a|"}'), { want: 'value', label: 'job', metric: 'up', prefix: 'a' });
  assert.deepEqual(wanted('up{job=~"|'), { want: 'value', label: 'job', metric: 'up', prefix: '' });
  assert.deepEqual(wanted('sum(up) by (in|)'), { want: 'label', metric: '', metricsBefore: ['up'], prefix: 'in' });
  assert.equal(wanted('up{job="a"|}').want, 'nothing');
  assert.equal(wanted('label_replace(up, "a|"').want, 'nothing');
  assert.equal(wanted('rate(up[5|m])').want, 'nothing');
  assert.equal(wanted('up # comm|').want, 'nothing');
});

test('prefixes come before words, and words before letters in between', () => {
  assert.equal(fit('req', 'requests'), 0);
  assert.equal(fit('req', 'http_requests'), 1);
  assert.equal(fit('req', 'prereqs'), 2);
  assert.equal(fit('rq', 'http_requests'), 3);
  assert.equal(fit('zz', 'http_requests'), undefined);
  const all: Suggestion[] = ['xrate', 'irate', 'rate', 'http_rate'].map(text => ({ text, kind: 'metric', detail: '' }));
  assert.deepEqual(
    bestSuggestions('rate', all, 3).map(one => one.text),
    ['rate', 'http_rate', 'irate']
  );
});

test('a suggestion takes the place of the word', () => {
  const take = (text: string, suggestion: Partial<Suggestion>) => {
    const cursor = text.indexOf('|');
    const plain = text.replace('|', '');
    const result = applied(plain, cursor, contextAt(plain, cursor), {
      detail: '',
      kind: 'metric',
      text: '',
      ...suggestion
    });
    return `${result.text.slice(0, result.cursor)}|${result.text.slice(result.cursor)}`;
  };
  assert.equal(take('sum(ht|)', { text: 'http_requests' }), 'sum(http_requests|)');
  assert.equal(take('ra|', { text: 'rate', kind: 'function' }), 'rate(|)');
  assert.equal(take('ra|(up)', { text: 'rate', kind: 'function' }), 'rate|(up)');
  assert.equal(take('up{job="a|"}', { text: 'api "x"', kind: 'value' }), 'up{job="api \\"x\\""|}');
  assert.equal(take('up{job="|', { text: 'api', kind: 'value' }), 'up{job="api"|');
});
