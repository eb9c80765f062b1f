// The list of models: how to begin, a push that comes in while somebody looks, search by keyboard, and a thousand models.
import { example, greenroom, lookAt, request, signIn, until, withPage } from '../lib.mjs';

const HELLO = example('hello');

export default () =>
  withPage(async (page) => {
    await signIn(page);
    await page.getByRole('heading', { name: 'No models yet' }).waitFor();
    await page.getByText('greenroom push my-model').waitFor();
    await lookAt(page, 'empty');

    // A push appears without a reload, and goes on to active there.
    const pushing = greenroom('push', HELLO, '--model-name', 'hello');
    const hello = page.getByRole('row', { name: /hello/ });
    await hello.waitFor();
    const { model } = await pushing;
    await hello.getByText('active', { exact: true }).waitFor();
    await hello.getByText('deployment-1', { exact: true }).waitFor();

    await greenroom('environments', 'create', 'hello', 'staging');
    await greenroom('push', HELLO, '--model-name', 'hello', '--environment', 'staging');
    await greenroom('push', HELLO, '--model-name', 'hello', '--development');
    await hello.getByText(/^staging/).waitFor();
    await hello.getByText(/^development/).waitFor();
    await request('POST', `/models/${model.id}/production/predict`, { name: 'world' });
    await until('the request is counted', async () => !/\b0 req/.test(await hello.textContent()));
    await lookAt(page, 'models');

    await findAmongMany(page);
  });

/** A thousand models, of which the page reads only those on screen. */
async function findAmongMany(page) {
  const many = Array.from({ length: 1000 }, (_, number) => ({
    id: `m${String(number).padStart(7, '0')}`,
    name: `model-${number}`,
    created_at: new Date(Date.now() - number * 3_600_000).toISOString(),
    deployments_count: 1 + (number % 7),
    production_deployment_id: null,
    development_deployment_id: null,
    instance_type_name: '1x2',
    team_name: 'Default',
  }));
  await page.route('**/v1/teams/*/models', (route) => route.fulfill({ json: { models: many } }));
  const asked = new Set();
  await page.route('**/v1/models/m*/*', (route) => {
    const [, , , model, what] = new URL(route.request().url()).pathname.split('/');
    asked.add(model);
    return route.fulfill({ json: { [what]: [] } });
  });
  await page.reload();
  await page.getByText('1,000 models', { exact: true }).waitFor();
  await page.getByRole('link', { name: 'model-0', exact: true }).waitFor();
  await until('the rows on screen are read', () => asked.has('m0000000'));
  if ((await page.getByRole('row').count()) > 60) throw new Error('rows that nobody sees are there');

  await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
  await page.getByRole('link', { name: 'model-999', exact: true }).waitFor();
  await until('the last rows are read', () => asked.has('m0000999'));
  // Whoever looks at one comes back to where they were.
  const where = await page.evaluate(() => window.scrollY);
  await page.getByRole('link', { name: 'model-990', exact: true }).click();
  await page.getByRole('alert').waitFor();
  await page.goBack();
  await page.getByRole('link', { name: 'model-990', exact: true }).waitFor();
  await until('the list is where it was', () => page.evaluate((y) => window.scrollY === y, where));
  if (asked.size > 120) throw new Error(`${asked.size} models were read though few were seen`);

  // What is searched for is in the URL, so that it can be sent to somebody and survives a reload.
  await page.keyboard.press('/');
  await page.keyboard.type('99 model-9');
  await page.getByText('11 of 1,000 models').waitFor();
  await page.getByRole('link', { name: 'model-995', exact: true }).waitFor();
  await lookAt(page, 'search');
  await page.reload();
  await page.getByText('11 of 1,000 models').waitFor();
  await page.getByRole('searchbox').fill('nothing like this');
  await page.getByRole('button', { name: 'Show all 1,000' }).click();
  await page.getByRole('combobox', { name: 'Order' }).selectOption('By name');
  await page.getByRole('link', { name: 'model-0', exact: true }).waitFor();
}
