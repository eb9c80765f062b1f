// The door: a wrong key is refused with a reason, a right one opens, signing out closes; a revoked key ends the session with a reason.
// Then the way around: on a phone the other pages are behind a button.
import { lookAt, PHONE, picture, request, signIn, until, WIDE, withPage } from '../lib.mjs';

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

    const made = await request('POST', '/v1/api_keys', { type: 'PERSONAL', name: 'for-a-while' });
    await page.getByLabel('API key').fill(made.api_key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('navigation', { name: 'Main' }).waitFor();
    await request('DELETE', `/v1/api_keys/${made.api_key.split('.')[0]}`);
    // The page hears of it by itself.
    await page.getByText('it has been revoked').waitFor();

    await signIn(page, '/secrets');
    await page.setViewportSize(PHONE);
    const navigation = page.getByRole('navigation', { name: 'Main' });
    await navigation.waitFor({ state: 'hidden' });
    const menu = page.getByRole('button', { name: 'Menu' });
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await menu.click();
      await navigation.waitFor();
      await picture(page, `menu-${colorScheme}`);
      await page.keyboard.press('Escape');
      await navigation.waitFor({ state: 'hidden' });
    }
    await menu.click();
    await navigation.getByRole('link', { name: 'Access' }).click();
    await page.getByRole('heading', { name: 'Access', level: 1 }).waitFor();
    await navigation.waitFor({ state: 'hidden' });
    // The keyboard goes on where the page begins, and its name is said.
    await until('the focus is on the page', () => page.evaluate(() => document.activeElement?.id === 'content'));
    await page.getByRole('status').getByText('Access · Greenroom').waitFor();
    await page.setViewportSize(WIDE);
    // Links are real ones: they open elsewhere when asked to, and say where one is.
    const [other] = await Promise.all([
      page.context().waitForEvent('page'),
      navigation.getByRole('link', { name: 'Usage' }).click({ modifiers: ['Control'] }),
    ]);
    await other.waitForURL('**/ui/usage');
    await other.close();
    await navigation.locator('[aria-current=page]', { hasText: 'Access' }).waitFor();
    await page.getByRole('button', { name: /^Theme/ }).click();
    await page.getByRole('button', { name: 'Theme: light' }).waitFor();
  });
