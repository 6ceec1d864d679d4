// All metrics with what is said of them, to look for one.
import { useState } from 'preact/hooks';
import { describe, metricNames } from './expression';
import { usePoll } from './hooks';
import { Dialog, Empty, filtered, Loading, Search, useRows } from './ui';

const ROWS = 100;

export function MetricBrowser({ onClose, onChoose }: { onClose: () => void; onChoose: (name: string) => void }) {
  const { data } = usePoll('metrics', 0, async () => {
    const { metrics, metadata } = metricNames();
    const about = await metadata;
    return (await metrics).map(name => ({ name, ...describe(name, about) }));
  });
  const [filter, setFilter] = useState('');
  const found = filtered(data ?? [], filter, metric => `${metric.name} ${metric.type} ${metric.help}`);
  const { shown, more } = useRows(found, ROWS);
  return (
    <Dialog title="Metrics" onClose={onClose}>
      <Search label="Filter by name or description" value={filter} onInput={setFilter} />
      {!data && <Loading what="metrics" />}
      {data && found.length === 0 && (
        <Empty title={data.length === 0 ? 'Nothing is stored yet' : 'No metric is like that'} />
      )}
      <ul class="metrics">
        {shown.map(metric => (
          <li key={metric.name}>
            <button type="button" onClick={() => onChoose(metric.name)}>
              <b>{metric.name}</b>
              {metric.type && <span class="faint">{metric.type}</span>}
              <span class="metric-help">{metric.help}</span>
            </button>
          </li>
        ))}
      </ul>
      {more}
    </Dialog>
  );
}
