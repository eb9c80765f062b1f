// The time, for "3 minutes ago": one timer for all that show it.
export const clock = $state({ nowMs: Date.now() });

setInterval(() => (clock.nowMs = Date.now()), 1000);
