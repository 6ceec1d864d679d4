// What is scraped, how that went, and what was found and dropped.
import { useState } from 'preact/hooks';
import { get } from '../api';
import type { ViewProps } from '../app';
import { count, labelText, plural, seconds } from '../format';
import { useNow, usePoll } from '../hooks';
import { type Place, replaceParams } from '../router';
import type { DroppedTarget, LabelSet, RelabelSteps, Target, Targets } from '../types';
import {
  Ago,
  Chip,
  Choices,
  Empty,
  Failure,
  Fold,
  filtered,
  Labels,
  Link,
  Loading,
  Search,
  Tabs,
  useRows
} from '../ui';
import type { Tone } from '../workload';

const POLL_MS = 5000;
const ROWS = 50;
const TONES: Record<Target['health'], Tone> = { up: 'good', down: 'bad', unknown: 'quiet' };

function TargetTabs({ current, data }: { current: string; data: Targets | undefined }) {
  return (
    <Tabs
      label="Targets"
      current={current}
      tabs={[
        { view: 'targets', label: 'Scraped', count: data?.activeTargets.length },
        { view: 'service-discovery', label: 'Discovered and dropped', count: data ? droppedCount(data) : undefined }
      ]}
    />
  );
}

function droppedCount(data: Targets): number {
  return Object.values(data.droppedTargetCounts ?? {}).reduce((sum, one) => sum + one, 0);
}

interface TargetFilter {
  search: string;
  health: string;
  pool: string;
}

function filterOf(place: Place): TargetFilter {
  return {
    search: place.params.get('search') ?? '',
    health: place.params.get('health') ?? 'all',
    pool: place.params.get('pool') ?? place.params.get('scrapePool') ?? ''
  };
}

function setFilter(old: TargetFilter, change: Partial<TargetFilter>): void {
  const next = { ...old, ...change };
  replaceParams({ ...next, health: next.health === 'all' ? '' : next.health });
}

const targetText = (target: Target) =>
  `${target.scrapePool} ${target.scrapeUrl} ${labelText(target.labels)} ${target.lastError}`;

export function TargetsView({ place }: ViewProps) {
  const { data, error, reload } = usePoll('targets', POLL_MS, signal => get<Targets>('targets', {}, signal));
  if (!data) return error ? <Failure error={error} onRetry={reload} /> : <Loading what="targets" />;
  const filter = filterOf(place);
  const inPool = data.activeTargets.filter(target => filter.pool === '' || target.scrapePool === filter.pool);
  const found = filtered(inPool, filter.search, targetText);
  const shown = found.filter(target => filter.health === 'all' || target.health === filter.health);
  const of = (health: Target['health']) => found.filter(target => target.health === health).length;
  return (
    <>
      <div class="view-head">
        <h1>Targets</h1>
        <TargetTabs current="targets" data={data} />
        <div class="tools">
          <Choices
            label="Health"
            value={filter.health}
            onChange={health => setFilter(filter, { health })}
            choices={[
              { id: 'all', label: 'All', count: found.length },
              { id: 'down', label: 'Down', count: of('down'), tone: 'bad' },
              { id: 'up', label: 'Up', count: of('up') },
              { id: 'unknown', label: 'Not yet asked', count: of('unknown') }
            ]}
          />
          <PoolSelect targets={data} value={filter.pool} onChange={pool => setFilter(filter, { pool })} />
          <Search label="Filter targets" value={filter.search} onInput={search => setFilter(filter, { search })} />
        </div>
      </div>
      {data.activeTargets.length === 0 ? (
        <NoTargets data={data} />
      ) : (
        shown.length === 0 && <Empty title="No target is like that" />
      )}
      {groupBy(shown, target => target.scrapePool).map(([pool, targets]) => (
        <Pool key={pool} pool={pool} targets={targets} />
      ))}
    </>
  );
}

function NoTargets({ data }: { data: Targets }) {
  const dropped = droppedCount(data);
  return (
    <Empty title="Nothing is scraped">
      {dropped > 0 ? (
        <p>
          {plural(dropped, 'target was', 'targets were')} discovered and dropped.{' '}
          <Link view="service-discovery">See what was found, and why it was dropped</Link>
        </p>
      ) : (
        <p>
          Add jobs to <code>scrape_configs</code> of the configuration, or annotate pods with{' '}
          <code>prometheus.io/scrape: "true"</code>.
        </p>
      )}
    </Empty>
  );
}

function PoolSelect({
  targets,
  value,
  onChange
}: {
  targets: Targets;
  value: string;
  onChange: (pool: string) => void;
}) {
  const names = new Set([
    ...targets.activeTargets.map(one => one.scrapePool),
    ...Object.keys(targets.droppedTargetCounts ?? {})
  ]);
  return (
    <select class="select" aria-label="Job" value={value} onChange={event => onChange(event.currentTarget.value)}>
      <option value="">All jobs</option>
      {[...names].sort().map(name => (
        <option key={name} value={name}>
          {name}
        </option>
      ))}
    </select>
  );
}

export function groupBy<T>(rows: T[], key: (row: T) => string): [string, T[]][] {
  const groups = new Map<string, T[]>();
  for (const row of rows) {
    const group = groups.get(key(row));
    if (group) group.push(row);
    else groups.set(key(row), [row]);
  }
  return [...groups].sort(([a], [b]) => a.localeCompare(b));
}

function Pool({ pool, targets }: { pool: string; targets: Target[] }) {
  const now = useNow(1000);
  const { shown, more } = useRows(targets, ROWS);
  const up = targets.filter(target => target.health === 'up').length;
  const tone: Tone = up === targets.length ? 'good' : up === 0 ? 'bad' : 'warn';
  return (
    <Fold
      class="card pool"
      open
      title={
        <>
          <h2>{pool}</h2>
          <Chip tone={tone}>
            {up} of {targets.length} up
          </Chip>
        </>
      }
    >
      {() => (
        <>
          <ul class="rows">
            {shown.map(target => (
              <TargetRow key={target.scrapeUrl + labelText(target.labels)} target={target} now={now} />
            ))}
          </ul>
          {more}
        </>
      )}
    </Fold>
  );
}

// Whoever annotates a pod chooses the scheme, so only what is HTTP becomes a link.
function Endpoint({ url }: { url: string }) {
  if (!/^https?:/.test(url)) return <span class="endpoint">{url}</span>;
  return (
    <a class="endpoint" href={url} target="_blank" rel="noreferrer noopener">
      {url}
    </a>
  );
}

function TargetRow({ target, now }: { target: Target; now: number }) {
  return (
    <li class={`row ${TONES[target.health]}`}>
      <div class="row-head">
        <Chip tone={TONES[target.health]}>{target.health}</Chip>
        <Endpoint url={target.scrapeUrl} />
        <span class="row-facts">
          <span>
            <Ago time={target.lastScrape} now={now} />
          </span>
          <span>took {seconds(target.lastScrapeDuration)}</span>
          <span class="faint">
            every {target.scrapeInterval}, at most {target.scrapeTimeout}
          </span>
        </span>
      </div>
      {target.lastError && <p class="bad-text row-error">{target.lastError}</p>}
      <Labels labels={target.labels} />
      <Fold title={`Discovered labels (${Object.keys(target.discoveredLabels).length})`}>
        {() => <Discovery pool={target.scrapePool} labels={target.discoveredLabels} />}
      </Fold>
    </li>
  );
}

// What was discovered, and on demand what each relabelling rule made of it.
function Discovery({ pool, labels }: { pool: string; labels: LabelSet }) {
  const [asked, setAsked] = useState(false);
  return (
    <div class="discovery">
      {asked ? (
        <Steps pool={pool} labels={labels} />
      ) : (
        <button type="button" class="button" onClick={() => setAsked(true)}>
          Show relabelling, rule by rule
        </button>
      )}
      <LabelTable labels={labels} />
    </div>
  );
}

function LabelTable({ labels }: { labels: LabelSet }) {
  return (
    <dl class="label-table">
      {Object.entries(labels).map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value === '' ? <span class="faint">empty</span> : value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Steps({ pool, labels }: { pool: string; labels: LabelSet }) {
  const { data, error } = usePoll(`${pool} ${labelText(labels)}`, 0, signal =>
    get<RelabelSteps>('targets/relabel_steps', { scrapePool: pool, labels: JSON.stringify(labels) }, signal)
  );
  if (error) return <Failure error={error} />;
  if (!data) return <Loading what="the rules" />;
  if (data.steps.length === 0) return <p class="faint">The job has no relabelling rules.</p>;
  return (
    <ol class="relabel">
      {data.steps.map((step, i) => {
        const before = i === 0 ? labels : (data.steps[i - 1]?.output ?? {});
        const changed = Object.fromEntries(
          Object.entries(step.output).filter(([name, value]) => before[name] !== value)
        );
        return (
          <li key={JSON.stringify(step.rule)} class={step.keep ? '' : 'dropped'}>
            <code>{ruleText(step.rule)}</code>
            {!step.keep && <Chip tone="warn">drops the target</Chip>}
            {step.keep && Object.keys(changed).length > 0 && <Labels labels={changed} />}
            {step.keep && Object.keys(changed).length === 0 && <span class="faint">sets nothing new</span>}
          </li>
        );
      })}
    </ol>
  );
}

function ruleText(rule: Record<string, unknown>): string {
  const { action, source_labels: sources, regex, target_label: target, replacement } = rule;
  const from = Array.isArray(sources) ? `[${sources.join(', ')}] ` : '';
  const to = target ? ` → ${String(target)} = ${String(replacement)}` : '';
  return `${String(action)} ${from}${String(regex)}${to}`;
}

const droppedText = (target: DroppedTarget) =>
  `${target.scrapePool} ${target.reason} ${labelText(target.discoveredLabels)}`;

export function DiscoveryView({ place }: ViewProps) {
  const { data, error, reload } = usePoll('targets', POLL_MS, signal => get<Targets>('targets', {}, signal));
  if (!data) return error ? <Failure error={error} onRetry={reload} /> : <Loading what="discovery" />;
  const filter = filterOf(place);
  const inPool = data.droppedTargets.filter(target => filter.pool === '' || target.scrapePool === filter.pool);
  const shown = filtered(inPool, filter.search, droppedText);
  return (
    <>
      <div class="view-head">
        <h1>Service discovery</h1>
        <TargetTabs current="service-discovery" data={data} />
        <div class="tools">
          <PoolSelect targets={data} value={filter.pool} onChange={pool => setFilter(filter, { pool })} />
          <Search
            label="Filter what was dropped"
            value={filter.search}
            onInput={search => setFilter(filter, { search })}
          />
        </div>
      </div>
      <PoolCounts data={data} />
      <h2 class="section-title">Dropped, and why</h2>
      {shown.length === 0 && (
        <Empty title={data.droppedTargets.length === 0 ? 'Nothing was dropped' : 'Nothing dropped is like that'}>
          <p>
            What was discovered and is scraped is on the page of the <Link view="targets">targets</Link>, with its
            discovered labels.
          </p>
        </Empty>
      )}
      {groupBy(shown, target => target.scrapePool).map(([pool, targets]) => (
        <DroppedPool key={pool} pool={pool} targets={targets} />
      ))}
    </>
  );
}

function PoolCounts({ data }: { data: Targets }) {
  const scraped = new Map(
    groupBy(data.activeTargets, target => target.scrapePool).map(([pool, list]) => [pool, list.length])
  );
  const dropped = data.droppedTargetCounts ?? {};
  const pools = [...new Set([...scraped.keys(), ...Object.keys(dropped)])].sort();
  return (
    <ul class="tiles">
      {pools.map(pool => (
        <li key={pool} class="tile">
          <span class="tile-name">{pool}</span>
          <span>
            <b class="number">{count(scraped.get(pool) ?? 0)}</b> scraped
          </span>
          <span class="faint">
            <b class="number">{count(dropped[pool] ?? 0)}</b> dropped
          </span>
        </li>
      ))}
    </ul>
  );
}

function DroppedPool({ pool, targets }: { pool: string; targets: DroppedTarget[] }) {
  const { shown, more } = useRows(targets, ROWS);
  return (
    <Fold
      class="card pool"
      open
      title={
        <>
          <h2>{pool}</h2>
          <Chip tone="quiet">{targets.length} dropped</Chip>
        </>
      }
    >
      {() => (
        <>
          <ul class="rows">
            {shown.map(target => (
              <li class="row" key={labelText(target.discoveredLabels)}>
                <p class="row-reason">Dropped by {target.reason}</p>
                <Labels labels={shortLabels(target.discoveredLabels)} />
                <Fold title={`All labels (${Object.keys(target.discoveredLabels).length})`}>
                  {() => <Discovery pool={pool} labels={target.discoveredLabels} />}
                </Fold>
              </li>
            ))}
          </ul>
          {more}
        </>
      )}
    </Fold>
  );
}

// What says best what it is.
function shortLabels(labels: LabelSet): LabelSet {
  const telling =
    /^(__address__|__meta_\w+_(namespace|pod_name|service_name|node_name|pod_container_name|ingress_name))$/;
  return Object.fromEntries(
    Object.entries(labels)
      .filter(([name]) => telling.test(name))
      .map(([name, value]) => [name.replace(/^__meta_kubernetes_/, '').replace('__address__', 'address'), value])
  );
}
