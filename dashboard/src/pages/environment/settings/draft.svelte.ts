// What a form shows: what the server has, with a person's edits on top. Fields that nobody has touched follow the server, and edits
// outlive the page, so that going to look something up loses nothing.
const edits = $state<Record<string, Record<string, string>>>({});

export class Draft<Field extends string> {
  /** What the form shows. */
  values = $derived.by(() => ({ ...this.#saved(), ...edits[this.#name] }) as Record<Field, string>);
  /** What it shows otherwise than the server has it. */
  changed = $derived.by(() => {
    const saved: Record<string, string> = this.#saved();
    const entries = Object.entries(edits[this.#name] ?? {}).filter(([field, text]) => text !== saved[field]);
    return Object.fromEntries(entries) as Partial<Record<Field, string>>;
  });

  #name: string;
  #saved: () => Record<Field, string>;

  /** `name` says which form of the whole dashboard it is: a place, `/`, and the form. */
  constructor(name: string, saved: () => Record<Field, string>) {
    this.#name = name;
    this.#saved = saved;
  }

  /** What the server has. */
  get saved(): Record<Field, string> {
    return this.#saved();
  }

  set(field: Field, text: string) {
    const { [field]: _, ...others } = (edits[this.#name] ?? {}) as Record<string, string>;
    edits[this.#name] = text === this.#saved()[field] ? others : { ...others, [field]: text };
  }

  reset() {
    delete edits[this.#name];
  }
}

/** Whether there are edits in a form of this place. */
export const hasUnsaved = (place: string): boolean =>
  Object.entries(edits).some(([name, fields]) => name.startsWith(`${place}/`) && Object.keys(fields).length > 0);
