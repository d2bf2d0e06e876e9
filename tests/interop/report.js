// What the Node peers share: checks that run one after the other, each with a deadline, told in one line.
// Never sleeps: everything is awaited as an event.
'use strict';
const { once } = require('node:events');

const DEADLINE = 20_000;
const SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20, 16 << 20];

// Bytes that compress to less than half in any window: a MiB, of which the rest is repetitions.
const MANY = { text: undefined, binary: undefined };
function many(kind) {
  let seed = 7;
  const chance = (below) => (seed = (seed * 48271) % 0x7fffffff) % below; // Park and Miller's
  const parts = [];
  const words = '다리 메시지 연결 서버 압축 바이트 웹소켓 안녕하세요 bridge 2026'.split(' ');
  const noise = Array.from({ length: 40 }, () => Buffer.from(Array.from({ length: 1024 }, () => chance(256))));
  const order = Buffer.from(Array.from({ length: 1024 }, (_, at) => at & 127));
  for (let length = 0; length < 1 << 20; length += parts.at(-1).length)
    parts.push(kind === 'text' ? Buffer.from(`${words[chance(words.length)]} `) : Buffer.concat([noise[chance(40)], order]));
  return Buffer.concat(Array(SIZES.at(-1) >> 20).fill(Buffer.concat(parts)));
}

// `size` bytes: noise that comes again, near and far, and bytes in order between.
const binary = (size) => (MANY.binary ??= many('binary')).subarray(0, size);

// `size` bytes of text, most of it Korean.
function text(size) {
  let end = size;
  const words = (MANY.text ??= many('text'));
  while (end > 0 && end < words.length && words[end] >> 6 === 2) end--; // in the middle of a character
  return words.toString('utf8', 0, end) + 'x'.repeat(size - end);
}

// Runs `[name, async function]` pairs. The exit status is 1 if one of them failed.
async function report(checks) {
  for (const [name, check] of checks) {
    try {
      await within(check(), DEADLINE);
      console.log(`ok ${name}`);
    } catch (error) {
      process.exitCode = 1;
      console.log(`FAILED ${name}: ${String(error.stack ?? error).replaceAll('\n', '\n    ')}`);
    }
  }
  process.exit();
}

function within(promise, deadline) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${deadline / 1000} s`)), deadline);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// The messages of a socket as a queue: what comes before it is asked for is kept.
function inbox(socket) {
  const waiting = [];
  const arrived = [];
  socket.on('message', (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    waiting.length > 0 ? waiting.shift()(message) : arrived.push(message);
  });
  const next = () => (arrived.length > 0 ? Promise.resolve(arrived.shift()) : new Promise((done) => waiting.push(done)));
  return { next, until: async (wanted) => { for (;;) { const got = await next(); if (wanted(got)) return got; } } };
}

// The code and the reason that a socket's peer closed with.
async function closing(socket) {
  const [code, reason] = await once(socket, 'close');
  return { code, reason: reason.toString() };
}

module.exports = { DEADLINE, SIZES, text, binary, report, inbox, closing };
