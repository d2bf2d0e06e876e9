// ws_server.js CLIENT: dari's interactive client (examples-c/client.c) against a server of the Node package `ws`.
'use strict';
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const { WebSocketServer } = require('ws');
const { report, inbox, closing } = require('./report.js');

const [program] = process.argv.slice(2);
const children = new Set();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

function start(port) {
  const child = spawn(program, [`ws://127.0.0.1:${port}/path?query=1`], { stdio: ['pipe', 'pipe', 'pipe'] });
  children.add(child);
  child.on('exit', () => children.delete(child));
  child.stdin.on('error', () => {}); // it may have ended already
  child.said = '';
  child.told = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { child.said += text; child.emit('said'); });
  child.stderr.setEncoding('utf8').on('data', (text) => { child.told += text; });
  child.saying = async (wanted) => { while (!child.said.includes(wanted)) await once(child, 'said'); };
  child.ended = once(child, 'close').then(([code]) => code);
  return child;
}

// The client connected to a server of its own; `talk` gets both ends.
async function connected(talk, options = {}) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', ...options });
  await once(server, 'listening');
  const client = start(server.address().port);
  const [socket, request] = await once(server, 'connection');
  socket.inbox = inbox(socket);
  try {
    await talk(socket, client, request);
  } finally {
    client.kill('SIGKILL');
    socket.terminate();
    server.close();
  }
}

const handshake = () => connected(async (socket, client, request) => {
  assert.equal(request.url, '/path?query=1');
  assert.equal(request.headers.origin, undefined);
  assert.equal(request.headers['sec-websocket-version'], '13');
  assert.equal(Buffer.from(request.headers['sec-websocket-key'], 'base64').length, 16);
});

const lines = () => connected(async (socket, client) => {
  client.stdin.write('hello\n안녕하세요\n\nlast\n');
  for (const line of ['hello', '안녕하세요', '', 'last']) assert.equal(await socket.inbox.next(), line);
  socket.send('반가워요');
  await client.saying('반가워요\n');
});

const sizes = () => connected(async (socket, client) => {
  for (const size of [0, 1, 125, 126, 65535, 65536, 1 << 20]) {
    socket.send('y'.repeat(size) + `|${size}`);
    await client.saying(`|${size}\n`);
    socket.send(Buffer.alloc(size));
    await client.saying(`(${size} bytes of binary)\n`);
  }
  for (const size of [1, 125, 126, 65535]) {
    client.stdin.write('z'.repeat(size) + '\n');
    assert.equal((await socket.inbox.next()).length, size);
  }
});

const fragments = () => connected(async (socket, client) => {
  for (const [piece, fin] of [['조각', false], ['', false], [' 하나', true]]) socket.send(piece, { fin });
  await client.saying('조각 하나\n');
});

const pings = () => connected(async (socket) => {
  for (const data of ['', 'p', 'x'.repeat(125)]) {
    socket.ping(data);
    assert.equal(String((await once(socket, 'pong'))[0]), data);
  }
});

const closedBy = (code, reason, shown) => () => connected(async (socket, client) => {
  code === undefined ? socket.close() : socket.close(code, reason);
  assert.equal((await closing(socket)).code, code ?? 1005, 'the code that came back');
  assert.equal(await client.ended, 0);
  assert.match(client.told, new RegExp(`close: ${shown} `));
});

const endOfInput = () => connected(async (socket, client) => {
  client.stdin.end('bye\n');
  assert.equal(await socket.inbox.next(), 'bye');
  assert.equal((await closing(socket)).code, 1000);
  assert.equal(await client.ended, 0);
});

const interrupted = () => connected(async (socket, client) => {
  socket.ping(); // the client is at its loop once it has answered
  await once(socket, 'pong');
  client.kill('SIGINT');
  assert.equal((await closing(socket)).code, 1001);
  await client.ended;
  assert.equal(client.signalCode, null);
});

const broken = () => connected(async (socket, client) => {
  socket.terminate();
  assert.equal(await client.ended, 1);
  assert.match(client.told, /close: 1006 /);
});

const violated = () => connected(async (socket, client) => {
  socket._socket.write(Buffer.from([0x81, 0x81, 1, 2, 3, 4, 5])); // a server's frame with a mask
  assert.equal((await closing(socket)).code, 1002);
  assert.equal(await client.ended, 1);
});

async function refused(status, headers = {}) {
  const server = http.createServer();
  server.on('upgrade', (request, socket) => {
    const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('');
    socket.end(`HTTP/1.1 ${status} No\r\n${fields}Content-Length: 0\r\n\r\n`);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  try {
    const client = start(server.address().port);
    assert.equal(await client.ended, 1);
    assert.match(client.told, new RegExp(String(status)));
  } finally {
    server.close();
  }
}

async function wrongAccept() {
  const server = http.createServer();
  server.on('upgrade', (request, socket) => {
    socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x02no');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  try {
    const client = start(server.address().port);
    assert.equal(await client.ended, 1);
    assert.equal(client.said, '');
  } finally {
    server.close();
  }
}

async function nobody() {
  const server = http.createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  const client = start(port);
  assert.equal(await client.ended, 1);
  assert.notEqual(client.told, '');
}

report([
  ['the handshake is a plain client\'s', handshake],
  ['lines are sent and messages shown, Korean too', lines],
  ['messages of all sizes, both ways', sizes],
  ['fragments are shown as one message', fragments],
  ['pings are answered', pings],
  ...[1000, 3000, 4999].map((code) => [`close ${code} by the server is answered and told`, closedBy(code, '끝', code)]),
  ['a close without a code is told as 1005', closedBy(undefined, '', 1005)],
  ['the end of the input closes with 1000', endOfInput],
  ['SIGINT closes with 1001', interrupted],
  ['a broken connection is told as 1006', broken],
  ['a masked frame from the server is closed with 1002', violated],
  ...[200, 301, 401, 403, 426].map((status) => [`an answer of ${status} is told`, () => refused(status, { Location: 'http://127.0.0.1:1/' })]),
  ['a wrong Sec-WebSocket-Accept is refused', wrongAccept],
  ['nobody listening is told', nobody],
]);
