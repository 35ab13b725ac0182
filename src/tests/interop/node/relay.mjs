// Between a client and our server: keeps what goes through, in both directions.

import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Relay {
  static async to(server) {
    const relay = new Relay();
    relay.connections = [];
    let order = 0;
    const [host, port] = server.place.split(":");
    relay.listener = createServer((client) => {
      const behind = connect(Number(port), host);
      const kept = { asked: [], orders: [], answered: [], ends: [client, behind] };
      relay.connections.push(kept);
      client.on("data", (bytes) => {
        kept.asked.push(bytes);
        kept.orders.push(order++);
        behind.write(bytes);
      });
      behind.on("data", (bytes) => {
        kept.answered.push(bytes);
        client.write(bytes);
      });
      for (const [end, other] of [[client, behind], [behind, client]]) {
        end.on("error", () => {});
        end.on("close", () => other.destroy());
      }
    });
    relay.listener.listen(0, "127.0.0.1");
    await once(relay.listener, "listening");
    relay.place = `127.0.0.1:${relay.listener.address().port}`;
    return relay;
  }

  // All exchanges so far whose path begins like this, in the order in which they began: of HTTP, the bytes of request
  // and answer; of a WebSocket, all that has gone either way.
  exchanges(path) {
    const all = this.connections.flatMap(exchangesOf).filter((one) => one.path.startsWith(path));
    return all.sort((one, other) => one.order - other.order);
  }

  async close() {
    this.connections.flatMap(({ ends }) => ends).forEach((end) => end.destroy());
    this.listener.close();
    await once(this.listener, "close");
  }
}

// The end of the head that begins at `from`.
function headEnd(bytes, from) {
  const at = bytes.indexOf("\r\n\r\n", from);
  return at < 0 ? null : at + 4;
}

// Which of these chunks holds the byte at `offset` of them all.
function chunkAt(chunks, offset) {
  return chunks.findIndex((chunk) => (offset -= chunk.length) < 0);
}

// Only what browsers do here is understood: requests without content, one at a time; answers with a length, or none.
function exchangesOf({ asked, orders, answered }) {
  const [requests, answers] = [Buffer.concat(asked), Buffer.concat(answered)];
  const found = [];
  for (let from = 0, back = 0; ; ) {
    const end = headEnd(requests, from);
    const answerHead = headEnd(answers, back);
    if (end === null || answerHead === null) return found;
    const path = requests.toString("latin1", from, end).split(" ")[1];
    const head = answers.toString("latin1", back, answerHead);
    const order = orders[chunkAt(asked, from)];
    if (head.startsWith("HTTP/1.1 101")) {
      found.push({ path, order, in: requests.length - from, out: answers.length - back });
      return found;
    }
    const answerEnd = answerHead + Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
    if (answers.length < answerEnd) return found;
    found.push({ path, order, in: end - from, out: answerEnd - back });
    [from, back] = [end, answerEnd];
  }
}
