// Files for the viewer to keep.

/** Saves what an address gives. */
export function saveFrom(address: string, name = '') {
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}

/** Saves a text as a file. */
export function saveText(text: string, name: string) {
  const address = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
  saveFrom(address, name);
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
