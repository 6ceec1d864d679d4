// A small plot of steps without axes.
interface SparklineProps {
  values: (number | null)[];
  top: number;
  label: string;
}

const WIDTH = 160;
const HEIGHT = 36;

// The corners of a step line, in parts where values are missing.
export function stepPath(values: (number | null)[], top: number, width: number, height: number): string {
  const dx = width / Math.max(1, values.length - 1);
  const y = (value: number) => (height - 1.5 - (Math.min(value, top) / Math.max(1, top)) * (height - 3)).toFixed(1);
  let path = '';
  let before: number | null = null;
  values.forEach((value, i) => {
    if (value !== null) {
      const x = (i * dx).toFixed(1);
      if (before === null) path += `M${x},${y(value)}`;
      else path += `H${x}${value === before ? '' : `V${y(value)}`}`;
    }
    before = value;
  });
  return path;
}

export function Sparkline({ values, top, label }: SparklineProps) {
  const path = stepPath(values, Math.max(top, ...values.map(value => value ?? 0)), WIDTH, HEIGHT);
  return (
    <svg class="sparkline" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={label}>
      <line x1="0" x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
      <path d={path} />
    </svg>
  );
}
