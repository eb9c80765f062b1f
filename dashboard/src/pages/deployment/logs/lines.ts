// Lines of a log as a page holds them: in the order of their times, each once.
import type { Schemas } from '$lib/api/client';
import { formatClock, formatDayAndClock } from '$lib/format';

export type Line = Schemas['Log'] & {
  /** Its name in the list, for as long as the page lives. */
  key: number;
};

let lastKey = 0;
export const toLine = (log: Schemas['Log']): Line => ({ ...log, key: (lastKey += 1) });

/** When it was written, in epoch milliseconds. */
export const timeOf = ({ timestamp }: Schemas['Log']): number => Number(timestamp.slice(0, -6));

/** `lines` with what is new in `more`; both are in order. */
export function merge(lines: Line[], more: Line[]): Line[] {
  const [first, last] = [more[0], lines.at(-1)];
  if (!first) return lines;
  if (!last || compare(last, first) < 0) return [...lines, ...more];
  const merged: Line[] = [];
  let next = 0;
  for (const line of lines) {
    for (let one = more[next]; one && compare(one, line) < 0; one = more[next]) {
      merged.push(one);
      next += 1;
    }
    merged.push(line);
  }
  merged.push(...more.slice(next));
  return merged.filter((_, index) => !hasTwinBefore(merged, index));
}

/** In the order of their times; what arrives late moves to its place. */
export const inOrder = (lines: Line[]): Line[] => [...lines].sort(compare);

/** The lines as text, as a file has them. */
export const toText = (lines: Line[]): string => lines.map((line) => `${textOf(line)}\n`).join('');

/** The time in front of a line: the day too, where there is more than one. */
export const formatTime = (line: Line, hasDays: boolean): string =>
  hasDays ? formatDayAndClock(timeOf(line)) : formatClock(timeOf(line));

function textOf(line: Line): string {
  const about = [
    line.level,
    line.replica && `replica=${line.replica}`,
    line.request_id && `request=${line.request_id}`,
  ];
  return [new Date(timeOf(line)).toISOString(), ...about.filter(Boolean), line.message].join(' ');
}

// Nanoseconds since the epoch do not fit in a number; as texts of one length they compare as they are.
function compare(a: Line, b: Line): number {
  if (a.timestamp.length !== b.timestamp.length) return a.timestamp.length - b.timestamp.length;
  return a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0;
}

// The same line, read twice, stands among those of the same moment.
function hasTwinBefore(lines: Line[], index: number): boolean {
  const line = lines[index];
  for (let at = index - 1; line; at -= 1) {
    const before = lines[at];
    if (!before || before.timestamp !== line.timestamp) return false;
    if (before.message === line.message && before.replica === line.replica) return true;
  }
  return false;
}
