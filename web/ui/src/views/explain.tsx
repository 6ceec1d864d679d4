// Asks why a metric of the metrics APIs has the values it has, or none.
import { useState } from 'preact/hooks';
import { get, type Params } from '../api';
import { Expression } from '../expression';
import { usePoll } from '../hooks';
import { Chip, Failure, Loading } from '../ui';

interface Explanation {
  rule: string;
  series: string;
  query: string;
  values: { object: string; value: string }[];
  without: string[];
  problem: string;
  suggestions: string[];
}

interface Question {
  metric: string;
  namespace: string;
  name: string;
  metricLabelSelector: string;
}

const NOTHING: Question = { metric: '', namespace: '', name: '', metricLabelSelector: '' };

const FIELDS: { name: keyof Question; label: string; example: string }[] = [
  { name: 'metric', label: 'Metric', example: 'pods/http_requests_per_second' },
  { name: 'namespace', label: 'Namespace', example: 'shop' },
  { name: 'name', label: 'Object, * for all', example: '*' },
  { name: 'metricLabelSelector', label: 'Selector of the metric', example: 'queue=orders' }
];

// `metrics` are suggested; those of no resource are external ones.
export function Explain({ metrics }: { metrics: string[] }) {
  const [draft, setDraft] = useState<Question>(NOTHING);
  const [asked, setAsked] = useState<Question | undefined>();
  const submit = (event: Event) => {
    event.preventDefault();
    if (draft.metric.trim()) setAsked({ ...draft });
  };
  return (
    <section class="card" aria-labelledby="explain">
      <h2 id="explain">Why has a metric this value, or none?</h2>
      <form class="explain-form" onSubmit={submit}>
        {FIELDS.map(({ name, label, example }) => (
          <label key={name}>
            <span class="faint">{label}</span>
            <input
              class="input"
              value={draft[name]}
              placeholder={example}
              spellcheck={false}
              autocomplete="off"
              list={name === 'metric' ? 'explain-metrics' : undefined}
              onInput={event => setDraft({ ...draft, [name]: event.currentTarget.value })}
            />
          </label>
        ))}
        <datalist id="explain-metrics">
          {metrics.map(metric => (
            <option key={metric} value={metric} />
          ))}
        </datalist>
        <button type="submit" class="button primary" disabled={draft.metric.trim() === ''}>
          Explain
        </button>
      </form>
      {asked && <Answer key={JSON.stringify(asked)} question={asked} />}
    </section>
  );
}

function paramsOf({ metric, namespace, name, metricLabelSelector }: Question): Params {
  return { metric: metric.includes('/') ? metric : `external/${metric}`, namespace, name, metricLabelSelector };
}

function Answer({ question }: { question: Question }) {
  const { data, error } = usePoll('explain', 0, signal =>
    get<Explanation>('autoscaling/explain', paramsOf(question), signal)
  );
  if (error) return <Failure error={error} />;
  if (!data) return <Loading what="the explanation" />;
  return (
    <div class="explanation" role="status">
      {data.problem && <p class="bad-text">{data.problem}</p>}
      {data.suggestions.map(suggestion => (
        <p key={suggestion}>{suggestion}</p>
      ))}
      <dl class="facts-table">
        <Fact name="Rule" text={data.rule} />
        <Fact name="Series" text={data.series} />
        {data.query && (
          <div>
            <dt>Query</dt>
            <dd>
              <Expression text={data.query} />
            </dd>
          </div>
        )}
        {data.values.map(({ object, value }) => (
          <Fact key={object} name={object || 'Value'} text={value} />
        ))}
        {data.without.map(object => (
          <div key={object}>
            <dt>{object}</dt>
            <dd>
              <Chip tone="bad">no value</Chip>
            </dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

function Fact({ name, text }: { name: string; text: string }) {
  if (!text) return null;
  return (
    <div>
      <dt>{name}</dt>
      <dd>{text}</dd>
    </div>
  );
}
