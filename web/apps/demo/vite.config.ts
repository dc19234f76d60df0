import { fileURLToPath } from "node:url";

import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const api = process.env.API_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: { sourcemap: true, chunkSizeWarningLimit: 600 },
  server: { host: "127.0.0.1", proxy: { "/api": api, "/broadcasting": api, "/config.json": api } },
});
