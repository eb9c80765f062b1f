// What values on the charts are: how they read, and which numbers are round in them.
import type { Unit } from '$lib/chart';
import { formatBytes, formatDuration, formatPercent } from '$lib/format';

const upTo3 = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3, notation: 'compact' });

/** 1, 2, 5, 10 … from `10 ** first` to `10 ** last`. */
const decimal = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, power) =>
    [1, 2, 5].map((digit) => digit * 10 ** (first + power)),
  ).flat();

/** 1, 2, 4 … of bytes. */
const binary = Array.from({ length: 45 }, (_, power) => 2 ** power);

export const COUNT: Unit = { format: (value) => upTo3.format(value), ticks: decimal(0, 12), least: 1 };
export const SECONDS: Unit = {
  format: (value) => formatDuration(value * 1000),
  ticks: [0.0005, ...decimal(-3, 0), 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 43_200, 86_400],
  least: 0.001,
};
export const BYTES: Unit = { format: formatBytes, ticks: binary, least: 16 };
export const CPUS: Unit = { format: (value) => upTo3.format(value), ticks: decimal(-3, 4), least: 0.01 };
export const SHARE: Unit = { format: (value) => formatPercent(value * 100), ticks: decimal(-2, 0), least: 1 };
