// Running a server: a secret whose value nobody sees again, a key that can do one thing until it is taken back, an environment that is
// shut to keys of the team, the log that has seen all of it, and what was used.
import { readFile } from 'node:fs/promises';
import { example, expect, greenroom, lookAt, request, signIn, until, url, withPage } from '../lib.mjs';

const SECRET = 'first-value-7f3a\nsecond-line';

export default () =>
  withPage(async (page) => {
    const pushed = [greenroom('push', example('hello')), greenroom('push', example('stream'))];
    await signIn(page, '/secrets');
    await secrets(page);
    await Promise.all(pushed);
    const { models } = await request('GET', '/v1/models');
    const idOf = (name) => models.find((model) => model.name === name).id;
    await keys(page, idOf('hello'), idOf('stream'));
    await access(page, idOf('hello'));
    await audit(page, idOf('hello'));
    await usage(page);
  });

async function secrets(page) {
  await page.getByText('No secrets yet').waitFor();
  await lookAt(page, 'secrets-empty');

  await page.getByRole('button', { name: 'Set a secret' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('hf token');
  await page.getByText('Only letters, digits').waitFor();
  await page.getByRole('textbox', { name: 'Name' }).fill('hf_token');
  const value = page.getByRole('textbox', { name: 'Value' });
  await value.fill(SECRET);
  const isUnseen = () => value.evaluate((field) => getComputedStyle(field).webkitTextSecurity === 'disc');
  expect(await isUnseen(), 'the value is typed unseen');
  await lookAt(page, 'secrets-set');
  await page.getByLabel('Show what is typed').check();
  expect(!(await isUnseen()), 'the value can be shown');
  await page.getByRole('button', { name: 'Set', exact: true }).click();
  const row = page.getByRole('row', { name: 'hf_token' });
  await row.waitFor();

  // Nowhere from now on.
  await page.reload();
  await row.waitFor();
  expect(!(await page.content()).includes('first-value'), 'the page has no value');
  for (const path of ['/v1/secrets', '/v1/audit_logs?limit=200']) {
    expect(!JSON.stringify(await request('GET', path)).includes('first-value'), `${path} has no value`);
  }

  // Another spelling is the same secret.
  await page.getByRole('button', { name: 'Set a secret' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('hf-token');
  await page.getByText('is set already').waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'New value for hf_token' }).click();
  await page.getByRole('textbox', { name: 'Value' }).fill('another');
  await page.getByRole('button', { name: 'Set', exact: true }).click();
  await page.getByText('Secret hf_token is set.').waitFor();

  await request('POST', '/v1/secrets', { name: 'old_password', value: 'x' });
  await page.getByRole('button', { name: 'Delete old_password' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('row', { name: 'old_password' }).waitFor({ state: 'detached' });
  await lookAt(page, 'secrets');
}

async function keys(page, hello, stream) {
  await page.getByRole('link', { name: 'API keys' }).click();
  await page.getByRole('button', { name: 'Make a key' }).click();
  await page.getByRole('radio', { name: /^Call models/ }).check();
  await page.getByRole('textbox', { name: 'Name' }).fill('shop-frontend');
  await page.getByRole('radio', { name: 'Only these' }).check();
  await page.getByRole('checkbox', { name: 'hello' }).check();
  await lookAt(page, 'keys-make');
  await page.getByRole('button', { name: 'Make it' }).click();
  await page.getByRole('heading', { name: 'Key shop-frontend is made' }).waitFor();
  await page.getByRole('button', { name: 'Copy key' }).click();
  const key = await page.evaluate(() => navigator.clipboard.readText());
  const row = page.getByRole('row', { name: 'shop-frontend' });
  await row.getByText('hello').waitFor();
  await lookAt(page, 'keys-made');

  const send = async (method, path) => {
    const headers = { Authorization: `Api-Key ${key}`, 'Content-Type': 'application/json' };
    const body = method === 'POST' ? '{"name": "you"}' : undefined;
    return (await fetch(`${url}${path}`, { method, headers, body })).status;
  };
  const predict = (model) => send('POST', `/models/${model}/production/predict`);
  expect((await predict(hello)) === 200, 'the key calls its model');
  expect((await predict(stream)) === 403, 'and no other');
  expect((await send('GET', '/v1/models')) === 403, 'and manages nothing');

  await page.getByRole('button', { name: 'I have kept it' }).click();
  await page.getByText('Copy it now.').waitFor({ state: 'detached' });
  expect(!(await page.content()).includes(key), 'the key is shown once');
  await page.getByRole('button', { name: 'Delete shop-frontend' }).click();
  await page.getByText('Every application that calls models with it').waitFor();
  await lookAt(page, 'keys-delete');
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await row.waitFor({ state: 'detached' });
  await until('the key is refused', async () => (await predict(hello)) === 401, 10_000);

  // The last key that manages anything does not go by one click.
  await page.getByRole('button', { name: 'Delete admin' }).click();
  await page.getByText('you will be signed out').waitFor();
  expect(await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).isDisabled(), 'a last key is guarded');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await lookAt(page, 'keys');
}

async function access(page, hello) {
  await page.getByRole('link', { name: 'Access', exact: true }).click();
  await page.getByRole('row', { name: /^production open/ }).waitFor();
  const { api_key } = await request('POST', '/v1/api_keys', { type: 'WORKSPACE_MANAGE_ALL', name: 'ci' });
  const change = async () => {
    const response = await fetch(`${url}/v1/models/${hello}/environments/production`, {
      method: 'PATCH',
      headers: { Authorization: `Bearer ${api_key}`, 'Content-Type': 'application/json' },
      body: '{"autoscaling_settings": {"max_replica": 3, "scale_down_delay": 120}}',
    });
    return response.status;
  };

  await page.getByRole('button', { name: 'Change access to production' }).click();
  await page.getByRole('radio', { name: 'Only administrators' }).check();
  await lookAt(page, 'access-restrict');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('row', { name: /^production restricted/ }).waitFor();
  await lookAt(page, 'access');
  expect((await change()) === 403, 'a key of the team may not change what is restricted');

  await page.getByRole('button', { name: 'Change access to production' }).click();
  await page.getByRole('radio', { name: 'Everybody' }).check();
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('row', { name: /^production open/ }).waitFor();
  expect((await change()) === 200, 'and may again');
}

async function audit(page, hello) {
  await page.getByRole('link', { name: 'Audit log' }).click();
  const entry = (name) => page.getByRole('listitem').filter({ hasText: name });
  for (const name of ['API key deleted', 'API key made', 'Environments restricted', 'Deployment promoted']) {
    await entry(name).first().waitFor();
  }
  await entry('Secret set').filter({ hasText: 'hf_token' }).first().waitFor();
  await entry('Deployment pushed').first().getByRole('link', { name: 'deployment-1' }).waitFor();

  // What changed, from what to what.
  await page.getByRole('button', { name: 'Details of Environment changed' }).click();
  await page.getByRole('row', { name: 'max replica 1 3' }).waitFor();
  await lookAt(page, 'audit');

  // New ones come by themselves.
  await request('POST', '/v1/secrets', { name: 'fresh', value: 'x' });
  await entry('fresh').waitFor();

  await page.getByLabel('What').selectOption('secrets');
  const counts = () => Promise.all([entry('Secret').count(), entry('API key').count()]);
  await until('only secrets are left', async () => String(await counts()) === '5,0');
  await page.getByLabel('Who').selectOption('system');
  await page.getByText('Nothing matches').waitFor();
  await page.goBack();
  await entry('Secret deleted').waitFor();
  await page.reload();
  await entry('Secret deleted').waitFor();
  expect(page.url().includes('event=secrets'), 'the filter is in the address');
  await lookAt(page, 'audit-filtered');

  await page.getByRole('button', { name: 'Clear filters' }).click();
  await page.getByLabel('Model').selectOption(hello);
  await entry('Environment changed').waitFor();
  await until('only what concerns the model is left', async () => String(await counts()) === '0,0');
}

async function usage(page) {
  await greenroom('predict', 'hello', '--data', '{"name": "you"}');
  await page.getByRole('link', { name: 'Usage' }).click();
  // Used minutes are known at the server's next look, which may be after this story.
  const days = page.getByRole('heading', { name: 'Day by day' });
  await days.or(page.getByText('Nothing was used in this time')).waitFor();
  if (await days.isVisible()) {
    await page.getByRole('row', { name: 'hello deployment-1' }).waitFor();
    const [file] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download CSV' }).click(),
    ]);
    const csv = await readFile(await file.path(), 'utf8');
    expect(csv.startsWith('date,model_id') && csv.includes(',hello,'), `the table has the model: ${csv}`);
    await page.getByRole('slider', { name: 'Day' }).focus();
    await page.keyboard.press('Home');
  }
  await lookAt(page, 'usage');

  await page.getByLabel('Period').selectOption('own');
  await page.getByLabel('First day').fill('2020-01-01');
  await page.getByText('At most 31 days').waitFor();
  await page.getByLabel('Last day').fill('2020-01-31');
  await page.getByText('Nothing was used in this time').waitFor();
  await lookAt(page, 'usage-empty');
}
