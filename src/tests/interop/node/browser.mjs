// Drives Chromium through its own protocol, and has helpers for the pages that the server serves.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load } from "./steadfast.mjs";

const { chromium } = load("playwright-core");

// As in steadfast.mjs, but for Chromium: several of its processes work on each page, and the host may be busy.
export const DEADLINE = { timeout: 120_000 };

const QUIET = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-proxy-server",
];

export class Browser {
  static async launch() {
    const browser = new Browser();
    browser.profile = await mkdtemp(join(tmpdir(), "steadfast-chromium-"));
    const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
    const options = { executablePath, args: QUIET, headless: true };
    browser.context = await chromium.launchPersistentContext(browser.profile, options);
    browser.context.setDefaultTimeout(DEADLINE.timeout);
    return browser;
  }

  // A page whose errors are recorded: exceptions, and errors in the console.
  async page() {
    const page = await this.context.newPage();
    page.mistakes = [];
    page.on("pageerror", (error) => page.mistakes.push(`thrown: ${error}`));
    page.on("console", (message) => {
      const complaint = `${message.type()}: ${message.text()} ${message.location()?.url}`;
      if (/^(error|warning):/.test(complaint)) page.mistakes.push(complaint);
    });
    return page;
  }

  async close() {
    await this.context?.close();
    // Chromium's helpers may still write for a moment after it has ended.
    await rm(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

// When a server has stopped, Chromium reports each attempt to reach it; that is not an error of the page.
export const GONE = /WebSocket connection to .* failed|net::ERR_|Failed to fetch/;
// For a document that is not HTML, Chromium requests an icon by itself.
export const NO_ICON = /status of 404 .*\/favicon\.ico$/;

export function assertNoMistakes(page, allowed) {
  assert.deepEqual(page.mistakes.filter((mistake) => !allowed?.test(mistake)), []);
}

export async function status(page, wanted) {
  await page.locator("#status", { hasText: new RegExp(`^\\s*${wanted}\\s*$`) }).waitFor();
}

export async function say(page, text) {
  // A page in the background is drawn once a second, and a click waits for that.
  await page.bringToFront();
  await page.locator("#message").fill(text);
  await page.locator("#send").click();
}

// Returns the texts of the log, once it has `count` entries.
export async function logged(page, count) {
  const entries = page.locator("#log > *");
  await entries.nth(count - 1).waitFor({ state: "attached" });
  return entries.allTextContents();
}

// Has a page keep the data of every WebSocket message in `heard`, before its own script sees it: so both can be read at
// one moment.
export async function keepWhatIsHeard(page) {
  await page.addInitScript(() => {
    window.heard = [];
    window.WebSocket = class extends WebSocket {
      constructor(...args) {
        super(...args);
        this.addEventListener("message", ({ data }) => window.heard.push(data));
      }
    };
  });
}

// Runs within the page: returns each visible text with its contrast ratio as defined by WCAG 2.2, and the page's colour.
export function contrasts() {
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
  // The canvas shows where no element has a background.
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
    // Letters in an SVG are filled.
    const { rgb, a } = colour(element instanceof SVGElement ? style.fill : style.color);
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
