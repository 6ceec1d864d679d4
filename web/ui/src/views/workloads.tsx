// Every scaled workload: what it has, what it is asked for, and why.
import { useMemo } from 'preact/hooks';
import { get } from '../api';
import type { ViewProps } from '../app';
import { short } from '../format';
import { usePoll } from '../hooks';
import { alignedRange, columnsOf } from '../plot_data';
import { replaceParams } from '../router';
import { Sparkline } from '../sparkline';
import type { MatrixSeries, QueryData, Signal, Workload } from '../types';
import { Chip, Choices, Empty, Failure, filtered, Link, Loading, Meter, Search, useRows } from '../ui';
import { byAttention, byState, keyOf, loadOf, stateOf, type WorkloadState } from '../workload';

const HISTORY_SECONDS = 15 * 60;
const HISTORY_STEP = 10;
const HISTORY_MS = 10_000;
const ROWS = 100;

type History = Map<string, (number | null)[]>;

async function loadHistory(signal: AbortSignal): Promise<History> {
  const { start, end } = alignedRange(Date.now() / 1000, HISTORY_SECONDS, HISTORY_STEP);
  const data = await get<QueryData>(
    'query_range',
    { query: 'max by (namespace, name, controller) (tidewright_workload_replicas)', start, end, step: HISTORY_STEP },
    signal
  );
  const series = data.resultType === 'matrix' ? data.result : [];
  const [, ...values] = columnsOf(series, start, end, HISTORY_STEP);
  return new Map(series.map((one, i) => [keyOfSeries(one), values[i] ?? []]));
}

function keyOfSeries({ metric }: MatrixSeries): string {
  return keyOf({
    namespace: metric.namespace ?? '',
    name: metric.name ?? '',
    controller: metric.controller ?? ''
  });
}

export function WorkloadsView({ place, report, reportError }: ViewProps) {
  const filter = place.params.get('search') ?? '';
  const state = place.params.get('state') ?? 'all';
  const history = usePoll('history', HISTORY_MS, loadHistory);
  const workloads = useMemo(() => [...(report?.workloads ?? [])].sort(byAttention), [report]);
  if (!report) return reportError ? <Failure error={reportError} /> : <Loading what="workloads" />;
  if (workloads.length === 0) return <NoWorkloads report={report} />;

  const change = (next: { search?: string; state?: string }) =>
    replaceParams({ search: filter, ...(state === 'all' ? {} : { state }), ...next });
  const shown = filtered(workloads, filter, searchText).filter(one => state === 'all' || stateOf(one).id === state);
  return (
    <>
      <div class="view-head">
        <h1>Workloads</h1>
        <p class="lead">How many replicas each has, and why.</p>
        <div class="tools">
          <Choices
            label="State"
            choices={stateChoices(workloads)}
            value={state}
            onChange={id => change({ state: id === 'all' ? '' : id })}
          />
          <Search label="Filter workloads" value={filter} onInput={search => change({ search })} />
        </div>
      </div>
      {shown.length === 0 ? (
        <Empty title="No workload is like that">
          <button type="button" class="button" onClick={() => replaceParams({})}>
            Show all
          </button>
        </Empty>
      ) : (
        <List workloads={shown} history={history.data} />
      )}
    </>
  );
}

function List({ workloads, history }: { workloads: Workload[]; history: History | undefined }) {
  const { shown, more } = useRows(workloads, ROWS);
  return (
    <>
      <ul class="workloads">
        {shown.map(workload => (
          <Row key={keyOf(workload)} workload={workload} history={history?.get(keyOf(workload))} />
        ))}
      </ul>
      {more}
    </>
  );
}

function NoWorkloads({ report }: { report: NonNullable<ViewProps['report']> }) {
  const { leader } = report;
  if (leader.elected && !leader.leads) {
    return (
      <Empty title="This replica is on standby">
        <p>
          {leader.leader ? `${leader.leader} leads, scales, and shows the workloads.` : 'Nobody leads at present.'} What
          is scraped and queried here is the same.
        </p>
      </Empty>
    );
  }
  return (
    <Empty title="Nothing is scaled yet">
      <p>Apply a ScaledObject, or let Tidewright run HorizontalPodAutoscalers. To try it with the examples:</p>
      <pre>kubectl apply -f examples/office-hours</pre>
    </Empty>
  );
}

function searchText(workload: Workload): string {
  const signals = workload.signals.map(signal => `${signal.name} ${signal.type}`).join(' ');
  return `${workload.namespace} ${workload.name} ${workload.controller} ${workload.target} ${workload.why} ${signals}`;
}

function stateChoices(workloads: Workload[]) {
  const counts = new Map<WorkloadState['id'], { state: WorkloadState; count: number }>();
  for (const workload of workloads) {
    const state = stateOf(workload);
    counts.set(state.id, { state, count: (counts.get(state.id)?.count ?? 0) + 1 });
  }
  const states = [...counts.values()].sort((a, b) => byState(a.state.id, b.state.id));
  return [
    { id: 'all', label: 'All', count: workloads.length },
    ...states.map(({ state, count }) => ({
      id: state.id as string,
      label: state.label,
      count,
      tone: state.tone === 'bad' || state.tone === 'warn' ? state.tone : undefined
    }))
  ];
}

function Row({ workload, history }: { workload: Workload; history: (number | null)[] | undefined }) {
  const state = stateOf(workload);
  const { namespace, name, controller } = workload;
  return (
    <li class={`workload ${state.tone}`}>
      <div class="workload-name">
        <span class="workload-title">
          <Link view="workload" params={{ namespace, name, controller }} class="cover">
            {name}
          </Link>
          <Chip tone={state.tone}>{state.label}</Chip>
        </span>
        <span class="faint">
          {namespace} · {kindName(controller)}
        </span>
      </div>
      <Replicas workload={workload} />
      <Sparkline values={history ?? []} top={workload.maxReplicas} label={`Replicas of ${name}, last 15 minutes`} />
      <Signals signals={workload.signals} />
      <p class="workload-why">{workload.why || 'No decision yet.'}</p>
    </li>
  );
}

export function kindName(controller: string): string {
  return controller === 'HorizontalPodAutoscaler' ? 'HPA' : controller;
}

export function Replicas({ workload }: { workload: Workload }) {
  const { currentReplicas: current, desiredReplicas: desired, minReplicas: min, maxReplicas: max } = workload;
  const waiting = workload.currentReplicas - workload.readyReplicas;
  return (
    <div class="replicas">
      <span class="replicas-number">
        {current}
        {desired !== current && <span class="to"> → {desired}</span>}
      </span>
      <span class="faint">
        {waiting > 0 ? `${workload.readyReplicas} ready · ` : ''}
        {min}–{max}
      </span>
      <Meter share={max > 0 ? current / max : 0} label={`${current} of at most ${max} replicas`} />
    </div>
  );
}

function Signals({ signals }: { signals: Signal[] }) {
  if (signals.length === 0) return <div class="signals faint">no signals</div>;
  return (
    <ul class="signals">
      {signals.slice(0, 3).map(signal => (
        <li key={signal.name}>
          <SignalLine signal={signal} />
        </li>
      ))}
      {signals.length > 3 && <li class="faint">and {signals.length - 3} more</li>}
    </ul>
  );
}

export function SignalLine({ signal }: { signal: Signal }) {
  // A schedule has no load: it asks for a number or for nothing.
  const load = signal.type === 'cron' ? undefined : loadOf(signal);
  return (
    <>
      <span class="signal-name" title={signal.detail || signal.name}>
        {signal.name}
      </span>
      <SignalValue signal={signal} />
      {load !== undefined && !signal.error && (
        <Meter share={load} tone={load > 1 ? 'accent' : 'good'} label={`${Math.round(load * 100)} % of the target`} />
      )}
    </>
  );
}

function SignalValue({ signal }: { signal: Signal }) {
  if (signal.error) {
    return (
      <span class="bad-text" title={signal.error}>
        unreadable
      </span>
    );
  }
  const asks = signal.proposal === null ? '' : `→ ${signal.proposal}`;
  if (signal.type === 'cron') return <span class="signal-value faint">{asks || 'closed'}</span>;
  return (
    <span class="signal-value">
      <b>{signal.value === null ? '–' : short(signal.value)}</b>
      <span class="faint">
        {' '}
        / {short(signal.target)} {asks}
      </span>
    </span>
  );
}
