// The playground: a call and its answer, a body that is no JSON, a stream as it comes and one given up, a server's own routes with
// events, a picture and bytes, a failure explained, and the call as a command.
import { readFile } from 'node:fs/promises';
import { example, folderWith, greenroom, key, lookAt, signIn, until, withPage } from '../lib.mjs';

export default () =>
  withPage(async (page) => {
    const [hello, stream, served] = await Promise.all([
      greenroom('push', example('hello')),
      greenroom('push', example('stream')),
      greenroom('push', await folderWith(SERVER)),
    ]);
    const playground = page.getByRole('region', { name: 'Playground' });
    const body = playground.getByLabel('Body, as JSON');
    const answer = playground.getByRole('region', { name: 'Answer', exact: true });
    const answered = answer.getByRole('region', { name: 'Body of the answer' });
    const send = playground.getByRole('button', { name: 'Send' });
    const open = ({ model, deployment }) =>
      page.goto(`/ui/models/${model.id}/deployments/${deployment.id}?tab=playground`);

    await signIn(page, `/models/${hello.model.id}/deployments/${hello.deployment.id}?tab=playground`);
    // The example of the model's config is there to be sent.
    await until('the example is there', async () => (await body.inputValue()).includes('"world"'));
    await lookAt(page, 'empty');
    await send.click();
    await answered.getByText('"greeting": "Hello, world!"').waitFor();
    await answer.getByText('200', { exact: true }).waitFor();

    await body.fill('{"name": ');
    await playground.getByText('Not JSON yet').waitFor();
    if (await send.isEnabled()) throw new Error('a body that is no JSON could be sent');
    await body.fill('{"name":"Ada","id":12345678901234567890}');
    await playground.getByRole('button', { name: 'Format' }).click();
    await until('the body is tidy, with the long number as it was', async () =>
      (await body.inputValue()).includes('{\n  "name": "Ada",\n  "id": 12345678901234567890\n}'),
    );
    await playground.getByLabel('Endpoint').selectOption({ label: 'production (deployment-1)' });
    await body.press('Control+Enter');
    await answered.getByText('"greeting": "Hello, Ada!"').waitFor();

    await playground.getByRole('button', { name: 'curl' }).click();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    if (!copied.includes('Bearer $GREENROOM_API_KEY') || copied.includes(key)) throw new Error(`copied ${copied}`);
    if (!copied.includes(`/models/${hello.model.id}/production/predict'`)) throw new Error(`copied ${copied}`);

    // What the model cannot take fails in it, and the page says whose failure that is.
    await body.fill('[]');
    await send.click();
    await answer.getByText('The model gave this answer itself').waitFor();
    await playground.getByRole('button', { name: 'production/predict' }).nth(2).waitFor();
    await lookAt(page, 'failure');
    await answer.getByRole('link', { name: 'Its log' }).click();
    await page.waitForURL(/tab=logs&request=\w+/);

    await open(stream);
    await body.fill('{"count": 6, "delay_seconds": 0.5}');
    await send.click();
    await answered.getByText(/^0\n1\n2\n$/).waitFor();
    if ((await answered.innerText()).includes('5')) throw new Error('the stream was not shown piece by piece');
    await answered.getByText(/5\n$/).waitFor();
    await answer.getByText('6', { exact: true }).waitFor();
    await body.fill('{"count": 600, "delay_seconds": 0.1}');
    await send.click();
    await answered.getByText(/^0\n1\n/).waitFor();
    await lookAt(page, 'stream');
    await playground.getByRole('button', { name: 'Cancel' }).click();
    await answer.getByText('canceled', { exact: true }).waitFor();

    await open(served);
    await playground.getByLabel('Call', { exact: true }).selectOption('a route of the model’s own server');
    const route = playground.getByLabel('Path', { exact: true });
    await route.fill('/chat');
    await send.click();
    await answered.getByText('The quick').waitFor();
    await answered.getByText('The quick brown fox.').waitFor();
    await answer.getByRole('checkbox', { name: 'As it came' }).check();
    await answered.getByText('data: {"choices"').first().waitFor();

    await playground.getByLabel('Method').selectOption('GET');
    await route.fill('/picture');
    await send.click();
    await answer.getByRole('img', { name: 'What the model answered' }).waitFor();
    await lookAt(page, 'picture');
    await route.fill('/bytes');
    await send.click();
    await answer.getByText('2 KiB of application/octet-stream').waitFor();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      answer.getByRole('button', { name: 'Download' }).click(),
    ]);
    const saved = await readFile(await download.path());
    if (saved.length !== 2048 || saved[255] !== 255) throw new Error(`saved ${saved.length} bytes`);
  });

/** A model that is a server of its own: events, a picture, bytes. */
const SERVER = {
  'config.yaml': `model_name: served
docker_server:
  start_command: python3 data/server.py
  server_port: 8090
  predict_endpoint: /predict
  readiness_endpoint: /health
  liveness_endpoint: /health
`,
  'data/server.py': `import json, os, struct, time, zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def part(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


ROWS = b"".join(b"\\0" + bytes(v for x in range(160) for v in (20, 60 + x, 80 + y)) for y in range(120))
PICTURE = b"\\x89PNG\\r\\n\\x1a\\n" + part(b"IHDR", struct.pack(">IIBBBBB", 160, 120, 8, 2, 0, 0, 0))
PICTURE += part(b"IDAT", zlib.compress(ROWS)) + part(b"IEND", b"")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/picture":
            self.answer(PICTURE, "image/png")
        elif self.path == "/bytes":
            self.answer(bytes(range(256)) * 8, "application/octet-stream")
        else:
            self.answer(b"{}", "application/json")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for word in ["The", " quick", " brown", " fox", "."]:
            self.piece("data: " + json.dumps({"choices": [{"delta": {"content": word}}]}) + "\\n\\n")
            time.sleep(0.3)
        self.piece("data: [DONE]\\n\\n")
        self.wfile.write(b"0\\r\\n\\r\\n")

    def piece(self, text):
        self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(text), text.encode()))
        self.wfile.flush()

    def answer(self, body, kind):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8090"))), Handler).serve_forever()
`,
};
