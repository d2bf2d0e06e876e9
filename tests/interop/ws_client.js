// ws_client.js ECHO LIMITED CHAT: the Node package `ws` as a client of dari's echo server (LIMITED: one with
// --max-message 1000) and of the chat. The arguments are ports.
'use strict';
const assert = require('node:assert/strict');
const { once } = require('node:events');
const WebSocket = require('ws');
const { report, inbox, closing } = require('./report.js');

const [echo, limited, chat] = process.argv.slice(2).map((port) => `ws://127.0.0.1:${port}/`);
const PLAIN = { perMessageDeflate: false };

async function open(url, options = PLAIN) {
  const socket = new WebSocket(url, options);
  socket.inbox = inbox(socket);
  await once(socket, 'open');
  return socket;
}

async function echoes(message, options) {
  const socket = await open(echo, options);
  socket.send(message);
  assert.deepEqual(await socket.inbox.next(), message);
  socket.close();
  await closing(socket);
}

const KOREAN = '안녕하세요, 웹소켓! 다리를 놓다 👋🏽';

async function fragments() {
  const socket = await open(echo);
  const pieces = ['첫째 ', '', '둘째 ', '셋째'];
  pieces.forEach((piece, at) => socket.send(piece, { fin: at === pieces.length - 1 }));
  assert.equal(await socket.inbox.next(), pieces.join(''));
  for (let at = 0; at < 1000; at++) socket.send(Buffer.of(at & 255), { binary: true, fin: at === 999 });
  assert.deepEqual(await socket.inbox.next(), Buffer.from(Array.from({ length: 1000 }, (_, at) => at & 255)));
  socket.terminate();
}

async function pings() {
  const socket = await open(echo);
  for (const data of [Buffer.alloc(0), Buffer.from('p'), Buffer.alloc(125, 7)]) {
    socket.ping(data);
    assert.deepEqual((await once(socket, 'pong'))[0], data);
  }
  socket.send('begun ', { fin: false });
  socket.ping('between');
  assert.equal(String((await once(socket, 'pong'))[0]), 'between');
  socket.send('and done');
  assert.equal(await socket.inbox.next(), 'begun and done');
  socket.terminate();
}

async function closes(code) {
  const socket = await open(echo);
  code === undefined ? socket.close() : socket.close(code, '끝');
  assert.equal((await closing(socket)).code, code ?? 1005);
}

async function tooBig() {
  const socket = await open(limited);
  socket.send('x'.repeat(1000));
  assert.equal((await socket.inbox.next()).length, 1000);
  socket.on('error', () => {}); // what was sent too much may meet a reset
  socket.send('x'.repeat(1001));
  assert.equal((await closing(socket)).code, 1009);
}

async function manyAtOnce() {
  const sockets = await Promise.all(Array.from({ length: 100 }, () => open(echo)));
  for (const [at, socket] of sockets.entries()) for (let n = 0; n < 10; n++) socket.send(`${at}:${n}`);
  for (const [at, socket] of sockets.entries()) {
    for (let n = 0; n < 10; n++) assert.equal(await socket.inbox.next(), `${at}:${n}`);
    socket.terminate();
  }
}

// A guest who has been welcomed and told who is here.
async function guest(room, nick) {
  const socket = await open(`${chat}${encodeURIComponent(room)}?nick=${encodeURIComponent(nick)}`);
  assert.match(await socket.inbox.next(), /^\* Welcome/);
  await socket.inbox.until((line) => line.startsWith('# '));
  return socket;
}

async function relays() {
  const [anna, bom, cheol] = [await guest('다리', 'anna'), await guest('다리', '봄'), await guest('다리', 'cheol')];
  const elsewhere = await guest('elsewhere', 'dan');
  anna.send('안녕, 모두');
  for (const other of [bom, cheol]) assert.equal(await other.inbox.until((line) => line.startsWith('<')), '<anna> 안녕, 모두');
  bom.send('나도 안녕');
  // The first word that anna hears is bom's: her own did not come back to her.
  for (const other of [anna, cheol]) assert.equal(await other.inbox.until((line) => line.startsWith('<')), '<봄> 나도 안녕');
  cheol.close(1000, '그만');
  assert.equal((await closing(cheol)).code, 1000);
  assert.match(await anna.inbox.until((line) => line.startsWith('- ')), /^- cheol left/);
  const late = await open(`${chat}${encodeURIComponent('다리')}`);
  await late.inbox.until((line) => line.endsWith('<봄> 나도 안녕')); // the room's past
  elsewhere.send('/who');
  assert.equal(await elsewhere.inbox.next(), '# 1 here: dan'); // and heard nothing of it
  for (const socket of [anna, bom, late, elsewhere]) socket.terminate();
}

async function refusesBinary() {
  const socket = await guest('binary', 'bin');
  socket.send(Buffer.from('not text'));
  assert.equal((await closing(socket)).code, 1003);
}

async function keepsPagesOut() {
  const socket = new WebSocket(chat, { ...PLAIN, origin: 'http://elsewhere.example' });
  const [, response] = await once(socket, 'unexpected-response');
  assert.equal(response.statusCode, 403);
  socket.on('error', () => {});
  socket.terminate();
}

report([
  ['echo of Korean text', () => echoes(KOREAN)],
  ['echo when permessage-deflate is offered', () => echoes(KOREAN, {})],
  ['fragments become one message', fragments],
  ['pings are answered, between fragments too', pings],
  ...[1000, 1001, 3000, 4999].map((code) => [`close ${code} is answered with itself`, () => closes(code)]),
  ['a close without a code is answered without one', () => closes()],
  ['a message over the limit is closed with 1009', tooBig],
  ['a hundred connections at once get their own echoes in order', manyAtOnce],
  ['the chat relays to the room, not to the sender, and tells newcomers the past', relays],
  ['the chat closes binary with 1003', refusesBinary],
  ['the chat lets no foreign page in', keepsPagesOut],
]);
