// A page that came by https, and its wss: Chromium's TLS against dari's.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { browser, certificate, start } from "./support.js";

let chromium, stranger, made, echo, page;

before(async () => {
  made = certificate();
  echo = await start("echo_server", "127.0.0.1:0", "--tls", made.cert, made.key);
  [chromium, stranger] = await Promise.all([browser(made.trust), browser()]);
  page = await chromium.newPage();
});

after(async () => {
  await Promise.all([chromium?.close(), stranger?.close()]);
  echo?.kill();
  made?.remove();
});

// In the page: echoes of all sizes, one after the other, and the close.
const exchange = (page, url, sizes) =>
  page.evaluate(
    ([url, sizes]) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url);
        const make = (size) => Uint8Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8)) & 255);
        const wrong = [];
        let n = 0;
        let errors = 0;
        socket.binaryType = "arraybuffer";
        socket.onopen = () => socket.send(make(sizes[0]));
        socket.onmessage = ({ data }) => {
          const want = make(sizes[n]);
          if (data.byteLength !== want.length || !new Uint8Array(data).every((byte, i) => byte === want[i])) wrong.push(sizes[n]);
          ++n === sizes.length ? socket.close(1000, "잘 가요") : socket.send(make(sizes[n]));
        };
        socket.onerror = () => errors++;
        socket.onclose = ({ code, wasClean }) => resolve({ n, wrong, errors, code, wasClean });
      }),
    [url, sizes],
  );

test("a page comes by https, in TLS 1.3", async () => {
  const response = await page.goto(`https://localhost:${echo.port}/`);
  assert.equal(response.status(), 426);
  assert.match(await response.text(), /WebSocket server/);
  const { protocol } = await response.securityDetails();
  assert.equal(protocol, "TLS 1.3");
});

test("messages of every size come back, and the close is clean", async () => {
  const sizes = [0, 1, 125, 126, 16383, 16384, 16385, 65535, 65536, 1 << 20, 16 << 20];
  const got = await exchange(page, `wss://localhost:${echo.port}/`, sizes);
  assert.deepEqual(got, { n: sizes.length, wrong: [], errors: 0, code: 1000, wasClean: true });
});

test("ten sockets at once, most of them resuming a session", async () => {
  const all = await Promise.all(Array.from({ length: 10 }, () => exchange(page, `wss://localhost:${echo.port}/`, [1000, 1000])));
  for (const got of all) assert.deepEqual(got, { n: 2, wrong: [], errors: 0, code: 1000, wasClean: true });
});

test("who does not trust the certificate does not connect", async () => {
  const page = await stranger.newPage();
  const got = await exchange(page, `wss://localhost:${echo.port}/`, [1]);
  assert.deepEqual(got, { n: 0, wrong: [], errors: 1, code: 1006, wasClean: false });
});

test("the server's end is 1001, clean, and its exit status 0", async () => {
  const closed = page.evaluate(
    (url) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url);
        socket.onopen = () => (document.title = "open");
        socket.onclose = ({ code, wasClean }) => resolve({ code, wasClean });
      }),
    `wss://localhost:${echo.port}/`,
  );
  await page.waitForFunction(() => document.title === "open");
  assert.equal(await echo.end(), 0);
  assert.deepEqual(await closed, { code: 1001, wasClean: true });
});
