// Percentiles of starts as rows of a table.
import type { Schemas } from '$lib/api/client';
import { PHASES } from '$lib/starts';

/** One row of the summary. */
export interface Percentiles {
  name: string;
  does: string;
  colour: string;
  of: Schemas['StartupPercentiles'];
}

/** The whole start, then its parts. */
export function rowsOf(summary: Schemas['StartupSummary']): Percentiles[] {
  const whole = { name: 'Whole start', does: 'until the replica is ready', colour: 'var(--accent)' };
  const parts = summary.phase_duration_ms.map(({ phase, duration_ms }) => ({ ...PHASES[phase], of: duration_ms }));
  return [{ ...whole, of: summary.total_duration_ms }, ...parts];
}
