// What every story in a real browser needs: the browser, a signed-in page, an accessibility check, pictures to look at.
// A story is a module whose default export is run by `run.mjs`.
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';

/** Where the server is, the admin's key, the program, and where pictures go: set by whoever starts a story. */
export const url = required('GREENROOM_URL');
export const key = required('GREENROOM_API_KEY');
/** Where the pages come from: the server itself, or `npm run dev`. */
export const pages = process.env.GREENROOM_PAGES ?? url;
const program = required('GREENROOM_PROGRAM');
/** A folder for what the command line remembers. */
const home = required('GREENROOM_HOME');
const pictures = required('GREENROOM_PICTURES');
/** The story that runs: its pictures begin with its name. */
const [, , story] = process.argv;

export const WIDE = { width: 1280, height: 860 };
export const PHONE = { width: 390, height: 844 };

/** A browser, closed when `tell` is over. The page fails the story on an error of its own. */
export async function withPage(tell, { viewport = WIDE, colorScheme = 'light' } = {}) {
  const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
  if (!executablePath) throw new Error('no Chromium: apt install chromium');
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-sync'];
  const browser = await chromium.launch({ executablePath, args });
  try {
    const context = await browser.newContext({ viewport, colorScheme, baseURL: pages, timezoneId: 'Europe/Berlin' });
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    const page = await context.newPage();
    const troubles = [];
    page.on('pageerror', (error) => troubles.push(`page error: ${error.stack ?? error}`));
    page.on('console', (message) => {
      // Answers of 4xx are part of some stories; the page shows them.
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) troubles.push(message.text());
    });
    try {
      await tell(page);
    } catch (error) {
      await picture(page, 'failed').catch(() => undefined);
      throw new Error(`${error.message}\n${troubles.join('\n')}`, { cause: error });
    }
    if (troubles.length > 0) throw new Error(`the page complained:\n${troubles.join('\n')}`);
  } finally {
    await browser.close();
  }
}

/** Goes through the door, and to `path` (below /ui). */
export async function signIn(page, path = '/') {
  await page.goto(`/ui${path}`);
  await page.getByLabel('API key').fill(key);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('navigation', { name: 'Main' }).waitFor();
}

/** Fails on a serious or critical finding of axe on what the page shows now. */
export async function checkAccessibility(page) {
  const source = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  await page.evaluate(source);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }),
  );
  const grave = violations.filter((one) => ['serious', 'critical'].includes(one.impact));
  const texts = grave.map(
    (one) =>
      `${one.id}: ${one.help}\n${one.nodes.map((node) => `  ${node.html}\n  ${node.failureSummary}`).join('\n')}`,
  );
  if (texts.length > 0) throw new Error(`accessibility of ${page.url()}:\n${texts.join('\n')}`);
}

/** Keeps a picture of the whole page under `name`. */
export async function picture(page, name) {
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: join(pictures, `${story}-${name}.png`), fullPage: true });
}

/** The page as it is now in both themes and at a phone's width: a picture of each, and the accessibility check in each. */
export async function lookAt(page, name) {
  for (const [look, viewport, colorScheme] of [
    ['wide-light', WIDE, 'light'],
    ['wide-dark', WIDE, 'dark'],
    ['phone-light', PHONE, 'light'],
  ]) {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme });
    await picture(page, `${name}-${look}`);
    await checkAccessibility(page);
    const overflow = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    if (overflow > 0) throw new Error(`${page.url()} is ${overflow} px wider than ${viewport.width} px`);
  }
  await page.setViewportSize(WIDE);
  await page.emulateMedia({ colorScheme: 'light' });
}

const environment = { ...process.env, GREENROOM_URL: url, GREENROOM_API_KEY: key };

/** Runs the `greenroom` command line and gives its answer, parsed. */
export async function greenroom(...args) {
  const { stdout } = await promisify(execFile)(program, [...args, '--json'], { env: environment, maxBuffer: 1 << 26 });
  return stdout.trim() === '' ? undefined : JSON.parse(stdout);
}

/** Begins to run it, signed in as nobody, for a story that reads along. */
export function begin(...args) {
  const env = { ...process.env, GREENROOM_URL: url, HOME: home, XDG_CONFIG_HOME: home };
  delete env.GREENROOM_API_KEY;
  return spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Runs it in the background while `meanwhile` does. */
export async function withGreenroom(args, meanwhile) {
  const running = spawn(program, args, { env: environment, stdio: 'ignore' });
  try {
    await meanwhile();
  } finally {
    running.kill();
  }
}

/** Calls the API; the parsed answer. */
export async function request(method, path, body) {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

/** Waits until `condition` gives something. */
export async function until(what, condition, limitMs = 60_000) {
  const end = Date.now() + limitMs;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${limitMs} ms until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The folder of one of the repository's examples. */
export const example = (name) => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));

/** A folder with these files, by their paths in it. */
export async function folderWith(files) {
  const folder = await mkdtemp(join(tmpdir(), 'greenroom-story-'));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  return folder;
}

/** Fails the story unless `holds`. */
export function expect(holds, what) {
  if (!holds) throw new Error(`this does not hold: ${what}`);
}

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}
