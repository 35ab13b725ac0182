// The page /chat, with several people in it.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { assertNoMistakes, Browser, DEADLINE, GONE, say, status } from "./browser.mjs";
import { load, Server } from "./steadfast.mjs";

const { WebSocket } = load("ws");

// The bytes that are said at once, at most.
const LIMIT = 16 << 10;

let browser, server, pages, allowed;

before(async () => (browser = await Browser.launch()), DEADLINE);
after(() => browser?.close(), DEADLINE);

beforeEach(async () => {
  // An address of its own, so that a restarted server finds its port free.
  server = await Server.start("--listen", "127.0.83.1:0");
  pages = [];
  allowed = undefined;
}, DEADLINE);

afterEach(async () => {
  for (const page of pages) await page.close();
  assert.equal(await server.stop(), 0);
  for (const page of pages) assertNoMistakes(page, allowed);
}, DEADLINE);

async function enters(name, path = "/chat", expected = name) {
  const page = await browser.page();
  pages.push(page);
  await page.goto(server.uri(path, "http"));
  await goesIn(page, name, expected);
  return page;
}

async function goesIn(page, name, expected = name) {
  await page.locator("#name").fill(name);
  await page.locator("#enter").click();
  await status(page, "open");
  // What it is called there, and that it is there, is the server's answer.
  await page.locator("#here > li", { hasText: new RegExp(`^${expected}$`) }).waitFor();
  assert.equal(await page.locator("#me").textContent(), expected);
  assert.equal(await page.locator("#join").isVisible(), false);
}

// Messages and events, one per line.
function log(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll("#log > li")].map((item) =>
      item.className === "message"
        ? `${item.querySelector("b").textContent}: ${item.querySelector(".text").textContent}`
        : `(${item.textContent})`,
    ),
  );
}

// The last line becomes this one.
async function hears(page, line) {
  await page.waitForFunction((line) => {
    const item = document.querySelector("#log > li:last-child");
    if (item?.className !== "message") return item && `(${item.textContent})` === line;
    return `${item.querySelector("b").textContent}: ${item.querySelector(".text").textContent}` === line;
  }, line);
}

// The list of members, as soon as the page shows it.
async function sees(page, ...names) {
  await page.waitForFunction((names) => {
    const here = [...document.querySelectorAll("#here > li")].map((item) => item.textContent);
    const count = document.getElementById("here-count").textContent;
    return JSON.stringify(here.sort()) === JSON.stringify(names) && count === String(names.length);
  }, names);
}

test("two members exchange messages", DEADLINE, async () => {
  const ada = await enters("ada");
  assert.equal(await ada.locator("#title").textContent(), "lobby");
  await sees(ada, "ada");
  const bob = await enters("bob");
  await hears(ada, "(bob joined)");
  await sees(ada, "ada", "bob");
  await sees(bob, "ada", "bob");
  const talk = [
    [ada, "ada", "hello"],
    [bob, "bob", "<b>not bold</b> & <script>throw 1</script>"],
    [ada, "ada", "grüße, 世界 🦀👩‍👩‍👧"],
    [bob, "bob", '  "two"  spaces, \\ and {"json":1}'],
    [bob, "bob", "ß".repeat(LIMIT / 2)],
  ];
  for (const [page, name, text] of talk) {
    await say(page, text);
    for (const each of [ada, bob]) await hears(each, `${name}: ${text}`);
  }
  const lines = talk.map(([, name, text]) => `${name}: ${text}`);
  assert.deepEqual(await log(ada), ["(bob joined)", ...lines]);
  assert.deepEqual(await log(bob), lines);
  for (const page of [ada, bob]) assert.equal(await page.locator("#log .text *").count(), 0);
  // The newest is in sight, however long the log is.
  assert.ok(await bob.evaluate(() => {
    const list = document.getElementById("log");
    return list.scrollHeight > list.clientHeight && list.scrollHeight - list.scrollTop - list.clientHeight < 8;
  }));
});

test("leaving by the button or by closing the page is announced", DEADLINE, async () => {
  const ada = await enters("ada");
  const bob = await enters("bob");
  const eve = await enters("eve");
  await sees(ada, "ada", "bob", "eve");
  await bob.locator("#leave").click();
  await status(bob, "closed");
  assert.equal(await bob.locator("#inside").isVisible(), false);
  await hears(ada, "(bob left)");
  await sees(ada, "ada", "eve");
  await eve.close();
  await hears(ada, "(eve left)");
  await sees(ada, "ada");
  // Back again, with an empty log.
  assert.equal(await bob.locator("#name").inputValue(), "bob");
  await goesIn(bob, "bob");
  await hears(ada, "(bob joined)");
  await sees(ada, "ada", "bob");
  assert.deepEqual(await log(bob), []);
  await say(bob, "back");
  await hears(ada, "bob: back");
});

test("a name in use gets a number", DEADLINE, async () => {
  const first = await enters("bob");
  const second = await enters("bob", "/chat", "bob-2");
  const third = await enters(" bob ", "/chat", "bob-3");
  await sees(first, "bob", "bob-2", "bob-3");
  await say(second, "which one?");
  for (const page of [first, second, third]) await hears(page, "bob-2: which one?");
  await second.locator("#leave").click();
  await hears(first, "(bob-2 left)");
  await sees(first, "bob", "bob-3");
  const fourth = await enters("bob", "/chat", "bob-2");
  await sees(fourth, "bob", "bob-2", "bob-3");
});

test("rooms are separate", DEADLINE, async () => {
  const ada = await enters("ada");
  const bob = await enters("bob", "/chat/lobby");
  await hears(ada, "(bob joined)");
  // By the form, out of the room that one is in: a name with all that a path must not hold.
  const eve = await enters("eve");
  await hears(ada, "(eve joined)");
  const room = "a/b? #1% grüße 🦀";
  await eve.locator("#room").fill(room);
  await eve.locator("#go").click();
  await eve.waitForURL((url) => url.pathname === `/chat/${encodeURIComponent(room)}`);
  await hears(ada, "(eve left)");
  assert.equal(await eve.locator("#title").textContent(), room);
  // The name is known from before.
  assert.equal(await eve.locator("#name").inputValue(), "eve");
  await goesIn(eve, "eve");
  assert.equal(await eve.locator("#title").textContent(), room);
  await sees(eve, "eve");
  await say(eve, "is anyone here?");
  await hears(eve, "eve: is anyone here?");
  // Nor by another spelling of its name.
  const ivy = await enters("ivy", `/chat/${encodeURIComponent(room).toLowerCase()}`);
  await sees(ivy, "eve", "ivy");
  await say(ada, "only we");
  for (const page of [ada, bob]) await hears(page, "ada: only we");
  assert.deepEqual(await log(ada), ["(bob joined)", "(eve joined)", "(eve left)", "ada: only we"]);
  await say(ivy, "only us");
  for (const page of [eve, ivy]) await hears(page, "ivy: only us");
  assert.deepEqual(await log(eve), ["eve: is anyone here?", "(ivy joined)", "ivy: only us"]);
});

test("members reconnect after a restart, and show it", DEADLINE, async () => {
  allowed = GONE;
  const ada = await enters("ada");
  const bob = await enters("bob");
  await say(ada, "before");
  for (const page of [ada, bob]) await hears(page, "ada: before");
  await server.kill();
  for (const page of [ada, bob]) {
    await status(page, "closed");
    await hears(page, "(connection lost, trying again)");
  }
  // What is said meanwhile stays in the field.
  await say(ada, "in between");
  assert.equal(await ada.locator("#message").inputValue(), "in between");
  server = await Server.start("--listen", server.place);
  for (const page of [ada, bob]) {
    await status(page, "open");
    await sees(page, "ada", "bob");
  }
  await ada.locator("#send").click();
  for (const page of [ada, bob]) await hears(page, "ada: in between");
  for (const [page, name] of [[ada, "ada"], [bob, "bob"]]) {
    const notes = (await log(page)).filter((line) => line.startsWith("(conn"));
    assert.deepEqual(notes, ["(connection lost, trying again)", `(connected again, as ${name})`]);
  }
});

test("an oversize message is not sent and stays in the field", DEADLINE, async () => {
  const ada = await enters("ada");
  const bob = await enters("bob");
  await hears(ada, "(bob joined)");
  const text = "ß".repeat(LIMIT / 2 - 1);
  await say(ada, `${text}123`);
  await hears(ada, "(not sent: at most 16 KiB are said at once)");
  assert.equal(await ada.locator("#message").inputValue(), `${text}123`);
  await say(ada, `${text}12`);
  for (const page of [ada, bob]) await hears(page, `ada: ${text}12`);
  assert.equal((await log(bob)).length, 1);
});

test("the page says why the server closed", DEADLINE, async () => {
  allowed = GONE;
  const ada = await enters("ada");
  const bob = await browser.page();
  pages.push(bob);
  await bob.goto(server.uri(`/chat/${"r".repeat(65)}`, "http"));
  await bob.locator("#name").fill("bob");
  await bob.locator("#enter").click();
  await status(bob, "closed: the room's name has more than 64 characters");
  await bob.locator("#join").waitFor();
  assert.equal(await server.stop(), 0);
  await hears(ada, "(connection lost: server stops, trying again)");
});

test("a name with an invisible character is refused by the page and by the server", DEADLINE, async () => {
  const page = await browser.page();
  pages.push(page);
  await page.goto(server.uri("/chat", "http"));
  await page.locator("#name").fill("a\u202eb");
  await page.locator("#enter").click();
  const why = await page.locator("#name").evaluate((field) => field.validationMessage);
  assert.equal(why, "A name cannot contain U+202E");
  await status(page, "closed");
  // A browser whose Unicode is older than the server's lets it pass.
  await page.locator("#name").evaluate((field) => field.setCustomValidity(""));
  await page.locator("#enter").click();
  await status(page, "closed: the name contains U\\+202E, a control or invisible character");
  await goesIn(page, "ab");
});

test("a member who leaves during a restart does not return", DEADLINE, async () => {
  allowed = GONE;
  const ada = await enters("ada");
  const bob = await enters("bob");
  await server.kill();
  for (const page of [ada, bob]) await hears(page, "(connection lost, trying again)");
  await bob.locator("#leave").click();
  server = await Server.start("--listen", server.place);
  await status(ada, "open");
  await sees(ada, "ada");
  await goesIn(bob, "bob");
  await sees(bob, "ada", "bob");
  assert.deepEqual(await log(bob), []);
});

test("markup in names and messages is shown as text", DEADLINE, async () => {
  const ada = await enters("ada");
  const name = "<img src=x onerror=throw(1)>";
  const other = new WebSocket(server.uri(`/chat/lobby?name=${encodeURIComponent(name)}`));
  other.on("open", () => other.send("line one\nline two\t<hr>"));
  await hears(ada, `${name}: line one\nline two\t<hr>`);
  await sees(ada, name, "ada");
  other.close();
  await hears(ada, `(${name} left)`);
  assert.equal(await ada.locator("main img, main hr").count(), 0);
});

test("a name may not be blank, nor a room only dots", DEADLINE, async () => {
  const page = await browser.page();
  pages.push(page);
  await page.goto(server.uri("/chat", "http"));
  for (const name of ["", "   "]) {
    await page.locator("#name").fill(name);
    await page.locator("#enter").click();
    assert.equal(await page.locator("#name:invalid").count(), 1);
    assert.equal(await page.locator("#inside").isVisible(), false);
  }
  for (const room of ["", " ", ".", ".. "]) {
    await page.locator("#room").fill(room);
    await page.locator("#go").click();
    assert.equal(await page.locator("#room:invalid").count(), 1);
    assert.equal(new URL(page.url()).pathname, "/chat");
  }
});
