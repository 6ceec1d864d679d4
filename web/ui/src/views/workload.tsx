// One workload: replicas and signals over time, what was decided and step by step why, and its conditions.
import type { ComponentChildren } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { get } from '../api';
import type { ViewProps } from '../app';
import { formatDuration, stepFor } from '../duration';
import { quoted, short, whenShort } from '../format';
import { useNow, usePoll, useStored } from '../hooks';
import { type Line, type Mark, Plot } from '../plot';
import { alignedRange, type Columns, columnsOf } from '../plot_data';
import { HOME, replaceParams } from '../router';
import { SERIES_COLOURS } from '../theme';
import type { Condition, Decision, LabelSet, MatrixSeries, QueryData, Signal, Step, Workload } from '../types';
import { Ago, Chip, Choices, Empty, Failure, Icon, Link, Loading } from '../ui';
import { isFailing, keyOf, stageName, stateOf } from '../workload';
import { kindName, Replicas, SignalLine } from './workloads';

const RANGES = [300, 900, 3600, 6 * 3600, 86400, 7 * 86400];
const POINTS = 240;
const SHORT_POLL_MS = 3000;
const LONG_POLL_MS = 15_000;
const NOW = ''; // Chosen while no decision is.

interface History {
  start: number;
  end: number;
  step: number;
  replicas: Columns;
  signals: Map<string, Columns>; // By the signal's name: value and target.
}

function workloadSelector(workload: Workload): string {
  const { namespace, name, controller } = workload;
  return `{namespace=${quoted(namespace)},name=${quoted(name)},controller=${quoted(controller)}}`;
}

function triggerSelector(workload: Workload): string {
  return `{namespace=${quoted(workload.namespace)},name=${quoted(workload.name)}}`;
}

async function loadHistory(workload: Workload, range: number, signal: AbortSignal): Promise<History> {
  const step = stepFor(range, POINTS);
  const { start, end } = alignedRange(Date.now() / 1000, range, step);
  const ask = async (query: string): Promise<MatrixSeries[]> => {
    const data = await get<QueryData>('query_range', { query, start, end, step }, signal);
    return data.resultType === 'matrix' ? data.result : [];
  };
  const who = workloadSelector(workload);
  const family = ['replicas', 'desired_replicas', 'ready_replicas'];
  const [found, triggers] = await Promise.all([
    ask(`{__name__=~"tidewright_workload_(${family.join('|')})",${who.slice(1)}`),
    ask(`{__name__=~"tidewright_trigger_(value|target)",${triggerSelector(workload).slice(1)}`)
  ]);
  const one = (series: MatrixSeries[], labels: LabelSet) =>
    series.find(({ metric }) => Object.entries(labels).every(([name, value]) => metric[name] === value)) ?? {
      metric: labels
    };
  const columns = (series: MatrixSeries[]) => columnsOf(series, start, end, step);
  const signals = workload.signals.map(({ name }): [string, Columns] => [
    name,
    columns([
      one(triggers, { __name__: 'tidewright_trigger_value', trigger: name }),
      one(triggers, { __name__: 'tidewright_trigger_target', trigger: name })
    ])
  ]);
  return {
    start,
    end,
    step,
    replicas: columns(family.map(name => one(found, { __name__: `tidewright_workload_${name}` }))),
    signals: new Map(signals)
  };
}

async function loadDecisions(workload: Workload, signal: AbortSignal): Promise<Decision[]> {
  const { namespace, name, controller } = workload;
  const all = await get<Decision[]>('autoscaling/decisions', { namespace, name, limit: 200 }, signal);
  return all.filter(decision => decision.controller === controller);
}

export function WorkloadView({ place, report, reportError }: ViewProps) {
  if (!report) return reportError ? <Failure error={reportError} /> : <Loading what="the workload" />;
  const namespace = place.params.get('namespace') ?? '';
  const name = place.params.get('name') ?? '';
  const controller = place.params.get('controller');
  const workload = report.workloads.find(
    one => one.namespace === namespace && one.name === name && (!controller || one.controller === controller)
  );
  if (workload)
    return <Detail key={keyOf(workload)} workload={workload} chosen={place.params.get('decision') ?? NOW} />;
  return (
    <Empty title={`Nothing scales ${namespace}/${name}`}>
      <p>
        The object may have been deleted, or another replica may lead now. <Link view={HOME}>Show all workloads</Link>
      </p>
    </Empty>
  );
}

function idOf(decision: Decision): string {
  return `${decision.time} ${decision.from} ${decision.to}`;
}

function Detail({ workload, chosen }: { workload: Workload; chosen: string }) {
  const [range, setRange] = useStored('workload.range', 900);
  const pollMs = range <= 3600 ? SHORT_POLL_MS : LONG_POLL_MS;
  const history = usePoll(`history ${range}`, pollMs, signal => loadHistory(workload, range, signal), true);
  const decisions = usePoll('decisions', SHORT_POLL_MS, signal => loadDecisions(workload, signal));
  const { namespace, name, controller } = workload;
  const choose = (id: string) => replaceParams({ namespace, name, controller, decision: id });
  return (
    <>
      <DetailHead workload={workload} />
      <div class="detail">
        <div class="detail-main">
          <section class="card" aria-labelledby="over-time">
            <div class="card-head">
              <h2 id="over-time">Over time</h2>
              <Choices
                label="Range"
                choices={RANGES.map(seconds => ({ id: String(seconds), label: formatDuration(seconds) }))}
                value={String(range)}
                onChange={id => setRange(Number(id))}
              />
            </div>
            {history.error && !history.data && <Failure error={history.error} onRetry={history.reload} />}
            {!history.data && !history.error && <Loading what="the history" />}
            {history.data && (
              <Plots
                workload={workload}
                history={history.data}
                decisions={decisions.data ?? []}
                chosen={chosen}
                onChoose={choose}
              />
            )}
          </section>
          <Conditions conditions={workload.conditions} />
        </div>
        <Reasons
          workload={workload}
          decisions={decisions.data}
          error={decisions.error}
          chosen={chosen}
          onChoose={choose}
        />
      </div>
    </>
  );
}

function DetailHead({ workload }: { workload: Workload }) {
  const state = stateOf(workload);
  return (
    <div class="view-head detail-head">
      <div class="detail-title">
        <Link view={HOME} class="back" label="All workloads">
          <Icon name="back" />
        </Link>
        <div>
          <h1>
            {workload.name} <Chip tone={state.tone}>{state.label}</Chip>
          </h1>
          <p class="lead">
            {kindName(workload.controller)} in {workload.namespace}, scales {workload.target}
          </p>
        </div>
      </div>
      <Replicas workload={workload} />
      <ul class="signals wide">
        {workload.signals.map(signal => (
          <li key={signal.name}>
            <SignalLine signal={signal} />
          </li>
        ))}
      </ul>
    </div>
  );
}

interface PlotsProps {
  workload: Workload;
  history: History;
  decisions: Decision[];
  chosen: string;
  onChoose: (id: string) => void;
}

const REPLICA_LINES: Line[] = [
  { label: 'replicas', colour: 'accent', stepped: true, fill: 'accent-fill', width: 2 },
  { label: 'desired', colour: 'good', stepped: true, dashed: true },
  { label: 'ready', colour: 'quiet', stepped: true }
];

// A change is drawn at its place, one that only held something too.
function marksOf(decisions: Decision[], history: History): Mark[] {
  return decisions
    .map(decision => ({
      id: idOf(decision),
      time: Date.parse(decision.time) / 1000,
      value: decision.to,
      label: `${decision.time.slice(11, 19)} UTC: ${decision.from} to ${decision.to}. Show why`
    }))
    .filter(mark => mark.time >= history.start && mark.time <= history.end);
}

function Plots({ workload, history, decisions, chosen, onChoose }: PlotsProps) {
  const marks = useMemo(() => marksOf(decisions, history), [decisions, history]);
  const key = keyOf(workload);
  const window: [number, number] = [history.start, history.end];
  const known = history.replicas[1]?.some(value => value !== null);
  return (
    <>
      {!known && (
        <Empty title="There is no history yet">
          <p>
            Plots are drawn from Tidewright's own metrics. They appear once it has scraped itself; in a configuration of
            your own, add a job for its web port.
          </p>
        </Empty>
      )}
      <PlotTitle title="Replicas" lines={REPLICA_LINES} />
      <Plot
        label={`Replicas of ${workload.name} over time`}
        columns={history.replicas}
        lines={REPLICA_LINES}
        height={220}
        range={window}
        fromZero
        integers
        top={Math.max(1, workload.minReplicas)}
        syncKey={key}
        marks={marks}
        marked={chosen}
        onMark={onChoose}
      />
      <p class="hint">Each dot is a decision that changed something. Choose one to see why.</p>
      {workload.signals.map((signal, i) => (
        <SignalPlot key={signal.name} workload={workload} signal={signal} index={i} history={history} />
      ))}
    </>
  );
}

function PlotTitle({ title, lines, children }: { title: string; lines: Line[]; children?: ComponentChildren }) {
  const shown = lines.filter(line => !line.hidden);
  return (
    <div class="plot-title">
      <h3>{title}</h3>
      <ul class="legend">
        {shown.map(line => (
          <li key={line.label}>
            <i class={line.dashed ? 'dashed' : ''} style={{ '--line': `var(--${line.colour})` }} />
            {line.label}
          </li>
        ))}
      </ul>
      {children}
    </div>
  );
}

interface SignalPlotProps {
  workload: Workload;
  signal: Signal;
  index: number;
  history: History;
}

function SignalPlot({ workload, signal, index, history }: SignalPlotProps) {
  const columns = history.signals.get(signal.name);
  // A schedule has no target: its value is what it asks for.
  const schedule = signal.type === 'cron';
  const lines = useMemo<Line[]>(() => {
    const colour = `series-${(index + 1) % SERIES_COLOURS}`;
    return [
      { label: schedule ? 'asks for' : 'value', colour, stepped: schedule },
      { label: 'target', colour: 'faint', dashed: true, hidden: schedule }
    ];
  }, [index, schedule]);
  if (!columns) return null;
  const query = `tidewright_trigger_value${triggerSelector(workload).slice(0, -1)},trigger=${quoted(signal.name)}}`;
  return (
    <>
      <PlotTitle title={signal.name} lines={lines}>
        <Link view="query" params={{ 'g0.expr': query, 'g0.tab': 'graph', 'g0.range_input': '15m' }} class="plot-link">
          Open in Query
        </Link>
      </PlotTitle>
      {signal.error ? (
        <p class="bad-text">{signal.error}</p>
      ) : (
        signal.detail && signal.detail !== signal.name && <p class="hint">{signal.detail}</p>
      )}
      <Plot
        label={`${signal.name} over time`}
        columns={columns}
        lines={lines}
        height={110}
        range={[history.start, history.end]}
        fromZero
        integers={schedule}
        syncKey={keyOf(workload)}
      />
    </>
  );
}

interface ReasonsProps {
  workload: Workload;
  decisions: Decision[] | undefined;
  error: Error | undefined;
  chosen: string;
  onChoose: (id: string) => void;
}

function Reasons({ workload, decisions, error, chosen, onChoose }: ReasonsProps) {
  const now = useNow(1000);
  const past = decisions?.find(decision => idOf(decision) === chosen);
  const element = useRef<HTMLElement>(null);
  // On a narrow screen the reasons are not beside the plot where one chose.
  useEffect(() => {
    if (chosen !== NOW) element.current?.scrollIntoView({ block: 'nearest' });
  }, [chosen]);
  return (
    <section class="card reasons" aria-labelledby="reasons" ref={element}>
      <div class="card-head">
        <h2 id="reasons">{past ? 'Why it changed' : 'Why it is so now'}</h2>
        {past && (
          <button type="button" class="button" onClick={() => onChoose(NOW)}>
            Show now
          </button>
        )}
      </div>
      <div aria-live="polite">
        {past ? (
          <Trace
            title={<Change from={past.from} to={past.to} />}
            when={whenShort(Date.parse(past.time), now)}
            why={past.why}
            steps={past.steps}
            held={past.held}
          />
        ) : (
          <Trace
            title={<b class="number">{workload.desiredReplicas}</b>}
            when="last decision"
            why={workload.why}
            steps={workload.steps}
            held={workload.held}
          />
        )}
      </div>
      <h3 class="changes-title">Changes</h3>
      {error && !decisions && <Failure error={error} />}
      {decisions?.length === 0 && <p class="faint">Nothing has changed since this process leads.</p>}
      <ol class="changes">
        {(decisions ?? []).slice(0, 40).map(decision => (
          <li key={idOf(decision)}>
            <button type="button" aria-pressed={idOf(decision) === chosen} onClick={() => onChoose(idOf(decision))}>
              <time dateTime={decision.time}>{whenShort(Date.parse(decision.time), now)}</time>
              <Change from={decision.from} to={decision.to} />
              {decision.held && <Chip tone="bad">held</Chip>}
              <span class="changes-why">{decision.why}</span>
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Change({ from, to }: { from: number; to: number }) {
  const kind = to > from ? 'up' : to < from ? 'down' : 'same';
  return (
    <b class={`number change ${kind}`}>
      {from} → {to}
    </b>
  );
}

interface TraceProps {
  title: ComponentChildren;
  when: string;
  why: string;
  steps: Step[];
  held: boolean;
}

function Trace({ title, when, why, steps, held }: TraceProps) {
  return (
    <div class="trace">
      <p class="trace-head">
        {title} <span class="faint">{when}</span> {held && <Chip tone="bad">held</Chip>}
      </p>
      <p class="trace-why">{why}</p>
      {steps.length > 0 && (
        <ol class="steps">
          {steps.map((step, i) => (
            <li key={`${step.stage}${step.signal}${step.text}`} class={step.stage}>
              <span class="stage">{stageName(step.stage)}</span>
              <span class="step-text">{step.text}</span>
              <b class={`number ${i > 0 && steps[i - 1]?.replicas !== step.replicas ? 'moved' : ''}`}>
                {short(step.replicas)}
              </b>
            </li>
          ))}
        </ol>
      )}
    </div>
  );
}

function Conditions({ conditions }: { conditions: Condition[] }) {
  const now = useNow(5000);
  return (
    <section class="card" aria-labelledby="conditions">
      <h2 id="conditions">Conditions</h2>
      {conditions.length === 0 && <p class="faint">The object has none yet.</p>}
      <ul class="conditions">
        {conditions.map(condition => (
          <li key={condition.type} class={isFailing(condition) ? 'bad' : ''}>
            <span class="condition-type">
              <b>{condition.type}</b>
              <span class="faint">{condition.status}</span>
            </span>
            <span class="condition-text">
              {condition.message}
              <span class="faint">
                {' '}
                {condition.reason}, since <Ago time={condition.since} now={now} />
              </span>
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}
