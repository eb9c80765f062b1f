// JSON as text. Numbers are never parsed and written anew, so that long ones stay what they are.

/** Why a text is no JSON; undefined when it is. */
export function problemOf(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    // Browsers also count characters from the beginning, which nobody can.
    return String(error).replace(
      /^SyntaxError: (JSON\.parse: )?|( after JSON| in JSON)?( at position \d+)?(?= \(line)/g,
      '',
    );
  }
}

const TOKENS = /"(?:\\.|[^"\\])*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** Valid JSON with a member on each line; empty objects and lists stay on theirs. */
export function formatJson(text: string): string {
  const tokens = text.match(TOKENS) ?? [];
  let written = '';
  let depth = 0;
  const breakLine = () => (written += '\n' + '  '.repeat(depth));
  tokens.forEach((token, index) => {
    if (isEnd(token)) {
      depth -= 1;
      if (!isBegin(tokens[index - 1])) breakLine();
    }
    written += token === ':' ? ': ' : token;
    if (isBegin(token)) {
      depth += 1;
      if (!isEnd(tokens[index + 1])) breakLine();
    } else if (token === ',') breakLine();
  });
  return written;
}

const isBegin = (token: string | undefined): boolean => token === '{' || token === '[';
const isEnd = (token: string | undefined): boolean => token === '}' || token === ']';
