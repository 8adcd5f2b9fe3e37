// Opens a page in Chromium without a window, over its DevTools protocol on two pipes; no package is needed.
//
//   node browser.mjs PROGRAM FOLDER URL
//
// Prints what the page says on its console ("page: ...") and what Chromium asks the net ("net: POST https://...",
// and "net: OPTIONS ..." for the questions of CORS). A line on standard input is run in the page. Ends with its input.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const [program, folder, url] = process.argv.slice(2);
const root = process.getuid() === 0 ? ["--no-sandbox"] : []; // root has no user namespace to hide in
const browser = spawn(
  program,
  ["--remote-debugging-pipe", `--user-data-dir=${folder}`, "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", ...root],
  { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] },
);
browser.on("exit", (code) => {
  console.log(`browser ended: ${code}`);
  process.exit(1);
});
const [toBrowser, fromBrowser] = [browser.stdio[3], browser.stdio[4]];

// --- requests and events, each JSON with a zero byte behind it ----------------------------------------

const waiting = new Map();
let session;

function ask(method, params = {}) {
  const id = waiting.size + 1;
  toBrowser.write(`${JSON.stringify({ id, method, params, ...(session && { sessionId: session }) })}\0`);
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

let rest = "";
fromBrowser.setEncoding("utf8");
fromBrowser.on("data", (chunk) => {
  const messages = (rest + chunk).split("\0");
  rest = messages.pop();
  for (const message of messages.map((text) => JSON.parse(text))) {
    const { resolve, reject } = waiting.get(message.id) ?? {};
    if (message.error) reject(new Error(message.error.message));
    else if (resolve) resolve(message.result);
    else if (told[message.method]) told[message.method](message.params);
  }
});

const told = {
  "Runtime.consoleAPICalled": ({ args }) => console.log(`page: ${args.map((arg) => arg.value).join(" ")}`),
  "Runtime.exceptionThrown": ({ exceptionDetails }) =>
    console.log(`page: failed: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`),
  "Network.requestWillBeSent": ({ request }) => console.log(`net: ${request.method} ${request.url.split("?")[0]}`),
};

const { targetId } = await ask("Target.createTarget", { url: "about:blank" });
({ sessionId: session } = await ask("Target.attachToTarget", { targetId, flatten: true }));
await ask("Runtime.enable");
await ask("Network.enable");
await ask("Page.navigate", { url });

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => ask("Runtime.evaluate", { expression: line }));
lines.on("close", () => {
  browser.removeAllListeners("exit");
  browser.once("exit", () => process.exit(0));
  session = undefined;
  ask("Browser.close");
});
