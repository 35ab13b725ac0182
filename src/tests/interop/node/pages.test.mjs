// The pages of `serve` that a single visitor sees: the first one, the echo, the push.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { assertNoMistakes, Browser, DEADLINE, GONE, keepWhatIsHeard, NO_ICON } from "./browser.mjs";
import { logged, say, status } from "./browser.mjs";
import { load, Server } from "./steadfast.mjs";

const { WebSocket } = load("ws");

// An address of its own, so that a restarted server finds its port free.
const OWN_PLACE = ["--listen", "127.0.83.1:0"];
const PAGES = ["/", "/echo", "/push", "/chat", "/compare"];
const DOCUMENTS = ["/poll", "/long-poll", "/stats"];

let browser, server, page, allowed;

before(async () => (browser = await Browser.launch()), DEADLINE);
after(() => browser?.close(), DEADLINE);

beforeEach(async () => {
  server = await Server.start(...OWN_PLACE, "--push-interval", "0.05");
  page = await browser.page();
  allowed = undefined;
}, DEADLINE);

afterEach(async () => {
  await page.close();
  assert.equal(await server.stop(), 0);
  assertNoMistakes(page, allowed);
}, DEADLINE);

function visit(path) {
  return page.goto(server.uri(path, "http"));
}

// Clicks on a link, and looks at what comes.
async function follow(link) {
  const path = await link.getAttribute("href");
  const arrives = page.waitForResponse((response) => response.request().isNavigationRequest());
  await link.click();
  const response = await arrives;
  await page.waitForURL(server.uri(path, "http"));
  assert.equal(response.status(), 200, path);
  if (PAGES.includes(path)) {
    assert.equal(await page.locator("nav [aria-current=page]").getAttribute("href"), path);
    assert.match(await page.title(), /Steadfast/);
  } else {
    assert.equal(typeof JSON.parse(await response.text()), "object");
  }
  return path;
}

test("the navigation bar links the pages", DEADLINE, async () => {
  allowed = NO_ICON;
  await visit("/");
  for (const path of PAGES) {
    const bar = page.locator("nav a");
    const paths = await Promise.all((await bar.all()).map((link) => link.getAttribute("href")));
    assert.deepEqual(paths, [...PAGES, "/stats"], path);
    assert.equal(await bar.nth(PAGES.indexOf(path)).getAttribute("aria-current"), "page");
    await follow(bar.nth(PAGES.indexOf(path) + 1));
  }
  await visit("/compare");
  await follow(page.locator("nav a").first());
});

// A mistake in the policy would show as an error in the console in every test; this one shows that it is enforced.
test("a page runs only its own script", DEADLINE, async () => {
  allowed = /Content Security Policy/;
  await visit("/");
  const ran = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.injected = true";
    document.body.append(script);
    return window.injected === true;
  });
  assert.equal(ran, false);
});

test("the first page leads to every route", DEADLINE, async () => {
  allowed = NO_ICON;
  await visit("/");
  const links = page.locator("dl a");
  const followed = [];
  for (let at = 0; at < (await links.count()); at += 1) {
    followed.push(await follow(links.nth(at)));
    await visit("/");
  }
  const routes = [...PAGES.filter((path) => path !== "/"), ...DOCUMENTS].sort();
  assert.deepEqual(followed.sort(), routes);
  const terms = await page.locator("dt").allTextContents();
  const named = routes.filter((path) => path !== "/chat").concat("/broadcast", "/chat/ROOM");
  assert.deepEqual(terms.sort(), named.sort());
});

test("every WebSocket route of the first page upgrades", DEADLINE, async () => {
  await visit("/");
  const paths = await page.evaluate(() =>
    [...document.querySelectorAll("dd")]
      .filter((about) => about.textContent.startsWith("WebSocket"))
      .map((about) => about.previousElementSibling.textContent),
  );
  assert.deepEqual(paths.sort(), ["/broadcast", "/chat/ROOM", "/echo", "/push"]);
  for (const path of paths) {
    const code = await page.evaluate((uri) => {
      const socket = new WebSocket(uri);
      socket.onopen = () => socket.close(4001);
      return new Promise((done) => (socket.onclose = (end) => done(end.code)));
    }, server.uri(path));
    assert.equal(code, 4001, path);
  }
});

for (const path of ["/", "/echo"]) {
  test(`the form of ${path} echoes, by click and by key`, DEADLINE, async () => {
    await visit(path);
    await status(page, "open");
    // One may type at once.
    await page.locator("#message:focus").waitFor();
    await page.keyboard.type("<i>typed</i>");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator("#message").inputValue(), "");
    await say(page, "grüße, 世界 🦀");
    const [first, second] = await logged(page, 2);
    assert.ok(first.startsWith("<i>typed</i>") && second.startsWith("grüße, 世界 🦀"), `${first}, ${second}`);
    assert.equal(await page.locator("#log i").count(), 0);
    const code = server.stop();
    await status(page, "closed");
    assert.equal(await code, 0);
    // What is said now is not lost from the field.
    await say(page, "unheard");
    assert.equal(await page.locator("#message").inputValue(), "unheard");
    assert.equal(await page.locator("#log > *").count(), 2);
  });
}

test("/echo says how long each echo took", DEADLINE, async () => {
  await visit("/echo");
  await status(page, "open");
  const texts = ["", "<b>bold</b>", "x".repeat(70_000)];
  for (const text of texts) await say(page, text);
  await logged(page, texts.length);
  assert.deepEqual(await page.locator("#log .text").allTextContents(), texts);
  assert.equal(await page.locator("#log b").count(), 0);
  for (const time of await page.locator("#log small").allTextContents()) assert.match(time, /^\d+\.\d ms$/);
  assert.equal(await page.locator("#log small").count(), texts.length);
});

// What /push shows and has received, at one moment.
function pushed() {
  return page.evaluate(() => {
    const text = (id) => document.getElementById(id).textContent;
    return {
      heard: window.heard.map((data) => JSON.parse(data)),
      log: [...document.querySelectorAll("#log > *")].map((item) => item.textContent),
      ...Object.fromEntries(["n", "time", "count", "interval", "status"].map((id) => [id, text(id)])),
    };
  });
}

async function pushedAtLeast(count) {
  await page.waitForFunction((count) => Number(document.getElementById("count").textContent) >= count, count);
  return pushed();
}

test("/push shows each tick that the server sends", DEADLINE, async () => {
  await keepWhatIsHeard(page);
  // The server skips ticks for which it was late; every client gets the same ones.
  const other = new WebSocket(server.uri("/push"));
  const ticks = [];
  other.on("message", (data) => ticks.push(JSON.parse(data)));
  await once(other, "open");
  await visit("/push");
  const { heard, log, n, time, count, interval, status } = await pushedAtLeast(25);
  assert.equal(status, "open");
  assert.equal(interval, "every 50 milliseconds");
  assert.equal(Number(count), heard.length);
  const last = heard.at(-1);
  assert.deepEqual([n, time], [String(last.n), last.time]);
  assert.deepEqual(log, heard.slice(-10).map((tick) => `${tick.n}: ${tick.time}`));
  for (const { time } of heard) assert.equal(new Date(time).toUTCString(), time);
  // The first one tells the present tick, which may have yet to be sent to all.
  const [, ...numbers] = heard.map((tick) => tick.n);
  numbers.reduce((before, n) => (assert.ok(n > before, `${n} came behind ${before}`), n));
  while (ticks.at(-1)?.n < last.n) await once(other, "message");
  other.terminate();
  const theirs = ticks.slice(1).map((tick) => tick.n).filter((n) => n >= numbers[0] && n <= last.n);
  assert.deepEqual(numbers, theirs);
});

test("/push reconnects after a restart", DEADLINE, async () => {
  allowed = GONE;
  await keepWhatIsHeard(page);
  await visit("/push");
  await pushedAtLeast(3);
  await server.kill();
  await status(page, "closed");
  const before = await pushed();
  server = await Server.start("--listen", server.place, "--push-interval", "0.4");
  await status(page, "open");
  const now = await pushedAtLeast(Number(before.count) + 3);
  assert.equal(now.interval, "every 400 milliseconds");
  assert.deepEqual(now.heard.slice(0, before.heard.length), before.heard);
  // The connection is another one: its first message says how it was made.
  assert.deepEqual(now.heard.flatMap((tick, at) => (tick.upgrade_bytes ? [at] : [])), [0, before.heard.length]);
});
