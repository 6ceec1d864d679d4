import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

export interface Loaded<T> {
  data: T | undefined;
  error: Error | undefined; // Of the last try; `data` is then what came before it.
  reload: () => void;
}

// An answer that takes long is costly for whoever gives it, so the page waits this many times as long before it asks again.
const REST_FACTOR = 10;

// Loads at once, then again each `intervalMs` while the page is visible; 0 loads once. Keeps what it has until something
// newer arrives, so that nothing flickers; another `key` starts anew, unless `keepOld`: then what came for the last key stays
// until there is an answer.
export function usePoll<T>(
  key: string,
  intervalMs: number,
  load: (signal: AbortSignal) => Promise<T>,
  keepOld = false
): Loaded<T> {
  const [state, setState] = useState<{ key: string; data?: T; error?: Error }>({ key });
  const loader = useRef(load);
  loader.current = load;
  const wake = useRef<() => void>(() => {});

  useEffect(() => {
    const abort = new AbortController();
    let timer = 0;
    let running = false;
    const run = async () => {
      if (running || abort.signal.aborted) return;
      running = true;
      clearTimeout(timer);
      const began = performance.now();
      try {
        const data = await loader.current(abort.signal);
        if (!abort.signal.aborted) setState({ key, data });
      } catch (error) {
        if (!abort.signal.aborted) {
          setState(old => ({ key, data: old.key === key ? old.data : undefined, error: error as Error }) as typeof old);
        }
      }
      running = false;
      if (intervalMs === 0 || document.hidden || abort.signal.aborted) return;
      timer = window.setTimeout(run, Math.max(intervalMs, REST_FACTOR * (performance.now() - began)));
    };
    const onVisible = () => {
      if (!document.hidden && intervalMs > 0) void run();
    };
    wake.current = () => void run();
    document.addEventListener('visibilitychange', onVisible);
    void run();
    return () => {
      abort.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onVisible);
    };
  }, [key, intervalMs]);

  const reload = useCallback(() => wake.current(), []);
  const current = state.key === key;
  return { data: current || keepOld ? state.data : undefined, error: current ? state.error : undefined, reload };
}

// A value that outlives the page; not kept where storage is forbidden.
export function useStored<T>(name: string, initial: T): [T, (value: T) => void] {
  const [value, setValue] = useState<T>(() => stored(name, initial));
  const keep = useCallback(
    (next: T) => {
      setValue(next);
      store(name, next);
    },
    [name]
  );
  return [value, keep];
}

export function stored<T>(name: string, initial: T): T {
  try {
    const text = localStorage.getItem(`tidewright.${name}`);
    return text === null ? initial : (JSON.parse(text) as T);
  } catch {
    return initial;
  }
}

export function store(name: string, value: unknown): void {
  try {
    localStorage.setItem(`tidewright.${name}`, JSON.stringify(value));
  } catch {
    // A private window: the choice holds until it is closed.
  }
}

// The present time, renewed each `ms` while the page is visible.
export function useNow(ms: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) setNow(Date.now());
    }, ms);
    return () => clearInterval(timer);
  }, [ms]);
  return now;
}

// The width of an element as it is laid out.
export function useWidth<E extends HTMLElement>(): [{ current: E | null }, number] {
  const element = useRef<E>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const node = element.current;
    if (!node) return;
    const observer = new ResizeObserver(entries => {
      const entry = entries[0];
      if (entry) setWidth(Math.floor(entry.contentRect.width));
    });
    observer.observe(node);
    return () => observer.disconnect();
  }, []);
  return [element, width];
}
