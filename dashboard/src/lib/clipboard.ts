// Copying, also where browsers keep their clipboard to pages that came encrypted.

export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // A server on plain HTTP, seen from another machine: the old way is left.
  const area = document.createElement('textarea');
  area.value = text;
  area.readOnly = true;
  const before = document.activeElement;
  // Inside a modal dialog nothing outside of it can be selected.
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
  if (before instanceof HTMLElement) before.focus();
}
