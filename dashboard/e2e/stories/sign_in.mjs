// The door: a wrong key is refused with a reason, a right one opens, signing out closes; a revoked key ends the session with a reason.
import { lookAt, request, signIn, withPage } from '../lib.mjs';

export default () =>
  withPage(async (page) => {
    await page.goto('/ui/');
    await page.getByLabel('API key').fill('wrong.key');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('The server does not know this key').waitFor();
    await lookAt(page, 'sign-in');

    // A deep link is still there after the door.
    await signIn(page, '/secrets');
    await page.getByRole('heading', { name: 'Secrets', level: 1 }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('API key').waitFor();

    const made = await request('POST', '/v1/api_keys', { type: 'PERSONAL', name: 'for a while' });
    await page.getByLabel('API key').fill(made.api_key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('navigation', { name: 'Main' }).waitFor();
    await request('DELETE', `/v1/api_keys/${made.api_key.split('.')[0]}`);
    await page.getByRole('link', { name: 'API keys' }).click();
    await page.getByText('it has been revoked').waitFor();
  });
