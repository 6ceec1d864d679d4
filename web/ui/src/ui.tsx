// Small parts that several views are made of.
import type { ComponentChildren, TargetedEvent } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Params } from './api';
import { ago, dateTime, isTime, matches } from './format';
import { hrefOf } from './router';
import type { LabelSet } from './types';
import type { Tone } from './workload';

const ICONS = {
  workloads: 'M3 17c3 0 3-3 6-3s3 3 6 3 3-3 6-3M3 11c3 0 3-3 6-3s3 3 6 3 3-3 6-3',
  query: 'M4 4v16h16M8 15l3-5 3 3 5-7',
  targets: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zm0 5a4 4 0 1 0 0 8 4 4 0 0 0 0-8z',
  alerts: 'M6 16V11a6 6 0 0 1 12 0v5l2 2H4zM10 21h4',
  status: 'M4 6h16M4 12h16M4 18h10',
  search: 'M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5 21 21',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5',
  moon: 'M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z',
  auto: 'M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18',
  help: 'M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 18v.01',
  close: 'M6 6l12 12M18 6 6 18',
  plus: 'M12 5v14M5 12h14',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  down: 'M6 9l6 6 6-6',
  right: 'M9 6l6 6-6 6',
  warning: 'M12 4 2.5 20h19zM12 10v4M12 17v.01',
  check: 'M5 12l5 5 9-10',
  back: 'M15 6l-6 6 6 6',
  book: 'M5 4h10a4 4 0 0 1 4 4v12H9a4 4 0 0 1-4-4zM9 9h6M9 13h6'
} as const;

export type IconName = keyof typeof ICONS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 24 24" aria-hidden="true">
      <path d={ICONS[name]} />
    </svg>
  );
}

interface LinkProps {
  view: string;
  params?: Params;
  class?: string;
  current?: boolean;
  label?: string;
  title?: string;
  children: ComponentChildren;
}

export function Link({ view, params, current, label, children, ...rest }: LinkProps) {
  return (
    <a
      href={hrefOf(view, params)}
      data-view={view}
      aria-current={current ? 'page' : undefined}
      aria-label={label}
      {...rest}
    >
      {children}
    </a>
  );
}

export function Chip({ tone, children, title }: { tone: Tone; children: ComponentChildren; title?: string }) {
  return (
    <span class={`chip ${tone}`} title={title}>
      {children}
    </span>
  );
}

// What to do where there is nothing to show.
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children && <div class="empty-text">{children}</div>}
    </div>
  );
}

export function Failure({ error, onRetry }: { error: Error; onRetry?: () => void }) {
  return (
    <div class="note bad" role="alert">
      <Icon name="warning" />
      <div class="note-text">{error.message}</div>
      {onRetry && (
        <button type="button" class="button" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}

// Shown only if an answer takes long enough to be noticed (the style delays it).
export function Loading({ what }: { what: string }) {
  return (
    <p class="loading" role="status">
      Loading {what}…
    </p>
  );
}

interface Tab {
  view: string;
  label: string;
  count?: number | undefined;
  params?: Params;
}

export function Tabs({ tabs, current, label }: { tabs: Tab[]; current: string; label: string }) {
  const element = useRef<HTMLElement>(null);
  useEffect(() => {
    element.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, [current]);
  return (
    <nav class="tabs" aria-label={label} ref={element}>
      {tabs.map(tab => (
        <Link key={tab.view} view={tab.view} params={tab.params ?? {}} current={tab.view === current}>
          {tab.label}
          {tab.count !== undefined && <span class="count">{tab.count}</span>}
        </Link>
      ))}
    </nav>
  );
}

interface SearchProps {
  value: string;
  onInput: (value: string) => void;
  label: string;
}

// The search field of a view; `/` goes to it.
export function Search({ value, onInput, label }: SearchProps) {
  return (
    <label class="search">
      <Icon name="search" size={16} />
      <input
        type="search"
        data-search
        value={value}
        placeholder={label}
        aria-label={label}
        onInput={event => onInput(event.currentTarget.value)}
      />
      <kbd aria-hidden="true">/</kbd>
    </label>
  );
}

interface Choice<T extends string> {
  id: T;
  label: string;
  count?: number;
  tone?: Tone | undefined;
}

interface ChoicesProps<T extends string> {
  choices: Choice<T>[];
  value: T;
  onChange: (value: T) => void;
  label: string;
}

// One of a few, as buttons side by side.
export function Choices<T extends string>({ choices, value, onChange, label }: ChoicesProps<T>) {
  return (
    <div class="choices" role="group" aria-label={label}>
      {choices.map(choice => (
        <button
          key={choice.id}
          type="button"
          class={choice.tone && choice.count ? choice.tone : ''}
          aria-pressed={choice.id === value}
          onClick={() => onChange(choice.id)}
        >
          {choice.label}
          {choice.count !== undefined && <span class="count">{choice.count}</span>}
        </button>
      ))}
    </div>
  );
}

export function CopyButton({ text, label = 'Copy' }: { text: () => string; label?: string }) {
  const [done, setDone] = useState('');
  const copy = async () => {
    const copied = await copyText(text());
    setDone(copied ? 'Copied' : 'Press Ctrl+C');
    setTimeout(() => setDone(''), 2000);
  };
  return (
    <button type="button" class="button" onClick={copy}>
      <Icon name={done === 'Copied' ? 'check' : 'copy'} size={15} />
      <span aria-live="polite">{done || label}</span>
    </button>
  );
}

// The clipboard of a page that came over plain HTTP takes only what is selected.
async function copyText(text: string): Promise<boolean> {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Not allowed: the older way may be.
    }
  }
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'off-screen';
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  return copied;
}

export function Labels({ labels, hide = [] }: { labels: LabelSet; hide?: string[] }) {
  const entries = Object.entries(labels).filter(([name]) => !hide.includes(name));
  if (entries.length === 0) return <span class="faint">no labels</span>;
  return (
    <span class="labels">
      {entries.map(([name, value]) => (
        <span class="label" key={name}>
          <b>{name}</b>
          <span>{value}</span>
        </span>
      ))}
    </span>
  );
}

// A series as one writes it: the metric, then its labels.
export function SeriesName({ labels }: { labels: LabelSet }) {
  const { __name__: metric, ...rest } = labels;
  const entries = Object.entries(rest);
  return (
    <span class="series">
      {metric && <b>{metric}</b>}
      {(entries.length > 0 || !metric) && (
        <>
          {'{'}
          {entries.map(([name, value], i) => (
            <span key={name}>
              {i > 0 && ', '}
              <i>{name}</i>="{value}"
            </span>
          ))}
          {'}'}
        </>
      )}
    </span>
  );
}

export function Ago({ time, now }: { time: string | undefined; now: number }) {
  return (
    <time dateTime={time} title={isTime(time) ? dateTime(Date.parse(time)) : undefined}>
      {ago(time, now)}
    </time>
  );
}

// A horizontal bar; `share` above 1 is drawn as full.
export function Meter({ share, tone = 'accent', label }: { share: number; tone?: Tone; label: string }) {
  return (
    <span class={`meter ${tone}`} role="img" aria-label={label}>
      <span style={{ width: `${Math.max(0, Math.min(1, share)) * 100}%` }} />
    </span>
  );
}

interface FoldProps {
  title: ComponentChildren;
  open?: boolean;
  onToggle?: (open: boolean) => void;
  class?: string;
  children: () => ComponentChildren;
}

// A summary that opens; what is inside is made only then.
export function Fold({ title, open = false, onToggle, class: name = 'fold', children }: FoldProps) {
  const [shown, setShown] = useState(open);
  useEffect(() => setShown(open), [open]);
  const toggled = (event: TargetedEvent<HTMLDetailsElement>) => {
    const now = event.currentTarget.open;
    setShown(now);
    onToggle?.(now);
  };
  return (
    <details class={name} open={shown} onToggle={toggled}>
      <summary>
        <Icon name="right" size={15} />
        {title}
      </summary>
      {shown && children()}
    </details>
  );
}

export function Dialog({
  title,
  onClose,
  children
}: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => element.current?.showModal(), []);
  return (
    <dialog
      ref={element}
      aria-label={title}
      onClose={onClose}
      onClick={event => {
        if (event.target === element.current) element.current?.close();
      }}
      onKeyDown={event => event.stopPropagation()}
    >
      <div class="dialog-body">
        <header>
          <h2>{title}</h2>
          <button type="button" class="button bare" aria-label="Close" onClick={() => element.current?.close()}>
            <Icon name="close" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

// The first rows of a long list, and a button for more of it.
export function useRows<T>(rows: T[], step: number): { shown: T[]; more: ComponentChildren } {
  const [limit, setLimit] = useState(step);
  const left = rows.length - limit;
  const more = left > 0 && (
    <button type="button" class="button more" onClick={() => setLimit(limit + step)}>
      Show {Math.min(step, left)} more of {rows.length}
    </button>
  );
  return { shown: left > 0 ? rows.slice(0, limit) : rows, more };
}

export function filtered<T>(rows: T[], filter: string, text: (row: T) => string): T[] {
  return filter.trim() === '' ? rows : rows.filter(row => matches(filter, text(row)));
}
