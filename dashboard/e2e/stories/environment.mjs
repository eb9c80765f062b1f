// An environment: its settings are changed in forms that explain themselves, and what they say is what the server then does; its
// promotions are seen and rolled back; it rests and wakes; it is deleted, and production is not; what another serves is released to it.
import { example, folderWith, greenroom, lookAt, request, signIn, until, withPage } from '../lib.mjs';

const HELLO = example('hello');

export default async () => {
  const { model, deployment: first } = await greenroom('push', HELLO);
  const production = `/v1/models/${model.id}/environments/production`;
  const onPage = `/models/${model.id}/environments/production`;

  await withPage(async (page) => {
    const button = (name) => page.getByRole('button', { name, exact: true });
    const link = (name) => page.getByRole('link', { name, exact: true });
    const section = (name) => page.getByRole('region', { name, exact: true });
    const news = (text) => page.getByText(text).first().waitFor();

    await signIn(page, onPage);
    await page.getByRole('heading', { name: 'production', level: 1 }).waitFor();
    await section('Call it').getByText(`--data '{"name":"world"}'`).first().waitFor();
    await button('Copy endpoint').click();
    const endpoint = await page.evaluate(() => navigator.clipboard.readText());
    if (!endpoint.endsWith(`/models/${model.id}/production/predict`)) throw new Error(`the endpoint is ${endpoint}`);
    await lookAt(page, 'overview');

    // Autoscaling: what the server would refuse is refused while it is typed.
    await link('Settings').click();
    const scaling = section('Autoscaling');
    const save = scaling.getByRole('button', { name: 'Save' });
    await scaling.getByLabel('Window').fill('5');
    await scaling.getByText('This needs to be from 10 to 3600.').waitFor();
    if (await save.isEnabled()) throw new Error('a bad value can be saved');
    await scaling.getByLabel('Window').fill('30');
    await scaling.getByLabel('Minimum replicas').fill('11');
    await scaling.getByText('This is more than the maximum of 1.').waitFor();
    await scaling.getByLabel('Maximum replicas').fill('10');
    await scaling.getByText('This is more than the maximum of 10.').waitFor();
    await lookAt(page, 'settings-trouble');
    await scaling.getByLabel('Minimum replicas').fill('0');
    await scaling.getByText('ask for 36 replicas, capped at the maximum of 10').waitFor();
    await scaling.getByText(/goes to zero after 1 h/).waitFor();
    await lookAt(page, 'settings-forecast');
    await scaling.getByLabel('Try a load of').fill('3');
    await scaling.getByText('ask for 5 replicas').waitFor();
    // An unsaved edit is still there after a look around.
    await link('Overview').click();
    await link('Settings (unsaved)').click();
    await scaling.getByText('2 unsaved changes').waitFor();
    await scaling.getByRole('button', { name: 'Reset' }).click();
    await scaling.getByText('No unsaved changes').waitFor();

    await scaling.getByLabel('Minimum replicas').fill('4');
    await scaling.getByLabel('Maximum replicas').fill('4');
    await scaling.getByLabel('Scale-down delay').fill('60');
    await save.click();
    await scaling.getByText('No unsaved changes').waitFor();
    const { autoscaling_settings: after } = await request('GET', production);
    const wanted = { min_replica: 4, max_replica: 4, scale_down_delay: 60, autoscaling_window: 60 };
    for (const [field, value] of Object.entries(wanted))
      if (after[field] !== value) throw new Error(`${field} is ${after[field]} and not ${value}`);
    await page.reload();
    await until('it is there again', async () => (await scaling.getByLabel('Maximum replicas').inputValue()) === '4');

    // Promotions: the preview follows the form.
    const second = (await greenroom('push', HELLO)).deployment;
    await until('4 replicas are ready', async () => {
      const { current_deployment: current } = await request('GET', production);
      return current.active_replica_count === 4;
    });
    const promotions = section('Promotions');
    await promotions.getByLabel('With', { exact: true }).fill('4');
    await promotions.getByLabel('Canary', { exact: true }).check();
    await promotions.getByLabel('Canary duration').fill('300');
    await promotions.getByText('Ten stages, 30 s apart; the candidate has all traffic after 5 min.').waitFor();
    await promotions.getByRole('button', { name: 'Save' }).click();
    await promotions.getByText('No unsaved changes').waitFor();
    await compare('canary');
    await promotions.getByLabel('Rolling', { exact: true }).check();
    await promotions.getByText('shifts of traffic').waitFor();
    await promotions.getByLabel('Size of a step').fill('60');
    await promotions.getByText('This needs to be from 1 to 50.').waitFor();
    await promotions.getByLabel('Size of a step').fill('25');
    await promotions.getByLabel('Stabilization time').fill('2');
    await promotions.getByText('shifts of traffic, each watched for 2 s.').waitFor();
    await lookAt(page, 'settings-rolling');
    await promotions.getByRole('button', { name: 'Save' }).click();
    await promotions.getByText('No unsaved changes').waitFor();
    await compare('rolling');
    await section('When every replica is busy').getByLabel('Refuse it').check();
    await section('When every replica is busy').getByRole('button', { name: 'Save' }).click();
    await until('requests are refused', async () => {
      const { request_backpressure_settings: settings } = await request('GET', production);
      return settings.policy === 'REJECT_ON_FULL';
    });

    // A promotion by these settings, seen from here, and the way back.
    await request('POST', `${production}/promote`, { deployment_id: second.id });
    await link('Overview').click();
    await page.getByRole('heading', { name: `Being promoted: ${second.name}` }).waitFor();
    await button('Deactivate…').click();
    await page.getByText('A promotion is under way and needs both of its sides.').waitFor();
    await button('Cancel').click();
    await lookAt(page, 'overview-promotion');
    await page.getByRole('heading', { name: `Last promotion: ${second.name}` }).waitFor({ timeout: 60_000 });
    await link('Promotions').click();
    await page.getByText(`All traffic moved, and ${first.name} was scaled to zero.`).waitFor();
    await button('Roll back…').click();
    await page.getByRole('dialog').getByText(first.name, { exact: true }).waitFor();
    await lookAt(page, 'roll-back');
    await button('Roll back').click();
    await news('production goes back to');
    await page.getByText(/roll back, by key/i).waitFor();
    await until('it serves the first again', async () => {
      const { current_deployment: current, in_progress_promotion: promotion } = await request('GET', production);
      return promotion?.status === 'SUCCEEDED' && current.id === first.id;
    });
    await page.getByRole('listitem').first().getByText('succeeded').waitFor();
    await lookAt(page, 'promotions');

    await link('Scaling').click();
    await section('Starts of replicas').getByText('Whole start').waitFor();
    await lookAt(page, 'scaling');
    await link('Metrics').click();
    await section('Metrics').waitFor();
    await link('Playground').click();
    const called = section('Playground').getByLabel('Endpoint').locator('option:checked');
    await until('it is what is called', async () => (await called.textContent())?.startsWith('production ('));
    await page.goBack();
    await section('Metrics').waitFor();

    // Rest and wake.
    await button('Deactivate…').click();
    await page.getByText('calls to production are answered with 404').waitFor();
    await button('Deactivate').click();
    await button('Activate').click({ timeout: 30_000 });
    await page.getByText('active', { exact: true }).first().waitFor({ timeout: 30_000 });

    // Production stays; another environment goes.
    await button('Delete…').click();
    await page.getByText('This cannot be done now.').waitFor();
    if (await button('Delete for good').isEnabled()) throw new Error('production can be deleted');
    await lookAt(page, 'delete-production');
    await button('Cancel').click();
    await request('POST', `/v1/models/${model.id}/environments`, { name: 'staging' });
    await page.goto(`/ui/models/${model.id}/environments/staging`);
    await page.getByText('Nothing is served here yet').waitFor();
    await lookAt(page, 'overview-empty');
    await button('Delete…').click();
    await page.getByText('Its endpoint answers 404 from then on.').waitFor();
    if (await button('Delete for good').isEnabled()) throw new Error('it is deleted without a second look');
    await page.getByLabel('Type staging to confirm').fill('staging');
    await lookAt(page, 'delete');
    await button('Delete for good').click();
    await page.waitForURL(`**/ui/models/${model.id}`);
    const { environments } = await request('GET', `/v1/models/${model.id}/environments`);
    if (environments.some(({ name }) => name === 'staging')) throw new Error('staging is still there');

    // What production serves is released to another, and what that changes there is said before and after.
    await request('POST', `/v1/models/${model.id}/environments`, { name: 'qa' });
    await page.goto(`/ui/models/${model.id}/environments/qa?tab=promotions`);
    const release = async (plan) => {
      await button('Release…').click();
      const dialog = page.getByRole('dialog', { name: 'Release to qa' });
      await dialog.getByText(plan).waitFor();
      await lookAt(page, `release-${plan.slice(0, 6).trim()}`);
      await dialog.getByRole('button', { name: 'Release' }).click();
      await dialog.waitFor({ state: 'detached' });
      await until('the release has succeeded', async () => {
        const { promotions } = await request('GET', `/v1/models/${model.id}/environments/qa/promotions`);
        return promotions[0]?.status === 'SUCCEEDED';
      });
    };
    await release('qa serves nothing yet');
    const other = await folderWith({
      'config.yaml': 'model_name: hello\nenvironment_variables: {GREETING: Hi}\n',
      'model/model.py': 'class Model:\n    def predict(self, request):\n        return "hi"\n',
    });
    await greenroom('push', other, '--environment', 'production');
    await release('config environment_variables.GREETING');
    const newest = page.getByRole('listitem').filter({ hasText: 'succeeded' }).first();
    await newest.getByText(/^[0-9]+ changes$/).click();
    await newest.getByText('config environment_variables.GREETING').waitFor();
    await lookAt(page, 'promotions-changes');

    /** What the preview shows, against what the server plans by the same settings. */
    async function compare(mode) {
      const { steps, refused } = await request('POST', `${production}/promotion_plan`, { deployment_id: second.id });
      if (refused) throw new Error(`no plan: ${refused}`);
      const planned = steps.map((step) =>
        [step.percent_traffic_to_new_version, step.candidate_replicas, step.previous_replicas].join(' '),
      );
      const rows = await promotions.getByRole('table', { name: 'Steps of a promotion' }).locator('tbody tr').all();
      const shown = await Promise.all(
        rows.map(async (row) => {
          const [, , percent, candidate, previous] = await row.locator('td').allInnerTexts();
          return [parseInt(percent, 10), candidate, previous].join(' ');
        }),
      );
      if (shown.join() !== planned.join()) throw new Error(`${mode}: shown ${shown.join()}, planned ${planned.join()}`);
    }
  });
};
