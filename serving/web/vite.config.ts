import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

// Two pages.  The server's content policy allows no inline script, no inline style and no data:
// script, so nothing is inlined; all but the pages themselves gets a hashed name below assets/.
const page = (name: string) => resolve(import.meta.dirname, name);

export default defineConfig({
  base: "/",
  server: { proxy: { "/v1": process.env["WORLDSIFT_SERVER"] ?? "http://127.0.0.1:8000" } },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900, // OpenLayers, loaded only when a map is shown
    rolldownOptions: { input: [page("index.html"), page("map.html")] },
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
