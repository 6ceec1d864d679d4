// Light, dark, or what the system says. The choice is an attribute of the root element, which the style sheet reads.
import { useCallback, useEffect, useState } from 'preact/hooks';
import { store, stored } from './hooks';

export type Theme = 'auto' | 'light' | 'dark';
const NAME = 'theme';
const changed = new EventTarget();
const system = window.matchMedia('(prefers-color-scheme: dark)');

export function applyTheme(theme: Theme = stored<Theme>(NAME, 'auto')): void {
  const dark = theme === 'dark' || (theme === 'auto' && system.matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  changed.dispatchEvent(new Event('change'));
}

export function useTheme(): [Theme, () => void] {
  const [theme, setTheme] = useState<Theme>(() => stored<Theme>(NAME, 'auto'));
  useEffect(() => {
    const update = () => applyTheme();
    system.addEventListener('change', update);
    return () => system.removeEventListener('change', update);
  }, []);
  const next = useCallback(() => {
    const following: Theme = theme === 'auto' ? 'light' : theme === 'light' ? 'dark' : 'auto';
    setTheme(following);
    store(NAME, following);
    applyTheme(following);
  }, [theme]);
  return [theme, next];
}

// A number that changes with the colours, for what is drawn and not styled.
export function useThemeVersion(): number {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const update = () => setVersion(old => old + 1);
    changed.addEventListener('change', update);
    return () => changed.removeEventListener('change', update);
  }, []);
  return version;
}

export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Colours of series that are told apart by people who see few of them, too.
export const SERIES_COLOURS = 10;
export function seriesColour(index: number): string {
  return colour(`series-${index % SERIES_COLOURS}`);
}
