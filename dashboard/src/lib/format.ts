// Numbers and times for people.

const count = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const small = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const fine = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const clock = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
  hourCycle: 'h23',
});

/** `1,234`. */
export const formatCount = (value: number): string => count.format(value);

/** `1 replica`, `1,234 replicas`. */
export const counted = (value: number, noun: string): string =>
  `${count.format(value)} ${noun}${value === 1 ? '' : 's'}`;

/** `50 %`, `0.3 %`. */
export const formatPercent = (percent: number): string => `${small.format(percent)}\u00a0%`;

/** How many a second: `0`, `0.04`, `1.2`, `1,234`. */
export const formatRate = (perSecond: number): string =>
  (perSecond >= 100 ? count : perSecond >= 1 ? small : fine).format(perSecond);

/** `0 s`, `12 ms`, `1.2 s`, `3 min 20 s`, `2 h 5 min`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0 s';
  if (ms < 1000) return `${small.format(ms < 10 ? ms : Math.round(ms))} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${small.format(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return join(minutes, 'min', Math.round(seconds % 60), 's');
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return join(hours, 'h', minutes % 60, 'min');
  return join(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

/** `1.5 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  return `${small.format(bytes / 1024 ** power)} ${units[power]}`;
}

/** `3 min ago`, `just now`. */
export function formatAgo(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 5) return 'just now';
  if (seconds < 60) return `${seconds} s ago`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ago`;
  return `${Math.floor(hours / 24)} d ago`;
}

/** The full date and time in the viewer's zone. */
export const formatExact = (ms: number): string => exact.format(ms);

/** `14:03:07.512`, in the viewer's zone. */
export const formatClock = (ms: number): string => clock.format(ms);

/** `30 Nov, 14:03:07.512`, in the viewer's zone. */
export const formatDayAndClock = (ms: number): string => `${day.format(ms)}, ${clock.format(ms)}`;

/** `IN_PROGRESS` as `in progress`. */
export const formatWord = (word: string): string => word.toLowerCase().replaceAll('_', ' ');

function join(large: number, largeUnit: string, rest: number, restUnit: string): string {
  return rest > 0 ? `${large} ${largeUnit} ${rest} ${restUnit}` : `${large} ${largeUnit}`;
}
