// Going back leads to where a page was left. The router begins every page at its top, and what a page shows is read only then.
const WAITS_MS = 2000;
const INPUTS = ['wheel', 'touchstart', 'pointerdown', 'keydown'] as const;

/** Keeps to this while `content` is there; the answer ends it. */
export function keepScroll(content: HTMLElement): () => void {
  const left = new Map<string, number>();
  /** Where to get to as soon as the page is long enough. */
  let wanted: number | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const rest = () => (wanted = undefined);
  const look = () => {
    const room = document.documentElement.scrollHeight - innerHeight;
    if (wanted === undefined) left.set(location.href, scrollY);
    else if (scrollY !== wanted && room >= wanted) scrollTo(0, wanted);
  };
  const goBack = () => {
    wanted = left.get(location.href);
    clearTimeout(timer);
    timer = setTimeout(rest, WAITS_MS);
  };

  history.scrollRestoration = 'manual';
  const sizes = new ResizeObserver(look);
  sizes.observe(content);
  const over = new AbortController();
  const { signal } = over;
  addEventListener('scroll', look, { passive: true, signal });
  addEventListener('popstate', goBack, { signal });
  // Whoever moves by themselves is not held.
  for (const input of INPUTS) addEventListener(input, rest, { passive: true, signal });
  return () => {
    over.abort();
    sizes.disconnect();
    clearTimeout(timer);
  };
}
