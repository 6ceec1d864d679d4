// As much of PromQL as an editor needs: tokens for colours, and what could come next where one types. The program itself
// says what is right.

export type TokenKind =
  | 'metric'
  | 'label'
  | 'function'
  | 'keyword'
  | 'number'
  | 'string'
  | 'comment'
  | 'operator'
  | 'space';

export interface Token {
  kind: TokenKind;
  text: string;
  start: number;
}

export const AGGREGATIONS = [
  'avg',
  'bottomk',
  'count',
  'count_values',
  'group',
  'limit_ratio',
  'limitk',
  'max',
  'min',
  'quantile',
  'stddev',
  'stdvar',
  'sum',
  'topk'
];

// Name and what it does, for the list of suggestions.
export const FUNCTIONS: Record<string, string> = {
  abs: 'absolute value',
  absent: '1 if there is no series',
  absent_over_time: '1 if there was no sample in the range',
  avg_over_time: 'average of the range',
  ceil: 'rounded up',
  changes: 'how often the value changed',
  clamp: 'held between two bounds',
  clamp_max: 'at most',
  clamp_min: 'at least',
  count_over_time: 'number of samples',
  day_of_month: 'day of the month',
  day_of_week: 'day of the week, Sunday is 0',
  days_in_month: 'days of the month',
  delta: 'difference over the range, of a gauge',
  deriv: 'slope per second, of a gauge',
  exp: 'exponential',
  floor: 'rounded down',
  histogram_avg: 'average of native histograms',
  histogram_count: 'count of native histograms',
  histogram_fraction: 'share between two bounds',
  histogram_quantile: 'quantile of a histogram',
  histogram_stddev: 'standard deviation of native histograms',
  histogram_sum: 'sum of native histograms',
  hour: 'hour of the day, UTC',
  idelta: 'difference of the last two samples',
  increase: 'increase over the range, of a counter',
  info: 'adds labels of info series',
  irate: 'rate of the last two samples',
  label_join: 'joins labels into one',
  label_replace: 'sets a label by a pattern',
  last_over_time: 'last sample of the range',
  ln: 'natural logarithm',
  log10: 'logarithm to base 10',
  log2: 'logarithm to base 2',
  max_over_time: 'greatest of the range',
  min_over_time: 'least of the range',
  minute: 'minute of the hour, UTC',
  month: 'month of the year, UTC',
  predict_linear: 'value in so many seconds',
  present_over_time: '1 if there was a sample',
  quantile_over_time: 'quantile of the range',
  rate: 'increase per second, of a counter',
  resets: 'how often a counter began anew',
  round: 'rounded to a multiple',
  scalar: 'the one value as a number',
  sgn: 'sign',
  sort: 'by value',
  sort_by_label: 'by labels',
  sort_by_label_desc: 'by labels, downwards',
  sort_desc: 'by value, downwards',
  sqrt: 'square root',
  stddev_over_time: 'standard deviation of the range',
  stdvar_over_time: 'variance of the range',
  sum_over_time: 'sum of the range',
  time: 'time of the evaluation',
  timestamp: 'time of the sample',
  vector: 'a number as a vector',
  year: 'year, UTC'
};

const KEYWORDS = new Set([
  'by',
  'without',
  'on',
  'ignoring',
  'group_left',
  'group_right',
  'bool',
  'offset',
  'and',
  'or',
  'unless',
  'atan2',
  'start',
  'end',
  'inf',
  'nan'
]);
const GROUPING = new Set(['by', 'without', 'on', 'ignoring', 'group_left', 'group_right']);

const PATTERN =
  /(\s+)|(#[^\n]*)|("(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|`[^`]*`?)|((?:\d+(?:\.\d+)?(?:ms|[smhdwy]))+(?![a-zA-Z_:])|0x[\da-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|([a-zA-Z_:][a-zA-Z0-9_:]*)|(=~|!~|!=|==|<=|>=|.)/gs;

// What surrounds a place: inside braces, or inside the parentheses of a grouping.
class Nesting {
  private readonly stack: string[] = [];
  private pending = false; // A grouping word has just been read.

  get inLabels(): boolean {
    const top = this.stack[this.stack.length - 1];
    return top === '{' || top === 'labels';
  }

  get inBraces(): boolean {
    return this.stack[this.stack.length - 1] === '{';
  }

  word(text: string): void {
    this.pending = GROUPING.has(text.toLowerCase());
  }

  operator(text: string): void {
    if (text === '{') this.stack.push('{');
    else if (text === '(') this.stack.push(this.pending ? 'labels' : '(');
    else if (text === '[') this.stack.push('[');
    else if (text === '}' || text === ')' || text === ']') this.stack.pop();
    this.pending = false;
  }
}

export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  const nesting = new Nesting();
  for (const match of text.matchAll(PATTERN)) {
    const [whole, space, comment, string, number, word] = match;
    const start = match.index ?? 0;
    let kind: TokenKind = 'operator';
    if (space !== undefined) kind = 'space';
    else if (comment !== undefined) kind = 'comment';
    else if (string !== undefined) kind = 'string';
    else if (number !== undefined) kind = 'number';
    else if (word !== undefined) {
      kind = wordKind(word, nesting.inLabels, text.slice(start + word.length));
      nesting.word(nesting.inLabels ? '' : word);
    } else nesting.operator(whole);
    tokens.push({ kind, text: whole, start });
  }
  return tokens;
}

function wordKind(word: string, inLabels: boolean, after: string): TokenKind {
  if (inLabels) return 'label';
  const lower = word.toLowerCase();
  if (AGGREGATIONS.includes(lower) && /^\s*(\(|by\b|without\b)/i.test(after)) return 'keyword';
  if (KEYWORDS.has(lower)) return 'keyword';
  return /^\s*\(/.test(after) && word in FUNCTIONS ? 'function' : 'metric';
}

// What is typed at the cursor.
export type Wanted =
  | { want: 'expression' } // A metric, function, aggregation or keyword.
  | { want: 'label'; metric: string; metricsBefore: string[] }
  | { want: 'value'; label: string; metric: string }
  | { want: 'nothing' };

export interface Context {
  wanted: Wanted;
  from: number; // Where the word at the cursor begins.
  prefix: string; // The word up to the cursor.
}

// The metric whose braces are open at the end of `tokens`, or "".
function metricOfBraces(tokens: Token[]): string {
  let depth = 0;
  for (let i = tokens.length - 1; i >= 0; i--) {
    const token = tokens[i] as Token;
    if (token.text === '}') depth++;
    if (token.text !== '{' || depth-- > 0) continue;
    const before = tokens[i - 1];
    return before?.kind === 'metric' ? before.text : '';
  }
  return '';
}

export function contextAt(text: string, cursor: number): Context {
  const tokens = tokenize(text.slice(0, cursor));
  const last = tokens[tokens.length - 1];
  const nesting = new Nesting();
  const word =
    last !== undefined &&
    (last.kind === 'metric' || last.kind === 'label' || last.kind === 'keyword' || last.kind === 'function');
  const before = tokens.slice(0, word || last?.kind === 'string' ? -1 : undefined);
  for (const token of before) {
    if (token.kind === 'operator') nesting.operator(token.text);
    else if (token.kind !== 'space') nesting.word(nesting.inLabels ? '' : token.text);
  }
  const metric = metricOfBraces(before);
  if (last?.kind === 'comment' || last?.kind === 'number')
    return { wanted: { want: 'nothing' }, from: cursor, prefix: '' };
  if (last?.kind === 'string') return valueContext(before, last, cursor, nesting.inBraces, metric);
  const from = word ? last.start : cursor;
  const prefix = word ? last.text : '';
  if (!nesting.inLabels) return { wanted: { want: 'expression' }, from, prefix };
  const previous = before.filter(token => token.kind !== 'space').pop();
  const starts = previous?.text === '{' || previous?.text === ',' || previous?.text === '(';
  const metricsBefore = tokens.filter(token => token.kind === 'metric').map(token => token.text);
  return { wanted: starts ? { want: 'label', metric, metricsBefore } : { want: 'nothing' }, from, prefix };
}

// Inside a string behind `label=`.
function valueContext(before: Token[], string: Token, cursor: number, inBraces: boolean, metric: string): Context {
  const nothing: Context = { wanted: { want: 'nothing' }, from: cursor, prefix: '' };
  const quote = string.text[0] ?? '"';
  const closed = string.text.length > 1 && string.text.endsWith(quote) && !string.text.endsWith(`\\${quote}`);
  if (closed || !inBraces) return nothing;
  const telling = before.filter(token => token.kind !== 'space');
  const operator = telling.pop();
  const label = telling.pop();
  if (!operator || !/^(=|!=|=~|!~)$/.test(operator.text) || label?.kind !== 'label') return nothing;
  return { wanted: { want: 'value', label: label.text, metric }, from: string.start + 1, prefix: string.text.slice(1) };
}

export interface Suggestion {
  text: string;
  kind: 'metric' | 'function' | 'aggregation' | 'keyword' | 'label' | 'value' | 'recent';
  detail: string;
}

// How well `text` fits `typed`; undefined when it does not. Smaller is better: a prefix, then a word, then anywhere.
export function fit(typed: string, text: string): number | undefined {
  if (typed === '') return 0;
  const lower = text.toLowerCase();
  const wanted = typed.toLowerCase();
  if (lower.startsWith(wanted)) return 0;
  const at = lower.indexOf(wanted);
  if (at > 0) return /[a-z0-9]/.test(lower[at - 1] ?? '') ? 2 : 1;
  let from = 0;
  for (const letter of wanted) {
    from = lower.indexOf(letter, from) + 1;
    if (from === 0) return undefined;
  }
  return 3;
}

const PREFERENCE = ['recent', 'metric', 'aggregation', 'function', 'keyword', 'label', 'value'];

export function bestSuggestions(typed: string, all: Suggestion[], limit: number): Suggestion[] {
  const rated = all.flatMap(suggestion => {
    const rank = fit(typed, suggestion.text);
    return rank === undefined ? [] : [{ suggestion, rank }];
  });
  rated.sort(
    (a, b) =>
      a.rank - b.rank ||
      PREFERENCE.indexOf(a.suggestion.kind) - PREFERENCE.indexOf(b.suggestion.kind) ||
      a.suggestion.text.length - b.suggestion.text.length ||
      a.suggestion.text.localeCompare(b.suggestion.text)
  );
  return rated.slice(0, limit).map(one => one.suggestion);
}

// The text and the cursor after `suggestion` took the place of the word at the cursor.
export function applied(
  text: string,
  cursor: number,
  context: Context,
  suggestion: Suggestion
): { text: string; cursor: number } {
  const before = text.slice(0, context.from);
  let after = text.slice(cursor);
  let inserted = suggestion.text;
  let back = 0;
  if (suggestion.kind === 'function' || suggestion.kind === 'aggregation') {
    if (!after.startsWith('(')) {
      inserted += '()';
      back = 1;
    }
  } else if (suggestion.kind === 'value') {
    inserted = inserted.replaceAll('\\', '\\\\').replaceAll('"', '\\"');
    const quote = text[context.from - 1] ?? '"';
    after = after.replace(/^[^"'`,}\s]*/, '');
    if (after.startsWith(quote)) after = after.slice(1);
    inserted += quote;
  } else if (suggestion.kind === 'recent') {
    return { text: suggestion.text, cursor: suggestion.text.length };
  }
  return { text: before + inserted + after, cursor: before.length + inserted.length - back };
}
