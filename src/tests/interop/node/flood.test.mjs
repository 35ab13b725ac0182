// Our flood against servers of Node: `ws`, and the stock HTTP server.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { DEADLINE, flood, load } from "./steadfast.mjs";

const { WebSocketServer } = load("ws");

const CONNECTIONS = 100;
const LOST = CONNECTIONS / 10;

const tenth = (number) => number % 10 === 9;

function assertAll({ code, connections, output }, planned) {
  const whole = { planned, opened: planned, answered: planned, held: planned, closed: planned, lost: 0 };
  // The report may carry more than is looked at here.
  const seen = Object.fromEntries(Object.keys(whole).map((name) => [name, connections[name]]));
  assert.deepEqual(seen, whole, output);
  assert.equal(code, 0, output);
}

function assertLost({ code, connections, causes, output }, planned, lost) {
  assert.deepEqual([connections.planned, connections.lost], [planned, lost], output);
  assert.equal(connections.closed + connections.lost, planned, output);
  assert.equal(Object.values(causes).reduce((sum, count) => sum + count, 0), lost, output);
  assert.equal(code, 1, output);
}

// An echo server; `reply` decides what connection `number` gets. What was seen comes back when all have left.
async function websocketPeer(reply, use) {
  const peer = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: true });
  await once(peer, "listening");
  const seen = { opened: 0, messages: 0, bytes: 0, pongs: 0, codes: [] };
  const ends = [];
  peer.on("connection", (socket) => {
    const number = seen.opened++;
    ends.push(once(socket, "close").then(([code]) => seen.codes.push(code)));
    socket.on("message", (data, binary) => {
      seen.messages++;
      seen.bytes += data.length;
      reply(socket, data, binary, number);
    });
    socket.on("pong", () => seen.pongs++);
  });
  try {
    const result = await use(`ws://127.0.0.1:${peer.address().port}/`);
    await Promise.all(ends);
    return { result, seen };
  } finally {
    peer.clients.forEach((socket) => socket.terminate());
    peer.close();
  }
}

const echo = (socket, data, binary) => socket.send(data, { binary });

test("all are answered", DEADLINE, async () => {
  const options = { connections: 300, messages: 3, payload: 200 };
  const { result, seen } = await websocketPeer(echo, (target) => flood(target, options));
  assertAll(result, 300);
  assert.equal(seen.opened, 300);
  assert.ok(seen.messages >= 900);
  assert.ok(seen.bytes >= 900 * 200);
  assert.deepEqual(seen.codes, Array(300).fill(1000));
});

test("large messages, and pings among them", DEADLINE, async () => {
  function reply(socket, data, binary) {
    socket.ping("there?");
    socket.send(data, { binary });
  }
  const options = { connections: 20, messages: 2, payload: 100_000 };
  const { result, seen } = await websocketPeer(reply, (target) => flood(target, options));
  assertAll(result, 20);
  assert.ok(seen.pongs >= 40);
});

test("every tenth is ended by the server", DEADLINE, async () => {
  for (const end of [(socket) => socket.terminate(), (socket) => socket.close(1011, "no more")]) {
    const reply = (socket, data, binary, number) => (tenth(number) ? end(socket) : echo(socket, data, binary));
    const { result, seen } = await websocketPeer(reply, (target) => flood(target, { connections: CONNECTIONS }));
    assertLost(result, CONNECTIONS, LOST);
    assert.equal(result.connections.opened, seen.opened);
    assert.equal(seen.codes.filter((code) => code === 1000).length, CONNECTIONS - LOST);
  }
});

test("a wrong echo is named", DEADLINE, async () => {
  function reply(socket, data, binary, number) {
    const changed = Buffer.from(data);
    if (tenth(number)) changed[0] ^= 1;
    socket.send(changed, { binary });
  }
  const { result } = await websocketPeer(reply, (target) => flood(target, { connections: CONNECTIONS }));
  assertLost(result, CONNECTIONS, LOST);
  const causes = Object.keys(result.causes).filter((cause) => result.causes[cause]);
  assert.match(causes.join(), /wrong|mismatch|differ|content|echo|unexpected/i);
});

test("HTTP, with bodies of a stated length and in chunks", DEADLINE, async () => {
  for (const chunked of [false, true]) {
    const seen = { opened: 0, requests: 0 };
    const peer = createServer((_, response) => {
      seen.requests++;
      if (chunked) response.write("in two ");
      response.end("pieces\n");
    });
    // A connection that is held must not be ended for being idle.
    peer.keepAliveTimeout = 0;
    peer.on("connection", () => seen.opened++);
    await once(peer.listen(0, "127.0.0.1"), "listening");
    try {
      const target = `http://127.0.0.1:${peer.address().port}/`;
      const result = await flood(target, { connections: CONNECTIONS, messages: 3 });
      assertAll(result, CONNECTIONS);
      assert.equal(seen.opened, CONNECTIONS);
      assert.ok(seen.requests >= 3 * CONNECTIONS);
    } finally {
      peer.closeAllConnections();
      peer.close();
    }
  }
});
