// The first look: little to load, from this server only, with nothing that its policy forbids; and every path is one to begin at.
import { example, expect, greenroom, key, pages, withPage } from '../lib.mjs';

const MOST_BYTES = 300_000;
const PLACES = {
  '': 'Models',
  usage: 'Usage',
  secrets: 'Secrets',
  keys: 'API keys',
  access: 'Access',
  policies: 'Policies',
  audit: 'Audit log',
  'no/such/page': 'There is no such page',
};

export default async () => {
  await greenroom('push', example('hello'));
  await withPage(async (page) => {
    await page.addInitScript((key) => {
      sessionStorage.setItem('greenroom.key', key);
      globalThis.violations = [];
      addEventListener('securitypolicyviolation', (event) =>
        globalThis.violations.push(`${event.violatedDirective} ${event.blockedURI}`),
      );
    }, key);
    const network = await page.context().newCDPSession(page);
    await network.send('Network.enable');
    const bytes = new Map();
    const origins = new Set();
    network.on('Network.requestWillBeSent', ({ request }) => origins.add(new URL(request.url).origin));
    network.on('Network.dataReceived', ({ requestId, encodedDataLength }) =>
      bytes.set(requestId, (bytes.get(requestId) ?? 0) + encodedDataLength),
    );
    network.on('Network.loadingFinished', ({ requestId, encodedDataLength }) =>
      bytes.set(requestId, encodedDataLength),
    );

    await page.goto('/ui/');
    const row = page.getByRole('row', { name: /hello/ });
    await row.getByText('active', { exact: true }).waitFor();
    await row.getByText('just now').or(row.getByText(/ago/)).waitFor();
    const sum = [...bytes.values()].reduce((total, one) => total + one, 0);
    expect(sum > 0 && sum < MOST_BYTES, `${sum} bytes are loaded to see the models, and ${MOST_BYTES} is the most`);
    expect([...origins].join() === new URL(pages).origin, `only this server is asked, not ${[...origins]}`);

    for (const [path, heading] of Object.entries(PLACES)) {
      const html = await (await fetch(`${pages}/ui/${path}`, { headers: { Accept: 'text/html' } })).text();
      expect(html.includes('<div id="app">'), `/ui/${path} is the application`);
      const inline = /<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:/i.exec(html);
      expect(!inline, `/ui/${path} has nothing inline, and has ${inline}`);
      await page.goto(`/ui/${path}`);
      await page.getByRole('heading', { level: 1, name: heading, exact: true }).waitFor();
      expect((await page.title()).endsWith(' · Greenroom'), `/ui/${path} has a title`);
      const violations = await page.evaluate(() => globalThis.violations);
      expect(violations.length === 0, `/ui/${path} does what its policy allows, and not ${violations}`);
    }
    // What is gone says so, and leads back.
    await page.goto('/ui/models/nothing1');
    await page.getByRole('alert').waitFor();
    await page.getByRole('navigation', { name: 'Breadcrumb' }).getByRole('link', { name: 'Models' }).click();
    await row.waitFor();
  });
};
