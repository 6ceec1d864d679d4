// The result of an expression at one time.
import { useState } from 'preact/hooks';
import { Annotations, Took } from '../annotations';
import { type Annotated, ask } from '../api';
import { clock, selector } from '../format';
import { usePoll } from '../hooks';
import { type Panel, parseTime, timeText } from '../panels';
import { numberOf } from '../plot_data';
import type { Histogram, MatrixSeries, QueryData, VectorSample } from '../types';
import { CopyButton, Empty, Failure, Loading, SeriesName, useRows } from '../ui';

export interface BodyProps {
  panel: Panel;
  runs: number;
  refresh: number;
  onChange: (panel: Panel) => void;
}

const ROWS = 100;

interface Answer extends Annotated<QueryData> {
  ms: number;
}

export function TablePanel({ panel, runs, refresh, onChange }: BodyProps) {
  const { expr, moment } = panel;
  const { data, error } = usePoll(
    JSON.stringify([expr, moment, runs]),
    refresh * 1000,
    async (signal): Promise<Answer | null> => {
      if (!expr.trim()) return null;
      const began = performance.now();
      const answer = await ask<QueryData>('query', { query: expr, time: moment }, signal);
      return { ...answer, ms: performance.now() - began };
    },
    true
  );
  return (
    <>
      <div class="panel-tools">
        <TimeField label="Time, UTC" value={moment} onChange={time => onChange({ ...panel, moment: time })} />
        <span class="spacer" />
        {data && <Took series={sizeOf(data.data)} ms={data.ms} />}
        {data?.data.resultType === 'vector' && data.data.result.length > 0 && (
          <CopyButton label="Copy as text" text={() => asText(data.data)} />
        )}
      </div>
      {error && <Failure error={error} />}
      {!expr.trim() && <FirstSteps onChoose={text => onChange({ ...panel, expr: text })} />}
      {expr.trim() && !data && !error && <Loading what="the result" />}
      {data && <Annotations warnings={data.warnings} infos={data.infos} />}
      {data && <Result data={data.data} />}
    </>
  );
}

const EXAMPLES: [string, string][] = [
  ['up', 'which targets could be scraped'],
  ['tidewright_workload_replicas', 'replicas of everything that is scaled'],
  ['tidewright_trigger_value / tidewright_trigger_target', 'how much of its target each signal has reached'],
  ['topk(10, count by (__name__) ({__name__!=""}))', 'metrics with the most series']
];

export function FirstSteps({ onChoose }: { onChoose: (expression: string) => void }) {
  return (
    <Empty title="Write an expression, or begin with one of these">
      <ul class="examples">
        {EXAMPLES.map(([expression, what]) => (
          <li key={expression}>
            <button type="button" class="link" onClick={() => onChoose(expression)}>
              <code>{expression}</code>
            </button>
            <span class="faint">{what}</span>
          </li>
        ))}
      </ul>
    </Empty>
  );
}

interface TimeFieldProps {
  label: string;
  value: number | undefined;
  onChange: (time: number | undefined) => void;
}

export function TimeField({ label, value, onChange }: TimeFieldProps) {
  const [wrong, setWrong] = useState(false);
  const changed = (text: string) => {
    const time = text.trim() === '' ? undefined : parseTime(text.trim());
    setWrong(text.trim() !== '' && time === undefined);
    if (text.trim() === '' || time !== undefined) onChange(time);
  };
  return (
    <label class="inline">
      {label}
      <input
        class={`input time ${wrong ? 'wrong' : ''}`}
        key={value ?? 'now'}
        defaultValue={value === undefined ? '' : timeText(value)}
        placeholder="now"
        aria-invalid={wrong}
        title="UTC, as 2026-03-02 14:00:00; empty for now"
        onChange={event => changed(event.currentTarget.value)}
      />
    </label>
  );
}

function sizeOf(data: QueryData): number {
  return data.resultType === 'vector' || data.resultType === 'matrix' ? data.result.length : 1;
}

function asText(data: QueryData): string {
  if (data.resultType !== 'vector') return '';
  return data.result
    .map(sample => `${selector(sample.metric)}\t${sample.value?.[1] ?? sample.histogram?.[1].count}`)
    .join('\n');
}

function Result({ data }: { data: QueryData }) {
  if (data.resultType === 'vector') return <Vector samples={data.result} />;
  if (data.resultType === 'matrix') return <Matrix series={data.result} />;
  return <p class="scalar number">{data.result[1]}</p>;
}

function NoResult() {
  return (
    <Empty title="No series">
      <p>
        The expression is right, but nothing matches it at this time. Look at its selectors one by one, or at an earlier
        time.
      </p>
    </Empty>
  );
}

type Order = 'given' | 'down' | 'up';
const NEXT: Record<Order, Order> = { given: 'down', down: 'up', up: 'given' };
const ARROW: Record<Order, string> = { given: '', down: ' ↓', up: ' ↑' };
const ARIA = { given: 'none', down: 'descending', up: 'ascending' } as const;

function Vector({ samples }: { samples: VectorSample[] }) {
  const [order, setOrder] = useState<Order>('given');
  const value = (sample: VectorSample) => numberOf(sample.value?.[1] ?? sample.histogram?.[1].count ?? 'NaN');
  const sorted =
    order === 'given' ? samples : [...samples].sort((a, b) => (value(b) - value(a)) * (order === 'down' ? 1 : -1));
  const { shown, more } = useRows(sorted, ROWS);
  if (samples.length === 0) return <NoResult />;
  return (
    <>
      <table class="results">
        <thead>
          <tr>
            <th scope="col">Series</th>
            <th scope="col" class="number" aria-sort={ARIA[order]}>
              <button type="button" class="link" onClick={() => setOrder(NEXT[order])}>
                Value{ARROW[order]}
              </button>
            </th>
          </tr>
        </thead>
        <tbody>
          {shown.map(sample => (
            <tr key={selector(sample.metric)}>
              <td>
                <SeriesName labels={sample.metric} />
              </td>
              <td class="number">
                {sample.histogram ? <HistogramCell histogram={sample.histogram[1]} /> : sample.value?.[1]}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {more}
    </>
  );
}

function Matrix({ series }: { series: MatrixSeries[] }) {
  const { shown, more } = useRows(series, ROWS);
  if (series.length === 0) return <NoResult />;
  return (
    <>
      <table class="results">
        <thead>
          <tr>
            <th scope="col">Series</th>
            <th scope="col" class="number">
              Values
            </th>
          </tr>
        </thead>
        <tbody>
          {shown.map(one => (
            <tr key={selector(one.metric)}>
              <td>
                <SeriesName labels={one.metric} />
              </td>
              <td class="number">
                {(one.values ?? []).map(([time, value]) => (
                  <div key={time}>
                    {value} <span class="faint">{clock(time * 1000)}</span>
                  </div>
                ))}
                {(one.histograms ?? []).map(([time, histogram]) => (
                  <HistogramCell key={time} histogram={histogram} />
                ))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {more}
    </>
  );
}

// Count and sum, and the buckets as bars.
function HistogramCell({ histogram }: { histogram: Histogram }) {
  const buckets = histogram.buckets ?? [];
  const most = Math.max(...buckets.map(bucket => Number(bucket[3])), 1e-9);
  return (
    <div class="histogram">
      <div>
        {histogram.count} <span class="faint">sum {histogram.sum}</span>
      </div>
      <div class="bars" role="img" aria-label={`${buckets.length} buckets`}>
        {buckets.map(([, left, right, inside]) => (
          <i
            key={left + right}
            style={{ height: `${Math.max(4, (Number(inside) / most) * 100)}%` }}
            title={`${left} to ${right}: ${inside}`}
          />
        ))}
      </div>
    </div>
  );
}
