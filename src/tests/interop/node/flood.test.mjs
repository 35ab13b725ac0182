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
  const whole = { planned, opened: planned, reopened: 0, answered: planned, held: planned, closed: planned, lost: 0 };
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

// The causes of a connection that the server cut: the kernel decides whether its end or a reset arrives first.
const CUT = ["closed by peer", "reset"];

function assertCauses({ causes, output }, known, lost) {
  const sum = known.reduce((sum, cause) => sum + (causes[cause] ?? 0), 0);
  assert.equal(sum, lost, `${JSON.stringify(causes)}\n${output}`);
}

const count = (codes, wanted) => codes.filter((code) => code === wanted).length;

// An echo server; `reply` decides the reply to connection `number`. Returns its counts when all clients have left.
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

test("all messages are answered", DEADLINE, async () => {
  const options = { connections: 300, messages: 3, payload: 200 };
  const { result, seen } = await websocketPeer(echo, (target) => flood(target, options));
  assertAll(result, 300);
  assert.equal(seen.opened, 300);
  // Three and one more on each, and what was said while they were held.
  assert.ok(seen.messages >= 4 * 300);
  assert.equal(result.replies, seen.messages);
  assert.equal(seen.bytes, seen.messages * 200);
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

test("every tenth connection is ended by the server", DEADLINE, async () => {
  const ends = [
    { end: (socket) => socket.terminate(), code: 1006, causes: CUT },
    { end: (socket) => socket.close(1011, "no more"), code: 1011, causes: ["close code 1011"] },
  ];
  for (const { end, code, causes } of ends) {
    const reply = (socket, data, binary, number) => (tenth(number) ? end(socket) : echo(socket, data, binary));
    const { result, seen } = await websocketPeer(reply, (target) => flood(target, { connections: CONNECTIONS }));
    assertLost(result, CONNECTIONS, LOST);
    assertCauses(result, causes, LOST);
    assert.equal(result.connections.opened, seen.opened);
    assert.equal(result.connections.answered, CONNECTIONS - LOST);
    // One message of each that was ended has no answer.
    assert.equal(result.replies, seen.messages - LOST);
    assert.deepEqual([count(seen.codes, 1000), count(seen.codes, code)], [CONNECTIONS - LOST, LOST]);
  }
});

test("every tenth connection is cut after the replies", DEADLINE, async () => {
  const sockets = [];
  let answered = 0;
  function reply(socket, data, binary, number) {
    sockets[number] = socket;
    echo(socket, data, binary);
    if (++answered === CONNECTIONS) sockets.filter((_, number) => tenth(number)).forEach((one) => one.terminate());
  }
  const { result, seen } = await websocketPeer(reply, (target) => flood(target, { connections: CONNECTIONS }));
  assertLost(result, CONNECTIONS, LOST);
  assertCauses(result, CUT, LOST);
  const { opened, held, closed } = result.connections;
  assert.deepEqual([opened, result.connections.answered], [CONNECTIONS, CONNECTIONS], result.output);
  assert.deepEqual([held, closed], [CONNECTIONS - LOST, CONNECTIONS - LOST], result.output);
  assert.equal(result.replies, seen.messages);
  assert.deepEqual([count(seen.codes, 1000), count(seen.codes, 1006)], [CONNECTIONS - LOST, LOST]);
});

test("a wrong echo is reported as its cause", DEADLINE, async () => {
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
      assert.ok(seen.requests >= 4 * CONNECTIONS);
      assert.equal(result.replies, seen.requests);
    } finally {
      peer.closeAllConnections();
      peer.close();
    }
  }
});
