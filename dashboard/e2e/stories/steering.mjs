// A promotion forced on and forced back, a failed start tried again, a model with another name, a development deployment that changes
// while it is looked at, and a call that has to wait for a start.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  example,
  expect,
  folderWith,
  greenroom,
  lookAt,
  request,
  signIn,
  until,
  withGreenroom,
  withPage,
} from '../lib.mjs';

const HELLO = example('hello');

export default async () => {
  const moody = await folderWith({
    'config.yaml': 'model_name: moody\nsecrets:\n  weights_token: null\n',
    'model/model.py': `
class Model:
    def __init__(self, **kwargs):
        self._secrets = kwargs["secrets"]

    def load(self):
        if not self._secrets["weights_token"]:
            raise RuntimeError("there is no token to get the weights with")

    def predict(self, request):
        return {}
`,
  });
  const { model, deployment: first } = await greenroom('push', HELLO);
  const { deployment: second } = await greenroom('push', HELLO);
  const [failing] = await Promise.all([
    greenroom('push', moody, '--no-wait'),
    greenroom('push', example('stream')),
    greenroom(
      ...['environments', 'set', 'hello', 'production', '--mode', 'rolling', '--max-surge', '10'],
      ...['--stabilization', '1h', '--min-replicas', '2', '--max-replicas', '2'],
    ),
  ]);
  // It goes to sleep while the rest happens.
  const { models } = await request('GET', '/v1/models');
  const sleepy = models.find(({ name }) => name === 'stream').id;
  await greenroom(
    ...['environments', 'set', 'stream', 'production', '--min-replicas', '0'],
    ...['--autoscaling-window', '10s', '--scale-down-delay', '0s'],
  );

  await withPage(async (page) => {
    await signIn(page, `/models/${model.id}`);
    await forcedForward(page, second);
    await forcedBack(page, model, first);
    await renamed(page);
    await triedAgain(page, failing);
    await edited(page);
    await woken(page, sleepy);
  });
};

/** Promotes `deployment` on the page of its model, and waits until it has some of the traffic. */
async function promote(page, deployment) {
  const production = page.getByRole('article', { name: 'Environment production' });
  await production.getByText('2 ready').waitFor();
  await production.getByRole('button', { name: 'Promote…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Promote to production' });
  await dialog.getByLabel('Deployment', { exact: true }).selectOption(deployment.id);
  await dialog.getByRole('button', { name: 'Promote' }).click();
  await dialog.waitFor({ state: 'detached' });
  await production
    .getByText(/^(33|50|67)\s%$/)
    .first()
    .waitFor();
}

async function forcedForward(page, deployment) {
  await promote(page, deployment);
  const force = page.getByRole('button', { name: 'Force roll forward…' });
  await force.click();
  const dialog = page.getByRole('dialog', { name: `Force ${deployment.name} into production?` });
  await dialog.getByText('The remaining steps are left out').waitFor();
  await lookAt(page, 'force-forward');
  // A second thought: nothing has happened, and the focus is where it was.
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  expect(await force.evaluate((button) => button === document.activeElement), 'the focus is on the button again');
  await page.keyboard.press('Enter');
  await dialog.getByRole('button', { name: 'Force roll forward' }).click();
  await page.getByText(/Promotion of\s+deployment-2\s+succeeded/).waitFor();
}

/** Also on the page of the environment. */
async function forcedBack(page, model, deployment) {
  await promote(page, deployment);
  await page.getByRole('link', { name: 'production', exact: true }).click();
  await page.getByRole('heading', { name: `Being promoted: ${deployment.name}` }).waitFor();
  expect(
    await page.locator('main').evaluate((main) => main === document.activeElement),
    'a page begins at its beginning',
  );
  await lookAt(page, 'environment');
  await page.getByRole('button', { name: 'Force cancel…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Cancel the promotion to production at once?' });
  await dialog.getByText('deployment-2 gets all traffic now').waitFor();
  await lookAt(page, 'force-cancel');
  await dialog.getByRole('button', { name: 'Force cancel' }).click();
  await page.getByText('canceled', { exact: true }).waitFor();
  const { current_deployment: current } = await request('GET', `/v1/models/${model.id}/environments/production`);
  expect(current.name === 'deployment-2', 'it serves what it served');
}

async function renamed(page) {
  await page.getByRole('navigation', { name: 'Breadcrumb' }).getByRole('link', { name: 'hello' }).click();
  await page.getByRole('button', { name: 'Rename…' }).click();
  await page.getByRole('dialog').getByLabel('Name').fill('greeter');
  await page.getByRole('dialog').getByRole('button', { name: 'Rename' }).click();
  await page.getByRole('heading', { name: 'greeter', level: 1 }).waitFor();
  await page.getByText('Renamed to greeter.').waitFor();
}

/** Its secret is set after it has failed. */
async function triedAgain(page, { model, deployment }) {
  await page.goto(`/ui/models/${model.id}/deployments/${deployment.id}`);
  const retry = page.getByRole('button', { name: 'Retry' });
  await retry.waitFor();
  await page.getByRole('heading', { name: 'The start failed' }).waitFor();
  await lookAt(page, 'failed');
  await request('POST', '/v1/secrets', { name: 'weights_token', value: 'x' });
  await retry.click();
  await page.getByText('deployment-1 is tried again.').waitFor();
  await page.getByRole('listitem').filter({ hasText: 'Active done' }).getByText('after the retry').waitFor();
  await page.getByText('active', { exact: true }).first().waitFor();
}

/** A development deployment: each saved change runs, and the page tells of it. */
async function edited(page) {
  const code = await readFile(join(HELLO, 'model/model.py'), 'utf8');
  const folder = await folderWith({ 'config.yaml': 'model_name: sketch\n', 'model/model.py': code });
  const { model, deployment } = await greenroom('push', folder, '--development');
  await page.goto(`/ui/models/${model.id}/deployments/${deployment.id}`);
  const edit = page.getByRole('region', { name: 'Live edit' });
  const runs = edit.locator('code').first();
  await edit.getByText('all that was saved runs').waitFor();
  const before = await runs.textContent();
  expect(await page.getByRole('button', { name: 'Rename…' }).isDisabled(), 'it keeps its name');
  await page.getByRole('button', { name: 'Delete…' }).click();
  await page.getByRole('dialog').getByText('It is the development deployment of its model.').waitFor();
  await page.keyboard.press('Escape');
  await withGreenroom(['watch', folder], async () => {
    await writeFile(join(folder, 'model/model.py'), code.replace('Hello', 'Ahoy'));
    await until('the change runs', async () => (await runs.textContent()) !== before);
    await edit.getByText('all that was saved runs').waitFor();
    await page.getByRole('listitem').filter({ hasText: 'after the last change' }).waitFor();
  });
  await lookAt(page, 'development');
}

/** A call that finds nothing running says how long it waited, and why. */
async function woken(page, model) {
  const production = () => request('GET', `/v1/models/${model}/environments/production`);
  const current = await until('it sleeps', async () => {
    const { current_deployment: deployment } = await production();
    return deployment.status === 'SCALED_TO_ZERO' && deployment;
  });
  await page.goto(`/ui/models/${model}/deployments/${current.id}?tab=playground`);
  await page.getByText('scaled to zero', { exact: true }).first().waitFor();
  await page.getByLabel('Body, as JSON').fill('{"count": 1}');
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByText('because one had to start').waitFor();
  await lookAt(page, 'woken');
}
