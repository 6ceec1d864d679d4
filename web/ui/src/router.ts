// Which view is shown: the last segment of the path, and the query string. Each view is one segment, so that relative
// links work from all of them, also below the path of a proxy.
import { useEffect, useState } from 'preact/hooks';
import { type Params, queryString } from './api';

export interface Place {
  view: string;
  params: URLSearchParams;
}

export const HOME = 'workloads';

// Names that links of Prometheus use.
const ALIASES: Record<string, string> = { '': HOME, graph: 'query', runtimeinfo: 'status', 'index.html': HOME };

export function placeOf(pathname: string, search: string): Place {
  const segment = pathname.slice(pathname.lastIndexOf('/') + 1);
  return { view: ALIASES[segment] ?? segment, params: new URLSearchParams(search) };
}

export function hrefOf(view: string, params: Params = {}): string {
  return (view === HOME ? './' : view) + queryString(params);
}

const listeners = new Set<() => void>();

function announce(): void {
  for (const listener of listeners) listener();
}

export function navigate(view: string, params: Params = {}): void {
  history.pushState(null, '', hrefOf(view, params));
  window.scrollTo(0, 0);
  announce();
}

// Changes the query string without a new entry in the history, as filters do while one types.
export function replaceParams(params: Params): void {
  const path = location.pathname;
  history.replaceState(null, '', path + queryString(params));
  announce();
}

export function usePlace(): Place {
  const [place, setPlace] = useState(() => placeOf(location.pathname, location.search));
  useEffect(() => {
    const update = () => setPlace(placeOf(location.pathname, location.search));
    listeners.add(update);
    window.addEventListener('popstate', update);
    return () => {
      listeners.delete(update);
      window.removeEventListener('popstate', update);
    };
  }, []);
  return place;
}

// Follows links between views without loading the page again. Attached once, to the document.
export function followLinks(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const link = (event.target as Element).closest?.('a[data-view]');
  if (!(link instanceof HTMLAnchorElement) || link.target) return;
  event.preventDefault();
  history.pushState(null, '', link.getAttribute('href') ?? './');
  window.scrollTo(0, 0);
  announce();
}
