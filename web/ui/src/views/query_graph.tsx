// The result of an expression over a range of time.
import { useMemo, useState } from 'preact/hooks';
import { Annotations, Took } from '../annotations';
import { type Annotated, ask } from '../api';
import { formatDuration, parseDuration, stepFor } from '../duration';
import { selector, short } from '../format';
import { usePoll } from '../hooks';
import { type Line, Plot } from '../plot';
import { type Columns, columnsOf, pointsOf, stacked } from '../plot_data';
import { SERIES_COLOURS } from '../theme';
import type { MatrixSeries, QueryData } from '../types';
import { Empty, Failure, Loading, SeriesName } from '../ui';
import { type BodyProps, FirstSteps, TimeField } from './query_table';

const POINTS = 250;
const MOST_SERIES = 100;
const RANGES = ['1m', '5m', '15m', '30m', '1h', '3h', '6h', '12h', '1d', '2d', '1w', '2w', '4w'];

interface Graph extends Annotated<MatrixSeries[]> {
  ms: number;
  start: number;
  end: number;
  step: number;
}

async function load(panel: BodyProps['panel'], signal: AbortSignal): Promise<Graph | null> {
  if (!panel.expr.trim()) return null;
  const began = performance.now();
  const step = panel.step ?? stepFor(panel.range, POINTS);
  // Up to this moment, not to the last whole step before: what has just begun shows at once.
  const end = panel.end ?? Date.now() / 1000;
  const start = end - Math.floor(panel.range / step) * step;
  const answer = await ask<QueryData>('query_range', { query: panel.expr, start, end, step }, signal);
  const series = answer.data.resultType === 'matrix' ? answer.data.result : [];
  return { ...answer, data: series, ms: performance.now() - began, start, end, step };
}

export function GraphPanel({ panel, runs, refresh, onChange }: BodyProps) {
  const { expr, range, end, step } = panel;
  const key = JSON.stringify([expr, range, end, step, runs]);
  const { data, error } = usePoll(key, end === undefined ? refresh * 1000 : 0, signal => load(panel, signal), true);
  return (
    <>
      <GraphTools panel={panel} onChange={onChange} graph={data ?? undefined} />
      {error && <Failure error={error} />}
      {!expr.trim() && <FirstSteps onChoose={text => onChange({ ...panel, expr: text })} />}
      {expr.trim() && !data && !error && <Loading what="the graph" />}
      {data && <Annotations warnings={data.warnings} infos={data.infos} />}
      {data && data.data.length === 0 && (
        <Empty title="No series in this range">
          <p>The expression is right, but nothing matches it. Try a longer range, or an earlier end.</p>
        </Empty>
      )}
      {data && data.data.length > 0 && (
        <Drawn
          graph={data}
          stack={panel.stacked}
          onZoom={(from, to) => onChange({ ...panel, range: Math.max(1, to - from), end: to, step: undefined })}
        />
      )}
    </>
  );
}

interface ToolsProps {
  panel: BodyProps['panel'];
  onChange: BodyProps['onChange'];
  graph: Graph | undefined;
}

function GraphTools({ panel, onChange, graph }: ToolsProps) {
  const move = (direction: number) =>
    onChange({ ...panel, end: (panel.end ?? Date.now() / 1000) + (direction * panel.range) / 2 });
  const widen = (direction: number) => {
    const sizes = RANGES.map(text => parseDuration(text) ?? 0);
    const next =
      direction > 0 ? sizes.find(size => size > panel.range) : sizes.reverse().find(size => size < panel.range);
    if (next) onChange({ ...panel, range: next });
  };
  return (
    <div class="panel-tools">
      <div class="joined" role="group" aria-label="Range">
        <button type="button" class="button" aria-label="Shorter range" onClick={() => widen(-1)}>
          −
        </button>
        <DurationField
          label="Range"
          value={panel.range}
          required
          onChange={range => onChange({ ...panel, range: range ?? panel.range })}
        />
        <button type="button" class="button" aria-label="Longer range" onClick={() => widen(1)}>
          +
        </button>
      </div>
      <div class="joined" role="group" aria-label="End">
        <button type="button" class="button" aria-label="Earlier" onClick={() => move(-1)}>
          ←
        </button>
        <TimeField label="" value={panel.end} onChange={end => onChange({ ...panel, end })} />
        <button type="button" class="button" aria-label="Later" onClick={() => move(1)}>
          →
        </button>
      </div>
      <label class="inline">
        Step
        <DurationField
          label="Step"
          value={panel.step}
          placeholder={formatDuration(graph?.step ?? stepFor(panel.range, POINTS))}
          onChange={step => onChange({ ...panel, step })}
        />
      </label>
      <label class="inline">
        <input
          type="checkbox"
          checked={panel.stacked}
          onChange={event => onChange({ ...panel, stacked: event.currentTarget.checked })}
        />
        Stacked
      </label>
      <span class="spacer" />
      {graph && <Took series={graph.data.length} ms={graph.ms} />}
    </div>
  );
}

interface DurationProps {
  label: string;
  value: number | undefined;
  placeholder?: string;
  required?: boolean;
  onChange: (seconds: number | undefined) => void;
}

function DurationField({ label, value, placeholder = '', required = false, onChange }: DurationProps) {
  const [wrong, setWrong] = useState(false);
  const changed = (text: string) => {
    const empty = text.trim() === '';
    const seconds = parseDuration(text);
    setWrong(empty ? required : seconds === undefined);
    if (seconds !== undefined || (empty && !required)) onChange(seconds);
  };
  return (
    <input
      class={`input duration ${wrong ? 'wrong' : ''}`}
      key={value ?? 'none'}
      aria-label={label}
      aria-invalid={wrong}
      title="A duration, as 1h30m"
      placeholder={placeholder}
      defaultValue={value === undefined ? '' : formatDuration(value)}
      onChange={event => changed(event.currentTarget.value)}
    />
  );
}

function lastOf(series: MatrixSeries): number {
  const points = pointsOf(series);
  return Number(points[points.length - 1]?.[1] ?? Number.NaN);
}

function Drawn({ graph, stack, onZoom }: { graph: Graph; stack: boolean; onZoom: (from: number, to: number) => void }) {
  const [alone, setAlone] = useState<string | undefined>();
  const [near, setNear] = useState<number | undefined>();
  const series = graph.data.slice(0, MOST_SERIES);
  const columns = useMemo<Columns>(() => {
    const plain = columnsOf(series, graph.start, graph.end, graph.step);
    return stack ? stacked(plain) : plain;
  }, [graph, stack]);
  const names = series.map(one => selector(one.metric));
  const only = alone !== undefined && names.includes(alone) ? alone : undefined;
  const lines = names.map(
    (label, i): Line => ({
      label,
      colour: `series-${i % SERIES_COLOURS}`,
      hidden: only !== undefined && label !== only,
      ...(stack ? { fill: `series-fill-${i % SERIES_COLOURS}` } : {})
    })
  );
  return (
    <>
      {graph.data.length > MOST_SERIES && (
        <p class="hint">
          {MOST_SERIES} of {graph.data.length} series are drawn. Aggregate, or select fewer, to see all.
        </p>
      )}
      <Plot
        label={`Graph of ${series.length} series`}
        columns={columns}
        lines={lines}
        height={320}
        range={[graph.start, graph.end]}
        fromZero={stack}
        onZoom={onZoom}
        onFocus={setNear}
      />
      <p class="hint">Drag over the graph to look closer. Choose a series to see it alone.</p>
      <ul class="graph-legend">
        {series.map((one, i) => (
          <li key={names[i]} class={near === i ? 'near' : ''}>
            <button
              type="button"
              aria-pressed={only === names[i]}
              onClick={() => setAlone(only === names[i] ? undefined : names[i])}
            >
              <i style={{ background: `var(--series-${i % SERIES_COLOURS})` }} />
              <SeriesName labels={one.metric} />
              <b class="number">{short(lastOf(one))}</b>
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}
