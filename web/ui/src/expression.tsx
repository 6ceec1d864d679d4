// An expression with the colours of its parts, and the field to write one.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { get } from './api';
import { quoted } from './format';
import { stored } from './hooks';
import {
  AGGREGATIONS,
  applied,
  bestSuggestions,
  type Context,
  contextAt,
  FUNCTIONS,
  type Suggestion,
  tokenize
} from './promql';
import type { Metadata } from './types';

export function Expression({ text }: { text: string }) {
  return (
    <code class="expression">
      {tokenize(text).map(token =>
        token.kind === 'space' ? (
          token.text
        ) : (
          <span key={token.start} class={`t-${token.kind}`}>
            {token.text}
          </span>
        )
      )}
    </code>
  );
}

const MOST_SUGGESTIONS = 50;
const NAMES_FOR_MS = 60_000;
const VALUES_LIMIT = 1000;

interface Names {
  metrics: Promise<string[]>;
  metadata: Promise<Metadata>;
  at: number;
}

let names: Names | undefined;

// Names of metrics and what is said of them, kept for a minute for all fields.
export function metricNames(): Names {
  if (!names || Date.now() - names.at > NAMES_FOR_MS) {
    names = {
      at: Date.now(),
      metrics: get<string[]>('label/__name__/values').catch(() => []),
      metadata: get<Metadata>('metadata').catch(() => ({}))
    };
  }
  return names;
}

// A histogram's parts have the description of the whole.
export function describe(metric: string, metadata: Metadata): { type: string; help: string } {
  const found = metadata[metric]?.[0] ?? metadata[metric.replace(/_(bucket|sum|count|total|created|info)$/, '')]?.[0];
  return found ?? { type: '', help: '' };
}

const WORDS: Suggestion[] = [
  ...AGGREGATIONS.map((text): Suggestion => ({ text, kind: 'aggregation', detail: 'aggregation' })),
  ...Object.entries(FUNCTIONS).map(([text, detail]): Suggestion => ({ text, kind: 'function', detail })),
  ...['by', 'without', 'on', 'ignoring', 'group_left', 'group_right', 'offset', 'and', 'or', 'unless', 'bool'].map(
    (text): Suggestion => ({ text, kind: 'keyword', detail: 'keyword' })
  )
];

export const RECENT = 'query.recent';

async function suggestionsFor(context: Context, text: string): Promise<Suggestion[]> {
  const { wanted } = context;
  if (wanted.want === 'nothing') return [];
  if (wanted.want === 'expression') {
    const { metrics, metadata } = metricNames();
    const [all, about] = await Promise.all([metrics, metadata]);
    const known = all.map((name): Suggestion => {
      const { type, help } = describe(name, about);
      return { text: name, kind: 'metric', detail: help || type };
    });
    const recent = text.trim() === context.prefix ? stored<string[]>(RECENT, []) : [];
    const earlier = recent
      .filter(one => one !== text)
      .map((one): Suggestion => ({ text: one, kind: 'recent', detail: 'asked before' }));
    return [...earlier.slice(0, context.prefix ? 5 : 10), ...known, ...WORDS];
  }
  const of = wanted.metric || (wanted.want === 'label' ? wanted.metricsBefore.pop() : '');
  const match = of ? { 'match[]': `{__name__=${quoted(of)}}` } : {};
  if (wanted.want === 'label') {
    const labels = await get<string[]>('labels', match).catch(() => []);
    return labels.filter(name => name !== '__name__').map(name => ({ text: name, kind: 'label', detail: 'label' }));
  }
  const values = await get<string[]>(`label/${encodeURIComponent(wanted.label)}/values`, {
    ...match,
    limit: VALUES_LIMIT
  }).catch(() => []);
  return values.map(value => ({ text: value, kind: 'value', detail: wanted.label }));
}

interface FieldProps {
  value: string;
  onInput: (value: string) => void;
  onRun: (value: string) => void;
  id: string;
  searchTarget: boolean; // `/` goes here.
}

interface List {
  items: Suggestion[];
  chosen: number;
  context: Context;
}

export function ExpressionField({ value, onInput, onRun, id, searchTarget }: FieldProps) {
  const field = useRef<HTMLTextAreaElement>(null);
  const [list, setList] = useState<List | undefined>();
  const asked = useRef(0);
  const cursorAfter = useRef<number | undefined>(undefined);

  // Before the next key can come: it must find the cursor where it belongs.
  useLayoutEffect(() => {
    const area = field.current;
    if (!area) return;
    if (cursorAfter.current !== undefined) area.setSelectionRange(cursorAfter.current, cursorAfter.current);
    cursorAfter.current = undefined;
  }, [value]);

  const close = () => {
    asked.current++;
    setList(undefined);
  };
  const suggest = async (text: string, cursor: number, unasked: boolean) => {
    const turn = ++asked.current;
    const context = contextAt(text, cursor);
    if (unasked && context.wanted.want === 'expression' && context.prefix === '') return close();
    const all = await suggestionsFor(context, text);
    if (turn !== asked.current) return;
    const items = bestSuggestions(context.prefix, all, MOST_SUGGESTIONS);
    const useless = items.length === 0 || (items.length === 1 && items[0]?.text === context.prefix);
    setList(useless ? undefined : { items, chosen: 0, context });
  };
  const take = (suggestion: Suggestion) => {
    const area = field.current;
    if (!area || !list) return;
    const next = applied(value, area.selectionStart, list.context, suggestion);
    cursorAfter.current = next.cursor;
    close();
    onInput(next.text);
    area.focus();
  };
  const move = (by: number) => {
    if (list) setList({ ...list, chosen: (list.chosen + by + list.items.length) % list.items.length });
  };
  const pressed = (event: KeyboardEvent) => {
    const chosen = list?.items[list.chosen];
    if (event.key === ' ' && event.ctrlKey) void suggest(value, field.current?.selectionStart ?? value.length, false);
    else if (event.key === 'Escape' && list) close();
    else if (event.key === 'ArrowDown' && list) move(1);
    else if (event.key === 'ArrowUp' && list) move(-1);
    else if ((event.key === 'Tab' || event.key === 'Enter') && list && chosen && !event.ctrlKey && !event.shiftKey)
      take(chosen);
    else if (event.key === 'Enter' && !event.shiftKey) {
      close();
      onRun(value);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div class="field">
      <pre class="field-shadow" aria-hidden="true">
        <Expression text={value} />
        {'\n'}
      </pre>
      <textarea
        ref={field}
        id={id}
        rows={1}
        value={value}
        spellcheck={false}
        autocomplete="off"
        autocapitalize="off"
        placeholder="Expression, for example up"
        aria-label="Expression"
        aria-autocomplete="list"
        aria-controls={list ? `${id}-list` : undefined}
        aria-activedescendant={list ? `${id}-${list.chosen}` : undefined}
        {...(searchTarget ? { 'data-search': true } : {})}
        onInput={event => {
          onInput(event.currentTarget.value);
          void suggest(event.currentTarget.value, event.currentTarget.selectionStart, true);
        }}
        onKeyDown={pressed}
        onBlur={close}
      />
      {list && <SuggestionList list={list} id={id} onTake={take} />}
    </div>
  );
}

function SuggestionList({ list, id, onTake }: { list: List; id: string; onTake: (suggestion: Suggestion) => void }) {
  const element = useRef<HTMLUListElement>(null);
  useEffect(() => {
    element.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' });
  }, [list.chosen]);
  return (
    <ul class="suggestions" role="listbox" aria-label="Suggestions" id={`${id}-list`} ref={element}>
      {list.items.map((suggestion, i) => (
        <li
          key={suggestion.kind + suggestion.text}
          id={`${id}-${i}`}
          role="option"
          aria-selected={i === list.chosen}
          onMouseDown={event => {
            event.preventDefault(); // Or the field would lose the focus first.
            onTake(suggestion);
          }}
        >
          <i class={`kind ${suggestion.kind}`} aria-hidden="true">
            {suggestion.kind.slice(0, 1)}
          </i>
          <span class="suggestion-text">{suggestion.text}</span>
          <span class="suggestion-detail">{suggestion.detail}</span>
        </li>
      ))}
    </ul>
  );
}
