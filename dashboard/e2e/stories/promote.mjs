// A promotion from its plan to its end: the share moves, is held, goes on, is given back; then all at once, and back again.
import { example, greenroom, lookAt, signIn, until, withPage } from '../lib.mjs';

const HELLO = example('hello');

export default () =>
  withPage(async (page) => {
    const { model } = await greenroom('push', HELLO);
    await greenroom('push', HELLO, '--labels', 'commit=4f2a91c');
    const set = (...settings) => greenroom('environments', 'set', 'hello', 'production', ...settings);
    await set('--mode', 'canary', '--canary-duration', '20s', '--min-replicas', '3', '--max-replicas', '3');

    await signIn(page);
    await page.getByRole('link', { name: 'hello' }).click();
    await page.getByRole('heading', { name: 'hello', level: 1 }).waitFor();
    const production = page.getByRole('article', { name: 'Environment production' });
    await production.getByText('3 ready').waitFor();
    await lookAt(page, 'model');

    await refuses(page, production);
    await canary(page, production);
    await rolling(page, production);
    await atOnceAndBack(page, production);
    await makesAnEnvironment(page);
    await deletes(page, model.name);
  });

/** The plan of what cannot be says why, and the button stays shut. */
async function refuses(page, production) {
  await production.getByRole('button', { name: 'Promote' }).click();
  const dialog = page.getByRole('dialog', { name: 'Promote to production' });
  await dialog
    .getByLabel('Deployment', { exact: true })
    .selectOption({ label: 'deployment-1 (active, serves production)' });
  await dialog.getByText('This would be refused').waitFor();
  await dialog.getByText(/serves it already/).waitFor();
  if (await dialog.getByRole('button', { name: 'Promote' }).isEnabled())
    throw new Error('a refused promotion is offered');
  await lookAt(page, 'promote-refused');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  // It has an address: the back button opens it again, and another page can lead to it.
  await page.goBack();
  await dialog.waitFor();
  await page.goBack();
  await dialog.waitFor({ state: 'hidden' });
  await page.getByRole('link', { name: 'deployment-1' }).last().click();
  await page.getByRole('link', { name: 'Promote…' }).click();
  await dialog.getByText(/serves it already/).waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
}

/** The share moves stage by stage, and is given back at once. */
async function canary(page, production) {
  await promote(page, production, async (dialog) => {
    await dialog.getByText('deployment-2 itself is promoted').waitFor();
    await dialog.getByRole('row', { name: /50\s%/ }).waitFor();
    await lookAt(page, 'promote-plan');
  });
  const shares = await seeShares(production, 2);
  if (!shares.every((share) => share % 10 === 0)) throw new Error(`a canary had ${shares} %`);
  if ((await production.getByRole('button', { name: 'Pause' }).count()) > 0)
    throw new Error('a canary cannot be paused');
  await lookAt(page, 'promotion-canary');
  await steer(page, production, 'Cancel…', 'Cancel promotion');
  await production.getByText(/Promotion of\s+deployment-2\s+canceled/).waitFor();
  await production.getByRole('link', { name: 'deployment-1' }).waitFor();
}

/** Replica by replica: held, then on, then back step by step. */
async function rolling(page, production) {
  await promote(page, production, async (dialog) => {
    await dialog.getByLabel('How traffic moves').selectOption('Rolling');
    await dialog.getByLabel(/^Stabilization time/).fill('a while');
    await dialog.getByText('This needs to be a whole number.').waitFor();
    await dialog.getByLabel(/^Stabilization time/).fill('2');
    await planned(dialog);
    await lookAt(page, 'promote-rolling');
  });
  await seeShares(production, 1);
  await steer(page, production, 'Pause…', 'Pause');
  await production.getByText('paused', { exact: true }).waitFor();
  const held = await shareNow(production);
  await lookAt(page, 'promotion-paused');
  if ((await shareNow(production)) !== held) throw new Error(`paused at ${held} %, and it moved`);
  await steer(page, production, 'Resume…', 'Resume');
  await until('it goes on', async () => (await shareNow(production)) > held);
  await steer(page, production, 'Cancel…', 'Cancel promotion');
  await production.getByText(/Promotion of\s+deployment-2\s+canceled/).waitFor();
  await production.getByRole('link', { name: 'deployment-1' }).waitFor();
}

async function atOnceAndBack(page, production) {
  await promote(page, production, async (dialog) => {
    await dialog.getByLabel('How traffic moves').selectOption('At once');
  });
  await production.getByText(/Promotion of\s+deployment-2\s+succeeded/).waitFor();
  await production.getByRole('link', { name: 'deployment-2' }).waitFor();

  await production.getByRole('button', { name: 'Roll back' }).click();
  const dialog = page.getByRole('dialog', { name: 'Roll production back?' });
  await dialog.getByText('deployment-1', { exact: true }).waitFor();
  await lookAt(page, 'roll-back');
  await dialog.getByRole('button', { name: 'Roll back' }).click();
  await dialog.waitFor({ state: 'hidden' });
  await production.getByText(/Roll back to\s+deployment-1\s+succeeded/).waitFor();
  await production.getByRole('link', { name: 'deployment-1' }).waitFor();
}

async function makesAnEnvironment(page) {
  await page.getByRole('button', { name: 'New environment' }).click();
  const dialog = page.getByRole('dialog', { name: 'New environment' });
  await dialog.getByLabel('Name').fill('Staging');
  await dialog.getByText('Only lower-case letters, digits and hyphens can be used.').waitFor();
  await dialog.getByLabel('Name').fill('staging');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await page.getByRole('article', { name: 'Environment staging' }).getByText('serves nothing yet').waitFor();
  await lookAt(page, 'model-two-environments');
}

async function deletes(page, name) {
  await page.getByRole('button', { name: 'Delete model' }).click();
  const dialog = page.getByRole('dialog', { name: `Delete ${name}?` });
  const confirm = dialog.getByRole('button', { name: 'Delete for good' });
  if (await confirm.isEnabled()) throw new Error('a model is deleted without its name');
  await dialog.getByLabel(/to confirm/).fill(name);
  await lookAt(page, 'delete-model');
  await confirm.click();
  await page.getByRole('heading', { name: 'No models yet' }).waitFor();
}

/** Opens the dialog, lets `choose` look and choose, and promotes what the plan then says. */
async function promote(page, production, choose) {
  await production.getByRole('button', { name: 'Promote' }).click();
  const dialog = page.getByRole('dialog', { name: 'Promote to production' });
  await choose(dialog);
  await dialog.getByRole('button', { name: 'Promote' }).click();
  await dialog.waitFor({ state: 'hidden' });
}

/** Waits until the plan is of what is chosen, and not refused. */
const planned = (dialog) =>
  until('the plan is there', () => dialog.getByRole('button', { name: 'Promote' }).isEnabled());

/** Asks something of the promotion, with the dialog that says what will happen. */
async function steer(page, production, button, confirm) {
  await production.getByRole('button', { name: button, exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: confirm, exact: true }).click();
  await dialog.waitFor({ state: 'hidden' });
}

/** The candidate's share as the card shows it; none while no promotion is under way. */
async function shareNow(production) {
  const texts = await production.getByRole('region', { name: 'Promotion to production' }).allInnerTexts();
  const shares = texts.flatMap((text) => [...text.matchAll(/(\d+)\s%/g)]).map((match) => Number(match[1]));
  return shares[1];
}

/** Waits until so many different shares between nothing and all were seen. */
async function seeShares(production, wanted) {
  const seen = new Set();
  await until(`${wanted} shares were seen`, async () => {
    const share = await shareNow(production);
    if (share > 0 && share < 100) seen.add(share);
    return seen.size >= wanted;
  });
  return [...seen];
}
