import { defineConfig } from "vitest/config";

export default defineConfig({
  base: "./",
  build: {
    target: "es2022",
    // A strict content security policy forbids data: scripts, so nothing is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // livekit-client is one lazy chunk of about half a megabyte; the kiosk page never loads it.
    chunkSizeWarningLimit: 700,
  },
  worker: { format: "es" },
  test: { environment: "node", include: ["test/**/*.test.ts"] },
});
