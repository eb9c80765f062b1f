// Something that a person asks for: at most once at a time, with what came of it.
import type { ApiError } from './api/client';
import { asApiError } from './resource.svelte';

export class Action {
  isRunning = $state(false);
  error = $state.raw<ApiError>();

  /** Does `work`; whether it went well. Does nothing while it runs. */
  async run(work: () => Promise<void>): Promise<boolean> {
    if (this.isRunning) return false;
    this.isRunning = true;
    this.error = undefined;
    try {
      await work();
      return true;
    } catch (error) {
      this.error = asApiError(error);
      return false;
    } finally {
      this.isRunning = false;
    }
  }
}
