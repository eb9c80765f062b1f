import { svelte } from '@sveltejs/vite-plugin-svelte';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

// `npm run dev` and `npx vite preview` beside a server on its own port.
const proxy = Object.fromEntries(
  ['/v1', '/models', '/metrics'].map((path) => [path, process.env.GREENROOM_URL ?? 'http://127.0.0.1:8000']),
);

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

// Everything lies under /ui/, which no route of the API and no path to a model begins with.
export default defineConfig({
  base: '/ui/',
  plugins: [svelte()],
  resolve: { alias: { $lib: fileURLToPath(new URL('src/lib', import.meta.url)) } },
  build: {
    target: 'es2022',
    // Inlined files would be data: URLs, which the Content-Security-Policy refuses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy },
  // With the policy that the server sends (crates/dashboard), so that stories against a build keep it.
  preview: { proxy, headers: { 'Content-Security-Policy': POLICY } },
});
