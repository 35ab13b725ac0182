// The page /compare: three ways to the same ticks, and what it says of their cost.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { assertNoMistakes, Browser, DEADLINE, GONE, status } from "./browser.mjs";
import { Relay } from "./relay.mjs";
import { load, Server } from "./steadfast.mjs";

const { WebSocket } = load("ws");

const WAYS = ["poll", "long-poll", "websocket"];

let browser, server, page, allowed;

before(async () => (browser = await Browser.launch()), DEADLINE);
after(() => browser?.close(), DEADLINE);

beforeEach(async () => {
  page = await browser.page();
  allowed = undefined;
}, DEADLINE);

afterEach(async () => {
  await page.close();
  assert.equal(await server.stop(), 0);
  assertNoMistakes(page, allowed);
}, DEADLINE);

async function serve(...flags) {
  // An address of its own, so that a restarted server finds its port free.
  server = await Server.start("--listen", "127.0.83.1:0", ...flags);
}

// What each section shows, at one moment; numbers as such.
function figures() {
  return page.evaluate((ways) => {
    const read = (item) => (/^\d+$/.test(item.textContent) ? Number(item.textContent) : item.textContent);
    const section = (way) => [...document.querySelectorAll(`#${way} dd`)].map((item) => [item.className, read(item)]);
    return Object.fromEntries(ways.map((way) => [way, Object.fromEntries(section(way))]));
  }, WAYS);
}

// Waits until each of these ways shows so much at least.
async function reaches(name, least, ways = WAYS) {
  await page.waitForFunction(
    ({ fields, least }) => fields.every((field) => Number(document.querySelector(field).textContent) >= least),
    { fields: ways.map((way) => `#${way} .${name}`), least },
  );
}

// The server's ticks are the clock: resolves when so many more have been.
async function ticks(count) {
  const socket = new WebSocket(server.uri("/push"));
  for (let seen = 0; seen <= count; seen += 1) await once(socket, "message");
  socket.terminate();
}

test("all three ways show the same ticks, and the WebSocket for less", DEADLINE, async () => {
  await serve("--push-interval", "0.3");
  await page.goto(server.uri("/compare", "http"));
  await status(page, "open");
  await page.locator("#every").selectOption("0.5");
  await reaches("updates", 3);
  const before = await figures();
  await reaches("n", before.websocket.n + 12);
  const now = await figures();
  for (const way of WAYS) {
    const { requests, updates, bytes, time, lag } = now[way];
    assert.ok(updates > before[way].updates && bytes > before[way].bytes, way);
    assert.equal(new Date(time).toUTCString(), time);
    assert.match(lag, /^(first|\d+\.\d ms)$/);
    assert.equal(now[way]["per-update"], Math.round(bytes / updates));
    if (way !== "websocket") assert.ok(requests > before[way].requests && requests >= updates, `${way}: ${requests}`);
  }
  assert.equal(before.websocket.requests, 1);
  assert.equal(now.websocket.requests, 1);
  assert.ok(now.websocket["per-update"] < now.poll["per-update"], JSON.stringify(now));
  assert.ok(now.websocket["per-update"] < now["long-poll"]["per-update"], JSON.stringify(now));
});

test("each way shows a tick that stays", DEADLINE, async () => {
  // The first ticks come at once, and the next one long after the test.
  await serve("--push-interval", "3600");
  await page.goto(server.uri("/compare", "http"));
  await reaches("requests", 2, ["poll"]);
  await reaches("updates", 1);
  const now = await figures();
  for (const way of WAYS) assert.deepEqual([now[way].n, now[way].updates], [0, 1], way);
  // One of them was the first to show it.
  const lags = WAYS.map((way) => now[way].lag);
  assert.equal(lags.filter((lag) => lag === "first").length, 1, `${lags}`);
  assert.equal(now["long-poll"].requests, 2);
});

test("stop pauses all ways, start resumes them", DEADLINE, async () => {
  await serve("--push-interval", "0.2");
  await page.goto(server.uri("/compare", "http"));
  await page.locator("#every").selectOption("0.5");
  await reaches("updates", 2);
  const toggle = page.locator("#toggle");
  assert.equal(await toggle.textContent(), "Stop");
  await toggle.click();
  assert.equal(await toggle.textContent(), "Start");
  await status(page, "closed");
  const before = await figures();
  // Longer than the polls are apart.
  await ticks(6);
  assert.deepEqual(await figures(), before);
  await toggle.click();
  await status(page, "open");
  for (const way of WAYS) await reaches("updates", before[way].updates + 2, [way]);
  const now = await figures();
  assert.equal(now.websocket.requests, 2);
  assert.ok(now.poll.requests > before.poll.requests && now["long-poll"].requests > before["long-poll"].requests);
  // However fast one clicks, what is left of before does not disturb.
  allowed = /WebSocket is closed before the connection is established/;
  await toggle.evaluate((button) => [1, 2, 3, 4, 5].forEach(() => button.click()));
  await status(page, "closed");
  assert.equal(await toggle.textContent(), "Start");
  const still = await figures();
  await ticks(6);
  assert.deepEqual(await figures(), still);
});

test("all three ways reconnect after a restart", DEADLINE, async () => {
  allowed = GONE;
  await serve("--push-interval", "0.02");
  await page.goto(server.uri("/compare", "http"));
  await page.locator("#every").selectOption("0.5");
  // So far that the next server, which begins anew, will not come there soon.
  await reaches("n", 100);
  await server.kill();
  await status(page, "closed");
  const before = await figures();
  server = await Server.start("--listen", server.place, "--push-interval", "3");
  await status(page, "open");
  for (const way of WAYS) await reaches("updates", before[way].updates + 2, [way]);
  const now = await figures();
  for (const way of WAYS) assert.ok(now[way].n < 100, `${way}: ${now[way].n}`);
  assert.equal(now.websocket.requests, before.websocket.requests + 1);
});

test("the byte counts shown are those on the wire", DEADLINE, async (t) => {
  // Nothing but what the page counts: no tick, no ping.
  await serve("--push-interval", "3600", "--ping-interval-s", "3600", "--idle-timeout-s", "7200");
  const relay = await Relay.to(server);
  t.after(() => relay.close());
  await page.goto(`http://${relay.place}/compare`);
  await reaches("updates", 1);
  await reaches("requests", 3, ["poll"]);
  await reaches("requests", 2, ["long-poll"]);
  const now = await figures();
  const [socket, ...others] = relay.exchanges("/push");
  assert.deepEqual(others, []);
  assert.equal(now.websocket.bytes, socket.in + socket.out);
  for (const way of ["poll", "long-poll"]) {
    const { requests, bytes } = now[way];
    const exchanges = relay.exchanges(`/${way}`);
    // The last one may be under way: its request is counted, its bytes are not.
    const sums = [requests - 1, requests].map((count) =>
      exchanges.slice(0, count).reduce((sum, one) => sum + one.in + one.out, 0),
    );
    assert.ok(bytes > 0 && sums.includes(bytes), `${way}: ${bytes} shown, ${sums} seen`);
  }
});

// Sends these bytes, and returns the response once it is complete.
async function exchange(request, isEnough) {
  const [host, port] = server.place.split(":");
  const socket = connect(Number(port), host);
  socket.write(request);
  let back = Buffer.alloc(0);
  while (!isEnough(back.toString("latin1"))) back = Buffer.concat([back, (await once(socket, "data"))[0]]);
  socket.destroy();
  return back.toString("latin1");
}

test("the server reports the bytes it received", DEADLINE, async () => {
  await serve("--push-interval", "3600");
  const fields = ["Host: localhost", "X-Filler: grüße", "X-Empty:"];
  const upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
  const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
  for (const more of [[], ["X-More: " + "x".repeat(5000)]]) {
    const push = ["GET /push?some=thing HTTP/1.1", ...fields, ...upgrade, key, ...more, "", ""].join("\r\n");
    const back = await exchange(push, (text) => text.endsWith("}}"));
    const head = back.indexOf("\r\n\r\n") + 4;
    const told = JSON.parse(back.slice(back.indexOf("{", head)));
    assert.deepEqual(told.upgrade_bytes, { in: Buffer.byteLength(push), out: head });
    for (const path of ["/poll", "/poll?x=1", "/long-poll", "/long-poll?after=no"]) {
      const poll = [`GET ${path} HTTP/1.1`, ...fields, ...more, "", ""].join("\r\n");
      const [, count] = /^x-request-bytes: (\d+)\r$/im.exec(await exchange(poll, (text) => text.endsWith("}")));
      assert.equal(Number(count), Buffer.byteLength(poll), path);
    }
  }
});
