// Chromium's own WebSocket against the C echo: every length of frame, both
// kinds, plain and compressed, and the codes of the close.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { browser, counter, foreignOrigin, start } from "./support.js";

let chromium, echo, limited, deflate, origin, page;

before(async () => {
  [chromium, echo, limited, deflate, origin] = await Promise.all([
    browser(),
    start("echo_server", "127.0.0.1:0"),
    start("echo_server", "127.0.0.1:0", "--max-message", "1000"),
    start("echo_server", "127.0.0.1:0", "--deflate"),
    foreignOrigin(),
  ]);
  page = await chromium.newPage();
  await page.goto(origin.url);
});

after(async () => {
  await chromium?.close();
  origin?.close();
  echo?.kill();
  limited?.kill();
  deflate?.kill();
});

// In the page: opens, sends what `make` gives, and closes when as much has
// come back. What came is checked there, so that no MiB crosses over to here.
function exchange(port, kind, sizes, text = "") {
  return page.evaluate(
    ([port, kind, sizes, text]) =>
      new Promise((resolve) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
        const make = (size) => {
          if (text) return text.repeat(size);
          if (kind === "text") return "가".repeat(size / 3) + "x".repeat(size % 3);
          const bytes = new Uint8Array(size);
          for (let i = 0; i < size; i++) bytes[i] = (i * 7 + (i >> 8)) & 255;
          return bytes;
        };
        const same = (got, want) =>
          typeof want === "string" ? got === want : got.byteLength === want.length && new Uint8Array(got).every((b, i) => b === want[i]);
        const wrong = [];
        let n = 0;
        let extensions;
        socket.binaryType = "arraybuffer";
        socket.onopen = () => {
          extensions = socket.extensions;
          sizes.forEach((size) => socket.send(make(size)));
        };
        socket.onmessage = ({ data }) => {
          if (!same(data, make(sizes[n]))) wrong.push(sizes[n]);
          if (++n === sizes.length) socket.close(1000, "that was all");
        };
        socket.onclose = ({ code, reason, wasClean }) => resolve({ n, wrong, code, reason, wasClean, extensions });
      }),
    [port, kind, sizes, text],
  );
}

// In the page: opens, closes (unless it is closed by what it sends), and tells
// the event.
function close(port, args, send) {
  return page.evaluate(
    ([port, args, send]) =>
      new Promise((resolve) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
        let errors = 0;
        socket.onopen = () => (send === null ? socket.close(...args) : socket.send("x".repeat(send)));
        socket.onerror = () => errors++;
        socket.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean, errors });
      }),
    [port, args, send ?? null],
  );
}

const SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1 << 20, 16 << 20]; // in bytes
const TOTAL = SIZES.reduce((sum, size) => sum + size);

for (const kind of ["text", "binary"]) {
  for (const compressed of [false, true]) {
    test(`${kind} of every length of frame comes back whole and in order, ${compressed ? "compressed" : "plain"}`, async () => {
      const wire = await counter(compressed ? deflate.port : echo.port);
      const { n, wrong, code, wasClean, extensions } = await exchange(wire.port, kind, SIZES);
      wire.close();
      assert.deepEqual({ n, wrong, code, wasClean }, { n: SIZES.length, wrong: [], code: 1000, wasClean: true });
      assert.equal(extensions, compressed ? "permessage-deflate" : "");
      for (const way of ["up", "down"]) assert.equal(wire[way] < TOTAL / 2, compressed, `${way}: ${wire[way]} bytes for ${TOTAL}`);
    });
  }
}

// That both sides keep their context: noise compresses by what came before alone.
test("what is said again is next to nothing, both ways", async () => {
  const wire = await counter(deflate.port);
  const noise = Array.from({ length: 1000 }, (_, i) => String.fromCharCode(0x4e00 + ((i * i * 7919 + i * 104729) % 20011))).join("");
  const times = 50;
  const { n, wrong } = await exchange(wire.port, "text", Array(times).fill(1), noise);
  wire.close();
  assert.deepEqual({ n, wrong }, { n: times, wrong: [] });
  for (const way of ["up", "down"]) assert.ok(wire[way] < 3 * Buffer.byteLength(noise), `${way}: ${wire[way]} bytes`);
});

test("Korean text and emoji come back as they were", async () => {
  const { wrong, n } = await exchange(echo.port, "text", [1, 100, 20000], "안녕, 다리! 👋 ");
  assert.deepEqual({ wrong, n }, { wrong: [], n: 3 });
});

test("a thousand small messages keep their order", async () => {
  const sizes = Array.from({ length: 1000 }, (_, i) => i % 300);
  const { wrong, n } = await exchange(echo.port, "binary", sizes);
  assert.deepEqual({ wrong, n }, { wrong: [], n: 1000 });
});

test("a close without a code is 1005, and clean", async () => {
  assert.deepEqual(await close(echo.port, []), { code: 1005, reason: "", wasClean: true, errors: 0 });
});

for (const code of [1000, 3000, 3999, 4000, 4999]) {
  test(`a close with ${code} is answered with it`, async () => {
    const got = await close(echo.port, [code, "잘 가요"]);
    assert.equal(got.code, code);
    assert.equal(got.wasClean, true);
    assert.equal(got.errors, 0);
  });
}

test("a message over the limit is closed with 1009", async () => {
  const got = await close(limited.port, [], 1001);
  assert.equal(got.code, 1009);
  assert.equal(got.wasClean, true);
});

test("a message of just the limit is not", async () => {
  const { wrong, n, code } = await exchange(limited.port, "text", [1000]);
  assert.deepEqual({ wrong, n, code }, { wrong: [], n: 1, code: 1000 });
});

test("the server's end is 1001, and its exit status 0", async () => {
  const server = await start("echo_server", "127.0.0.1:0");
  const closed = page.evaluate(
    (port) =>
      new Promise((resolve) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
        socket.onopen = () => socket.send("open");
        socket.onmessage = () => (document.title = "open");
        socket.onclose = ({ code, wasClean }) => resolve({ code, wasClean });
      }),
    server.port,
  );
  await page.waitForFunction(() => document.title === "open");
  assert.equal(await server.end(), 0);
  assert.deepEqual(await closed, { code: 1001, wasClean: true });
});
