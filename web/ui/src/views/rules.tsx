// Alerts by rule, and all rules with what their last evaluation gave.

import { get } from '../api';
import type { ViewProps } from '../app';
import { Expression } from '../expression';
import { count, plural, seconds } from '../format';
import { useNow, usePoll } from '../hooks';
import { replaceParams } from '../router';
import type { Alert, AlertState, LabelSet, Rule, RuleGroup } from '../types';
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
const ROWS = 20;
const TONES: Record<AlertState, Tone> = { firing: 'bad', pending: 'warn', inactive: 'good' };
const ORDER: AlertState[] = ['firing', 'pending', 'inactive'];

interface Groups {
  groups: RuleGroup[];
}

const loadRules = (signal: AbortSignal) => get<Groups>('rules', {}, signal);

function RuleTabs({ current, groups }: { current: string; groups: RuleGroup[] }) {
  const rules = groups.flatMap(group => group.rules);
  const active = rules.flatMap(rule => rule.alerts ?? []).length;
  return (
    <Tabs
      label="Rules and alerts"
      current={current}
      tabs={[
        { view: 'alerts', label: 'Alerts', count: active },
        { view: 'rules', label: 'Rules', count: rules.length }
      ]}
    />
  );
}

const ruleText = (group: RuleGroup, rule: Rule) =>
  `${group.name} ${group.file} ${rule.name} ${rule.query} ${Object.values(rule.labels).join(' ')} ${rule.lastError ?? ''}`;

interface Located {
  group: RuleGroup;
  rule: Rule;
}

export function AlertsView({ place }: ViewProps) {
  const { data, error, reload } = usePoll('rules', POLL_MS, loadRules);
  if (!data) return error ? <Failure error={error} onRetry={reload} /> : <Loading what="alerts" />;
  const search = place.params.get('search') ?? '';
  const state = place.params.get('state') ?? 'all';
  const all: Located[] = data.groups.flatMap(group =>
    group.rules.filter(rule => rule.type === 'alerting').map(rule => ({ group, rule }))
  );
  const found = filtered(all, search, ({ group, rule }) => ruleText(group, rule));
  const of = (wanted: AlertState) => found.filter(({ rule }) => rule.state === wanted);
  const shown = state === 'all' ? ORDER.flatMap(of) : of(state as AlertState);
  const set = (next: { search?: string; state?: string }) =>
    replaceParams({ search, ...(state === 'all' ? {} : { state }), ...next });
  return (
    <>
      <div class="view-head">
        <h1>Alerts</h1>
        <RuleTabs current="alerts" groups={data.groups} />
        {all.length > 0 && (
          <div class="tools">
            <Choices
              label="State"
              value={state}
              onChange={id => set({ state: id === 'all' ? '' : id })}
              choices={[
                { id: 'all', label: 'All', count: found.length },
                ...ORDER.map(id => ({
                  id: id as string,
                  label: stateLabel(id),
                  count: of(id).length,
                  tone: id === 'inactive' ? undefined : TONES[id]
                }))
              ]}
            />
            <Search label="Filter alerts" value={search} onInput={text => set({ search: text })} />
          </div>
        )}
      </div>
      {all.length === 0 && (
        <Empty title="There are no alerting rules">
          <p>
            Name files with rules in <code>rule_files</code> of the configuration, or apply PrometheusRules.
          </p>
        </Empty>
      )}
      {all.length > 0 && shown.length === 0 && <Empty title="No alert is like that" />}
      <ul class="alerts">
        {shown.map(({ group, rule }) => (
          <AlertRow key={`${group.file} ${group.name} ${rule.name} ${rule.query}`} group={group} rule={rule} />
        ))}
      </ul>
    </>
  );
}

function stateLabel(state: AlertState): string {
  return { firing: 'Firing', pending: 'Pending', inactive: 'Quiet' }[state];
}

function AlertRow({ group, rule }: Located) {
  const state = rule.state ?? 'inactive';
  const alerts = rule.alerts ?? [];
  return (
    <li class={`card alert ${TONES[state]}`}>
      <Fold
        open={state === 'firing'}
        title={
          <>
            <h2>{rule.name}</h2>
            <Chip tone={TONES[state]}>{alerts.length > 0 ? `${alerts.length} ${state}` : stateLabel(state)}</Chip>
            {rule.labels.severity && <span class="faint">{rule.labels.severity}</span>}
            {rule.health === 'err' && <Chip tone="bad">fails</Chip>}
            <span class="summary-end faint">group {group.name}</span>
          </>
        }
      >
        {() => (
          <div class="alert-body">
            <RuleFacts rule={rule} active={alerts.length > 0} />
            {alerts.length > 0 && <Instances alerts={alerts} />}
          </div>
        )}
      </Fold>
    </li>
  );
}

function Instances({ alerts }: { alerts: Alert[] }) {
  const now = useNow(1000);
  const { shown, more } = useRows(alerts, ROWS);
  return (
    <>
      <ul class="rows">
        {shown.map(alert => (
          <li class={`row ${TONES[alert.state]}`} key={JSON.stringify(alert.labels)}>
            <div class="row-head">
              <Chip tone={TONES[alert.state]}>{alert.state}</Chip>
              <span>
                since <Ago time={alert.activeAt} now={now} />
              </span>
              <span class="faint">value {String(Number(alert.value))}</span>
            </div>
            <Annotations annotations={alert.annotations} />
            <Labels labels={alert.labels} hide={['alertname']} />
          </li>
        ))}
      </ul>
      {more}
    </>
  );
}

const FIRST = ['summary', 'message', 'description'];

function byImportance([a]: [string, string], [b]: [string, string]): number {
  const rank = (name: string) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  return rank(a) - rank(b);
}

function Annotations({ annotations }: { annotations: LabelSet }) {
  return (
    <>
      {Object.entries(annotations)
        .sort(byImportance)
        .map(([name, text]) => (
          <p class="annotation" key={name}>
            <span class="faint">{name}</span>{' '}
            {/^https?:\/\//.test(text) ? (
              <a href={text} rel="noreferrer noopener" target="_blank">
                {text}
              </a>
            ) : (
              text
            )}
          </p>
        ))}
    </>
  );
}

// Labels and annotations of alerts that are active are shown with these, as the templates came out.
function RuleFacts({ rule, active = false }: { rule: Rule; active?: boolean }) {
  const instant = { 'g0.expr': rule.query, 'g0.tab': 'table' };
  return (
    <>
      <div class="rule-expression">
        <Expression text={rule.query} />
        <Link view="query" params={instant} class="plot-link">
          Open in Query
        </Link>
      </div>
      {rule.lastError && <p class="bad-text">{rule.lastError}</p>}
      <p class="facts">
        {rule.duration ? <span>for {seconds(rule.duration)}</span> : null}
        {rule.keepFiringFor ? <span>keeps firing for {seconds(rule.keepFiringFor)}</span> : null}
        {!active && Object.keys(rule.labels).length > 0 && <Labels labels={rule.labels} />}
      </p>
      {rule.annotations && !active && <Annotations annotations={rule.annotations} />}
    </>
  );
}

export function RulesView({ place }: ViewProps) {
  const { data, error, reload } = usePoll('rules', POLL_MS, loadRules);
  if (!data) return error ? <Failure error={error} onRetry={reload} /> : <Loading what="rules" />;
  const search = place.params.get('search') ?? '';
  const groups = data.groups
    .map(group => ({ ...group, rules: filtered(group.rules, search, rule => ruleText(group, rule)) }))
    .filter(group => group.rules.length > 0);
  return (
    <>
      <div class="view-head">
        <h1>Rules</h1>
        <RuleTabs current="rules" groups={data.groups} />
        {data.groups.length > 0 && (
          <div class="tools">
            <Search label="Filter rules" value={search} onInput={text => replaceParams({ search: text })} />
          </div>
        )}
      </div>
      {data.groups.length === 0 && (
        <Empty title="There are no rules">
          <p>
            Name files in <code>rule_files</code> of the configuration, or apply PrometheusRules.{' '}
            <code>tidewright check rules</code> says whether they are right.
          </p>
        </Empty>
      )}
      {data.groups.length > 0 && groups.length === 0 && <Empty title="No rule is like that" />}
      {groups.map(group => (
        <Group key={`${group.file} ${group.name}`} group={group} />
      ))}
    </>
  );
}

function Group({ group }: { group: RuleGroup }) {
  const now = useNow(1000);
  const failing = group.rules.filter(rule => rule.health === 'err').length;
  const { shown, more } = useRows(group.rules, ROWS);
  const slow = group.evaluationTime > group.interval;
  return (
    <Fold
      class="card pool"
      open
      title={
        <>
          <h2>{group.name}</h2>
          {failing > 0 && <Chip tone="bad">{plural(failing, 'rule fails', 'rules fail')}</Chip>}
          {slow && <Chip tone="warn">slower than its interval</Chip>}
          <span class="summary-end faint">
            every {seconds(group.interval)} · <Ago time={group.lastEvaluation} now={now} /> · took{' '}
            {seconds(group.evaluationTime)}
          </span>
        </>
      }
    >
      {() => (
        <>
          <p class="hint">
            {group.file} · {count(group.rules.length)} {group.rules.length === 1 ? 'rule' : 'rules'}
          </p>
          <ul class="rows">
            {shown.map(rule => (
              <RuleRow key={`${rule.name} ${rule.query} ${JSON.stringify(rule.labels)}`} rule={rule} />
            ))}
          </ul>
          {more}
        </>
      )}
    </Fold>
  );
}

function RuleRow({ rule }: { rule: Rule }) {
  const tone: Tone = rule.health === 'err' ? 'bad' : rule.state ? TONES[rule.state] : 'quiet';
  return (
    <li class={`row ${tone}`}>
      <div class="row-head">
        <b>{rule.name}</b>
        <Chip tone={rule.type === 'recording' ? 'quiet' : tone}>
          {rule.type === 'recording' ? 'recording' : stateLabel(rule.state ?? 'inactive')}
        </Chip>
        {rule.health === 'err' && <Chip tone="bad">fails</Chip>}
        <span class="row-facts faint">took {seconds(rule.evaluationTime)}</span>
      </div>
      <RuleFacts rule={rule} />
    </li>
  );
}
