// Where work may run: policies are made, explained, attached, stand in the way of a promotion, are changed, and go. The server of this
// story is configured with the locations paris (fr, eu: cpu x86) and virginia (us, na: cpu x86, gpu t4).
import { example, expect, greenroom, lookAt, request, signIn, withPage } from '../lib.mjs';

export default () =>
  withPage(async (page) => {
    const pushed = greenroom('push', example('hello'));
    await signIn(page, '/policies');
    await page.getByRole('region', { name: 'Locations' }).getByText('8 × gpu t4').waitFor();
    await page.getByText('No policies yet').waitFor();
    await lookAt(page, 'empty');

    await make(page);
    await tokens(page);
    await refuse(page);
    await explain(page);
    const { model } = await pushed;
    await fence(page, model);
    await change(page, model);
    await narrow(page, model);
    await remove(page);
  });

async function make(page) {
  await page.getByRole('button', { name: 'Make a policy…' }).click();
  let dialog = page.getByRole('dialog', { name: 'Make a policy' });
  await dialog.getByLabel('Name', { exact: true }).fill('US only');
  await dialog.getByText('Lower-case letters').waitFor();
  await dialog.getByLabel('Name', { exact: true }).fill('us-only');
  expect(await dialog.getByRole('button', { name: 'Make it' }).isDisabled(), 'a policy allows something');

  // What the server does not take, it says here.
  await dialog.getByLabel('Country 1').fill('usa');
  await dialog.getByRole('button', { name: 'Make it' }).click();
  await dialog.getByRole('alert').waitFor();
  await lookAt(page, 'make-refused');
  await dialog.getByLabel('Country 1').fill('us');
  await dialog.getByRole('button', { name: 'Make it' }).click();
  await row(page, 'us-only').getByText('United States (us)').waitFor();

  await page.getByRole('button', { name: 'Make a policy…' }).click();
  dialog = page.getByRole('dialog', { name: 'Make a policy' });
  await dialog.getByLabel('Name', { exact: true }).fill('t4-only');
  await dialog.getByRole('radio', { name: 'Hardware' }).check();
  await dialog.getByLabel('GPU 1').fill('t4');
  await dialog.getByRole('button', { name: 'Make it' }).click();
  await row(page, 't4-only').getByText('GPU t4').waitFor();
}

/** How many tokens may be taken is a policy, too: it is made, changed where it is, and goes. */
async function tokens(page) {
  await page.getByRole('button', { name: 'Make a policy…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Make a policy' });
  await dialog.getByLabel('Name', { exact: true }).fill('daily');
  await dialog.getByRole('radio', { name: 'Tokens' }).check();
  await dialog.getByLabel('Tokens of input', { exact: true }).fill('many');
  await dialog.getByText('A whole number.').waitFor();
  expect(await dialog.getByRole('button', { name: 'Make it' }).isDisabled(), 'a bound is a number');
  await dialog.getByLabel('Tokens of input', { exact: true }).fill('');
  await dialog.getByRole('textbox', { name: 'Tokens', exact: true }).fill('1000');
  await lookAt(page, 'make-tokens');
  await dialog.getByRole('button', { name: 'Make it' }).click();
  await row(page, 'daily').getByText('1,000 tokens each day').waitFor();

  await page.getByRole('button', { name: 'Change daily' }).click();
  const change = page.getByRole('dialog', { name: 'Change daily' });
  await change.getByLabel('How many').fill('6');
  await change.getByLabel('Of which').selectOption('hours');
  await change.getByRole('button', { name: 'Save' }).click();
  await row(page, 'daily').getByText('1,000 tokens every 6 hours').waitFor();
  await page.getByRole('button', { name: 'Delete daily' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete for good' }).click();
  await row(page, 'daily').waitFor({ state: 'detached' });
}

/** Only administrators write them, and the page says so. */
async function refuse(page) {
  const { api_key } = await request('POST', '/v1/api_keys', { type: 'WORKSPACE_MANAGE_ALL', name: 'ci' });
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('API key').fill(api_key);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('button', { name: 'Delete us-only' }).click();
  const dialog = page.getByRole('dialog', { name: 'Delete us-only?' });
  await dialog.getByRole('button', { name: 'Delete for good' }).click();
  await dialog.getByText('Only an administrator of the organization can delete policies').waitFor();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await signIn(page, '/policies');
}

/** What two policies leave, and which of them took what. */
async function explain(page) {
  const panel = page.getByRole('region', { name: 'Explain' });
  const left = panel.getByRole('list', { name: 'Where it may run' });
  await panel.getByText('Anywhere: no policy restricts it.').waitFor();
  await panel.getByRole('group', { name: 'Policies of the environment' }).getByLabel('us-only').check();
  await panel.getByRole('group', { name: 'Policies of the deployment' }).getByLabel('t4-only').check();
  await panel.getByRole('row', { name: /Location policies of the environment us-only paris on CPU x86 2/ }).waitFor();
  await panel.getByRole('row', { name: /Hardware policies of the deployment t4-only virginia on CPU x86 1/ }).waitFor();
  expect((await left.innerText()).trim() === 'virginia on GPU t4', 'virginia on t4 remains');
  await lookAt(page, 'explain');

  // The question is in the address. Where nothing is left, it says why.
  await page.reload();
  await panel.getByLabel('Hardware that it asks for').selectOption('CPU x86');
  await panel.getByText('It may run nowhere.').waitFor();
  await panel.getByText(/us-only removed 1.*t4-only removed 1/).waitFor();
  await lookAt(page, 'explain-nowhere');
  await page.goBack();
  await left.getByText('virginia on GPU t4').waitFor();
}

/** production is fenced in, and what does not fit is not promoted to it. */
async function fence(page, model) {
  await page.goto(`/ui/models/${model.id}/environments/production`);
  const card = page.getByRole('region', { name: 'Where it may run' });
  await card.getByText('Anywhere: no policy restricts it.').waitFor();
  await card.getByRole('button', { name: 'Change policies of production' }).click();
  const dialog = page.getByRole('dialog', { name: 'Policies of production' });
  await dialog.getByRole('checkbox', { name: 't4-only' }).check();
  await lookAt(page, 'attach');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await card.getByRole('link', { name: 't4-only' }).waitFor();
  await card.getByText('What comes here now is refused').waitFor();
  await lookAt(page, 'environment');

  await card.getByRole('link', { name: 'Step by step' }).click();
  const panel = page.getByRole('region', { name: 'Explain' });
  await panel.getByRole('row', { name: /^Hardware policies of the environment t4-only paris/ }).waitFor();
  await lookAt(page, 'explain-environment');

  await greenroom('push', example('hello'));
  const plan = await openPlan(page, model);
  await plan.getByText('This would be refused').waitFor();
  await plan.getByText(/policy t4-only/).waitFor();
  expect(await plan.getByRole('button', { name: 'Promote' }).isDisabled(), 'a refused promotion is not offered');
  await lookAt(page, 'plan-refused');
}

/** With another rule the same promotion fits. */
async function change(page, model) {
  await page.goto('/ui/policies');
  await row(page, 't4-only').getByText('1 environment').waitFor();
  await page.getByRole('button', { name: 'Change t4-only' }).click();
  const dialog = page.getByRole('dialog', { name: 'Change t4-only' });
  await dialog.getByRole('button', { name: 'Allow another' }).click();
  await dialog.getByLabel('Kind 2').selectOption('CPU');
  await dialog.getByLabel('CPU 2').fill('x86');
  await lookAt(page, 'change');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await row(page, 't4-only').getByText('GPU t4 or CPU x86').waitFor();

  const plan = await openPlan(page, model);
  await plan.getByText('What will happen').waitFor();
  expect(await plan.getByRole('button', { name: 'Promote' }).isEnabled(), 'the promotion is offered');
}

/** A deployment has policies of its own. */
async function narrow(page, model) {
  const { deployments } = await request('GET', `/v1/models/${model.id}/deployments`);
  const { id, name } = deployments.find((one) => one.environment === 'production');
  await page.goto(`/ui/models/${model.id}/deployments/${id}`);
  await page.getByRole('button', { name: `Change policies of ${name}` }).click();
  const dialog = page.getByRole('dialog', { name: `Policies of ${name}` });
  await dialog.getByRole('checkbox', { name: 'us-only' }).check();
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('region', { name: 'Details' }).getByRole('link', { name: 'us-only' }).waitFor();
  await lookAt(page, 'deployment');

  await page.goto(`/ui/models/${model.id}/environments/production`);
  const card = page.getByRole('region', { name: 'Where it may run' });
  const left = card.getByRole('list', { name: 'Where it may run' });
  await left.getByText('virginia on CPU x86').waitFor();
  expect((await left.getByRole('listitem').count()) === 1, 'both levels narrow each other');
}

/** One that is in use goes by force only. */
async function remove(page) {
  await page.goto('/ui/policies');
  await page.getByRole('button', { name: 'Delete t4-only' }).click();
  const dialog = page.getByRole('dialog', { name: 'Delete t4-only?' });
  await dialog.getByText('It is in use').waitFor();
  await dialog.getByRole('button', { name: 'Delete for good' }).click();
  await dialog.getByText(/is attached to environment production of model/).waitFor();
  await lookAt(page, 'delete-refused');
  await dialog.getByLabel('Delete it by force').check();
  await dialog.getByRole('button', { name: 'Delete for good' }).click();
  await row(page, 't4-only').waitFor({ state: 'detached' });
  await row(page, 'us-only').getByText('1 deployment').waitFor();
  await lookAt(page, 'policies');
}

const row = (page, name) => page.getByRole('row', { name: new RegExp(`^${name} `) });

async function openPlan(page, model) {
  await page.goto(`/ui/models/${model.id}`);
  const production = page.getByRole('article', { name: 'Environment production' });
  await production.getByRole('button', { name: 'Promote' }).click();
  return page.getByRole('dialog', { name: 'Promote to production' });
}
