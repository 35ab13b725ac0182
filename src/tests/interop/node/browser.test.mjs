// Chromium, driven through its own protocol, on the page that our server serves and on sockets of its own.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { assertNoMistakes, Browser, DEADLINE, logged, say, status } from "./browser.mjs";
import { Server } from "./steadfast.mjs";

let browser, server, page;

before(async () => (browser = await Browser.launch()), DEADLINE);
after(() => browser?.close(), DEADLINE);

beforeEach(async () => {
  server = await Server.start();
  page = await browser.page();
  await page.goto(server.uri("/", "http"));
}, DEADLINE);

afterEach(async () => {
  await page.close();
  assert.equal(await server.stop(), 0);
  assertNoMistakes(page);
}, DEADLINE);

test("the page echoes and sees the server stop", DEADLINE, async () => {
  await status(page, "open");
  assert.equal(await page.locator("#log > *").count(), 0);
  const texts = ["hello", "grüße, 世界 🦀", "<b>not bold</b> & 'quoted'", "x".repeat(70_000)];
  for (const [at, text] of texts.entries()) {
    await say(page, text);
    assert.deepEqual(await logged(page, at + 1), texts.slice(0, at + 1));
  }
  assert.equal(await page.locator("#log b").count(), 0);
  const code = server.stop();
  await status(page, "closed");
  assert.equal(await code, 0);
});

test("two pages get each their own", DEADLINE, async () => {
  await status(page, "open");
  const first = page;
  page = await browser.page();
  await page.goto(server.uri("/", "http"));
  await status(page, "open");
  await say(page, "of the second");
  assert.deepEqual(await logged(page, 1), ["of the second"]);
  assert.equal(await first.locator("#log > *").count(), 0);
  await first.close();
  await say(page, "alone now");
  assert.deepEqual(await logged(page, 2), ["of the second", "alone now"]);
});

// Runs within the page: sends each message when the one before has come back, then closes.
async function inPage({ uri, sizes, code, reason }) {
  const socket = new WebSocket(uri);
  socket.binaryType = "arraybuffer";
  const next = (name) => new Promise((done) => socket.addEventListener(name, done, { once: true }));
  await next("open");
  const wrong = [];
  for (const size of sizes) {
    const bytes = Uint8Array.from({ length: size }, (_, at) => at * 7 + (at >> 8));
    socket.send(bytes);
    const back = new Uint8Array((await next("message")).data);
    if (back.length !== size || bytes.some((byte, at) => byte !== back[at])) wrong.push(`binary ${size}`);
    const text = "ß".repeat(size >> 1) + ".".repeat(size & 1);
    socket.send(text);
    if ((await next("message")).data !== text) wrong.push(`text ${size}`);
  }
  const extensions = socket.extensions;
  socket.close(code, reason);
  const end = await next("close");
  return { wrong, extensions, code: end.code, clean: end.wasClean };
}

test("messages of every length, and a close in good order", DEADLINE, async () => {
  const sizes = [0, 1, 125, 126, 127, 65535, 65536, 1 << 20];
  for (const [code, reason] of [[1000, "done"], [4001, "grüße 🦀"]]) {
    const outcome = await page.evaluate(inPage, { uri: server.uri(), sizes, code, reason });
    assert.deepEqual(outcome, { wrong: [], extensions: "", code, clean: true });
  }
});

// What Chromium offers is "permessage-deflate; client_max_window_bits".
const NAME = "permessage-deflate";
for (const [flags, extensions] of [
  [[], `${NAME}; server_no_context_takeover; client_no_context_takeover`],
  [["--compression-takeover"], `${NAME}; client_max_window_bits=12`],
  [["--compression-takeover", "--compression-window-bits", "15"], `${NAME}; client_max_window_bits=15`],
  [["--compression-takeover", "--compression-window-bits", "9"], `${NAME}; client_max_window_bits=9`],
  [["--compression-min-bytes", "0"], `${NAME}; server_no_context_takeover; client_no_context_takeover`],
]) {
  test(`compression, ${flags.join(" ") || "as it comes"}`, DEADLINE, async () => {
    const own = await Server.start("--compression", ...flags);
    // The page has to come from there, or it may not connect.
    await page.goto(own.uri("/", "http"));
    const sizes = [0, 1, 100, 1000, 1000, 70_000, 1_000_000];
    const outcome = await page.evaluate(inPage, { uri: own.uri(), sizes, code: 1000, reason: "done" });
    assert.deepEqual(outcome, { wrong: [], extensions, code: 1000, clean: true });
    await say(page, "x".repeat(70_000));
    assert.deepEqual(await logged(page, 1), ["x".repeat(70_000)]);
    assert.equal(await own.stop(), 0);
  });
}

test("oversize is closed with 1009", DEADLINE, async () => {
  const code = await page.evaluate((uri) => {
    const socket = new WebSocket(uri);
    socket.onopen = () => socket.send(new Uint8Array((1 << 20) + 1));
    return new Promise((done) => (socket.onclose = (end) => done(end.code)));
  }, server.uri());
  assert.equal(code, 1009);
});

test("a server that stops is seen as 1001", DEADLINE, async () => {
  await page.evaluate((uri) => {
    const socket = new WebSocket(uri);
    window.ended = new Promise((done) => (socket.onclose = (end) => done([end.code, end.wasClean])));
    return new Promise((done) => (socket.onopen = done));
  }, server.uri());
  const code = server.stop();
  assert.deepEqual(await page.evaluate(() => window.ended), [1001, true]);
  assert.equal(await code, 0);
});
