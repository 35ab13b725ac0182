// Opens WebSocket connections as fast as Node and its package `ws` do, has one message echoed on each, and closes them.
//
//     node ws.mjs PACKAGES URL CONNECTIONS UNDER_WAY
//
// PACKAGES is the package.json beside whose node_modules `ws` lies. All are open before the first message is sent, as
// with `steadfast flood`; so many connects, messages and closes are under way at a time. Prints one line of JSON.

import { createRequire } from "node:module";

const [packages, url, connections, underWay] = process.argv.slice(2);
const { WebSocket } = createRequire(packages)("ws");
const count = Number(connections);

// Calls `begin(number, done)` for each connection, so many at a time.
function each(begin) {
  return new Promise((resolve) => {
    let begun = 0;
    let left = count;
    const next = () => begun < count && begin(begun++, done);
    function done() {
      if (--left === 0) resolve();
      else next();
    }
    for (let i = 0; i < Number(underWay); i++) next();
  });
}

const sockets = new Array(count);
const seen = { opened: 0, echoed: 0, closed: 0 };

function fail(error) {
  console.error(`ws.mjs: ${error.message}`);
  process.exit(1);
}

function open(number, done) {
  // Nothing is offered that our flood does not offer either.
  const socket = new WebSocket(url, { perMessageDeflate: false });
  sockets[number] = socket;
  socket.on("error", fail);
  socket.once("open", () => {
    seen.opened++;
    done();
  });
}

function echo(number, done) {
  const text = String(number).padStart(20, "0");
  sockets[number].once("message", (data) => {
    if (data.toString() !== text) fail(new Error(`an echo is wrong: ${data}`));
    seen.echoed++;
    done();
  });
  sockets[number].send(text);
}

function close(number, done) {
  sockets[number].once("close", (code) => {
    if (code !== 1000) fail(new Error(`closed with ${code}`));
    seen.closed++;
    done();
  });
  sockets[number].close(1000);
}

const began = performance.now();
await each(open);
const handshakes_seconds = (performance.now() - began) / 1000;
await each(echo);
await each(close);
console.log(JSON.stringify({ ...seen, handshakes_seconds }));
