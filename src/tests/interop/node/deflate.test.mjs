// permessage-deflate: the `ws` client against our server.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { describe, test } from "node:test";
import { DEADLINE, load, Server } from "./steadfast.mjs";

const { WebSocket } = load("ws");

const LIMIT = 1 << 20;
const SIZES = [0, 1, 100, 1000, 70_000, 1_000_000];
const BITS = [9, 10, 11, 12, 13, 14, 15];

const NAME = "permessage-deflate";
const FORGETS = `${NAME}; server_no_context_takeover; client_no_context_takeover`;

// Flags of the server; what `ws` offers, and what is answered to that.
const CASES = [
  {
    flags: [],
    offers: [
      [{}, FORGETS],
      [{ clientMaxWindowBits: 10 }, FORGETS],
      [{ clientMaxWindowBits: false, serverNoContextTakeover: true, clientNoContextTakeover: true }, FORGETS],
      ...BITS.map((bits) => [
        { serverMaxWindowBits: bits },
        `${FORGETS}; server_max_window_bits=${Math.min(bits, 12)}`,
      ]),
    ],
  },
  {
    flags: ["--compression-takeover", "--compression-window-bits", "15", "--compression-min-bytes", "0"],
    offers: [
      [{}, `${NAME}; client_max_window_bits=15`],
      [{ clientMaxWindowBits: false }, NAME],
      [{ clientMaxWindowBits: 9, threshold: 0 }, `${NAME}; client_max_window_bits=9`],
      [{ serverNoContextTakeover: true }, `${NAME}; server_no_context_takeover; client_max_window_bits=15`],
      [{ clientNoContextTakeover: true }, `${NAME}; client_no_context_takeover`],
      ...BITS.map((bits) => [
        { serverMaxWindowBits: bits, clientMaxWindowBits: bits, threshold: 0 },
        `${NAME}; server_max_window_bits=${bits}; client_max_window_bits=${bits}`,
      ]),
    ],
  },
  {
    flags: ["--compression-takeover", "--compression-window-bits", "10", "--compression-level", "9"],
    offers: [
      [{}, `${NAME}; client_max_window_bits=10`],
      // A window that the client cannot limit is more than the server keeps.
      [{ clientMaxWindowBits: false }, `${NAME}; client_no_context_takeover`],
      [{ serverMaxWindowBits: 15 }, `${NAME}; server_max_window_bits=10; client_max_window_bits=10`],
    ],
  },
];

function words(size) {
  const pattern = "aß世🦀";
  const text = pattern.repeat(Math.floor(size / Buffer.byteLength(pattern)));
  return text + ".".repeat(size - Buffer.byteLength(text));
}

async function opened(server, perMessageDeflate = true) {
  const client = new WebSocket(server.uri(), { perMessageDeflate });
  client.ended = new Promise((done) => client.on("close", (code) => done(code)));
  const [[answer]] = await Promise.all([once(client, "upgrade"), once(client, "open")]);
  client.on("error", () => {});
  client.answered = answer.headers["sec-websocket-extensions"];
  return client;
}

async function echoes(client, message) {
  client.send(message);
  const [data, isBinary] = await once(client, "message");
  assert.equal(isBinary, typeof message !== "string");
  assert.ok(data.equals(Buffer.from(message)), `${message.length} bytes came back as another ${data.length}`);
}

for (const { flags, offers } of CASES) {
  describe(`compression, ${flags.join(" ") || "as it comes"}`, () => {
    async function serving(use) {
      const server = await Server.start("--compression", ...flags);
      try {
        await use(server);
      } finally {
        assert.equal(await server.stop(), 0);
      }
    }

    test("negotiated parameters and echoes", DEADLINE, () =>
      serving(async (server) => {
        for (const [offer, answer] of offers) {
          const client = await opened(server, offer);
          assert.equal(client.answered, answer, JSON.stringify(offer));
          for (const size of SIZES) {
            const noise = randomBytes(size);
            // The same thing twice: with a window that is kept, the second refers to the first.
            for (const message of [words(size), noise, noise]) await echoes(client, message);
          }
          client.close(1000);
          assert.equal(await client.ended, 1000);
        }
      }));

    test("compression is not used without an offer", DEADLINE, () =>
      serving(async (server) => {
        const client = await opened(server, false);
        assert.equal(client.answered, undefined);
        await echoes(client, words(70_000));
        client.close();
        await client.ended;
      }));

    test("fragments, with pings and messages that are not compressed among them", DEADLINE, () =>
      serving(async (server) => {
        const client = await opened(server);
        for (const compress of [true, false, true]) {
          const parts = [words(2000), "", words(70_000), "end"];
          parts.forEach((part, at) => {
            client.send(part, { fin: at === parts.length - 1, binary: false, compress });
            client.ping("middle");
          });
          const [data] = await once(client, "message");
          assert.equal(data.toString(), parts.join(""));
        }
        client.close();
        await client.ended;
      }));

    test("an oversize inflated message is closed with 1009", DEADLINE, () =>
      serving(async (server) => {
        for (const message of [words(LIMIT + 1), Buffer.alloc(8 * LIMIT)]) {
          const client = await opened(server);
          await echoes(client, Buffer.alloc(LIMIT));
          client.send(message);
          assert.equal(await client.ended, 1009);
        }
      }));
  });
}
