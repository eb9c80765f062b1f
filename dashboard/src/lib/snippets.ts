// A call as a command or as code. The key is never in it, only where to take it from.

export interface Sent {
  method: string;
  url: string;
  /** JSON text; undefined where nothing is sent. */
  body?: string;
}

/** One argument of a shell. */
export const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** JSON as Python has it. Texts are the same, but that a slash needs no backslash. */
const toPython = (json: string): string =>
  json.replace(/"(?:\\.|[^"\\])*"|true|false|null/g, (token) => {
    if (token.startsWith('"')) return token.replace(/\\(.)/g, (whole, after) => (after === '/' ? '/' : whole));
    return { true: 'True', false: 'False', null: 'None' }[token] ?? token;
  });

export function toCurl({ method, url, body }: Sent): string {
  const lines = [
    // curl makes a POST of everything that has a body.
    `curl${method === (body === undefined ? 'GET' : 'POST') ? '' : ` --request ${method}`} ${quote(url)}`,
    '--header "Authorization: Bearer $GREENROOM_API_KEY"',
    ...(body === undefined ? [] : [`--header 'Content-Type: application/json'`, `--data ${quote(body)}`]),
  ];
  return lines.join(' \\\n  ');
}

export const toPythonCode = ({ method, url, body }: Sent): string =>
  `import os

import requests

response = requests.request(
    "${method}",
    ${JSON.stringify(url)},
    headers={"Authorization": f"Bearer {os.environ['GREENROOM_API_KEY']}"},${
      body === undefined ? '' : `\n    json=${toPython(body).replaceAll('\n', '\n    ')},`
    }
)
response.raise_for_status()
print(response.text)
`;

export const toJavaScript = ({ method, url, body }: Sent): string =>
  `const response = await fetch(${JSON.stringify(url)}, {
  method: '${method}',
  headers: {
    Authorization: \`Bearer \${process.env.GREENROOM_API_KEY}\`,${
      body === undefined ? '' : `\n    'Content-Type': 'application/json',`
    }
  },${body === undefined ? '' : `\n  body: JSON.stringify(${body.replaceAll('\n', '\n  ')}),`}
});
if (!response.ok) throw new Error(await response.text());
console.log(await response.text());
`;
