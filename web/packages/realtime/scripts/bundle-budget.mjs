/** Fails when an entry of the package, minified and gzipped beside its peers, is larger than its budget. */

import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const PEERS = ["pusher-js", "laravel-echo", "react"];
/** Entry, what it is for, and bytes of gzip. */
const BUDGETS = [
  ["dist/index.js", "core", 6_400],
  ["dist/react/index.js", "React shell with all of the core it uses", 7_168],
  ["dist/push.js", "Web Push", 1_536],
];

let isOver = false;
for (const [entry, title, budget] of BUDGETS) {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: PEERS,
    write: false,
  });
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  isOver ||= bytes > budget;
  console.log(`${bytes > budget ? "OVER" : "ok  "} ${title}: ${bytes} of ${budget} bytes (gzip)`);
}
process.exit(isOver ? 1 : 0);
