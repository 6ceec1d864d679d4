// The panels of the query view as the query string of the page, in the words that Prometheus' links use.
import { formatDuration, parseDuration } from './duration';

export type Tab = 'table' | 'graph';

export interface Panel {
  expr: string;
  tab: Tab;
  range: number; // Seconds.
  end: number | undefined; // Of the graph, seconds since the epoch; now if not set.
  moment: number | undefined; // Of the table; now if not set.
  step: number | undefined; // Chosen by the range if not set.
  stacked: boolean;
}

export function newPanel(expr = ''): Panel {
  return { expr, tab: 'table', range: 3600, end: undefined, moment: undefined, step: undefined, stacked: false };
}

const TABS: Record<string, Tab> = { 0: 'graph', 1: 'table', graph: 'graph', table: 'table' };

// "2026-03-02 14:03:05", as Prometheus writes times in links: UTC.
export function timeText(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ');
}

export function parseTime(text: string): number | undefined {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  const ms = Date.parse(
    /^\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?$/.test(text) ? `${text.replace(' ', 'T')}Z` : text
  );
  return Number.isNaN(ms) ? undefined : ms / 1000;
}

const MOST_PANELS = 20;

export function panelsOf(params: URLSearchParams): Panel[] {
  const panels: Panel[] = [];
  for (let i = 0; i < MOST_PANELS; i++) {
    const of = (name: string) => params.get(`g${i}.${name}`) ?? '';
    if (!params.has(`g${i}.expr`) && !params.has(`g${i}.tab`)) break;
    panels.push({
      expr: of('expr'),
      tab: TABS[of('tab')] ?? 'table',
      range: parseDuration(of('range_input')) ?? 3600,
      end: parseTime(of('end_input')),
      moment: parseTime(of('moment_input')),
      step: parseDuration(of('step_input') || of('res_density_custom')),
      stacked: of('stacked') === '1' || of('display_mode') === 'stacked'
    });
  }
  return panels.length > 0 ? panels : [newPanel()];
}

export function paramsOf(panels: Panel[]): Record<string, string> {
  const params: Record<string, string> = {};
  panels.forEach((panel, i) => {
    const set = (name: string, value: string | undefined) => {
      if (value) params[`g${i}.${name}`] = value;
    };
    set('expr', panel.expr);
    set('tab', panel.tab);
    if (panel.tab === 'graph') {
      set('range_input', formatDuration(panel.range));
      set('end_input', panel.end === undefined ? undefined : timeText(panel.end));
      set('step_input', panel.step === undefined ? undefined : formatDuration(panel.step));
      set('display_mode', panel.stacked ? 'stacked' : undefined);
    }
    if (panel.tab === 'table') set('moment_input', panel.moment === undefined ? undefined : timeText(panel.moment));
  });
  return params;
}
