// What the engine says of a query beside its result, and how long that took.
import { plural, seconds } from './format';
import { Icon } from './ui';

export function Annotations({ warnings, infos }: { warnings: string[]; infos: string[] }) {
  if (warnings.length + infos.length === 0) return null;
  return (
    <div class={`note ${warnings.length > 0 ? 'warn' : 'info'}`} role="status">
      <Icon name={warnings.length > 0 ? 'warning' : 'help'} />
      <div class="note-text">
        {[...warnings, ...infos].map(text => (
          <p key={text}>{text}</p>
        ))}
      </div>
    </div>
  );
}

export function Took({ series, ms }: { series: number; ms: number }) {
  return (
    <span class="faint took">
      {plural(series, 'series', 'series')} in {seconds(ms / 1000)}
    </span>
  );
}
