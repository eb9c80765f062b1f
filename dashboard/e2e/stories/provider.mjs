// The door without a key: by the identity provider, a real one in a process of its own. Who was let in under their address comes in, and so
// does whoever has an address of a domain that may; others are told why not. Then a command line is signed in from the browser.
import { begin, lookAt, request, until, withPage } from '../lib.mjs';

async function signIn(page, who) {
  await page.getByRole('button', { name: 'Sign in with Acme' }).click();
  await page.locator('input[name=login]').fill(who);
  await page.locator('input[name=password]').fill('any');
  await page.getByRole('button', { name: 'Sign-in' }).click();
  await page.getByRole('button', { name: 'Continue' }).click();
}

/** Signs out here and at the provider. */
async function signOut(page) {
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.context().clearCookies();
}

export default () =>
  withPage(async (page) => {
    await request('POST', '/v1/users', { email: 'ann@example.com' });
    await page.goto('/ui/secrets');
    await page.getByRole('button', { name: 'Sign in with Acme' }).waitFor();
    await lookAt(page, 'door');
    await signIn(page, 'ann');
    // Where one was going, with nothing of the sign-in in the address.
    await page.getByRole('heading', { name: 'Secrets', level: 1 }).waitFor();
    await page.waitForURL((url) => url.pathname === '/ui/secrets' && url.hash === '');
    await page.goto('/ui/access');
    await page.getByText('ann@example.com').first().waitFor();

    // A command line shows a code, which its owner allows here.
    const login = begin('login', '--browser', '--json');
    let said = '';
    let answered = '';
    login.stderr.on('data', (text) => (said += text));
    login.stdout.on('data', (text) => (answered += text));
    const code = await until('a code is shown', () => /code=([A-Z]{4}-[A-Z]{4})/.exec(said)?.[1]);
    await page.goto(`/ui/device?code=${code}`);
    await page.getByLabel('Code').waitFor();
    await lookAt(page, 'device');
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.getByText('The device is signed in as you').waitFor();
    await until('the command is done', () => login.exitCode !== null);
    if (login.exitCode !== 0) throw new Error(said);
    if (JSON.parse(answered).user.email !== 'ann@example.com') throw new Error(answered);

    // Somebody of a domain that may come by themselves joins the default team.
    await signOut(page);
    await signIn(page, 'bob');
    await page.getByRole('navigation', { name: 'Main' }).waitFor();
    const { items } = await request('GET', '/v1/users');
    const bob = items.find((user) => user.email === 'bob@example.com');
    if (bob?.teams.length !== 1 || bob.role !== 'MEMBER') throw new Error(JSON.stringify(items));

    // An address that the provider does not vouch for opens nothing.
    await signOut(page);
    await signIn(page, 'unverified-eve');
    await page.getByText('vouches for no address of yours').waitFor();
    await lookAt(page, 'refused');
    // Nor does a code that was begun in another tab.
    await page.goto('/ui/');
    await page.goto('/ui/signed-in#code=stolen');
    await page.getByText('not begun in this tab').waitFor();
  });
