// Opens WebSocket connections as fast as Node and its package `ws` do, has one message echoed on each, and closes them.
//
//     node ws.mjs PACKAGES URL CONNECTIONS UNDER_WAY
//
// PACKAGES is the package.json beside whose node_modules `ws` is. All are open before the first message is sent, as with
// `steadfast flood`; so many connects, messages and closes are in progress at a time. Prints one line of JSON.

import { createRequire } from "node:module";

const [packages, url, connections, underWay] = process.argv.slice(2);
const { WebSocket } = createRequire(packages)("ws");
const count = Number(connections);
const sockets = new Array(count);
const seen = { opened: 0, echoed: 0, closed: 0 };

function fail(error) {
  console.error(`ws.mjs: ${error.message}`);
  process.exit(1);
}

// Calls `begin(number, done)` for each connection, so many at a time, and counts under `name`.
function each(name, begin) {
  return new Promise((resolve) => {
    let begun = 0;
    const next = () => begun < count && begin(begun++, done);
    function done() {
      if (++seen[name] === count) resolve();
      else next();
    }
    for (let i = 0; i < Number(underWay); i++) next();
  });
}

const began = performance.now();
await each("opened", (number, done) => {
  // Without compression, as the flood offers none either.
  sockets[number] = new WebSocket(url, { perMessageDeflate: false });
  sockets[number].on("error", fail);
  sockets[number].once("open", done);
});
const handshakes_seconds = (performance.now() - began) / 1000;
await each("echoed", (number, done) => {
  const text = String(number).padStart(20, "0");
  sockets[number].once("message", (data) => {
    if (data.toString() !== text) fail(new Error(`an echo is wrong: ${data}`));
    done();
  });
  sockets[number].send(text);
});
await each("closed", (number, done) => {
  sockets[number].once("close", (code) => (code === 1000 ? done() : fail(new Error(`closed with ${code}`))));
  sockets[number].close(1000);
});
console.log(JSON.stringify({ ...seen, handshakes_seconds }));
