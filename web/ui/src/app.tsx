// The frame around the views: navigation, what is wrong, keyboard, colours.
import type { ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { getDocument } from './api';
import { clock } from './format';
import { useNow, usePoll } from './hooks';
import { HelpDialog, useShortcuts } from './keyboard';
import { HOME, type Place, usePlace } from './router';
import { useTheme } from './theme';
import type { AutoscalingReport } from './types';
import { Empty, Icon, type IconName, Link } from './ui';
import { QueryView } from './views/query';
import { AlertsView, RulesView } from './views/rules';
import { ConfigView, FlagsView, MetricRulesView, StatusView } from './views/status';
import { StorageView } from './views/storage';
import { DiscoveryView, TargetsView } from './views/targets';
import { WorkloadView } from './views/workload';
import { WorkloadsView } from './views/workloads';

export interface ViewProps {
  place: Place;
  report: AutoscalingReport | undefined;
  reportError: Error | undefined;
}

interface View {
  title: string;
  section: string;
  component: ComponentType<ViewProps>;
}

const VIEWS: Record<string, View> = {
  workloads: { title: 'Workloads', section: 'workloads', component: WorkloadsView },
  workload: { title: 'Workload', section: 'workloads', component: WorkloadView },
  query: { title: 'Query', section: 'query', component: QueryView },
  targets: { title: 'Targets', section: 'targets', component: TargetsView },
  'service-discovery': { title: 'Service discovery', section: 'targets', component: DiscoveryView },
  alerts: { title: 'Alerts', section: 'alerts', component: AlertsView },
  rules: { title: 'Rules', section: 'alerts', component: RulesView },
  status: { title: 'Status', section: 'status', component: StatusView },
  'tsdb-status': { title: 'Storage', section: 'status', component: StorageView },
  config: { title: 'Configuration', section: 'status', component: ConfigView },
  flags: { title: 'Flags', section: 'status', component: FlagsView },
  'metric-rules': { title: 'Metrics APIs', section: 'status', component: MetricRulesView }
};

const SECTIONS: { view: string; label: string; icon: IconName }[] = [
  { view: HOME, label: 'Workloads', icon: 'workloads' },
  { view: 'query', label: 'Query', icon: 'query' },
  { view: 'targets', label: 'Targets', icon: 'targets' },
  { view: 'alerts', label: 'Alerts', icon: 'alerts' },
  { view: 'status', label: 'Status', icon: 'status' }
];

const REPORT_MS = 2000;
const REPORT_ELSEWHERE_MS = 10_000;

export function App() {
  const place = usePlace();
  const view = VIEWS[place.view];
  const [help, setHelp] = useState(false);
  useShortcuts(() => setHelp(true));
  const fast = view?.section === HOME;
  const report = usePoll('report', fast ? REPORT_MS : REPORT_ELSEWHERE_MS, signal =>
    getDocument<AutoscalingReport>('api/v1/autoscaling/workloads', signal)
  );
  const title = view?.title ?? 'Not found';
  useEffect(() => {
    const name = place.view === 'workload' ? (place.params.get('name') ?? title) : title;
    document.title = `${name} · Tidewright`;
  }, [place]);
  const Component = view?.component;
  return (
    <div class="frame">
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <Header section={view?.section ?? ''} report={report.data} error={report.error} onHelp={() => setHelp(true)} />
      <main id="content" tabIndex={-1}>
        <Problems report={report.data} error={report.error} />
        {Component ? (
          <Component key={place.view} place={place} report={report.data} reportError={report.error} />
        ) : (
          <Empty title="There is no such page">
            <p>
              Go to the <Link view={HOME}>workloads</Link>, or press <kbd>?</kbd> for what the keyboard can do.
            </p>
          </Empty>
        )}
      </main>
      {help && <HelpDialog onClose={() => setHelp(false)} />}
    </div>
  );
}

interface HeaderProps {
  section: string;
  report: AutoscalingReport | undefined;
  error: Error | undefined;
  onHelp: () => void;
}

function Header({ section, report, error, onHelp }: HeaderProps) {
  const [theme, nextTheme] = useTheme();
  const icons = { auto: 'auto', light: 'sun', dark: 'moon' } as const;
  return (
    <header class="top">
      <Link view={HOME} class="brand" label="Tidewright, workloads">
        <svg width="26" height="26" viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="7" />
          <path d="M4 19c4 0 4-4 8-4s4 4 8 4 4-4 8-4" />
          <path class="low" d="M4 25c4 0 4-4 8-4s4 4 8 4 4-4 8-4" />
        </svg>
        <span>Tidewright</span>
      </Link>
      <nav class="sections" aria-label="Sections">
        {SECTIONS.map(item => (
          <Link key={item.view} view={item.view} current={item.view === section}>
            <Icon name={item.icon} />
            <span>{item.label}</span>
          </Link>
        ))}
      </nav>
      <div class="top-right">
        <Standing report={report} error={error} />
        <button
          type="button"
          class="button bare"
          onClick={nextTheme}
          aria-label={`Colours: ${theme}. Change`}
          title={`Colours: ${theme === 'auto' ? 'as the system' : theme}`}
        >
          <Icon name={icons[theme]} />
        </button>
        <button
          type="button"
          class="button bare wide-only"
          onClick={onHelp}
          aria-label="Keyboard help"
          title="Keyboard help (?)"
        >
          <Icon name="help" />
        </button>
      </div>
    </header>
  );
}

// Whether what is shown is fresh, who leads, and the time where it is not everybody's.
function Standing({ report, error }: { report: AutoscalingReport | undefined; error: Error | undefined }) {
  const now = useNow(1000);
  if (error) return <span class="standing bad">No connection</span>;
  if (!report) return null;
  const { leader } = report;
  const role = !leader.elected ? '' : leader.leads ? 'leads' : 'on standby';
  const other = Math.abs(Date.parse(report.calendar) - Date.parse(report.now)) > 2000;
  return (
    <span class="standing" title={other ? 'The calendar that schedules are read by' : 'Updated by itself'}>
      <i class="live" />
      {role && <span class="role">{role}</span>}
      <span class="clock">{other ? `${report.calendar.slice(0, 16).replace('T', ' ')} UTC` : clock(now)}</span>
    </span>
  );
}

function Problems({ report, error }: { report: AutoscalingReport | undefined; error: Error | undefined }) {
  const [all, setAll] = useState(false);
  const problems = report?.problems ?? [];
  if (error && report) {
    return (
      <div class="note bad" role="alert">
        <Icon name="warning" />
        <div class="note-text">{error.message} What is shown is what was last heard; the page keeps trying.</div>
      </div>
    );
  }
  if (problems.length === 0) return null;
  const shown = all ? problems : problems.slice(0, 2);
  return (
    <div class="note bad" role="status" aria-label="Problems">
      <Icon name="warning" />
      <div class="note-text">
        {shown.map(problem => (
          <p key={problem}>{problem}</p>
        ))}
        {problems.length > 2 && (
          <button type="button" class="link" onClick={() => setAll(!all)}>
            {all ? 'Show fewer' : `Show ${problems.length - 2} more`}
          </button>
        )}
      </div>
    </div>
  );
}
