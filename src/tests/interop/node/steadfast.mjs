// The program under test: a server that runs, and a flood that ran.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../..", import.meta.url));
const BINARY = resolve(ROOT, process.env.STEADFAST ?? "target/release/steadfast");

// The packages are below target/, where `import` does not look for them.
export const load = createRequire(join(ROOT, "target/interop/node/package.json"));

// This only turns a hang into a failure, so it is far above what a slow host needs.
export const DEADLINE = { timeout: 30_000 };

const LISTENING = /listening on ([^ ,]+)/;

const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

function start(args, stdio) {
  const child = spawn(BINARY, args, { stdio });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

export class Server {
  static async start(...args) {
    const listen = args.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
    const child = start(["serve", "--stats-max-age-ms", "0", ...listen, ...args], ["ignore", "pipe", "inherit"]);
    const server = new Server();
    server.child = child;
    server.ended = once(child, "exit").then(([code, signal]) => code ?? signal);
    const lines = createInterface({ input: child.stdout });
    const ready = new Promise((done, failed) => {
      lines.on("line", (line) => {
        server.place ??= LISTENING.exec(line)?.[1];
        if (line.trim() === "ready") done();
      });
      server.ended.then((code) => failed(new Error(`ended with ${code} before \`ready\``)), failed);
    });
    await ready;
    return server;
  }

  uri(path = "/echo", scheme = "ws") {
    return `${scheme}://${this.place}${path}`;
  }

  stop() {
    this.child.kill("SIGTERM");
    return this.ended;
  }

  // Ends the process like a host that fails: without a close.
  kill() {
    this.child.kill("SIGKILL");
    return this.ended;
  }
}

// Runs `steadfast flood` to its end; what it counted and the exit code are what tests look at.
export async function flood(target, options) {
  const folder = await mkdtemp(join(tmpdir(), "steadfast-flood-"));
  try {
    const file = join(folder, "flood.json");
    const all = { messages: 1, payload: 16, hold: 1, ...options, json: file };
    const args = Object.entries(all).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const child = start(["flood", target, ...args], ["ignore", "pipe", "pipe"]);
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (output += text));
    }
    const [code] = await once(child, "close");
    const report = await readFile(file, "utf8").catch(() => {
      throw new Error(`exit code ${code} without a report:\n${output}`);
    });
    const parsed = JSON.parse(report);
    const { connections, replies, lost_by_cause } = parsed;
    return { code, connections, replies, causes: lost_by_cause, output, report: parsed };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

// Runs `steadfast` to its end.
export async function run(...args) {
  const child = start(args, ["ignore", "pipe", "pipe"]);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (output += text));
  }
  const [code] = await once(child, "close");
  return { code, output };
}
