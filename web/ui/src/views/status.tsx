// The process: what it runs with, who leads, its configuration and flags, and what the metrics APIs offer.
import type { ComponentChildren } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { get } from '../api';
import type { ViewProps } from '../app';
import { Expression } from '../expression';
import { plural, seconds } from '../format';
import { useNow, usePoll } from '../hooks';
import { replaceParams } from '../router';
import type { Alertmanagers, BuildInfo, Leader, MetricRule, Notification, RuntimeInfo } from '../types';
import { Ago, Chip, CopyButton, Empty, Failure, Fold, filtered, Link, Loading, Search, Tabs } from '../ui';
import { Explain } from './explain';

export function StatusTabs({ current }: { current: string }) {
  return (
    <Tabs
      label="Status"
      current={current}
      tabs={[
        { view: 'status', label: 'Process' },
        { view: 'tsdb-status', label: 'Storage' },
        { view: 'metric-rules', label: 'Metrics APIs' },
        { view: 'config', label: 'Configuration' },
        { view: 'flags', label: 'Flags' }
      ]}
    />
  );
}

// What is not there (a part that is switched off) is left out; only then.
async function optional<T>(path: string, signal: AbortSignal): Promise<T | undefined> {
  try {
    return await get<T>(path, {}, signal);
  } catch (error) {
    if ((error as { status?: number }).status === 404) return undefined;
    throw error;
  }
}

async function loadStatus(signal: AbortSignal) {
  const [runtime, build, leader, alertmanagers, notifications] = await Promise.all([
    optional<RuntimeInfo>('status/runtimeinfo', signal),
    optional<BuildInfo>('status/buildinfo', signal),
    optional<Leader>('status/leader', signal),
    optional<Alertmanagers>('alertmanagers', signal),
    optional<Notification[]>('notifications', signal)
  ]);
  return { runtime, build, leader, alertmanagers, notifications };
}

export function StatusView() {
  const now = useNow(1000);
  const { data, error, reload } = usePoll('status', 5000, loadStatus);
  if (!data) return error ? <Failure error={error} onRetry={reload} /> : <Loading what="the status" />;
  const { runtime, build, leader, alertmanagers, notifications } = data;
  const active = (notifications ?? []).filter(one => one.active);
  return (
    <>
      <div class="view-head">
        <h1>Status</h1>
        <StatusTabs current="status" />
      </div>
      <div class="tiles big">
        <Tile name="Running for">
          <b>{runtime ? seconds(Math.max(1, Math.floor((now - Date.parse(runtime.startTime)) / 1000))) : '–'}</b>
          <span class="faint">{runtime?.hostname}</span>
        </Tile>
        <Tile name="Configuration">
          {runtime?.reloadConfigSuccess === false ? (
            <Chip tone="bad">last reload failed</Chip>
          ) : (
            <Chip tone="good">in force</Chip>
          )}
          <span class="faint">
            read <Ago time={runtime?.lastConfigTime} now={now} />
          </span>
        </Tile>
        <Tile name="Role">
          <b>{!leader?.elected ? 'Single replica' : leader.leads ? 'Leads' : 'On standby'}</b>
          <span class="faint">
            {leader?.elected ? `leader: ${leader.leader || 'nobody at present'}` : 'no election'}
          </span>
        </Tile>
        <Tile name="Keeps samples for">
          <b>{runtime?.storageRetention || '–'}</b>
          <span class="faint">{runtime ? plural(runtime.corruptionCount, 'corruption') : ''} of the log</span>
        </Tile>
      </div>
      {active.length > 0 && (
        <section class="card">
          <h2>What is wrong</h2>
          <ul class="plain">
            {active.map(one => (
              <li key={one.text}>
                {one.text}{' '}
                <span class="faint">
                  <Ago time={one.date} now={now} />
                </span>
              </li>
            ))}
          </ul>
        </section>
      )}
      <section class="card">
        <h2>Process</h2>
        <Facts
          facts={[
            ['Speaks the API of Prometheus', build?.version],
            ['Working directory', runtime?.CWD],
            ['Started', runtime?.startTime],
            ['Identity', leader?.identity]
          ]}
        />
      </section>
      <section class="card">
        <h2>Alertmanagers</h2>
        <AlertmanagerList alertmanagers={alertmanagers} />
      </section>
      <p class="elsewhere">
        As text: <a href="metrics">metrics</a> <a href="api/v1/autoscaling/workloads">workloads</a>{' '}
        <a href="version">version</a>
      </p>
    </>
  );
}

function AlertmanagerList({ alertmanagers }: { alertmanagers: Alertmanagers | undefined }) {
  const active = alertmanagers?.activeAlertmanagers ?? [];
  const dropped = alertmanagers?.droppedAlertmanagers ?? [];
  if (active.length + dropped.length === 0) {
    return (
      <p class="faint">
        None. The section <code>alerting</code> of the <Link view="config">configuration</Link> names them.
      </p>
    );
  }
  return (
    <ul class="plain">
      {active.map(({ url }) => (
        <li key={url}>
          <Chip tone="good">in use</Chip> {url}
        </li>
      ))}
      {dropped.map(({ url }) => (
        <li key={url}>
          <Chip tone="quiet">dropped</Chip> {url}
        </li>
      ))}
    </ul>
  );
}

export function Tile({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="tile">
      <span class="tile-name">{name}</span>
      {children}
    </div>
  );
}

function Facts({ facts }: { facts: [string, string | undefined][] }) {
  return (
    <dl class="facts-table">
      {facts
        .filter(([, value]) => value)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

export function ConfigView({ place }: ViewProps) {
  const { data, error, reload } = usePoll('config', 0, signal => get<{ yaml: string }>('status/config', {}, signal));
  const search = place.params.get('search') ?? '';
  const lines = useMemo(() => (data?.yaml ?? '').replace(/\n$/, '').split('\n'), [data]);
  const text = useRef<HTMLPreElement>(null);
  useEffect(() => {
    const found = text.current?.querySelector<HTMLElement>('.found');
    if (found && text.current) text.current.scrollTop = found.offsetTop - text.current.clientHeight / 2;
  }, [search, data]);
  const hits =
    search.trim() === '' ? 0 : lines.filter(line => line.toLowerCase().includes(search.toLowerCase())).length;
  return (
    <>
      <div class="view-head">
        <h1>Configuration</h1>
        <StatusTabs current="config" />
        <div class="tools">
          {search.trim() !== '' && <span class="faint">{plural(hits, 'line')}</span>}
          <Search label="Find in the configuration" value={search} onInput={text => replaceParams({ search: text })} />
          {data && <CopyButton text={() => data.yaml} />}
        </div>
      </div>
      {error && <Failure error={error} onRetry={reload} />}
      {!data && !error && <Loading what="the configuration" />}
      {data && (
        <>
          <p class="hint">What is in force, with defaults, without secrets.</p>
          <pre class="card yaml" ref={text}>
            {lines.map((line, i) => (
              <YamlLine
                key={i}
                line={line}
                found={search.trim() !== '' && line.toLowerCase().includes(search.toLowerCase())}
              />
            ))}
          </pre>
        </>
      )}
    </>
  );
}

function YamlLine({ line, found }: { line: string; found: boolean }) {
  const match = /^(\s*(?:- )*)([^\s:#'"][^:]*)(:)(\s.*|)$/.exec(line);
  return (
    <span class={found ? 'line found' : 'line'}>
      {match ? (
        <>
          {match[1]}
          <b>{match[2]}</b>
          {match[3]}
          {match[4]}
        </>
      ) : (
        line
      )}
      {'\n'}
    </span>
  );
}

export function FlagsView({ place }: ViewProps) {
  const { data, error, reload } = usePoll('flags', 0, signal =>
    get<Record<string, string>>('status/flags', {}, signal)
  );
  const search = place.params.get('search') ?? '';
  const flags = filtered(Object.entries(data ?? {}), search, ([name, value]) => `${name} ${value}`);
  return (
    <>
      <div class="view-head">
        <h1>Flags</h1>
        <StatusTabs current="flags" />
        <div class="tools">
          <Search label="Filter flags" value={search} onInput={text => replaceParams({ search: text })} />
        </div>
      </div>
      {error && <Failure error={error} onRetry={reload} />}
      {!data && !error && <Loading what="flags" />}
      {data && flags.length === 0 && (
        <Empty title={Object.keys(data).length === 0 ? 'Started without flags of its own' : 'No flag is like that'} />
      )}
      {flags.length > 0 && (
        <section class="card">
          <dl class="facts-table flags">
            {flags.map(([name, value]) => (
              <div key={name}>
                <dt>--{name}</dt>
                <dd>{value === '' ? <span class="faint">empty</span> : value}</dd>
              </div>
            ))}
          </dl>
        </section>
      )}
    </>
  );
}

const SECTIONS: Record<string, string> = {
  rules: 'custom.metrics.k8s.io',
  externalRules: 'external.metrics.k8s.io',
  resourceRules: 'metrics.k8s.io'
};

export function MetricRulesView() {
  const { data, error, reload } = usePoll('metric-rules', 10_000, signal =>
    get<MetricRule[]>('autoscaling/metric-rules', {}, signal)
  );
  return (
    <>
      <div class="view-head">
        <h1>Metrics APIs</h1>
        <StatusTabs current="metric-rules" />
        <p class="lead">What HorizontalPodAutoscalers can ask for, and the rules that it comes from.</p>
      </div>
      {error && !data && <Failure error={error} onRetry={reload} />}
      {!data && !error && <Loading what="the rules" />}
      {data?.length === 0 && (
        <Empty title="There are no rules">
          <p>
            Add <code>rules</code>, <code>externalRules</code> or <code>resourceRules</code> to the adapter's
            configuration; <code>tidewright check</code> says whether they are right.
          </p>
        </Empty>
      )}
      {data && data.length > 0 && <Explain metrics={data.flatMap(rule => rule.metrics)} />}
      {(data ?? []).map(rule => (
        <MetricRuleCard key={`${rule.section} ${rule.index} ${rule.object}`} rule={rule} />
      ))}
    </>
  );
}

function MetricRuleCard({ rule }: { rule: MetricRule }) {
  const now = useNow(5000);
  return (
    <Fold
      class="card pool"
      open
      title={
        <>
          <h2>
            {rule.section}[{rule.index}]
          </h2>
          {rule.error ? (
            <Chip tone="bad">fails</Chip>
          ) : (
            <Chip tone={rule.metrics.length > 0 ? 'good' : 'quiet'}>{plural(rule.metrics.length, 'metric')}</Chip>
          )}
          <span class="summary-end faint">{SECTIONS[rule.section] ?? rule.section}</span>
        </>
      }
    >
      {() => (
        <div class="metric-rule">
          {rule.error && <p class="bad-text">{rule.error}</p>}
          {rule.notes.map(note => (
            <p class="hint" key={note}>
              {note}
            </p>
          ))}
          {rule.metrics.length > 0 && (
            <ul class="names">
              {rule.metrics.map(metric => (
                <li key={metric}>{metric}</li>
              ))}
            </ul>
          )}
          <dl class="facts-table">
            {rule.seriesQuery && (
              <div>
                <dt>Series</dt>
                <dd>
                  <Expression text={rule.seriesQuery} />
                </dd>
              </div>
            )}
            {rule.metricsQuery && (
              <div>
                <dt>Query</dt>
                <dd>
                  <Expression text={rule.metricsQuery} />
                </dd>
              </div>
            )}
            {rule.listedAt && (
              <div>
                <dt>Listed</dt>
                <dd>
                  <Ago time={rule.listedAt} now={now} />
                </dd>
              </div>
            )}
          </dl>
        </div>
      )}
    </Fold>
  );
}
