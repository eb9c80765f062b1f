// What an environment may be called: the server's rules (crates/control-plane/src/ops/names.rs), told while somebody types.
const LONGEST = 40;

/** What is wrong with a name for a new environment. */
export function troubleWithEnvironmentName(name: string, taken: string[]): string | undefined {
  if (taken.includes(name)) return `There is an environment ${name} already.`;
  if (name === 'development') return 'This name is reserved: a development deployment is reached by a path of its own.';
  if (name.length > LONGEST) return `This has ${name.length} characters: it may have ${LONGEST}.`;
  if (!/^[a-z0-9-]*$/.test(name)) return 'Only lower-case letters, digits and hyphens can be used.';
  if (name.startsWith('-') || name.endsWith('-')) return 'There must be no hyphen at an end.';
  return undefined;
}
