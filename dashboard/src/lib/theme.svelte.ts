// Light, dark, or as the system has it; remembered in this browser.
const STORED_AS = 'greenroom.theme';
const THEMES = ['system', 'light', 'dark'] as const;

export type Theme = (typeof THEMES)[number];

const stored = localStorage.getItem(STORED_AS);
export const theme = $state<{ name: Theme }>({ name: THEMES.find((one) => one === stored) ?? 'system' });
show();

/** Goes on to the next theme. */
export function nextTheme() {
  theme.name = THEMES[(THEMES.indexOf(theme.name) + 1) % THEMES.length] ?? 'system';
  localStorage.setItem(STORED_AS, theme.name);
  show();
}

function show() {
  if (theme.name === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.name;
}
