// Series as uPlot takes them: one column of times, and one of values for each series.
import type { MatrixSeries, Point } from './types';

export type Columns = [number[], ...(number | null)[][]];

export function numberOf(text: string): number {
  if (text === '+Inf') return Number.POSITIVE_INFINITY;
  if (text === '-Inf') return Number.NEGATIVE_INFINITY;
  return Number(text);
}

// A plot has no place for what is not finite.
const finite = (value: number) => (Number.isFinite(value) ? value : null);

// The points of a series, a histogram by its count.
export function pointsOf(series: MatrixSeries): Point[] {
  if (series.values) return series.values;
  return (series.histograms ?? []).map(([time, histogram]) => [time, histogram.count]);
}

// One row for each step of the range, so that what is missing shows as a gap.
export function columnsOf(series: MatrixSeries[], start: number, end: number, step: number): Columns {
  const rows = Math.floor((end - start) / step + 1e-6) + 1;
  const times = Array.from({ length: rows }, (_, row) => start + row * step);
  const values = series.map(one => {
    const column: (number | null)[] = new Array(rows).fill(null);
    for (const [time, value] of pointsOf(one)) {
      const row = Math.round((time - start) / step);
      if (row >= 0 && row < rows) column[row] = finite(numberOf(value));
    }
    return column;
  });
  return [times, ...values];
}

// Each column on top of those before it; a gap counts as nothing there, and stays a gap.
export function stacked(columns: Columns): Columns {
  const [times, ...values] = columns;
  const sums = new Array(times.length).fill(0);
  return [
    times,
    ...values.map(column =>
      column.map((value, row) => {
        if (value === null) return null;
        sums[row] += value;
        return sums[row] as number;
      })
    )
  ];
}

// Cuts a range to whole steps, so that the points of one request are those of the next.
export function alignedRange(end: number, range: number, step: number): { start: number; end: number } {
  const last = Math.floor(end / step) * step;
  return { start: last - Math.floor(range / step) * step, end: last };
}

// Where a value changes: [row, from, to].
export function changes(column: (number | null)[]): [number, number, number][] {
  const found: [number, number, number][] = [];
  let last: number | null = null;
  column.forEach((value, row) => {
    if (value === null) return;
    if (last !== null && value !== last) found.push([row, last, value]);
    last = value;
  });
  return found;
}
