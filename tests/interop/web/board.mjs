// A page of another origin that speaks to Daybook: connect-web in a browser, with the API key of the person who
// looks at it. It must be an employee's key: whoever sees the page can read it. The gateway must name the page's
// origin in DAYBOOK_HTTP_CORS_ORIGINS.
//
//   page/?gateway=http://127.0.0.1:PORT#dbk_...    does all that a page does, and says on the console what came of it
import { createRegistry } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { EventService } from "./gen/daybook/bus/v1/bus_pb.js";
import { CustomerService } from "./gen/daybook/customers/v1/customers_pb.js";
import { CustomerCreatedSchema, file_daybook_customers_v1_events } from "./gen/daybook/customers/v1/events_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";

const registry = createRegistry(file_daybook_customers_v1_events);

function open(apiKey, options = {}) {
  const authorize = (next) => (request) => {
    if (apiKey) request.header.set("Authorization", `Bearer ${apiKey}`);
    return next(request);
  };
  return createConnectTransport({
    baseUrl: new URL(location).searchParams.get("gateway"),
    useHttpGet: true, // of methods without side effects
    jsonOptions: { registry }, // the data of events is of these types
    interceptors: [authorize],
    ...options,
  });
}

async function refused(promise) {
  return promise.then(
    () => Promise.reject(new Error("it was not refused")),
    (error) => ConnectError.from(error),
  );
}

const same = (a, b) => {
  if (a !== b) throw new Error(`${a}, not ${b}`);
};

// A command once, though it is sent twice; what the answer says besides, a script may read.
async function checkCommand(customers) {
  const key = crypto.randomUUID();
  const seen = {};
  const options = { headers: { "Idempotency-Key": key }, timeoutMs: 10_000, onHeader: (h) => (seen.header = h) };
  const request = { customer: { name: `Shop ${key}` } };
  const first = await customers.create(request, options);
  same(seen.header.get("Idempotent-Replayed"), null);
  const again = await customers.create(request, options);
  same(again.customer.id, first.customer.id);
  same(seen.header.get("Idempotent-Replayed"), "true");
  same(typeof seen.header.get("X-Request-Id"), "string");
  return first.customer;
}

// A read, by GET.
async function checkRead(customers, made) {
  const seen = {};
  const { customer } = await customers.get({ id: made.id }, { onHeader: (h) => (seen.header = h) });
  same(customer.name, made.name);
  same(typeof seen.header.get("ETag"), "string");
}

async function checkErrors(customers) {
  const wrong = await refused(customers.create({ customer: { name: "" } }));
  same(wrong.code, Code.InvalidArgument);
  same(wrong.findDetails(BadRequestSchema)[0].fieldViolations[0].field, "customer.name");
  const missing = await refused(customers.get({ id: crypto.randomUUID() }));
  same(missing.code, Code.NotFound);
  same(missing.findDetails(ErrorInfoSchema)[0].domain, "daybook");
  const late = await refused(customers.list({}, { timeoutMs: 1 }));
  same(late.code, Code.DeadlineExceeded);
}

// What happens from now on, until the page is left: here, until its own customer has come.
async function checkEvents(transport, customers) {
  const events = createClient(EventService, transport);
  const { headSeq, logId } = await events.getHead({ omitTypes: true });
  const stop = new AbortController();
  const from = { afterSeq: headSeq, logId, types: [CustomerCreatedSchema.typeName] };
  let made;
  const ended = await refused(
    (async () => {
      for await (const { message } of events.streamEvents(from, { signal: stop.signal })) {
        if (message.case === "position" && !made) made = await checkCommand(customers);
        // What was done a moment ago may come first: it reaches the log a little later than its answer.
        if (message.case !== "event" || anyUnpack(message.value.data, registry).customer.id !== made.id) continue;
        console.log("event has come");
        await waitForWord();
        stop.abort();
      }
    })(),
  );
  same(ended.code, Code.Canceled);
}

// The test says `goOn()` when it has seen that the stream is open.
const waitForWord = () => new Promise((resolve) => (window.goOn = resolve));

async function check() {
  const apiKey = location.hash.slice(1);
  for (const useBinaryFormat of [false, true]) {
    const codec = useBinaryFormat ? "proto" : "json";
    const transport = open(apiKey, { useBinaryFormat });
    const customers = createClient(CustomerService, transport);
    const made = await checkCommand(customers);
    await checkRead(customers, made);
    await checkErrors(customers);
    console.log(`calls in ${codec}: ok`);
    await checkEvents(transport, customers);
    console.log(`events in ${codec}: ok`);
  }
}

// Without any header of its own: a browser asks nobody whether it may, and the error can be read all the same.
async function checkStranger() {
  const error = await refused(createClient(CustomerService, open(null)).get({ id: crypto.randomUUID() }));
  console.log(`without a key: ${Code[error.code]}`);
}

try {
  await checkStranger();
  await check();
  console.log("done");
} catch (error) {
  console.log(`failed: ${error.stack}`);
}
