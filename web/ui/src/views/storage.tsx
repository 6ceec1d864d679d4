// What the store holds: the head, what its series are made of, and the blocks.
import { get } from '../api';
import { bytes, count, dateTime, seconds } from '../format';
import { usePoll } from '../hooks';
import type { Block, Count, TsdbStatus } from '../types';
import { Empty, Failure, Link, Loading, Meter } from '../ui';
import { StatusTabs, Tile } from './status';

const POLL_MS = 15_000;
const ROWS = 10;

async function load(signal: AbortSignal) {
  const [status, blocks] = await Promise.all([
    get<TsdbStatus>('status/tsdb', { limit: ROWS }, signal),
    get<{ blocks: Block[] }>('status/tsdb/blocks', {}, signal)
  ]);
  return { status, blocks: blocks.blocks };
}

export function StorageView() {
  const { data, error, reload } = usePoll('tsdb', POLL_MS, load);
  return (
    <>
      <div class="view-head">
        <h1>Storage</h1>
        <StatusTabs current="tsdb-status" />
      </div>
      {error && !data && <Failure error={error} onRetry={reload} />}
      {!data && !error && <Loading what="the storage" />}
      {data && <Statistics status={data.status} />}
      {data && <Blocks blocks={data.blocks} />}
    </>
  );
}

function Statistics({ status }: { status: TsdbStatus }) {
  const { headStats: head } = status;
  const spans = head.maxTime > head.minTime;
  return (
    <>
      <div class="tiles big">
        <Tile name="Series in memory">
          <b>{count(head.numSeries)}</b>
        </Tile>
        <Tile name="Label pairs">
          <b>{count(head.numLabelPairs)}</b>
        </Tile>
        <Tile name="Since">
          <b>{spans ? dateTime(head.minTime) : '–'}</b>
          <span class="faint">
            {spans ? `${seconds((head.maxTime - head.minTime) / 1000)} in memory` : 'no samples yet'}
          </span>
        </Tile>
      </div>
      <div class="columns">
        <Ranking title="Series by metric" counts={status.seriesCountByMetricName} link={name => name} />
        <Ranking title="Series by label value" counts={status.seriesCountByLabelValuePair} />
        <Ranking title="Values by label" counts={status.labelValueCountByLabelName} />
        <Ranking title="Bytes of values by label" counts={status.memoryInBytesByLabelName} text={bytes} />
      </div>
    </>
  );
}

interface RankingProps {
  title: string;
  counts: Count[];
  text?: (value: number) => string;
  link?: (name: string) => string;
}

function Ranking({ title, counts, text = count, link }: RankingProps) {
  const most = Math.max(1, ...counts.map(one => one.value));
  return (
    <section class="card ranking">
      <h2>{title}</h2>
      <ol>
        {counts.map(({ name, value }) => (
          <li key={name}>
            <span class="ranking-name">
              {link ? (
                <Link view="query" params={{ 'g0.expr': link(name), 'g0.tab': 'table' }}>
                  {name}
                </Link>
              ) : (
                name
              )}
            </span>
            <b class="number">{text(value)}</b>
            <Meter share={value / most} label={`${name}: ${text(value)}`} />
          </li>
        ))}
      </ol>
    </section>
  );
}

function Blocks({ blocks }: { blocks: Block[] }) {
  return (
    <section class="card">
      <h2>Blocks</h2>
      {blocks.length === 0 ? (
        <Empty title="No blocks yet">
          <p>
            Samples of the last hours are in memory and in the log. The first block is written once they are older than
            that.
          </p>
        </Empty>
      ) : (
        <table class="results">
          <thead>
            <tr>
              <th scope="col">From</th>
              <th scope="col">Spans</th>
              <th scope="col" class="number">
                Series
              </th>
              <th scope="col" class="number">
                Samples
              </th>
              <th scope="col" class="number wide-only">
                Level
              </th>
            </tr>
          </thead>
          <tbody>
            {[...blocks].reverse().map(block => (
              <tr key={block.ulid} title={block.ulid}>
                <td>{dateTime(block.minTime)}</td>
                <td>{seconds((block.maxTime - block.minTime) / 1000)}</td>
                <td class="number">{count(block.stats?.numSeries ?? 0)}</td>
                <td class="number">{count(block.stats?.numSamples ?? 0)}</td>
                <td class="number wide-only">{block.compaction?.level ?? '–'}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
