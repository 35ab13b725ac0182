// The page that a flood writes of itself: opened from the disk, without a network, by day and by night, on any screen.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { assertNoMistakes, Browser, contrasts, DEADLINE } from "./browser.mjs";
import { flood, run, Server } from "./steadfast.mjs";

const CONNECTIONS = 200;

let browser, folder, server;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "steadfast-report-"));
  server = await Server.start();
  browser = await Browser.launch();
  await browser.context.setOffline(true);
}, DEADLINE);

after(async () => {
  await browser?.close();
  assert.equal(await server.stop(), 0);
  await rm(folder, { recursive: true, force: true });
}, DEADLINE);

// Opens the page and returns the requests that it made, which must be none.
async function open(file, width = 1280) {
  const page = await browser.page();
  const url = pathToFileURL(file).href;
  page.asked = [];
  page.on("request", (request) => {
    if (request.url() !== url && !request.url().startsWith("data:")) page.asked.push(request.url());
  });
  await page.setViewportSize({ width, height: 800 });
  await page.goto(url);
  return page;
}

async function close(page) {
  assert.deepEqual(page.asked, []);
  assertNoMistakes(page);
  await page.close();
}

// What the cards say, by their names.
const cards = (page) =>
  page.evaluate(() => {
    const pairs = [...document.querySelectorAll("dl div")].map((it) => [...it.children].map((part) => part.textContent));
    return Object.fromEntries(pairs);
  });

// The cells of a table, row by row, without its head.
const table = (page, caption) =>
  page.evaluate((caption) => {
    const found = [...document.querySelectorAll("table")].find((it) => it.caption.textContent === caption);
    return [...found.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent));
  }, caption);

const figures = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll("figure")].map((it) => ({
      title: it.querySelector("h3").textContent,
      // One of the two drawings is visible, and has a name for screen readers.
      drawings: [...it.querySelectorAll("[role=img]")].filter((drawing) => drawing.checkVisibility()).length,
      shapes: it.querySelectorAll("polygon, polyline, rect").length,
      named: [...it.querySelectorAll("[role=img]")].every((drawing) =>
        document.getElementById(drawing.getAttribute("aria-labelledby")),
      ),
    })),
  );

async function assertLooksWell(file) {
  for (const width of [1280, 700, 360]) {
    const page = await open(file, width);
    await page.locator("details").evaluateAll((all) => all.forEach((it) => (it.open = true)));
    const { scrollWidth, clientWidth } = await page.evaluate(() => document.documentElement);
    const widest = await page.evaluate(() => {
      // What is scrolled by itself does not make the page wider.
      const seen = [...document.querySelectorAll("body *")].filter((it) => it.checkVisibility() && !it.closest("table"));
      return Math.max(...seen.map((it) => it.getBoundingClientRect().right));
    });
    assert.ok(widest <= width, `${widest} of ${width}: ${scrollWidth} ${clientWidth}`);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
    for (const { title, drawings, shapes, named } of await figures(page)) {
      assert.deepEqual([drawings, named], [1, true], `${title} at ${width}`);
      assert.ok(shapes > 0, title);
    }
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      const { found, light } = await page.evaluate(contrasts);
      assert.ok(colorScheme === "light" ? light > 0.8 : light < 0.1, `${colorScheme}: ${light}`);
      assert.deepEqual(found.filter(({ ratio }) => ratio < 4.5), [], `${colorScheme} at ${width}`);
    }
    await close(page);
  }
}

test("a successful flood", DEADLINE, async () => {
  const html = join(folder, "well.html");
  const options = { connections: CONNECTIONS, "connect-rate": 100, hold: 2, html };
  const { code, output, report } = await flood(server.uri(), options);
  assert.equal(code, 0, output);
  const page = await open(html);
  const said = await page.locator("#outcome").textContent();
  assert.equal(
    said,
    `${CONNECTIONS} of ${CONNECTIONS} connections opened, none was lost.All opened, answered, held and closed.`,
  );
  assert.ok((await page.title()).endsWith(": well"));
  const shown = await cards(page);
  assert.deepEqual([shown.Opened, shown.Lost], [`${CONNECTIONS}`, "0"]);
  const bytes = report.memory.server.user_bytes_per_connection;
  assert.ok(Math.abs(parseFloat(shown["Server, user space"]) - bytes) <= 0.5, `${bytes}`);
  const counts = Object.fromEntries(await table(page, "Connections and messages"));
  for (const name of ["planned", "opened", "answered", "held", "closed", "lost"]) {
    assert.equal(counts[name], `${report.connections[name]}`, name);
  }
  const latencies = await table(page, "Latencies");
  const measured = ["connect", "reply", "hold", "alive"].filter((name) => report[name].samples > 0);
  assert.deepEqual(latencies.slice(0, measured.length).map(([name]) => name), measured);
  assert.equal(latencies[0][1], `${report.connect.samples}`);
  const titles = (await figures(page)).map(({ title }) => title);
  for (const title of ["Connections by state", "Connects per second", "Messages per second", "Latency by percentile"]) {
    assert.ok(titles.includes(title), `${title}: ${titles}`);
  }
  assert.ok(titles.some((title) => title.startsWith("Memory of a connection")), `${titles}`);
  await page.locator("summary").click();
  const seconds = await table(page, "Second by second");
  // The flood may end just after a full second: that row is merged with the previous one.
  assert.ok(seconds.length >= 3 && seconds.length <= report.timeline.length, `${seconds.length}`);
  for (const row of seconds) {
    const states = row.slice(2, 11).map((cell) => parseInt(cell.replaceAll(",", ""), 10));
    assert.equal(states.reduce((sum, count) => sum + count), CONNECTIONS, `${row}`);
  }
  await close(page);
  await assertLooksWell(html);
});

test("a flood with all connections lost, and a failed assertion", DEADLINE, async () => {
  const free = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => free.once("listening", done));
  const { port } = free.address();
  await new Promise((done) => free.close(done));
  const html = join(folder, "lost.html");
  const options = { connections: 20, hold: 0, html, assert: "lost == 0" };
  const { code, output } = await flood(`tcp://127.0.0.1:${port}`, options);
  assert.equal(code, 3, output);
  const page = await open(html);
  const said = await page.locator("#outcome").textContent();
  assert.ok(said.startsWith("0 of 20 connections opened, 20 lost: 20 refused."), said);
  assert.ok(said.endsWith("lost == 0 is broken: 20."), said);
  assert.ok((await page.title()).endsWith(": NOT well"));
  assert.deepEqual(await table(page, "Assertions"), [["lost == 0", "20", "broken"]]);
  await close(page);
  await assertLooksWell(html);
});

test("text from outside is escaped", DEADLINE, async () => {
  const { report } = await flood(server.uri(), { connections: 10 });
  const evil = `"><img src=x onerror="document.title='run'"><script>document.title = "run"</script></title>&amp;'`;
  report.target = `ws://${evil}`;
  report.program = evil;
  report.connections.lost = 3;
  report.lost_by_cause = { [evil]: 3 };
  report.phases.forEach((phase) => (phase.name = evil));
  report.timeline.forEach((second) => (second.phase = evil));
  const [json, html] = [join(folder, "evil.json"), join(folder, "evil.html")];
  await writeFile(json, JSON.stringify(report));
  const { code, output } = await run("report", "show", json, "--html", html);
  assert.ok(code < 2, output);
  const page = await open(html);
  assert.equal(await page.locator(".target").textContent(), report.target);
  assert.ok((await page.locator("#outcome").textContent()).includes(`3 ${evil}`));
  assert.equal(await page.locator("img, script, iframe, object, form").count(), 0);
  assert.notEqual(await page.title(), "run");
  await close(page);
  await assertLooksWell(html);
});
