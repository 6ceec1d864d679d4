// Expressions and what they give, as a table or a graph. The whole view is in the address, to be kept and shared.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, get } from '../api';
import type { ViewProps } from '../app';
import { ExpressionField, metricNames, RECENT } from '../expression';
import { store, stored, useStored } from '../hooks';
import { MetricBrowser } from '../metric_browser';
import { newPanel, type Panel, panelsOf, paramsOf } from '../panels';
import { replaceParams } from '../router';
import { CopyButton, Icon } from '../ui';
import { GraphPanel } from './query_graph';
import { TablePanel } from './query_table';

const MOST_RECENT = 30;
const REFRESH = [0, 5, 15, 60];

function remember(expression: string): void {
  const earlier = stored<string[]>(RECENT, []).filter(one => one !== expression);
  store(RECENT, [expression, ...earlier].slice(0, MOST_RECENT));
}

interface Row {
  id: number;
  panel: Panel;
}

export function QueryView({ place }: ViewProps) {
  const address = place.params.toString();
  const written = useRef(address);
  const nextId = useRef(0);
  const rowsOf = (params: URLSearchParams): Row[] => panelsOf(params).map(panel => ({ id: nextId.current++, panel }));
  const [rows, setRows] = useState<Row[]>(() => rowsOf(place.params));
  const [refresh, setRefresh] = useStored('query.refresh', 0);
  useEffect(() => {
    void metricNames(); // So that the first suggestion need not wait.
  }, []);
  // The address was changed by a link or by going back.
  useEffect(() => {
    if (address !== written.current) setRows(rowsOf(place.params));
    written.current = address;
  }, [address]);

  const keep = (next: Row[]) => {
    setRows(next);
    const params = paramsOf(next.map(row => row.panel));
    written.current = new URLSearchParams(params).toString();
    replaceParams(params);
  };
  const change = (id: number, panel: Panel) => keep(rows.map(row => (row.id === id ? { id, panel } : row)));
  const add = () => keep([...rows, { id: nextId.current++, panel: newPanel() }]);
  return (
    <>
      <div class="view-head query-head">
        <h1>Query</h1>
        <div class="tools">
          <label class="inline">
            Refresh
            <select class="select" value={refresh} onChange={event => setRefresh(Number(event.currentTarget.value))}>
              {REFRESH.map(seconds => (
                <option key={seconds} value={seconds}>
                  {seconds === 0 ? 'off' : `${seconds} s`}
                </option>
              ))}
            </select>
          </label>
          <CopyButton label="Copy link" text={() => location.href} />
        </div>
      </div>
      {rows.map((row, i) => (
        <PanelView
          key={row.id}
          id={`panel-${row.id}`}
          panel={row.panel}
          first={i === 0}
          refresh={refresh}
          onChange={panel => change(row.id, panel)}
          onRemove={rows.length > 1 ? () => keep(rows.filter(other => other.id !== row.id)) : undefined}
        />
      ))}
      <button type="button" class="button" onClick={add}>
        <Icon name="plus" size={15} /> Add a panel
      </button>
    </>
  );
}

interface PanelProps {
  id: string;
  panel: Panel;
  first: boolean;
  refresh: number;
  onChange: (panel: Panel) => void;
  onRemove: (() => void) | undefined;
}

function PanelView({ id, panel, first, refresh, onChange, onRemove }: PanelProps) {
  const [draft, setDraft] = useState(panel.expr);
  const [runs, setRuns] = useState(0);
  const [browsing, setBrowsing] = useState(false);
  const [problem, setProblem] = useState('');
  useEffect(() => setDraft(panel.expr), [panel.expr]);

  const run = (expression: string) => {
    setProblem('');
    setRuns(runs + 1);
    if (expression.trim()) remember(expression);
    onChange({ ...panel, expr: expression });
  };
  const format = async () => {
    try {
      setDraft(await get<string>('format_query', { query: draft }));
      setProblem('');
    } catch (error) {
      setProblem(error instanceof ApiError ? error.message : String(error));
    }
  };
  const Body = panel.tab === 'graph' ? GraphPanel : TablePanel;
  return (
    <section class="card panel" aria-label={panel.expr || 'New panel'}>
      <div class="panel-line">
        <ExpressionField id={id} value={draft} onInput={setDraft} onRun={run} searchTarget={first} />
        <button type="button" class="button primary" onClick={() => run(draft)}>
          Run
        </button>
      </div>
      <div class="panel-tools">
        <div class="choices" role="group" aria-label="Show as">
          {(['table', 'graph'] as const).map(tab => (
            <button
              key={tab}
              type="button"
              aria-pressed={panel.tab === tab}
              onClick={() => onChange({ ...panel, expr: draft, tab })}
            >
              {tab === 'table' ? 'Table' : 'Graph'}
            </button>
          ))}
        </div>
        <span class="spacer" />
        <button type="button" class="button" onClick={() => setBrowsing(true)}>
          <Icon name="book" size={15} /> Metrics
        </button>
        <button type="button" class="button" onClick={format} disabled={draft.trim() === ''}>
          Format
        </button>
        {onRemove && (
          <button type="button" class="button bare" aria-label="Remove the panel" onClick={onRemove}>
            <Icon name="close" />
          </button>
        )}
      </div>
      {problem && (
        <p class="bad-text" role="alert">
          {problem}
        </p>
      )}
      <Body panel={panel} runs={runs} refresh={refresh} onChange={onChange} />
      {browsing && (
        <MetricBrowser
          onClose={() => setBrowsing(false)}
          onChoose={name => {
            setBrowsing(false);
            setDraft(draft.trim() ? `${draft} ${name}` : name);
          }}
        />
      )}
    </section>
  );
}
