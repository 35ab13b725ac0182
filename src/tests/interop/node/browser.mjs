// Chromium, driven through its own protocol, and what the tests do to the pages that our server serves.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load } from "./steadfast.mjs";

const { chromium } = load("playwright-core");

// As in steadfast.mjs, for those who wait for Chromium: several processes of it work at each page, and a host may be
// busy.
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

  // A page whose mistakes are written down: what it throws, and what it or Chromium complains about in the console.
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
    // Chromium's helpers may write for a moment after it has gone.
    await rm(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

// Where a server has gone, Chromium says so for each try to reach it, and a page may; that is no mistake.
export const GONE = /WebSocket connection to .* failed|net::ERR_|Failed to fetch/;
// For a document that is no page it asks for an icon by itself.
export const NO_ICON = /status of 404 .*\/favicon\.ico$/;

export function assertNoMistakes(page, allowed) {
  assert.deepEqual(page.mistakes.filter((mistake) => !allowed?.test(mistake)), []);
}

export async function status(page, wanted) {
  await page.locator("#status", { hasText: new RegExp(`^\\s*${wanted}\\s*$`) }).waitFor();
}

export async function say(page, text) {
  // A page that is not in front is drawn once a second, and a click waits for that.
  await page.bringToFront();
  await page.locator("#message").fill(text);
  await page.locator("#send").click();
}

// The texts of the log, once it has so many entries.
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
