// ws_exchange.js PLAIN DEFLATE CLIENT: messages of every size between the Node package `ws` and dari, each as client and as
// server, plain and under every agreement on compression. PLAIN and DEFLATE are ports of echo servers, CLIENT is the
// program echo_client. What `exchange.py` is for the Python peers, this is for the one of Node.
'use strict';
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const readline = require('node:readline');
const WebSocket = require('ws');
const { SIZES, text, binary, report, inbox, closing } = require('./report.js');
const rows = require('./agreements.json');

const NAME = 'permessage-deflate';
const PIECES = ['첫째 ', '', '둘째 ', '셋째'];
const [plain, deflate, program] = process.argv.slice(2);
const children = new Set();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

const AGREEMENTS = rows.map((row) => ({
  name: row.name,
  plain: row.plain ?? false,
  dari: { takeover: true, ...row.dari },
  peer: { takeover: true, ...row.peer },
  sizes: row.large ? SIZES : SIZES.slice(0, -1),
}));

// dari has no window of 8 bits, and sends plain then.
const compresses = (agreement, side) => !agreement.plain && side.bits !== 8;

function options(agreement, server, client) {
  return !agreement.plain && {
    threshold: 0,
    ...(!server.takeover && { serverNoContextTakeover: true }),
    ...(!client.takeover && { clientNoContextTakeover: true }),
    ...(server.bits && { serverMaxWindowBits: server.bits }),
    ...(client.bits && { clientMaxWindowBits: client.bits }),
  };
}

// What dari, as a server, answers to an agreement as an offer.
function answer({ plain, dari, peer }) {
  if (plain) return undefined;
  return [
    NAME,
    ...(dari.takeover ? [] : ['server_no_context_takeover']),
    ...(peer.takeover ? [] : ['client_no_context_takeover']),
    ...(dari.bits ? [`server_max_window_bits=${dari.bits}`] : []),
  ].join('; ');
}

// What `ws` finds wrong with dari ends the check at once.
function exchange(socket, agreement) {
  const broken = new Promise((_, reject) => socket.on('error', reject));
  return Promise.race([talk(socket, agreement), broken]);
}

// Sends messages of every size, has them back, and holds the bytes on the wire to the agreement.
async function talk(socket, agreement) {
  const { dari, peer } = agreement;
  const wire = () => ({ sent: socket._socket.bytesWritten, received: socket._socket.bytesRead });
  const echoed = async (message) => {
    socket.send(message);
    const got = await socket.inbox.next();
    assert.ok(typeof got === 'string' ? got === message : got.equals(message), `${got.length} came for ${message.length}`);
  };
  const start = wire();
  for (const size of agreement.sizes) for (const message of [text(size), binary(size)]) await echoed(message);
  const end = wire();
  const total = 2 * agreement.sizes.reduce((sum, size) => sum + size);
  const keeps = (who, side, length) =>
    assert.equal(length < 0.8 * total, compresses(agreement, side), `${who} sent ${length} bytes for ${total}`);
  keeps('the peer', peer, end.sent - start.sent);
  keeps('dari', dari, end.received - start.received);

  PIECES.forEach((piece, at) => socket.send(piece, { fin: at === PIECES.length - 1 }));
  assert.equal(await socket.inbox.next(), PIECES.join(''));

  await echoed(binary(200));
  const first = wire();
  await echoed(binary(200)); // now it is near, in whatever window
  const second = wire();
  const refers = (who, side, length) =>
    assert.equal(length < 100, compresses(agreement, side) && side.takeover, `${who} sent ${length} bytes for 200 that came before`);
  refers('the peer', peer, second.sent - first.sent);
  refers('dari', dari, second.received - first.received);
  socket.close(1000);
  assert.equal((await closing(socket)).code, 1000);
}

async function asClient(agreement) {
  const perMessageDeflate = options(agreement, agreement.dari, agreement.peer);
  const socket = new WebSocket(`ws://127.0.0.1:${agreement.plain ? plain : deflate}/`, { perMessageDeflate, maxPayload: 0 });
  socket.inbox = inbox(socket);
  const [[response]] = await Promise.all([once(socket, 'upgrade'), once(socket, 'open')]);
  assert.equal(response.headers['sec-websocket-extensions'], answer(agreement));
  assert.equal(socket.extensions, agreement.plain ? '' : NAME);
  await exchange(socket, agreement);
}

async function asServer(agreement) {
  // The sides change places: what dari may do is the client's part.
  const perMessageDeflate = options(agreement, agreement.peer, agreement.dari);
  const server = new WebSocket.Server({ port: 0, host: '127.0.0.1', perMessageDeflate, maxPayload: 0 });
  await once(server, 'listening');
  const words = [`ws://127.0.0.1:${server.address().port}/`, ...(agreement.plain ? [] : ['--deflate'])];
  const client = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(client);
  const lines = [];
  readline.createInterface({ input: client.stdout }).on('line', (line) => lines.push(line));
  const ended = once(client, 'close');
  try {
    const [socket, request] = await once(server, 'connection');
    socket.inbox = inbox(socket);
    assert.equal(request.headers['sec-websocket-extensions'], agreement.plain ? undefined : `${NAME}; client_max_window_bits`);
    assert.equal(socket.extensions, agreement.plain ? '' : NAME);
    await exchange(socket, agreement);
    assert.equal((await ended)[0], 0);
    const told = agreement.sizes.flatMap((size) => [`message text ${size}`, `message binary ${size}`]);
    const pieces = `message text ${Buffer.byteLength(PIECES.join(''))}`;
    assert.deepEqual(lines.slice(0, -1), ['open -', ...told, pieces, 'message binary 200', 'message binary 200']);
    assert.match(lines.at(-1), /^close 1000 clean PEER /);
  } finally {
    client.kill('SIGKILL');
    children.delete(client);
    server.clients.forEach((socket) => socket.terminate());
    server.close();
  }
}

report([
  ...AGREEMENTS.map((agreement) => [`as client: ${agreement.name}`, () => asClient(agreement)]),
  ...AGREEMENTS.map((agreement) => [`as server: ${agreement.name}`, () => asServer(agreement)]),
]);
