// What the Node peers share: checks that run one after the other, each with a deadline, told in one line.
// Never sleeps: everything is awaited as an event.
'use strict';
const { once } = require('node:events');

const DEADLINE = 10_000;
const SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20, 16 << 20];

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

module.exports = { DEADLINE, SIZES, report, inbox, closing };
