// How the pages look: on a narrow screen, by day and by night.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { assertNoMistakes, Browser, contrasts, DEADLINE, logged, say, status } from "./browser.mjs";
import { load, Server } from "./steadfast.mjs";

const { WebSocket } = load("ws");

// A word that no line can break by itself.
const LONG = "W".repeat(300);

let browser, server;

before(async () => {
  server = await Server.start("--push-interval", "0.2");
  browser = await Browser.launch();
}, DEADLINE);

after(async () => {
  await browser?.close();
  assert.equal(await server.stop(), 0);
}, DEADLINE);

async function talk(page) {
  await status(page, "open");
  await say(page, LONG);
  await logged(page, 1);
}

// What brings each page to show all that it can.
const SCENES = {
  "/": talk,
  "/echo": talk,
  "/push": (page) => logged(page, 3),
  "/chat": (page) => page.locator("#join").waitFor(),
  async [`/chat/${"R".repeat(64)}`](page, path) {
    await page.locator("#name").fill("N".repeat(32));
    await page.locator("#enter").click();
    await talk(page);
    const guest = new WebSocket(server.uri(`${path}?name=${"M".repeat(32)}`));
    await once(guest, "open");
    await logged(page, 2);
    guest.close();
    await logged(page, 3);
  },
  "/compare": (page) =>
    page.waitForFunction(() => [...document.querySelectorAll(".updates")].every((item) => item.textContent > 0)),
};

for (const [path, scene] of Object.entries(SCENES)) {
  test(`${path.slice(0, 12)} on a narrow screen, by day and by night`, DEADLINE, async () => {
    const page = await browser.page();
    await page.setViewportSize({ width: 360, height: 640 });
    await page.goto(server.uri(path, "http"));
    await scene(page, path);
    const widths = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      const right = Math.max(...[...document.querySelectorAll("body *")].map((it) => it.getBoundingClientRect().right));
      return { scrollWidth, clientWidth, right };
    });
    assert.equal(widths.clientWidth, 360);
    assert.ok(widths.scrollWidth <= 360 && widths.right <= 360, JSON.stringify(widths));
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      const { found, light } = await page.evaluate(contrasts);
      assert.ok(colorScheme === "light" ? light > 0.8 : light < 0.1, `${colorScheme}: ${light}`);
      assert.ok(found.length > 10, `${found.length}`);
      assert.deepEqual(found.filter(({ ratio }) => ratio < 4.5), [], colorScheme);
    }
    await page.close();
    assertNoMistakes(page);
  });
}
