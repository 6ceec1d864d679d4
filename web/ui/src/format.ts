// Numbers, times and label sets as text.
import type { LabelSet } from './types';

// 1234567 -> "1.23M": at most three digits that matter, for narrow places.
export function short(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size < 0.001) return value.toExponential(1);
  for (const [unit, factor] of [
    ['T', 1e12],
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e4]
  ] as const) {
    if (size >= factor) return trimmed(value / (unit === 'k' ? 1e3 : factor)) + unit;
  }
  return trimmed(value);
}

function trimmed(value: number): string {
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return String(Number(value.toFixed(digits)));
}

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let rest = value;
  while (rest >= 1024 && unit < units.length - 1) {
    rest /= 1024;
    unit++;
  }
  return `${trimmed(rest)} ${units[unit]}`;
}

export function count(value: number): string {
  return value.toLocaleString('en-US');
}

// "1 target", "2 targets"
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

// Seconds as one would say them: "0.4 ms", "12 ms", "3.1 s", "4 min 5 s", "2 h 3 min", "3 d 4 h".
export function seconds(value: number): string {
  if (value < 1) return `${trimmed(value * 1000)} ms`;
  if (value < 60) return `${trimmed(value)} s`;
  const parts: [number, string][] = [
    [86400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's']
  ];
  let rest = Math.round(value);
  const words: string[] = [];
  for (const [size, unit] of parts) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole > 0) words.push(`${whole} ${unit}`);
    else if (words.length > 0) break;
    if (words.length === 2) break;
  }
  return words.join(' ');
}

// Whether an RFC 3339 time is one at all; Go prints the year 1 for none.
export function isTime(text: string | undefined): text is string {
  return text !== undefined && Date.parse(text) > 0;
}

// "just now", "12 s ago", "in 3 min"; "never" for no time.
export function ago(text: string | undefined, now: number): string {
  if (!isTime(text)) return 'never';
  const passed = (now - Date.parse(text)) / 1000;
  if (Math.abs(passed) < 1) return 'just now';
  return passed > 0 ? `${seconds(coarse(passed))} ago` : `in ${seconds(coarse(-passed))}`;
}

// One unit is enough for what lies back, but for the first hours.
function coarse(value: number): number {
  if (value < 60) return Math.floor(value);
  if (value < 3600) return Math.floor(value / 60) * 60;
  return Math.floor(value / 3600) * 3600;
}

const two = (value: number) => String(value).padStart(2, '0');

// "14:03:05", in the browser's zone.
export function clock(ms: number): string {
  const date = new Date(ms);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

// "2026-03-02 14:03:05", in the browser's zone.
export function dateTime(ms: number): string {
  const date = new Date(ms);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(ms)}`;
}

// The time of day if it is today, the date with it otherwise.
export function whenShort(ms: number, now: number): string {
  return new Date(ms).toDateString() === new Date(now).toDateString() ? clock(ms) : dateTime(ms);
}

export function quoted(value: string): string {
  return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;
}

const NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const METRIC = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

// A label set as a selector in PromQL that selects it.
export function selector(labels: LabelSet): string {
  const { __name__: metric, ...rest } = labels;
  const pairs = Object.entries(rest).map(
    ([name, value]) => `${NAME.test(name) ? name : quoted(name)}=${quoted(value)}`
  );
  if (metric !== undefined && !METRIC.test(metric)) return `{${[quoted(metric), ...pairs].join(', ')}}`;
  return (metric ?? '') + (pairs.length > 0 || metric === undefined ? `{${pairs.join(', ')}}` : '');
}

// Whether all words of `filter` occur in `text`; case does not matter.
export function matches(filter: string, text: string): boolean {
  const lower = text.toLowerCase();
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every(word => lower.includes(word));
}

export function labelText(labels: LabelSet): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${quoted(value)}`)
    .join(' ');
}
