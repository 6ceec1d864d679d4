// What the keyboard does everywhere: `/` to search, `g` and a letter to go somewhere, `?` for help.
import { useEffect } from 'preact/hooks';
import { HOME, navigate } from './router';
import { Dialog } from './ui';

const PLACES: Record<string, [string, string]> = {
  w: [HOME, 'Workloads'],
  q: ['query', 'Query'],
  t: ['targets', 'Targets'],
  d: ['service-discovery', 'Service discovery'],
  a: ['alerts', 'Alerts'],
  r: ['rules', 'Rules'],
  s: ['status', 'Status'],
  c: ['config', 'Configuration'],
  m: ['metric-rules', 'Metrics APIs']
};

const PREFIX_MS = 1500;

function types(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}

function focusSearch(): boolean {
  const field = document.querySelector<HTMLElement>('[data-search]');
  field?.focus();
  if (field instanceof HTMLInputElement) field.select();
  return field !== null;
}

export function useShortcuts(onHelp: () => void): void {
  useEffect(() => {
    let prefixed = 0;
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (types(event.target)) {
        if (event.key === 'Escape') (event.target as HTMLElement).blur();
        return;
      }
      const place = event.timeStamp - prefixed < PREFIX_MS ? PLACES[event.key] : undefined;
      prefixed = 0;
      if (place) navigate(place[0]);
      else if (event.key === 'g') prefixed = event.timeStamp;
      else if (event.key === '?') onHelp();
      else if (event.key !== '/' || !focusSearch()) return;
      event.preventDefault();
    };
    document.addEventListener('keydown', pressed);
    return () => document.removeEventListener('keydown', pressed);
  }, []);
}

const KEYS: [string, string][] = [
  ['/', 'Go to the search field, or to the expression'],
  ['?', 'This help'],
  ['Esc', 'Leave a field, close what is open'],
  ['Tab, Enter', 'Every link, button and point of change can be reached and pressed'],
  ['Ctrl Enter', 'Run the expression; Enter does, too'],
  ['Shift Enter', 'Another line in the expression'],
  ['Ctrl Space', 'Suggestions in the expression'],
  ['↑ ↓', 'Choose a suggestion; Enter or Tab takes it']
];

export function HelpDialog({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <div class="keys">
        <dl>
          {Object.entries(PLACES).map(([key, [, name]]) => (
            <div key={key}>
              <dt>
                <kbd>g</kbd> <kbd>{key}</kbd>
              </dt>
              <dd>{name}</dd>
            </div>
          ))}
        </dl>
        <dl>
          {KEYS.map(([key, what]) => (
            <div key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
      </div>
    </Dialog>
  );
}
