// Charts: quiet before the first request, then the volume with its failures as figures, as pictures, in words and as tables; another span
// of time by a button and by drawing over a chart; one cursor for all of them.
import { example, greenroom, lookAt, request, signIn, until, url, key, withPage } from '../lib.mjs';

const GOOD = 90;
const BAD = 10;

export default () =>
  withPage(async (page) => {
    const { model, deployment } = await greenroom('push', example('hello'));
    await signIn(page, `/models/${model.id}/deployments/${deployment.id}?tab=metrics`);
    const charts = page.getByRole('region', { name: 'Metrics' });
    const figures = charts.getByLabel('In this time');
    await charts.getByText('No requests in this time').first().waitFor();
    await charts.getByRole('img', { name: /^Requests: no requests in this time/ }).waitFor();
    await lookAt(page, 'quiet');

    // What the model cannot take fails in it.
    const bodies = [...Array(GOOD).fill('{}'), ...Array(BAD).fill('[]')];
    for (let begin = 0; begin < bodies.length; begin += 10)
      await Promise.all(bodies.slice(begin, begin + 10).map((body) => predict(model.id, body)));
    await figures.getByText(String(GOOD + BAD), { exact: true }).waitFor({ timeout: 45_000 });
    await figures.getByText('10 %', { exact: true }).waitFor();
    await figures.getByText('10 of 5xx').waitFor();
    await charts.getByRole('img', { name: /^Requests, per .*: 2xx 90 in all; 5xx 10 in all$/ }).waitFor();
    await charts.getByRole('img', { name: /^Response time, .*p50 at most .*; p90 .*; p95 .*; p99 / }).waitFor();
    await charts.getByRole('img', { name: /^Memory, by replica: \w+ at most .*MiB/ }).waitFor();
    await charts.getByText('GPU').waitFor({ state: 'detached' });

    await charts.getByRole('radio', { name: '15 min' }).check();
    await page.waitForURL(/range=15m/);
    await charts.getByRole('img', { name: /^Requests, per .*2xx 90 in all/ }).waitFor();
    await lookAt(page, 'busy');

    // The cursor over one chart reads the values of all.
    const replicas = charts.getByRole('img', { name: /^Replicas:/ });
    await replicas.hover();
    const box = await replicas.boundingBox();
    await page.mouse.move(box.x + box.width - 40, box.y + 60);
    await until('another chart reads its value at the cursor', async () =>
      /p50\s*(–|\d)/.test(await charts.locator('article', { hasText: 'Time to first byte' }).innerText()),
    );

    await charts.getByRole('checkbox', { name: 'As tables' }).check();
    const table = charts.getByRole('region', { name: 'Requests as a table' });
    await table.getByRole('columnheader', { name: '5xx' }).waitFor();
    const counts = await table.locator('tbody tr td:nth-child(2)').allInnerTexts();
    const sum = counts.reduce((total, text) => total + Number(text), 0);
    if (sum !== GOOD) throw new Error(`the table has ${sum} good requests`);
    await lookAt(page, 'tables');
    await charts.getByRole('checkbox', { name: 'As tables' }).uncheck();

    // Drawing over a chart looks closer; the back button looks from further away again.
    await replicas.hover();
    await page.mouse.down();
    const drawn = await replicas.boundingBox();
    await page.mouse.move(drawn.x + drawn.width - 40, drawn.y + 60, { steps: 4 });
    await page.mouse.up();
    await page.waitForURL(/range=\d+-\d+/);
    await charts.getByText(/ to /).first().waitFor();
    await page.goBack();
    await page.waitForURL(/range=15m/);

    // The environment's charts are the same, with a line where the deployment came into it.
    const { promotions } = await request('GET', `/v1/models/${model.id}/environments/production/promotions`);
    await page.goto(`/ui/models/${model.id}/environments/production?tab=metrics`);
    await figures.getByText(String(GOOD + BAD), { exact: true }).waitFor();
    if (promotions.length > 0) await charts.getByText(`${deployment.name} to production, succeeded`).waitFor();
  });

async function predict(model, body) {
  const response = await fetch(`${url}/models/${model}/production/predict`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body,
  });
  await response.arrayBuffer();
}
