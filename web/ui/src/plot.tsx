// A plot of columns over time, drawn by uPlot.
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { dateTime, short } from './format';
import { useWidth } from './hooks';
import type { Columns } from './plot_data';
import { colour, useThemeVersion } from './theme';

export interface Line {
  label: string;
  colour: string; // Of the style sheet, or a value.
  stepped?: boolean;
  dashed?: boolean;
  fill?: string;
  width?: number;
  hidden?: boolean;
}

// A point in time that can be chosen, shown as a dot on the first line at `value`.
export interface Mark {
  id: string;
  time: number; // Seconds.
  value: number;
  label: string;
}

interface PlotProps {
  columns: Columns;
  lines: Line[];
  height: number;
  label: string;
  range?: [number, number] | undefined; // Seconds.
  fromZero?: boolean;
  top?: number; // The axis reaches at least here.
  integers?: boolean;
  syncKey?: string;
  marks?: Mark[];
  marked?: string | undefined;
  onMark?: (id: string) => void;
  onZoom?: (from: number, to: number) => void;
  onFocus?: (series: number | undefined) => void; // Of the line that the pointer is near.
}

function resolved(name: string): string {
  return name.startsWith('#') || name.startsWith('rgb') ? name : colour(name);
}

// Midnight shows the date; seconds show where ticks are closer than minutes.
function tickTime(tick: number, step: number): string {
  const text = dateTime(tick * 1000);
  if (step >= 86400 || text.endsWith(' 00:00:00')) return text.slice(5, 10);
  return step < 60 ? text.slice(11) : text.slice(11, 16);
}

function axes(integers: boolean): uPlot.Axis[] {
  const shared = {
    stroke: colour('faint'),
    grid: { stroke: colour('grid'), width: 1 },
    ticks: { show: false },
    font: '11px system-ui, sans-serif'
  };
  return [
    {
      ...shared,
      space: 70,
      size: 30,
      gap: 9,
      values: (_: uPlot, ticks: number[], __: number, ___: number, step: number) =>
        ticks.map(tick => tickTime(tick, step))
    },
    {
      ...shared,
      size: 48,
      space: 28,
      ...(integers ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] } : {}),
      values: (_: uPlot, ticks: number[]) => ticks.map(short)
    }
  ];
}

function seriesOf(line: Line): uPlot.Series {
  const stroke = resolved(line.colour);
  const series: uPlot.Series = {
    label: line.label,
    stroke,
    width: line.width ?? 1.75,
    show: !line.hidden,
    points: { show: (plot, index) => isolatedOnly(plot, index), size: 4, fill: stroke }
  };
  if (line.dashed) series.dash = [5, 4];
  if (line.fill) series.fill = resolved(line.fill);
  const steps = uPlot.paths.stepped;
  if (line.stepped && steps) series.paths = steps({ align: 1 });
  return series;
}

// A lone value between gaps would not be seen as a line.
function isolatedOnly(plot: uPlot, index: number): boolean {
  const column = plot.data[index] as (number | null)[] | undefined;
  if (!column || column.length > 2000) return false;
  return column.every((value, row) => value == null || (column[row - 1] == null && column[row + 1] == null));
}

function yRange(props: { fromZero?: boolean; top?: number; integers?: boolean }): uPlot.Range.Function {
  return (_, min, max) => {
    if (min == null || max == null) return [0, Math.max(1, props.top ?? 1)];
    const low = props.fromZero ? Math.min(0, min) : min;
    const high = Math.max(max, props.top ?? max);
    if (low === high) return low === 0 ? [0, 1] : [Math.min(0, low * 1.1), Math.max(0, high * 1.1)];
    const pad = (high - low) * 0.06;
    return [props.fromZero && low === 0 ? 0 : low - pad, high + pad];
  };
}

interface Tip {
  left: number;
  row: number;
}

export function Plot(props: PlotProps) {
  const [frame, width] = useWidth<HTMLDivElement>();
  const canvas = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [tip, setTip] = useState<Tip | undefined>();
  const [positions, setPositions] = useState<{ id: string; label: string; x: number; y: number }[]>([]);
  const theme = useThemeVersion();
  const latest = useRef(props);
  latest.current = props;
  const shape = JSON.stringify([props.lines, props.height, props.integers, theme, width > 0]);

  const place = (drawn: uPlot) => {
    const { marks = [] } = latest.current;
    const left = drawn.bbox.left / devicePixelRatio;
    const top = drawn.bbox.top / devicePixelRatio;
    const next = marks
      .map(mark => ({
        id: mark.id,
        label: mark.label,
        x: left + drawn.valToPos(mark.time, 'x'),
        y: top + drawn.valToPos(mark.value, 'y')
      }))
      .filter(mark => mark.x >= left && mark.x <= left + drawn.bbox.width / devicePixelRatio);
    setPositions(old => (JSON.stringify(old) === JSON.stringify(next) ? old : next));
  };

  useEffect(() => {
    if (!canvas.current || width === 0) return;
    const { lines, height, syncKey } = props;
    const options: uPlot.Options = {
      width,
      height,
      legend: { show: false },
      padding: [10, 12, 0, 0],
      scales: {
        x: { time: true, range: (_, min, max) => latest.current.range ?? [min, max] },
        y: { range: yRange({ ...props }) }
      },
      axes: axes(props.integers ?? false),
      series: [{}, ...lines.map(seriesOf)],
      cursor: {
        y: false,
        points: { size: 7 },
        drag: { x: latest.current.onZoom !== undefined, y: false, setScale: false },
        focus: { prox: 24 },
        ...(syncKey ? { sync: { key: syncKey } } : {})
      },
      focus: { alpha: lines.length > 1 && latest.current.onFocus ? 0.35 : 1 },
      hooks: {
        setCursor: [
          at => {
            const row = at.cursor.idx;
            setTip(row == null || (at.cursor.left ?? -1) < 0 ? undefined : { left: at.cursor.left ?? 0, row });
          }
        ],
        setSeries: [(_, index) => latest.current.onFocus?.(index == null ? undefined : index - 1)],
        setSelect: [
          at => {
            if (at.select.width < 6) return;
            const from = at.posToVal(at.select.left, 'x');
            const to = at.posToVal(at.select.left + at.select.width, 'x');
            at.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            latest.current.onZoom?.(from, to);
          }
        ],
        draw: [place]
      }
    };
    const drawn = new uPlot(options, props.columns as uPlot.AlignedData, canvas.current);
    plot.current = drawn;
    return () => {
      plot.current = null;
      drawn.destroy();
    };
  }, [shape]);

  useEffect(() => {
    if (plot.current && width > 0) plot.current.setSize({ width, height: props.height });
  }, [width, props.height]);
  useEffect(() => {
    plot.current?.setData(props.columns as uPlot.AlignedData);
  }, [props.columns, props.range?.[0], props.range?.[1]]);
  useEffect(() => {
    if (plot.current) place(plot.current);
  }, [props.marks]);

  return (
    <div class="plot" ref={frame} style={{ height: `${props.height}px` }}>
      <div ref={canvas} role="img" aria-label={props.label} />
      {positions.map(mark => (
        <button
          key={mark.id}
          type="button"
          class={`mark ${mark.id === props.marked ? 'chosen' : ''}`}
          style={{ left: `${mark.x}px`, top: `${mark.y}px` }}
          aria-label={mark.label}
          aria-pressed={mark.id === props.marked}
          title={mark.label}
          onClick={() => props.onMark?.(mark.id)}
        />
      ))}
      {tip && <Tooltip tip={tip} props={props} width={width} />}
    </div>
  );
}

const MOST_ROWS = 10;

function Tooltip({ tip, props, width }: { tip: Tip; props: PlotProps; width: number }) {
  const [times, ...values] = props.columns;
  const time = times[tip.row];
  if (time === undefined) return null;
  const rows = props.lines
    .map((line, i) => ({ line, value: values[i]?.[tip.row] }))
    .filter(row => !row.line.hidden && row.value !== null && row.value !== undefined);
  rows.sort((a, b) => (b.value as number) - (a.value as number));
  const right = tip.left > width / 2;
  return (
    <div class={`tooltip ${right ? 'to-left' : ''}`} style={{ left: `${tip.left + 48}px` }} aria-hidden="true">
      <div class="faint">{new Date(time * 1000).toLocaleString()}</div>
      {rows.slice(0, MOST_ROWS).map(row => (
        <div class="tooltip-row" key={row.line.label}>
          <i style={{ background: resolved(row.line.colour) }} />
          <span>{row.line.label}</span>
          <b>{short(row.value as number)}</b>
        </div>
      ))}
      {rows.length > MOST_ROWS && <div class="faint">and {rows.length - MOST_ROWS} more</div>}
      {rows.length === 0 && <div class="faint">no value</div>}
    </div>
  );
}
