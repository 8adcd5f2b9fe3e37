// A back end that plays an ERP: it hands customers and orders on to Daybook and hears what happens
// there. An example, and the test of what connect-node makes of the gateway.
//
//   DAYBOOK_URL=http://127.0.0.1:PORT DAYBOOK_API_KEY=dbk_... node erp.mjs COMMAND
//     order NUMBER     a new customer of the employee with that staff number, and an order of it
//     follow FILE      prints new events; FILE keeps the position, from the beginning when it is missing
//     tiers FILE       registers a webhook, prints which customers have changed their tier; FILE keeps what has come.
//                      ERP_LISTEN=HOST:PORT, by default a free port of 127.0.0.1; ERP_URL is its address from outside
//     check NUMBER     everything else that a client meets, with assertions; needs no events of others
//     large MIB        what becomes of a message of that size
// DAYBOOK_HTTP_VERSION=2 where a proxy stands before the gateway; NODE_EXTRA_CA_CERTS, of Node, for its certificate.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRegistry, fromJson } from "@bufbuild/protobuf";
import { anyUnpack, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { command, connect, follow } from "./daybook.mjs";
import { EventService } from "./gen/daybook/bus/v1/bus_pb.js";
import { CustomerService, DealService, OrderKind, Tier } from "./gen/daybook/customers/v1/customers_pb.js";
import { file_daybook_customers_v1_events } from "./gen/daybook/customers/v1/events_pb.js";
import { DirectoryService } from "./gen/daybook/directory/v1/directory_pb.js";
import { WebhookService } from "./gen/daybook/gateway/v1/gateway_pb.js";
import { CustomerTierChangedSchema } from "./gen/daybook/scoring/v1/events_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { Inbox, webhookServer } from "./webhooks.mjs";

const { DAYBOOK_URL, DAYBOOK_API_KEY, DAYBOOK_HTTP_VERSION, ERP_LISTEN, ERP_URL } = process.env;
const CREATED = "daybook.customers.v1.CustomerCreated";
const registry = createRegistry(file_daybook_customers_v1_events);
const open = (options) =>
  connect(DAYBOOK_URL, DAYBOOK_API_KEY, { httpVersion: DAYBOOK_HTTP_VERSION ?? "1.1", ...options });

// --- customers and orders ---------------------------------------------------------------------------

async function ownerOf(transport, employeeNo) {
  return (await createClient(DirectoryService, transport).getEmployee({ employeeNo })).employee.id;
}

// What the ERP has under `id` becomes a customer of Daybook; a known one is found again.
async function customerOf(transport, id, ownerId, options) {
  const customers = createClient(CustomerService, transport);
  const externalRef = { source: "erp", id };
  try {
    const made = await command(customers.create, { customer: { name: `Shop ${id}`, externalRef, ownerId } }, options);
    return made.customer;
  } catch (error) {
    if (ConnectError.from(error).code !== Code.AlreadyExists) throw error;
    return (await customers.get({ externalRef })).customer;
  }
}

async function order(employeeNo) {
  const transport = open();
  const ownerId = await ownerOf(transport, employeeNo);
  const id = randomUUID();
  const customer = await customerOf(transport, `C-${id}`, ownerId, { timeoutMs: 500, tries: 40 });
  console.log(`customer ${customer.id} etag ${customer.etag}`);
  const deals = createClient(DealService, transport);
  const { order } = await command(deals.recordOrder, {
    customerExternalRef: { source: "erp", id: `C-${id}` },
    order: {
      externalRef: { source: "erp", id: `O-${id}` },
      kind: OrderKind.ORDER,
      orderedAt: timestampFromDate(new Date("2026-01-15T10:30:00+08:00")),
      amount: { currencyCode: "CNY", minorUnits: 1250000n },
    },
  });
  assert.equal(order.customerId, customer.id);
  console.log(`order ${order.id} of ${order.amount.minorUnits} ${order.amount.currencyCode}`);
}

// --- events -----------------------------------------------------------------------------------------

async function followFile(file) {
  const stop = new AbortController();
  process.once("SIGTERM", () => stop.abort());
  const kept = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : { seq: "0", logId: "" };
  const keep = (cursor) => {
    writeFileSync(`${file}.new`, JSON.stringify({ seq: String(cursor.seq), logId: cursor.logId }));
    renameSync(`${file}.new`, file);
  };
  const handle = (event) => {
    const data = anyUnpack(event.data, registry);
    console.log(`event ${event.seq} ${event.eventId} ${event.type} ${event.aggregate} ${data ? "known" : "other"}`);
  };
  const cursor = { seq: BigInt(kept.seq), logId: kept.logId };
  const last = await follow(open(), cursor, ["daybook.customers.v1."], handle, keep, stop.signal);
  console.log(`stopped at ${last.seq}`);
}

// --- webhooks ---------------------------------------------------------------------------------------

// The address of our server is registered once; its id and secret are kept, since the secret is shown once.
async function endpointAt(url, file) {
  const webhooks = createClient(WebhookService, open());
  if (existsSync(file)) {
    const { id, secret } = JSON.parse(readFileSync(file, "utf8"));
    await command(webhooks.updateEndpoint, { endpoint: { id, url }, updateMask: { paths: ["url"] } });
    return { id, secret };
  }
  const types = [CustomerTierChangedSchema.typeName];
  const { endpoint, secret } = await command(webhooks.createEndpoint, { endpoint: { url, types, description: "ERP" } });
  writeFileSync(file, JSON.stringify({ id: endpoint.id, secret }), { mode: 0o600 });
  return { id: endpoint.id, secret };
}

// Events of one customer come in order, but one that was sent again by hand comes late.
function tierTaker() {
  const sequences = new Map();
  return (event) => {
    const known = sequences.get(event.subject) ?? "";
    if (event.sequence <= known) return console.log(`old ${event.id}`);
    sequences.set(event.subject, event.sequence);
    // Later versions of Daybook may add fields: they are no error.
    const { customerId, oldTier, newTier } = fromJson(CustomerTierChangedSchema, event.data, { ignoreUnknownFields: true });
    console.log(`tier ${customerId} ${Tier[oldTier]} -> ${Tier[newTier]}`);
  };
}

async function tiers(file) {
  const stop = new AbortController();
  process.once("SIGTERM", () => stop.abort());
  const [host, port] = (ERP_LISTEN ?? "127.0.0.1:0").split(":");
  const inbox = new Inbox(file);
  const endpoint = {};
  const server = webhookServer(endpoint, inbox).listen(port, host);
  await once(server, "listening");
  Object.assign(endpoint, await endpointAt(ERP_URL ?? `http://${host}:${server.address().port}/`, `${file}.endpoint`));
  console.log(`endpoint ${endpoint.id}`);
  await inbox.work(tierTaker(), stop.signal);
  server.close();
  server.closeAllConnections();
}

// --- what else a client meets -----------------------------------------------------------------------

async function refused(promise) {
  return promise.then(
    () => assert.fail("it was not refused"),
    (error) => ConnectError.from(error),
  );
}

// The same in proto and in JSON.
async function checkCalls(employeeNo, useBinaryFormat) {
  const seen = {};
  const look = (next) => async (request) => {
    const answer = await next(request);
    seen.headers = answer.header;
    return answer;
  };
  const transport = open({ useBinaryFormat, interceptors: [look], compressMinBytes: 1 });
  const customers = createClient(CustomerService, transport);
  const ownerId = await ownerOf(transport, employeeNo);
  assert.ok(seen.headers.get("ETag"), "asked by GET");
  assert.match(seen.headers.get("Content-Type"), useBinaryFormat ? /^application\/proto$/ : /^application\/json$/);

  // A command under one key: one customer, one answer.
  const key = randomUUID();
  const request = { customer: { name: `Shop ${key}`, ownerId, externalRef: { source: "erp", id: `K-${key}` } } };
  const first = await command(customers.create, request, { key });
  assert.equal(seen.headers.get("ETag"), null, "asked by POST");
  assert.equal(seen.headers.get("Idempotent-Replayed"), null);
  assert.deepEqual(await command(customers.create, request, { key }), first);
  assert.equal(seen.headers.get("Idempotent-Replayed"), "true");
  const taken = await refused(command(customers.create, request));
  assert.equal(taken.code, Code.AlreadyExists);

  // Faults have types.
  const wrong = await refused(customers.create({ customer: { name: "", ownerId } }));
  assert.equal(wrong.code, Code.InvalidArgument);
  const [violation] = wrong.findDetails(BadRequestSchema)[0].fieldViolations;
  assert.equal(violation.field, "customer.name");
  const [info] = wrong.findDetails(ErrorInfoSchema);
  assert.equal(info.domain, "daybook");
  const missing = await refused(customers.get({ id: randomUUID() }));
  assert.equal(missing.code, Code.NotFound);
  assert.ok(missing.findDetails(ErrorInfoSchema)[0].reason);

  // A long answer is compressed, and so was what asked for it. By GET connect-node asks for no gzip.
  const names = Array.from({ length: 12 }, (_, i) => `${key} ${"long ".repeat(20)}${i}`);
  for (const name of names) await command(customers.create, { customer: { name, ownerId } });
  const byPost = open({ useBinaryFormat, useHttpGet: false, interceptors: [look], compressMinBytes: 1 });
  const page = await createClient(CustomerService, byPost).list({ pageSize: 100, ownerId });
  assert.equal(seen.headers.get("Content-Encoding"), "gzip");
  assert.ok(names.every((name) => page.customers.some((customer) => customer.name === name)));

  // No time, no answer.
  const late = await refused(customers.list({}, { timeoutMs: 1 }));
  assert.equal(late.code, Code.DeadlineExceeded);
  console.log(`calls in ${useBinaryFormat ? "proto" : "json"}: ok`);
}

// A stream that is aborted, and one that goes on from where it was.
async function checkEvents(employeeNo, useBinaryFormat) {
  // In JSON the data of each event is read at once, for which its type must be known; proto is wiser.
  const transport = open({ useBinaryFormat, jsonOptions: { registry } });
  const ownerId = await ownerOf(transport, employeeNo);
  const { headSeq, logId } = await createClient(EventService, transport).getHead({ omitTypes: true });
  let cursor = { seq: headSeq, logId };
  const keep = (kept) => (cursor = kept);
  const made = [];
  const make = async (count) => {
    for (let i = 0; i < count; i++) made.push((await customerOf(transport, randomUUID(), ownerId)).id);
  };
  const got = [];
  const until = async (count) => {
    const stop = new AbortController();
    const handle = (event) => {
      got.push(event);
      if (got.length === count) stop.abort();
    };
    await follow(transport, cursor, [CREATED], handle, keep, stop.signal);
  };
  // An event reaches the log a little later than its answer: first past all that was done before.
  const last = (await customerOf(transport, randomUUID(), ownerId)).id;
  const stop = new AbortController();
  const handle = (event) => event.aggregate === `customers/${last}` && stop.abort();
  await follow(transport, cursor, [CREATED], handle, keep, stop.signal);
  await make(5);
  await until(3);
  assert.equal(cursor.seq, got[2].seq);
  await make(4); // while nobody listens
  const rest = until(11);
  await make(2); // while it listens
  await rest;
  assert.deepEqual(got.map((event) => event.aggregate), made.map((id) => `customers/${id}`));
  assert.equal(new Set(got.map((event) => event.eventId)).size, made.length);
  const other = await refused(follow(transport, { seq: 0n, logId: randomUUID() }, [], () => {}, () => {}));
  assert.equal(other.code, Code.Aborted);
  console.log(`events in ${useBinaryFormat ? "proto" : "json"}: ok`);
}

async function check(employeeNo) {
  for (const useBinaryFormat of [true, false]) {
    await checkCalls(employeeNo, useBinaryFormat);
    await checkEvents(employeeNo, useBinaryFormat);
  }
}

async function large(mebibytes) {
  const customers = createClient(CustomerService, open({ sendCompression: null }));
  const { code, rawMessage } = await refused(customers.create({ customer: { name: "x".repeat(mebibytes * 2 ** 20) } }));
  console.log(`refused: ${Code[code]}: ${rawMessage}`);
}

const commands = { order, follow: followFile, tiers, check, large };
const [name, argument] = process.argv.slice(2);
if (!commands[name] || !argument || !DAYBOOK_URL || !DAYBOOK_API_KEY) {
  console.error("usage: DAYBOOK_URL=... DAYBOOK_API_KEY=... node erp.mjs order|follow|tiers|check|large ARGUMENT");
  process.exit(64);
}
await commands[name](argument);
