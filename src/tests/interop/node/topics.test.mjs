// Many `ws` clients that receive the same messages.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { DEADLINE, load, Server } from "./steadfast.mjs";

const { WebSocket } = load("ws");

const CLIENTS = 40;
const MESSAGES = 25;

let server;

before(async () => (server = await Server.start("--compression", "--push-interval", "0.05")), DEADLINE);
after(async () => assert.equal(await server.stop(), 0), DEADLINE);

// Clients that keep what they receive, half of them compressed.
function opened(uris) {
  return Promise.all(
    uris.map(async (uri, at) => {
      const client = new WebSocket(uri, { perMessageDeflate: at % 2 === 0 });
      client.heard = [];
      client.on("message", (data, isBinary) => client.heard.push(isBinary ? data : data.toString()));
      await once(client, "open");
      return client;
    }),
  );
}

async function hasHeard(client, count, kept = () => true) {
  while (client.heard.filter(kept).length < count) await once(client, "message");
  return client.heard.filter(kept);
}

function gone(clients) {
  return Promise.all(clients.map((client) => (client.close(), once(client, "close"))));
}

test("a broadcast reaches all, in order", DEADLINE, async () => {
  const clients = await opened(Array(CLIENTS).fill(server.uri("/broadcast")));
  // From those that are compressed to those that are not as well.
  const message = (at) => (at % 2 ? `${at} grüße `.repeat(at * 20) : Buffer.alloc(at * 50, at));
  const messages = Array.from({ length: MESSAGES }, (_, at) => message(at));
  messages.forEach((message) => clients[0].send(message));
  for (const client of clients) assert.deepEqual(await hasHeard(client, MESSAGES), messages);
  await gone(clients);
});

test("a chat reaches all in the room, in order", DEADLINE, async () => {
  const uris = (room) => Array.from({ length: CLIENTS / 2 }, (_, at) => server.uri(`/chat/${room}?name=${at}`));
  const [one, two] = await Promise.all(["one", "two"].map((room) => opened(uris(room))));
  const isSaid = (text) => JSON.parse(text).type === "message";
  const texts = Array.from({ length: MESSAGES }, (_, at) => `${at} <b>grüße</b> "\\ 🦀`);
  for (const text of texts) {
    one[3].send(text);
    two[4].send(text.toUpperCase());
  }
  for (const [room, name, wanted] of [[one, "3", texts], [two, "4", texts.map((text) => text.toUpperCase())]]) {
    for (const client of room) {
      const said = (await hasHeard(client, MESSAGES, isSaid)).map((text) => JSON.parse(text));
      assert.deepEqual(said, wanted.map((text) => ({ type: "message", name, text })));
    }
  }
  await gone([...one, ...two]);
});

test("all clients are pushed the same ticks", DEADLINE, async () => {
  const clients = await opened(Array(CLIENTS).fill(server.uri("/push")));
  const ticks = await Promise.all(clients.map((client) => hasHeard(client, 12)));
  // The first message differs for each; from the second message of the last client on, all receive the same.
  const numbers = ticks.map((texts) => texts.slice(1).map((text) => JSON.parse(text).n));
  const from = Math.max(...numbers.map(([n]) => n));
  const to = Math.min(...numbers.map((all) => all.at(-1)));
  const common = numbers.map((all) => all.filter((n) => n >= from && n <= to));
  assert.ok(common[0].length > 0, `${from} to ${to}`);
  for (const each of common) assert.deepEqual(each, common[0]);
  await gone(clients);
});
