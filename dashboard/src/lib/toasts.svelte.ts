// Short news of what has been done, for as long as it takes to read.
const SHOWN_FOR_MS = 5000;

let last = 0;
export const toasts = $state<{ id: number; text: string }[]>([]);

/** Says that something has been done. */
export function tell(text: string) {
  const id = (last += 1);
  toasts.push({ id, text });
  setTimeout(() => {
    const index = toasts.findIndex((one) => one.id === id);
    if (index >= 0) toasts.splice(index, 1);
  }, SHOWN_FOR_MS);
}
