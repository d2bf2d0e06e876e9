// ws_sealed.js SEALED ASKING CLIENT FOLDER: the Node package `ws` with TLS, as a client of dari's echo_server and as a server
// of its echo_client. SEALED and ASKING are ports, the second one's server asks for a certificate; CLIENT is the program
// echo_client, FOLDER has the files of certificates.py.
'use strict';
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const https = require('node:https');
const path = require('node:path');
const readline = require('node:readline');
const WebSocket = require('ws');
const { SIZES, text, binary, report, inbox, closing } = require('./report.js');

const [sealed, asking, program, folder] = process.argv.slice(2);
const file = (name) => path.join(folder, name);
const read = (name) => fs.readFileSync(file(name));
const ca = read('ca.pem');
const pair = (name) => ({ cert: read(`${name}.pem`), key: read(`${name}.key`) });
const VERSIONS = ['TLSv1.3', 'TLSv1.2'];
const only = (version) => ({ minVersion: version, maxVersion: version });
const children = new Set();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

async function exchange(socket) {
  for (const size of SIZES) {
    for (const message of [text(size), binary(size)]) {
      socket.send(message);
      const back = await socket.inbox.next();
      assert.ok(typeof message === 'string' ? back === message : message.equals(back), `${size} bytes`);
    }
  }
}

async function open(port, options) {
  const socket = new WebSocket(`wss://localhost:${port}/`, { ca, perMessageDeflate: false, family: 4, ...options });
  socket.inbox = inbox(socket);
  await once(socket, 'open');
  return socket;
}

async function asClient(version) {
  const socket = await open(sealed, only(version));
  assert.equal(socket._socket.getProtocol(), version);
  assert.equal(socket._socket.alpnProtocol || 'http/1.1', 'http/1.1');
  await exchange(socket);
  socket.close(1000, '끝');
  assert.equal((await closing(socket)).code, 1000);
}

async function asGuest(version) {
  const socket = await open(asking, { ...only(version), ...pair('guest') });
  socket.send('안녕');
  assert.equal(await socket.inbox.next(), '안녕');
  socket.terminate();
  await assert.rejects(open(asking, only(version)), /alert|ECONNRESET/);
  await assert.rejects(open(asking, { ...only(version), ...pair('stranger') }), /alert|ECONNRESET/);
}

async function manyAtOnce() {
  const sockets = await Promise.all(Array.from({ length: 60 }, (_, at) => open(sealed, only(VERSIONS[at % 2]))));
  for (const [at, socket] of sockets.entries()) for (let n = 0; n < 10; n++) socket.send(`${at}:${n}`);
  for (const [at, socket] of sockets.entries()) {
    for (let n = 0; n < 10; n++) assert.equal(await socket.inbox.next(), `${at}:${n}`);
    socket.terminate();
  }
}

// dari's client against a server with these certificates: the lines that it tells, and what a socket is asked.
async function asServer(options, words, talk) {
  const server = https.createServer({ ...pair('server'), ...options });
  const sockets = new WebSocket.Server({ server, perMessageDeflate: false });
  server.on('tlsClientError', () => {});
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `wss://localhost:${server.address().port}/`;
  const child = spawn(program, [url, ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  const lines = [];
  readline.createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  const ended = once(child, 'close');
  try {
    if (talk) {
      const [socket, request] = await Promise.race([once(sockets, 'connection'), ended.then(() => assert.fail(lines.join('\n')))]);
      socket.inbox = inbox(socket);
      await talk(socket, request);
    }
    const [status] = await ended;
    return { status, lines };
  } finally {
    child.kill('SIGKILL');
    children.delete(child);
    server.close();
    server.closeAllConnections();
  }
}

const TRUSTS = ['--ca', file('ca.pem')];

async function echoed(version) {
  const { status, lines } = await asServer(only(version), TRUSTS, async (socket, request) => {
    assert.equal(request.socket.getProtocol(), version);
    assert.equal(request.socket.servername, 'localhost');
    await exchange(socket);
    socket.close(1000, '끝');
  });
  assert.equal(status, 0);
  assert.equal(lines[0], 'open -');
  assert.equal(lines.at(-1), 'close 1000 clean PEER the peer closed, code 1000 "끝"');
}

async function shown(version) {
  const guest = [...TRUSTS, '--cert', file('guest.pem'), '--key', file('guest.key')];
  const asks = { ...only(version), ca, requestCert: true, rejectUnauthorized: true };
  const { lines } = await asServer(asks, guest, async (socket, request) => {
    assert.equal(request.socket.getPeerCertificate().subject.CN, 'guest');
    socket.close(1000);
  });
  assert.match(lines.at(-1), /^close 1000 clean PEER /);
  const refused = await asServer(asks, TRUSTS);
  assert.match(refused.lines.at(-1), /^close 1006 unclean (TLS|RESET|EOF) /);
}

async function failed(options, words, told) {
  const { status, lines } = await asServer(options, words);
  assert.equal(status, 0);
  assert.deepEqual(lines, [`error ${told}`, `close 1006 unclean TLS ${told}`]);
}

report([
  ...VERSIONS.map((version) => [`messages of every size to dari's server, ${version}`, () => asClient(version)]),
  ...VERSIONS.map((version) => [`messages of every size to dari's client, ${version}`, () => echoed(version)]),
  ...VERSIONS.map((version) => [`certificates shown to dari's server, ${version}`, () => asGuest(version)]),
  ...VERSIONS.map((version) => [`certificates shown by dari's client, ${version}`, () => shown(version)]),
  ['sixty connections at once get their own echoes in order', manyAtOnce],
  ['a server that nobody has vouched for', () => failed({}, ['--ca', file('stranger.pem')], 'TLS failed: nobody that is trusted here has issued the certificate')],
  ['a server of another name', () => failed(pair('other'), TRUSTS, 'TLS failed: the certificate is for other.test, not for localhost')],
  ['the name that was asked for', async () => {
    const { lines } = await asServer(pair('other'), [...TRUSTS, '--name', 'other.test'], (socket) => socket.close(1000));
    assert.match(lines.at(-1), /^close 1000 clean PEER /);
  }],
]);
