// A folder that is served beside the pages: what Chromium makes of its files.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { assertNoMistakes, Browser, DEADLINE, logged, say, status } from "./browser.mjs";
import { Server } from "./steadfast.mjs";

const FILES = {
  "index.html": `<!doctype html><html lang="en"><meta charset="utf-8"><title>Mine</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="look.css">
<h1>My own</h1><img id="image" src="images/dot.png" alt="a dot"><script type="module" src="work.js"></script></html>`,
  "look.css": "h1 { color: rgb(1, 2, 3) }",
  "work.js": "document.body.dataset.worked = 'grüße 🦀'",
  // 3 pixels by 2.
  "images/dot.png": Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAEElEQVR42mP4z8AAQQxwFgBB0gX7b/EWxwAAAABJRU5ErkJggg==",
    "base64",
  ),
  "other/index.html": `<!doctype html><title>Other</title><link rel="icon" href="data:,"><a href="../">up</a>`,
};

let browser, folder, server, page;

before(async () => (browser = await Browser.launch()), DEADLINE);
after(() => browser?.close(), DEADLINE);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "steadfast-site-"));
  page = await browser.page();
}, DEADLINE);

afterEach(async () => {
  await page.close();
  assert.equal(await server.stop(), 0);
  await rm(folder, { recursive: true, force: true });
  assertNoMistakes(page);
}, DEADLINE);

async function serve(names) {
  for (const name of names) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), FILES[name]);
  }
  server = await Server.start("--static", folder);
}

function visit(path) {
  return page.goto(server.uri(path, "http"));
}

async function echoesAt(path) {
  const back = await page.evaluate((uri) => {
    const socket = new WebSocket(uri);
    socket.onopen = () => socket.send("grüße");
    return new Promise((done, failed) => {
      socket.onmessage = ({ data }) => (socket.close(), done(data));
      socket.onclose = ({ code }) => failed(new Error(`closed with ${code}`));
    });
  }, server.uri(path));
  assert.equal(back, "grüße");
}

test("a page with its script, style and image", DEADLINE, async () => {
  await serve(Object.keys(FILES));
  const types = new Map();
  page.on("response", (response) => types.set(new URL(response.url()).pathname, response.headers()["content-type"]));
  await visit("/");
  assert.equal(await page.title(), "Mine");
  await page.waitForFunction(() => document.body.dataset.worked === "grüße 🦀");
  const seen = await page.evaluate(() => {
    const { naturalWidth, naturalHeight } = document.getElementById("image");
    return [getComputedStyle(document.querySelector("h1")).color, naturalWidth, naturalHeight];
  });
  assert.deepEqual(seen, ["rgb(1, 2, 3)", 3, 2]);
  assert.equal(types.get("/"), "text/html; charset=utf-8");
  assert.equal(types.get("/look.css"), "text/css; charset=utf-8");
  assert.match(types.get("/work.js"), /^(text|application)\/javascript/);
  assert.equal(types.get("/images/dot.png"), "image/png");
});

test("a cached file is not sent again", DEADLINE, async () => {
  await serve(Object.keys(FILES));
  // What comes over the network: Chromium hides from a page, and playwright from us, that its own copy is used.
  const network = await browser.context.newCDPSession(page);
  await network.send("Network.enable");
  const statuses = [];
  network.on("Network.responseReceivedExtraInfo", ({ statusCode }) => statuses.push(statusCode));
  const heardOf = async (count) => {
    while (statuses.length < count) await once(network, "Network.responseReceivedExtraInfo");
  };
  await visit("/");
  await heardOf(4);
  assert.deepEqual(statuses, [200, 200, 200, 200]);
  await page.reload();
  // For the page it asks; the rest, if it is old enough, it may take as fresh.
  await heardOf(5);
  assert.deepEqual(new Set(statuses.slice(4)), new Set([304]));
  assert.equal(await page.title(), "Mine");
  const outcomes = await page.evaluate(async () => {
    const since = (await fetch("look.css", { cache: "no-store" })).headers.get("Last-Modified");
    const ask = async (when) => {
      const response = await fetch("look.css", { headers: { "If-Modified-Since": when } });
      return [response.status, await response.text()];
    };
    return [await ask(since), await ask(new Date(Date.parse(since) - 1000).toUTCString())];
  });
  assert.deepEqual(outcomes, [[304, ""], [200, FILES["look.css"]]]);
});

test("an index in the folder replaces only the page at /", DEADLINE, async () => {
  await serve(Object.keys(FILES));
  await visit("/");
  assert.equal(await page.locator("h1").textContent(), "My own");
  await echoesAt("/");
  await echoesAt("/echo");
  for (const [path, title] of [["/echo", "Echo"], ["/push", "Push"], ["/chat", "Chat"], ["/compare", "Compare"]]) {
    assert.equal((await visit(path)).status(), 200);
    assert.equal(await page.locator("h1").textContent(), title);
  }
  await visit("/echo");
  await status(page, "open");
  await say(page, "through the page");
  assert.match((await logged(page, 1))[0], /^through the page/);
});

test("a subfolder and a relative link back", DEADLINE, async () => {
  await serve(Object.keys(FILES));
  const response = await visit("/other");
  assert.equal(response.status(), 200);
  assert.equal(page.url(), server.uri("/other/", "http"));
  assert.equal(await page.title(), "Other");
  await page.locator("a").click();
  await page.waitForURL(server.uri("/", "http"));
  assert.equal(await page.title(), "Mine");
});

test("without an index the server's page stays", DEADLINE, async () => {
  await serve(["look.css"]);
  await visit("/");
  assert.equal(await page.title(), "Steadfast");
  await status(page, "open");
  assert.equal(await page.evaluate(async () => (await fetch("/look.css")).text()), FILES["look.css"]);
});
