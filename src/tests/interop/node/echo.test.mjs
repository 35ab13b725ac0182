// The `ws` client against our server.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { Readable } from "node:stream";
import { after, before, describe, test } from "node:test";
import { DEADLINE, load, Server } from "./steadfast.mjs";

const { WebSocket, createWebSocketStream } = load("ws");

// The edges of the three length encodings, and the largest message that is allowed.
const LIMIT = 1 << 20;
const SIZES = [0, 1, 125, 126, 127, 65535, 65536, LIMIT];

let server;

before(async () => (server = await Server.start()), DEADLINE);
after(async () => assert.equal(await server.stop(), 0), DEADLINE);

async function opened(options, to = server) {
  const client = new WebSocket(to.uri(), options);
  client.ended = new Promise((done) => client.on("close", (code, reason) => done([code, reason.toString()])));
  await once(client, "open");
  // A later error shows in what the test awaits; without a listener it would end the whole run.
  client.on("error", () => {});
  return client;
}

async function closed(client, code = 1000, reason) {
  client.close(code, reason);
  return client.ended;
}

async function echoes(client, message) {
  client.send(message);
  const [data, isBinary] = await once(client, "message");
  assert.equal(isBinary, typeof message !== "string");
  assert.ok(data.equals(Buffer.from(message)), `${message.length} bytes came back as another ${data.length}`);
}

function words(size) {
  const pattern = "aß世🦀";
  const text = pattern.repeat(Math.floor(size / Buffer.byteLength(pattern)));
  return text + ".".repeat(size - Buffer.byteLength(text));
}

for (const perMessageDeflate of [false, true]) {
  describe(perMessageDeflate ? "deflate offered" : "plain", () => {
    const open = () => opened({ perMessageDeflate });

    test("no extension is chosen", DEADLINE, async () => {
      const client = await open();
      assert.equal(client.extensions, "");
      assert.equal(client.protocol, "");
      await closed(client);
    });

    for (const size of SIZES) {
      test(`text and binary of ${size} bytes`, DEADLINE, async () => {
        const client = await open();
        await echoes(client, words(size));
        await echoes(client, randomBytes(size));
        await closed(client);
      });
    }

    test("fragments", DEADLINE, async () => {
      const client = await open();
      for (const parts of [["ein", "ß", "世", "🦀"], ["", "", ""], [words(126), words(65536), "end"]]) {
        const last = parts.length - 1;
        parts.forEach((part, at) => client.send(part, { fin: at === last, binary: false }));
        const [data, isBinary] = await once(client, "message");
        assert.equal(isBinary, false);
        assert.equal(data.toString(), parts.join(""));
      }
      await closed(client);
    });

    test("a stream of messages", DEADLINE, async () => {
      const chunks = Array.from({ length: 100 }, (_, at) => randomBytes(1 + at * 300));
      const duplex = createWebSocketStream(await open());
      // The end of the input closes the WebSocket; every echo must arrive before the answer to that.
      Readable.from(chunks).pipe(duplex);
      const back = [];
      for await (const chunk of duplex) back.push(chunk);
      assert.ok(Buffer.concat(back).equals(Buffer.concat(chunks)));
    });

    test("ping", DEADLINE, async () => {
      const client = await open();
      for (const payload of ["", "are you there", "x".repeat(125)]) {
        client.ping(payload);
        const [data] = await once(client, "pong");
        assert.equal(data.toString(), payload);
      }
      client.pong("nobody asked");
      await echoes(client, "still here");
      await closed(client);
    });

    test("ping between fragments", DEADLINE, async () => {
      const client = await open();
      client.send("before ", { fin: false });
      client.ping("middle");
      assert.equal((await once(client, "pong"))[0].toString(), "middle");
      client.send("after", { fin: true });
      assert.equal((await once(client, "message"))[0].toString(), "before after");
      await closed(client);
    });

    test("oversize is closed with 1009", DEADLINE, async () => {
      for (const message of [words(LIMIT + 1), Buffer.alloc(LIMIT + 1)]) {
        const client = await open();
        client.send(message);
        assert.equal((await client.ended)[0], 1009);
      }
    });
  });
}

test("the close code is echoed", DEADLINE, async () => {
  for (const [code, reason] of [[1000, "done"], [1001, ""], [3000, "grüße 🦀"], [4999, "x".repeat(123)]]) {
    const [received, text] = await closed(await opened(), code, reason);
    assert.equal(received, code);
    assert.ok(["", reason].includes(text), text);
  }
});

test("text that is not UTF-8 is closed with 1007", DEADLINE, async () => {
  const client = await opened();
  client.send(Buffer.from([0xc3, 0x28]), { binary: false });
  assert.equal((await client.ended)[0], 1007);
});

test("an unknown path is refused with its status", DEADLINE, async () => {
  const client = new WebSocket(server.uri("/nowhere"));
  client.on("error", () => {});
  const [, response] = await once(client, "unexpected-response");
  assert.equal(response.statusCode, 404);
  client.terminate();
});

test("each of many clients gets its own echoes", DEADLINE, async () => {
  const clients = await Promise.all(Array.from({ length: 100 }, () => opened()));
  await Promise.all(clients.map((client, at) => echoes(client, `${at} `.repeat(at + 1))));
  const ends = await Promise.all(clients.map((client) => closed(client)));
  assert.deepEqual(new Set(ends.map(([code]) => code)), new Set([1000]));
});

test("a stopped server closes with 1001", DEADLINE, async () => {
  const own = await Server.start();
  const clients = await Promise.all(Array.from({ length: 20 }, () => opened({}, own)));
  await echoes(clients[0], "one of them is not idle");
  const code = own.stop();
  const ends = await Promise.all(clients.map((client) => client.ended));
  assert.deepEqual(new Set(ends.map(([code]) => code)), new Set([1001]));
  assert.equal(await code, 0);
});
