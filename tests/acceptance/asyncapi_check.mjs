// Parses an AsyncAPI document from stdin by the official parser; tells its faults, and its channels.
// The parser is where NODE_MODULES says.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { Parser } = createRequire(process.env.NODE_MODULES + '/')('@asyncapi/parser');
const { document, diagnostics } = await new Parser().parse(readFileSync(0, 'utf8'));
const faults = diagnostics.filter((d) => d.severity < 2).map((d) => `${d.path.join('.')}: ${d.message}`);
const channels = document ? document.channels().all().map((c) => c.id()) : [];
console.log(JSON.stringify({ faults, channels }));
