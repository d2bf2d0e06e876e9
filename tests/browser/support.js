// Starts the C programs and Chromium, and ends them again. Holds no test.
import { execFileSync, spawn } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
export const ROOT = here("../../");
export const SHOTS = `${ROOT}target/browser`;
mkdirSync(SHOTS, { recursive: true });

// A program of target/c, once it listens: { port, output(), end() }.
export async function start(name, address, ...more) {
  const child = spawn(here(`${process.env.BIN ?? "../../target/c"}/${name}`), [address, ...more], { cwd: ROOT });
  let output = "";
  const ended = once(child, "close");
  const listening = new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
        const port = /^listening on .*:(\d+)$/m.exec(output)?.[1];
        if (port) resolve(Number(port));
      });
    }
    child.on("error", reject);
    ended.then(() => reject(new Error(`${name} ended: ${output}`)));
  });
  return {
    port: await listening,
    output: () => output,
    // Its exit status after SIGTERM.
    end: async () => {
      child.kill("SIGTERM");
      const [status] = await ended;
      return status;
    },
    kill: () => child.kill("SIGKILL"),
  };
}

export function browser(...more) {
  const args = ["--disable-gpu", "--disable-background-networking", "--no-first-run", ...more];
  // Chromium does not sandbox itself as root.
  if (process.getuid?.() === 0) args.push("--no-sandbox");
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args });
}

// An empty page from an origin of its own: { url, close() }.
export async function foreignOrigin() {
  const server = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html>"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.closeAllConnections() ?? server.close() };
}

// A certificate for localhost that nobody has issued but itself: { cert, key, trust, remove() }. With `trust` as an
// argument a browser takes its key, and no other one.
export function certificate() {
  const folder = mkdtempSync(join(tmpdir(), "dari-browser-"));
  const [cert, key] = ["cert.pem", "key.pem"].map((name) => join(folder, name));
  const words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 20 -subj /CN=localhost -addext";
  execFileSync("openssl", [...words.split(" "), "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert], { stdio: "pipe" });
  const spki = new X509Certificate(readFileSync(cert)).publicKey.export({ type: "spki", format: "der" });
  const hash = createHash("sha256").update(spki).digest("base64");
  return { cert, key, trust: `--ignore-certificate-errors-spki-list=${hash}`, remove: () => rmSync(folder, { recursive: true }) };
}

// A port that leads to another one and counts what passes: { port, up, down, close() }, bytes to and from the server.
export async function counter(target) {
  const counted = { up: 0, down: 0 };
  const server = net.createServer((near) => {
    const far = net.connect(target, "127.0.0.1");
    near.on("data", (data) => (counted.up += data.length)).on("error", () => far.destroy());
    far.on("data", (data) => (counted.down += data.length)).on("error", () => near.destroy());
    near.pipe(far).pipe(near);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return Object.assign(counted, { port: server.address().port, close: () => server.close() });
}
