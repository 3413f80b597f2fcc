// Loads a trace into Perfetto's trace processor, and prints the rows of a query.
//
//     node perfetto.js DIRECTORY TRACE SQL...
//
// DIRECTORY has Perfetto's engine_bundle.js and trace_processor*.wasm, as its web page does. The
// bundle is a worker of a page: it takes a port, on which requests and answers are messages
// of protobuf. For each query a line is printed: its rows, as JSON. The status is 1, with a line on
// standard error, if something goes wrong.
//
// Sources: Perfetto's protos/perfetto/trace_processor/trace_processor.proto, for the numbers of the
// fields; "Encoding" in protobuf's documentation.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

const [directory, trace, ...queries] = process.argv.slice(2);

// Without this, node prints the line of a fault, and the bundle is one line.
process.on('uncaughtException', (fault) => {
  console.error(String(fault.message ?? fault).slice(0, 500));
  process.exit(1);
});

// The fields of TraceProcessorRpc, which is field 1 of a stream.
const SEQ = 1, REQUEST = 2, FATAL_ERROR = 5;
const APPEND_TRACE_DATA = 101, QUERY_ARGS = 103, APPEND_RESULT = 201, QUERY_RESULT = 203;
// The requests, numbers in REQUEST.
const APPEND = 1, FINALIZE = 2, QUERY = 3;
// The kinds of cells in a batch of a result.
const NULL = 1, VARINT = 2, FLOAT = 3, STRING = 4;

function varint(value) {
  const bytes = [];
  for (let rest = BigInt(value); ; rest >>= 7n) {
    const low = Number(rest & 127n);
    if (rest < 128n) return Buffer.from([...bytes, low]);
    bytes.push(low | 128);
  }
}

function number(field, value) {
  return Buffer.concat([varint(field << 3), varint(value)]);
}

function bytes(field, value) {
  const inside = Buffer.from(value);
  return Buffer.concat([varint((field << 3) | 2), varint(inside.length), inside]);
}

// Yields the varints that `message` has one after the other.
function* varints(message) {
  for (let at = 0; at < message.length; ) {
    const [value, next] = varintAt(message, at);
    at = next;
    yield value;
  }
}

function varintAt(message, at) {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n) {
    const byte = message[at++];
    if (byte === undefined) throw new Error('a message of the trace processor ends too early');
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return [BigInt.asIntN(64, value), at];
  }
}

// Yields each field of a message: its number, and its value, which is a number or bytes.
function* fields(message) {
  for (let at = 0; at < message.length; ) {
    let key, size;
    [key, at] = varintAt(message, at);
    const kind = Number(key & 7n);
    const field = Number(key >> 3n);
    if (kind === 0) {
      let value;
      [value, at] = varintAt(message, at);
      yield [field, value];
      continue;
    }
    if (kind === 2) {
      [size, at] = varintAt(message, at);
    } else if (kind === 1) {
      size = 8;
    } else {
      throw new Error(`a field of the trace processor is of kind ${kind}`);
    }
    yield [field, message.subarray(at, at + Number(size))];
    at += Number(size);
  }
}

// Returns the rows of the batches of a result.
function rows(results) {
  const columns = [];
  const cells = [];
  for (const result of results) {
    for (const [field, value] of fields(result)) {
      if (field === 1) columns.push(value.toString());
      if (field === 2 && value.length > 0) throw new Error(value.toString().trim());
      if (field === 3) cells.push(...cellsOf(value));
    }
  }
  const all = [];
  while (cells.length > 0) all.push(cells.splice(0, columns.length));
  return all;
}

function cellsOf(batch) {
  const kinds = [], varintCells = [], floats = [], strings = [];
  for (const [field, value] of fields(batch)) {
    if (field === 1) kinds.push(...varints(value));
    if (field === 2) varintCells.push(...varints(value));
    if (field === 3) {
      for (let at = 0; at < value.length; at += 8) floats.push(value.readDoubleLE(at));
    }
    if (field === 5) strings.push(...value.toString().split('\0'));
  }
  return kinds.map((kind) => {
    switch (Number(kind)) {
      case NULL: return null;
      case VARINT: return Number(varintCells.shift());
      case FLOAT: return floats.shift();
      case STRING: return strings.shift();
      default: throw new Error(`a cell is of kind ${kind}`);
    }
  });
}

// The bundle's surroundings, as far as it looks at them.
const self = { location: { href: 'file:///' } };
class WorkerGlobalScope {}
class XMLHttpRequest {
  open(_method, url) {
    this.file = path.join(directory, path.basename(url));
  }
  send() {
    this.status = 200;
    this.response = Uint8Array.from(fs.readFileSync(this.file)).buffer;
  }
}
// What the bundle prints is a remark on a call that WebAssembly hasn't, or progress.
const quiet = { log() {}, warn() {}, error() {} };
const names = ['self', 'WorkerGlobalScope', 'XMLHttpRequest', 'console', 'process'];
const bundle = fs.readFileSync(path.join(directory, 'engine_bundle.js'), 'utf8');
new Function(...names, bundle)(self, WorkerGlobalScope, XMLHttpRequest, quiet, undefined);

let answers = [];
const port = { postMessage: (answer) => answers.push(Buffer.from(answer)) };

let seq = 0;
// Makes a request, and returns the values that its answer has in `wanted`.
function call(request, wanted, ...rest) {
  answers = [];
  const message = Buffer.concat([number(SEQ, ++seq), number(REQUEST, request), ...rest]);
  port.onmessage({ data: new Uint8Array(bytes(1, message)) });
  const found = [];
  for (const [, answer] of fields(Buffer.concat(answers))) {
    for (const [field, value] of fields(answer)) {
      if (field === FATAL_ERROR) throw new Error(value.toString());
      if (field === wanted) found.push(value);
    }
  }
  return found;
}

// The bundle is ready in a later turn: it has promises.
setTimeout(() => {
  self.onmessage({ data: port });
  const [loaded] = call(APPEND, APPEND_RESULT, bytes(APPEND_TRACE_DATA, fs.readFileSync(trace)));
  for (const [field, value] of fields(loaded ?? Buffer.alloc(0))) {
    if (field === 2 && value.length > 0) throw new Error(value.toString());
  }
  call(FINALIZE, 0);
  for (const sql of queries) {
    const results = call(QUERY, QUERY_RESULT, bytes(QUERY_ARGS, bytes(1, sql)));
    console.log(JSON.stringify(rows(results)));
  }
}, 100);
