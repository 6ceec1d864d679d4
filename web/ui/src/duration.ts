// Durations of Prometheus: "1h30m", "5m", "250ms".

const UNITS: [string, number][] = [
  ['y', 365 * 86400],
  ['w', 7 * 86400],
  ['d', 86400],
  ['h', 3600],
  ['m', 60],
  ['s', 1],
  ['ms', 0.001]
];

// Seconds; undefined when `text` is no duration.
export function parseDuration(text: string): number | undefined {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed) > 0 ? Number(trimmed) : undefined;
  const found = /^(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m(?!s))?(\d+s)?(\d+ms)?$/.exec(trimmed);
  if (!found || trimmed === '') return undefined;
  let total = 0;
  UNITS.forEach(([, size], i) => {
    total += Number.parseInt(found[i + 1] ?? '0', 10) * size;
  });
  return total > 0 ? total : undefined;
}

export function formatDuration(seconds: number): string {
  let rest = Math.round(seconds * 1000);
  if (rest <= 0) return '0s';
  let text = '';
  for (const [unit, size] of UNITS) {
    const whole = Math.floor(rest / Math.round(size * 1000));
    rest -= whole * Math.round(size * 1000);
    if (whole > 0) text += `${whole}${unit}`;
  }
  return text;
}

// About `points` steps over a range, at least one second each.
export function stepFor(rangeSeconds: number, points: number): number {
  const raw = rangeSeconds / points;
  if (raw <= 1) return 1;
  for (const nice of [2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400]) {
    if (raw <= nice) return nice;
  }
  return Math.ceil(raw / 86400) * 86400;
}
