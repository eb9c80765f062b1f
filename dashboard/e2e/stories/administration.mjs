// Running a server: a secret whose value nobody sees again, a key that can do one thing until it is taken back, somebody who is let in,
// leads a team and is let out again, a program with a secret of its own, an environment that is shut to keys of the team, the log that
// has seen all of it, and what was used.
import { readFile } from 'node:fs/promises';
import { example, expect, greenroom, key as adminKey, lookAt, request, signIn, until, url, withPage } from '../lib.mjs';

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
    await people(page);
    await serviceAccounts(page);
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
  await page.getByRole('radio', { name: 'Only in environments' }).check();
  await page.getByRole('checkbox', { name: 'production' }).check();
  await page.getByRole('textbox', { name: 'Other names' }).fill('staging,');
  await page.getByRole('textbox', { name: 'Requests a minute' }).fill('often');
  await page.getByText('A whole number').waitFor();
  await page.getByRole('textbox', { name: 'Requests a minute' }).fill('600');
  await lookAt(page, 'keys-make');
  await page.getByRole('button', { name: 'Make it' }).click();
  await page.getByRole('heading', { name: 'Key shop-frontend is made' }).waitFor();
  await page.getByRole('button', { name: 'Copy key' }).click();
  const key = await page.evaluate(() => navigator.clipboard.readText());
  const row = page.getByRole('row', { name: 'shop-frontend' });
  await row.getByText('hello').waitFor();
  await row.getByText('only in production and staging').waitFor();
  await row.getByText('at most 600 requests a minute').waitFor();
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

/** What the server answers to a key. */
const asked = (key, path, init = {}) =>
  fetch(`${url}${path}`, { ...init, headers: { ...init.headers, Authorization: `Bearer ${key}` } });

async function people(page) {
  await page.getByRole('button', { name: 'Let somebody in' }).click();
  await page.getByRole('textbox', { name: 'Address' }).fill('ann');
  await page.getByText('This is no address').waitFor();
  await page.getByRole('textbox', { name: 'Address' }).fill('ann@example.com');
  await page.getByRole('textbox', { name: 'Name' }).fill('Ann');
  await page.getByRole('checkbox', { name: 'Make a key for them' }).check();
  await lookAt(page, 'access-let-in');
  await page.getByRole('button', { name: 'Let in', exact: true }).click();
  await page.getByRole('heading', { name: 'Ann has a key' }).waitFor();
  await page.getByRole('button', { name: 'Copy key' }).click();
  const annsKey = await page.evaluate(() => navigator.clipboard.readText());
  expect((await (await asked(annsKey, '/v1/users/me')).json()).role === 'MEMBER', 'Ann is a member');
  await lookAt(page, 'access-let-in-key');
  await page.getByRole('button', { name: 'I have kept it' }).click();
  expect(!(await page.content()).includes(annsKey), 'her key is shown once');

  const ann = page.getByRole('region', { name: 'People' }).getByRole('row', { name: /^Ann/ });
  const setRole = async (role) => {
    await ann.getByRole('button', { name: 'Change the role of Ann' }).click();
    await page.getByRole('dialog').getByRole('radio', { name: role }).check();
    await page.getByRole('button', { name: 'Save' }).click();
    await ann.getByRole('cell', { name: role }).waitFor();
  };
  await setRole('Administrator');
  await setRole('Member');

  await page.getByRole('button', { name: 'Make a team' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('search');
  await page.getByRole('button', { name: 'Make it' }).click();
  await page.getByRole('button', { name: 'Take somebody in: search' }).click();
  await page.getByLabel('Who', { exact: true }).selectOption({ label: 'Ann (ann@example.com)' });
  await page.getByRole('radio', { name: 'Administrator' }).check();
  await lookAt(page, 'access-take-in');
  await page.getByRole('button', { name: 'Take in', exact: true }).click();
  await page
    .getByRole('table', { name: 'Members of search' })
    .getByRole('row', { name: /Ann.*Administrator/ })
    .waitFor();
  await page.getByRole('button', { name: 'Rename search' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('ranking');
  await page.getByRole('button', { name: 'Rename', exact: true }).click();
  await page.getByRole('table', { name: 'Members of ranking' }).waitFor();
  await ann.getByText('Default, ranking (administrator)').waitFor();
  await lookAt(page, 'access-people');

  // What Ann sees: her teams, of which she leads one.
  const become = async (key) => {
    await page.evaluate((key) => sessionStorage.setItem('greenroom.key', key), key);
    await page.reload();
    await page.getByRole('heading', { name: 'Teams' }).waitFor();
  };
  await become(annsKey);
  await page.getByRole('button', { name: 'Take somebody in: ranking' }).waitFor();
  for (const name of ['Let somebody in', 'Make a team', 'Make a service account', 'Take somebody in: Default']) {
    expect((await page.getByRole('button', { name }).count()) === 0, `Ann has no button ${name}`);
  }
  await lookAt(page, 'access-member');
  await become(adminKey);

  // A team goes when nobody is in it any more, and Ann goes with her key.
  const remove = async () => {
    await page.getByRole('button', { name: 'Delete team ranking' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  };
  await remove();
  await page.getByRole('dialog').getByText('Team ranking still has').waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Take out Ann of ranking' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Take out' }).click();
  await page.getByRole('table', { name: 'Members of ranking' }).waitFor({ state: 'detached' });
  await remove();
  await page.getByRole('button', { name: 'Delete team ranking' }).waitFor({ state: 'detached' });
  await ann.getByRole('button', { name: 'Let out Ann' }).click();
  await lookAt(page, 'access-let-out');
  await page.getByRole('dialog').getByRole('button', { name: 'Let out' }).click();
  await ann.waitFor({ state: 'detached' });
  expect((await asked(annsKey, '/v1/users/me')).status === 401, 'her key has ended');
}

async function serviceAccounts(page) {
  const idAndSecret = async () => {
    await page.getByRole('button', { name: 'Copy client id' }).click();
    const id = await page.evaluate(() => navigator.clipboard.readText());
    await page.getByRole('button', { name: 'Copy client secret' }).click();
    return `${id}:${await page.evaluate(() => navigator.clipboard.readText())}`;
  };
  const token = (pair) =>
    fetch(`${url}/v1/oauth/token`, {
      method: 'POST',
      headers: { Authorization: `Basic ${btoa(pair)}`, 'Content-Type': 'application/x-www-form-urlencoded' },
      body: 'grant_type=client_credentials',
    });

  await page.getByRole('button', { name: 'Make a service account' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('deployer');
  await lookAt(page, 'access-account-make');
  await page.getByRole('button', { name: 'Make it' }).click();
  await page.getByRole('heading', { name: 'Service account deployer has a secret' }).waitFor();
  const first = await idAndSecret();
  expect((await token(first)).status === 200, 'id and secret get a token');
  await lookAt(page, 'access-account-made');

  await page.getByRole('button', { name: 'New secret for deployer' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Make it' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  const second = await idAndSecret();
  expect(first !== second && (await token(first)).status === 401, 'the first secret has ended');
  expect((await token(second)).status === 200, 'the second one gets a token');
  await page.getByRole('button', { name: 'I have kept it' }).click();
  expect(!(await page.content()).includes(second.split(':')[1]), 'the secret is shown once');

  await page.getByRole('button', { name: 'Delete service account deployer' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('button', { name: 'Delete service account deployer' }).waitFor({ state: 'detached' });
}

async function audit(page, hello) {
  await page.getByRole('link', { name: 'Audit log' }).click();
  const entry = (name) => page.getByRole('listitem').filter({ hasText: name });
  for (const name of ['API key deleted', 'API key made', 'Environments restricted', 'Deployment promoted']) {
    await entry(name).first().waitFor();
  }
  await entry('Person let in').filter({ hasText: 'ann@example.com' }).first().waitFor();
  await entry('Service account given another secret').filter({ hasText: 'deployer' }).first().waitFor();
  await entry('Team renamed').filter({ hasText: 'ranking' }).first().waitFor();
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
