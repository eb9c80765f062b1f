// One deployment: its way to active, its log as it is written, its name, its rest, its end, and what stands before each.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { folderWith, greenroom, key, lookAt, request, signIn, until, url, withPage } from '../lib.mjs';

const MODEL = `
import logging, time

class Model:
    def load(self):
        logging.info("weights are read")
        time.sleep(1)

    def predict(self, request):
        word = request["word"]
        logging.info("looked at %s", word)
        if word == "dragon":
            logging.warning("here be dragons")
        return {"length": len(word)}
`;

export default () =>
  withPage(async (page) => {
    const folder = await folderWith({ 'config.yaml': 'model_name: parrot\n', 'model/model.py': MODEL });
    const { model, deployment } = await greenroom('push', folder, '--no-wait', '--labels', 'team=birds');
    await signIn(page, `/models/${model.id}/deployments/${deployment.id}`);
    await page.getByRole('heading', { name: 'deployment-1', level: 1 }).waitFor();

    // It is seen to build, to start and to be active; nobody reloads the page.
    const steps = page.getByRole('region', { name: 'From push to active' }).getByRole('listitem');
    const isUnderWay = steps.filter({ hasText: 'under way' });
    await isUnderWay.first().waitFor();
    await steps.filter({ hasText: 'Load under way' }).waitFor();
    await steps.filter({ hasText: 'Active done' }).waitFor();
    await until(
      'the head says active',
      async () => (await head(page).getByText('active', { exact: true }).count()) > 0,
    );
    await head(page).getByRole('link', { name: 'production' }).waitFor();
    await page.getByText('team=birds').waitFor();
    await ready(page).waitFor();
    await page.getByText('by admin@localhost').first().waitFor();
    await lookAt(page, 'overview');

    // Its log is followed.
    await page.getByRole('link', { name: 'Logs', exact: true }).click();
    const lines = page.getByRole('log', { name: 'Log lines' });
    await lines.getByText('weights are read').waitFor();
    await page.getByRole('status').getByText('Live').waitFor();
    await call(model, 'budgerigar');
    await lines.getByText('looked at budgerigar').waitFor();
    await call(model, 'dragon');
    await lines.getByText('here be dragons').waitFor();
    await lookAt(page, 'logs');

    // By text: what comes later is filtered, too.
    await page.getByLabel('Contains', { exact: true }).fill('looked at');
    await page.getByLabel('Contains', { exact: true }).press('Enter');
    await lines.getByText('weights are read').waitFor({ state: 'detached' });
    await page.getByRole('status').getByText('Live').waitFor();
    await call(model, 'dragon');
    await call(model, 'cockatoo');
    await lines.getByText('looked at cockatoo').waitFor();
    await noLine(lines, 'here be dragons');
    await page.getByRole('button', { name: 'Remove “looked at”' }).click();
    await lines.getByText('weights are read').waitFor();

    // By level, kept in the address; by request.
    await page.getByLabel('Level').selectOption('Warnings and errors');
    await lines.getByText('weights are read').waitFor({ state: 'detached' });
    await lines.getByText('here be dragons').first().waitFor();
    await page.reload();
    await lines.getByText('here be dragons').first().waitFor();
    await noLine(lines, 'looked at cockatoo');
    await page.goBack();
    await lines.getByText('looked at cockatoo').waitFor();
    await lines
      .locator('.line', { hasText: 'looked at cockatoo' })
      .getByRole('button', { name: /^[0-9a-z]{8}/ })
      .click();
    await lines.getByText('looked at budgerigar').waitFor({ state: 'detached' });
    await lines.getByText('looked at cockatoo').waitFor();
    await page.goBack();

    // An expression that is none: the server's words stand at the field.
    await page.getByText('More filters').click();
    await page.getByLabel('Regular expression').fill('(');
    await page.getByLabel('Regular expression').press('Enter');
    await page.getByText('unclosed group').waitFor();
    await lookAt(page, 'logs-refused');
    await page.getByLabel('Regular expression').fill('c.ckat');
    await page.getByLabel('Regular expression').press('Enter');
    await lines.getByText('looked at cockatoo').waitFor();

    // Paused, nothing comes; then all that was missed.
    await page.getByLabel('Regular expression').fill('');
    await page.getByLabel('Regular expression').press('Enter');
    await lines.getByText('weights are read').waitFor();
    await page.getByRole('status').getByText('Live').waitFor();
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('status').getByText('Paused').waitFor();
    await call(model, 'macaw');
    await until('the server has the line', async () => (await loggedLines(deployment)).includes('looked at macaw'));
    await noLine(lines, 'looked at macaw');
    await page.getByRole('button', { name: 'Follow' }).click();
    await lines.getByText('looked at macaw').waitFor();

    // Its name.
    await page.getByRole('button', { name: 'Rename…' }).click();
    await page.getByRole('dialog').getByLabel('Name').fill('polly');
    await page.getByRole('dialog').getByRole('button', { name: 'Rename' }).click();
    await page.getByRole('heading', { name: 'polly', level: 1 }).waitFor();

    // Production is not deleted, and the page says why.
    await page.getByRole('button', { name: 'Delete…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Delete polly?' });
    await dialog.getByText('The environment production serves it').waitFor();
    if (await dialog.getByRole('button', { name: 'Delete for good' }).isEnabled()) throw new Error('the guard is down');
    await lookAt(page, 'delete-refused');
    await dialog.getByRole('button', { name: 'Cancel' }).click();

    // It rests, and runs again.
    await page.getByRole('link', { name: 'Overview' }).click();
    await page.getByRole('button', { name: 'Deactivate…' }).click();
    await page.getByRole('dialog').getByText('production serves this deployment').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Deactivate' }).click();
    await head(page).getByText('inactive', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Activate' }).click();
    await head(page).getByText('active', { exact: true }).waitFor();
    await steps.filter({ hasText: 'after the activation' }).waitFor();

    // A replica is ended; another takes its place.
    const before = await ready(page).getByRole('link').textContent();
    await ready(page).getByRole('button', { name: 'Terminate' }).click();
    await page.getByRole('dialog').getByText('It is the only one that is ready').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Terminate' }).click();
    await until('another replica is ready', async () => {
      const now = await ready(page).getByRole('link').allTextContents();
      return now.length === 1 && now[0] !== before;
    });
    await page.getByRole('row').filter({ hasText: before }).getByText('ended').waitFor();
    await lookAt(page, 'replicas');

    // A push that cannot be built says why.
    await writeFile(
      join(folder, 'config.yaml'),
      'model_name: parrot\nrequirements: [no-such-package-as-this==9.9.9]\n',
    );
    const failed = (await greenroom('push', folder, '--no-wait')).deployment;
    await page.goto(`/ui/models/${model.id}/deployments/${failed.id}`);
    await page.getByRole('heading', { name: 'The build failed' }).waitFor();
    await head(page).getByText('build failed', { exact: true }).waitFor();
    await page.getByLabel('Details').getByText('no-such-package-as-this').first().waitFor();
    await page.getByText('The end of the log').click();
    await page.getByLabel('The end of the log').getByText('build failed after').waitFor();
    await lookAt(page, 'build-failed');

    // It is not needed: it goes, and the page with it.
    await page.getByRole('button', { name: 'Delete…' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete for good' }).click();
    await page.waitForURL(`**/ui/models/${model.id}`);
    const left = (await request('GET', `/v1/models/${model.id}/deployments`)).deployments.map(({ id }) => id);
    if (left.includes(failed.id) || !left.includes(deployment.id)) throw new Error(`left: ${left}`);

    await page.goto(`/ui/models/${model.id}/deployments/${deployment.id}?tab=config`);
    await page.getByText('model_name: parrot').waitFor();
    await lookAt(page, 'config');
  });

/** The rows of replicas that are ready. */
const ready = (page) => page.getByRole('row').filter({ has: page.getByRole('cell', { name: 'ready', exact: true }) });

const head = (page) => page.locator('.page-head').first();

async function call(model, word) {
  const headers = { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' };
  const body = JSON.stringify({ word });
  const response = await fetch(`${url}/models/${model.id}/production/predict`, { method: 'POST', headers, body });
  if (!response.ok) throw new Error(`predict: ${response.status} ${await response.text()}`);
}

async function loggedLines({ model_id: model, id }) {
  const { logs } = await request('GET', `/v1/models/${model}/deployments/${id}/logs`);
  return logs.map(({ message }) => message);
}

async function noLine(lines, text) {
  if ((await lines.getByText(text).count()) > 0) throw new Error(`${text} is shown`);
}
