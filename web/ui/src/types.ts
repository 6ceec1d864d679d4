// What the HTTP API answers, as far as the page reads it (docs/http-api.md).

export interface Signal {
  name: string;
  type: string;
  value: number | null;
  target: number;
  proposal: number | null;
  active: boolean;
  error: string;
  detail: string;
}

export interface Step {
  stage: string;
  signal: string;
  replicas: number;
  text: string;
}

export interface Condition {
  type: string;
  status: string;
  reason: string;
  message: string;
  since: string;
}

export interface Workload {
  controller: string;
  namespace: string;
  name: string;
  target: string;
  minReplicas: number;
  maxReplicas: number;
  currentReplicas: number;
  desiredReplicas: number;
  readyReplicas: number;
  held: boolean;
  paused: boolean;
  why: string;
  signals: Signal[];
  steps: Step[];
  conditions: Condition[];
  events: { time: string; from: number; to: number; why: string }[];
}

export interface Leader {
  elected: boolean;
  leads: boolean;
  leader: string;
  identity: string;
}

export interface AutoscalingReport {
  now: string;
  calendar: string;
  problems: string[];
  leader: Leader;
  workloads: Workload[];
}

export interface Decision {
  controller: string;
  namespace: string;
  name: string;
  target: string;
  time: string;
  from: number;
  to: number;
  held: boolean;
  why: string;
  steps: Step[];
}

export type LabelSet = Record<string, string>;
export type Point = [number, string];

// [boundary rule, left, right, count], the boundaries and the count as text.
export type Bucket = [number, string, string, string];

export interface Histogram {
  count: string;
  sum: string;
  buckets?: Bucket[];
}

export interface VectorSample {
  metric: LabelSet;
  value?: Point;
  histogram?: [number, Histogram];
}

export interface MatrixSeries {
  metric: LabelSet;
  values?: Point[];
  histograms?: [number, Histogram][];
}

export type QueryData =
  | { resultType: 'vector'; result: VectorSample[] }
  | { resultType: 'matrix'; result: MatrixSeries[] }
  | { resultType: 'scalar' | 'string'; result: Point };

export interface Target {
  discoveredLabels: LabelSet;
  labels: LabelSet;
  scrapePool: string;
  scrapeUrl: string;
  lastError: string;
  lastScrape: string;
  lastScrapeDuration: number;
  health: 'up' | 'down' | 'unknown';
  scrapeInterval: string;
  scrapeTimeout: string;
}

export interface DroppedTarget {
  discoveredLabels: LabelSet;
  scrapePool: string;
  reason: string;
}

export interface Targets {
  activeTargets: Target[];
  droppedTargets: DroppedTarget[];
  droppedTargetCounts: Record<string, number> | null;
}

export interface RelabelSteps {
  steps: { rule: Record<string, unknown>; output: LabelSet; keep: boolean }[];
}

export type AlertState = 'firing' | 'pending' | 'inactive';

export interface Alert {
  labels: LabelSet;
  annotations: LabelSet;
  state: AlertState;
  activeAt: string;
  value: string;
  keepFiringSince?: string;
}

export interface Rule {
  type: 'alerting' | 'recording';
  name: string;
  query: string;
  labels: LabelSet;
  health: 'ok' | 'err' | 'unknown';
  lastEvaluation: string;
  evaluationTime: number;
  lastError?: string;
  state?: AlertState;
  duration?: number;
  keepFiringFor?: number;
  annotations?: LabelSet;
  alerts?: Alert[];
}

export interface RuleGroup {
  name: string;
  file: string;
  interval: number;
  limit: number;
  lastEvaluation: string;
  evaluationTime: number;
  rules: Rule[];
}

export interface Alertmanagers {
  activeAlertmanagers: { url: string }[];
  droppedAlertmanagers: { url: string }[];
}

export interface RuntimeInfo {
  startTime: string;
  CWD: string;
  hostname: string;
  serverTime: string;
  reloadConfigSuccess: boolean;
  lastConfigTime: string;
  corruptionCount: number;
  storageRetention: string;
}

export interface BuildInfo {
  version: string;
  revision: string;
}

export interface Count {
  name: string;
  value: number;
}

export interface TsdbStatus {
  headStats: { numSeries: number; numLabelPairs: number; minTime: number; maxTime: number };
  seriesCountByMetricName: Count[];
  labelValueCountByLabelName: Count[];
  memoryInBytesByLabelName: Count[];
  seriesCountByLabelValuePair: Count[];
}

export interface Block {
  ulid: string;
  minTime: number;
  maxTime: number;
  stats?: { numSamples?: number; numSeries?: number; numChunks?: number };
  compaction?: { level?: number };
}

export interface Notification {
  text: string;
  date: string;
  active: boolean;
}

export interface MetricRule {
  section: string;
  index: number;
  object: string;
  seriesQuery: string;
  metricsQuery: string;
  error: string;
  series: number | string[];
  metrics: string[];
  notes: string[];
  listedAt?: string;
}

export type Metadata = Record<string, { type: string; help: string; unit: string }[]>;
