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

/** Saves bytes as a file. */
export function saveBytes(bytes: Blob, name: string) {
  const address = URL.createObjectURL(bytes);
  saveFrom(address, name);
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** Saves a text as a file. */
export const saveText = (text: string, name: string) => saveBytes(new Blob([text], { type: 'text/plain' }), name);
