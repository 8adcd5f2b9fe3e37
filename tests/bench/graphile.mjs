// Drains empty jobs with graphile-worker in its batching configuration and prints one line of JSON:
// when it began (worker starting, modules loaded) and when the last completed job was gone from the
// table, in milliseconds since 1970, and how many it ran itself.
//
//   node graphile.mjs install|drain CONNECTION      (module from $NODE_ROOT/node_modules)
import { createRequire } from "node:module";
const require = createRequire(process.env.NODE_ROOT + "/");
const { run, runMigrations, Logger } = require("graphile-worker");
const { Pool } = require("pg");

const [mode, connectionString] = process.argv.slice(2);
const logger = new Logger(() => () => {});
const pgPool = new Pool({ connectionString, max: 12 });
pgPool.on("error", () => {});
pgPool.on("connect", (client) => client.on("error", () => {}));
let ran = 0;
const preset = {
  worker: {
    // Its performance guide and its own perfTest: a local queue, completions in batches.
    concurrentJobs: 24,
    maxPoolSize: 12,
    pollInterval: 2000,
    localQueue: { size: 500, refetchDelay: { durationMs: 10, threshold: 0 } },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    logger,
  },
};

if (mode === "install") {
  await runMigrations({ pgPool, preset });
} else {
  const began = Date.now();
  const runner = await run({
    preset, pgPool, noHandleSignals: true,
    taskList: { bench: () => { ran++; } },
  });
  for (;;) {
    const { rowCount } = await pgPool.query("select 1 from graphile_worker._private_jobs limit 1");
    if (rowCount === 0) break;
    await new Promise((done) => setTimeout(done, 10));
  }
  const ended = Date.now();
  await runner.stop();
  console.log(JSON.stringify({ began, ended, ran }));
}
await pgPool.end();
