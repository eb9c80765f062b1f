// Whole numbers that a form asks for: what each is, and which the server takes.

/** The largest number that the server can read where it sets no bound of its own. */
const LARGEST = 4_294_967_295;

/** One number of a form. */
export interface WholeNumber {
  label: string;
  unit: string;
  /** What it does, in a sentence. */
  does: string;
  /** What the server takes where nothing was said. */
  usual: number;
  least: number;
  /** None where the server's configuration decides. */
  most?: number;
}

/** What is wrong with `text` as this number. */
export function troubleWith(rule: WholeNumber, text: string): string | undefined {
  if (!/^\d+$/.test(text.trim())) return 'This needs to be a whole number.';
  const value = Number(text);
  if (rule.most !== undefined && (value < rule.least || value > rule.most))
    return `This needs to be from ${rule.least} to ${rule.most}.`;
  if (value < rule.least) return `This needs to be at least ${rule.least}.`;
  return value > LARGEST ? 'This is too large a number.' : undefined;
}

/** The beginning and the end of a long list, and how many are left out between them. */
export function abridged<T>(all: T[], first: number, last: number): { first: T[]; hidden: number; last: T[] } {
  // One line that says "1 more" would take as much room as the one it hides.
  if (all.length <= first + last + 1) return { first: all, hidden: 0, last: [] };
  return { first: all.slice(0, first), hidden: all.length - first - last, last: all.slice(-last) };
}
