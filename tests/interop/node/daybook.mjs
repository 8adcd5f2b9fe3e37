// What a program needs to speak to Daybook over HTTP: a transport with its API key, commands that are
// sent again until there is an answer, and the log of events, followed without a gap.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { compressionGzip, createConnectTransport } from "@connectrpc/connect-node";
import { EventService } from "./gen/daybook/bus/v1/bus_pb.js";

// httpVersion: the gateway itself speaks HTTP/1.1; "2" is for a proxy in front of it.
export function connect(baseUrl, apiKey, { interceptors = [], ...options } = {}) {
  const authorize = (next) => (request) => {
    request.header.set("Authorization", `Bearer ${apiKey}`);
    return next(request);
  };
  return createConnectTransport({
    baseUrl,
    httpVersion: "1.1",
    useHttpGet: true, // of methods without side effects
    sendCompression: compressionGzip, // of messages from 1 KiB on
    acceptCompression: [compressionGzip],
    interceptors: [authorize, ...interceptors],
    ...options,
  });
}

const QUIET_MS = 30_000; // a stream that lives says its position every 15 s

// After these a command may have been done, or not: the same one is sent under the same key.
const PASSES = [Code.Unavailable, Code.DeadlineExceeded, Code.Aborted, Code.ResourceExhausted];

// The answer of a command: takes effect once, however often it must be sent.
export async function command(method, request, { key = randomUUID(), timeoutMs = 5000, tries = 8 } = {}) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await method(request, { headers: { "Idempotency-Key": key }, timeoutMs });
    } catch (error) {
      if (!(error instanceof ConnectError) || !PASSES.includes(error.code) || attempt === tries) throw error;
      console.log(`again: ${Code[error.code]}`);
      const wait = Number(error.metadata.get("Retry-After") ?? 0);
      await sleep(1000 * wait + 100 * 2 ** Math.min(attempt, 6) * (0.5 + Math.random()));
    }
  }
}

// Every event after cursor = { seq, logId }, once and in order, until the signal. handle(event) does
// its work, and keep(cursor) keeps the position, best in one transaction with that work: then even a
// crash repeats nothing. Where that cannot be, a repeated event is known by its eventId.
export async function follow(transport, cursor, types, handle, keep, signal) {
  const events = createClient(EventService, transport);
  for (let failures = 0; !signal?.aborted; ) {
    const began = Date.now();
    const stop = new AbortController();
    const abort = () => stop.abort();
    signal?.addEventListener("abort", abort);
    let quiet = setTimeout(abort, QUIET_MS);
    try {
      const from = { afterSeq: cursor.seq, logId: cursor.logId, types };
      for await (const { message } of events.streamEvents(from, { signal: stop.signal, timeoutMs: 0 })) {
        clearTimeout(quiet);
        if (message.value?.seq > cursor.seq) failures = 0;
        if (message.case === "event") {
          await handle(message.value);
          cursor = { seq: message.value.seq, logId: cursor.logId };
        } else if (message.case === "position") {
          cursor = { seq: message.value.seq, logId: message.value.logId };
        }
        await keep(cursor);
        if (signal?.aborted) break; // messages that have come already would still be given out
        quiet = setTimeout(abort, QUIET_MS);
      }
    } catch (error) {
      if (signal?.aborted) break;
      // A gateway that stops says Unavailable; a connection that breaks is Unavailable, Unknown,
      // Aborted or InvalidArgument (a stream cut short), by the way it broke.
      const reason = ConnectError.from(error);
      if (reason.code === Code.Aborted && reason.rawMessage.startsWith("LOG_CHANGED")) throw reason;
      if ([Code.Unauthenticated, Code.PermissionDenied].includes(reason.code)) throw reason;
      if (Date.now() - began >= QUIET_MS) failures = 0;
      if (++failures > 20) throw reason;
      console.log(`reconnect after ${cursor.seq}: ${Code[reason.code]}`);
    } finally {
      clearTimeout(quiet);
      signal?.removeEventListener("abort", abort);
    }
    await sleep(Math.min(5000, 100 * 2 ** failures) * (0.5 + Math.random()), undefined, { signal }).catch(() => {});
  }
  return cursor;
}
