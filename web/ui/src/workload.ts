// What the state of a workload is called, and which decision belongs to a change.
import type { Condition, Workload } from './types';

export type Tone = 'good' | 'bad' | 'warn' | 'accent' | 'quiet';

export interface WorkloadState {
  id: 'held' | 'problem' | 'paused' | 'up' | 'down' | 'maximum' | 'asleep' | 'steady';
  label: string;
  tone: Tone;
}

// Conditions that say, when not True, that the workload is not scaled as asked.
const MATTER = new Set(['Ready', 'ScalingActive', 'AbleToScale']);

export function isFailing(condition: Condition): boolean {
  return MATTER.has(condition.type) && condition.status !== 'True' && condition.reason !== 'ScalingDisabled';
}

export function stateOf(workload: Workload): WorkloadState {
  if (workload.held) return { id: 'held', label: 'Held', tone: 'bad' };
  if (workload.paused) return { id: 'paused', label: 'Paused', tone: 'quiet' };
  if (workload.desiredReplicas > workload.currentReplicas) return { id: 'up', label: 'Scaling up', tone: 'accent' };
  if (workload.desiredReplicas < workload.currentReplicas) return { id: 'down', label: 'Scaling down', tone: 'accent' };
  if (workload.conditions.some(isFailing)) return { id: 'problem', label: 'Problem', tone: 'bad' };
  if (workload.signals.some(signal => (signal.proposal ?? 0) > workload.maxReplicas)) {
    return { id: 'maximum', label: 'At maximum', tone: 'warn' };
  }
  if (workload.currentReplicas === 0) return { id: 'asleep', label: 'At zero', tone: 'quiet' };
  return { id: 'steady', label: 'Steady', tone: 'good' };
}

const RANK = ['held', 'problem', 'maximum', 'up', 'down', 'steady', 'asleep', 'paused'];

// What needs attention first, then by name.
export function byAttention(a: Workload, b: Workload): number {
  const first = ['held', 'problem'];
  const urgent = (workload: Workload) => (first.includes(stateOf(workload).id) ? 0 : 1);
  return urgent(a) - urgent(b) || keyOf(a).localeCompare(keyOf(b));
}

export function byState(a: WorkloadState['id'], b: WorkloadState['id']): number {
  return RANK.indexOf(a) - RANK.indexOf(b);
}

interface Identity {
  controller: string;
  namespace: string;
  name: string;
}

export function keyOf(of: Identity): string {
  return `${of.namespace}/${of.name}/${of.controller}`;
}

// How much of its target a signal has reached, 0 to 1 and above; undefined without a value or a target.
export function loadOf(signal: { value: number | null; target: number }): number | undefined {
  if (signal.value === null || signal.target <= 0) return undefined;
  return signal.value / signal.target;
}

const STAGES: Record<string, string> = {
  bounds: 'Bounds',
  signal: 'Signal',
  formula: 'Formula',
  combine: 'Combine',
  activity: 'Activity',
  stabilize: 'Stabilize',
  policy: 'Policy',
  limit: 'Limit',
  hold: 'Hold'
};

export function stageName(stage: string): string {
  return STAGES[stage] ?? stage;
}
