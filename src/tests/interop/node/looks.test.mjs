// How the pages look: on a narrow screen, by day and by night.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { assertNoMistakes, Browser, DEADLINE, logged, say, status } from "./browser.mjs";
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

// Runs within the page: each piece of text that is seen, with how much it stands out from what is behind it, by the
// definition of WCAG 2.2; and the colour of the page itself.
function contrasts() {
  const colour = (text) => {
    const [r, g, b, a = 1] = text.match(/^rgba?\((.*)\)$/)[1].split(/[ ,/]+/).map(Number);
    return { rgb: [r, g, b], a };
  };
  const over = ({ rgb, a }, below) => rgb.map((value, at) => value * a + below[at] * (1 - a));
  const luminance = (rgb) => {
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb.map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  // The canvas is what shows where nothing has a background.
  const probe = Object.assign(document.createElement("i"), { style: "background: Canvas" });
  document.body.append(probe);
  const canvas = colour(getComputedStyle(probe).backgroundColor).rgb;
  probe.remove();

  const behind = (element) => {
    if (!element) return canvas;
    return over(colour(getComputedStyle(element).backgroundColor), behind(element.parentElement));
  };
  const opacity = (element) => (element ? getComputedStyle(element).opacity * opacity(element.parentElement) : 1);
  const found = [];
  const see = (element, text, style, more = 1) => {
    const below = behind(element);
    const { rgb, a } = colour(style.color);
    const above = over({ rgb, a: a * opacity(element) * more }, below);
    found.push({ text: text.trim().slice(0, 40), ratio: ratio(above, below) });
  };
  for (const element of document.body.querySelectorAll("*")) {
    if (!element.checkVisibility() || element.tagName === "SCRIPT") continue;
    const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== "");
    if (own.length > 0) see(element, own[0].data, getComputedStyle(element));
    const hint = getComputedStyle(element, "::placeholder");
    if (element.placeholder) see(element, element.placeholder, hint, hint.opacity);
  }
  return { found, light: luminance(canvas) };
}

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
