// What a program needs to be told by Daybook's webhooks: a server that takes what is signed by Daybook, an inbox in
// which each event stands once, and the work on it. To be copied; a database in place of the files makes it shorter.
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { HTTP } from "cloudevents";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const BODY_MAX = 1024 * 1024; // Daybook's events are smaller

// The old text or the new one, whenever we are killed.
function replace(file, text) {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

// Events in a file, in order of arrival, each once by its webhook-id. With a database: a table with the id as its key.
export class Inbox {
  #ids = new Set();
  #events = []; // that wait
  #done = 0; // how many of the file are handled
  #wake = () => {};

  constructor(file) {
    this.file = file;
    if (existsSync(`${file}.done`)) this.#done = Number(readFileSync(`${file}.done`, "utf8"));
    const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : [];
    // What was cut off by a crash was not answered, so it comes again.
    replace(file, lines.map((line) => `${line}\n`).join(""));
    this.#events = lines.map((line) => JSON.parse(line));
    for (const event of this.#events) this.#ids.add(event.id);
    this.#events.splice(0, this.#done);
    this.fd = openSync(file, "a");
  }

  // On disk when it returns; false: it was there.
  put(event) {
    if (this.#ids.has(event.id)) return false;
    writeSync(this.fd, `${JSON.stringify(event)}\n`);
    fsyncSync(this.fd);
    this.#ids.add(event.id);
    this.#events.push(event);
    this.#wake();
    return true;
  }

  // handle(event) for each, one after the other. After a crash the last one is handled again, unless its effect and
  // the mark are one transaction.
  async work(handle, signal) {
    signal.addEventListener("abort", () => this.#wake());
    while (!signal.aborted) {
      while (this.#events.length && !signal.aborted) {
        await handle(this.#events[0]);
        this.#events.shift();
        replace(`${this.file}.done`, String(++this.#done));
      }
      if (!signal.aborted) await new Promise((resolve) => (this.#wake = resolve));
    }
    closeSync(this.fd);
  }
}

// The CloudEvent of a request, of which `body` is the text as it came: parsed and written anew it has another signature.
export function verified(webhook, headers, body) {
  webhook.verify(body, headers); // the signature, and that it was made within 5 minutes
  const event = HTTP.toEvent({ headers, body });
  event.validate();
  if (event.id !== headers["webhook-id"]) throw new WebhookVerificationError("another event's webhook-id");
  return event;
}

async function textOf(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > BODY_MAX) throw new RangeError("the body is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

// The work is done after the answer: Daybook waits 15 s for it, and posts the next event about the same thing then.
// 2xx: it is ours now. Anything else, or none: it comes again. 410 would mean: nothing more, ever.
async function answer(request, endpoint, inbox) {
  if (request.method !== "POST") return 405;
  if (!endpoint.secret) return 503; // it is being registered
  try {
    const event = verified(new Webhook(endpoint.secret), request.headers, await textOf(request));
    if (!inbox.put(event)) console.log(`again ${event.id}`);
    return 204;
  } catch (error) {
    console.log(`refused: ${error.message}`);
    return error instanceof WebhookVerificationError ? 401 : error instanceof RangeError ? 413 : 500;
  }
}

// endpoint: { secret }, which may come later.
export function webhookServer(endpoint, inbox) {
  return createServer(async (request, response) => {
    response.writeHead(await answer(request, endpoint, inbox)).end();
  });
}
