//! The page at `/`: opens a WebSocket and echoes in the browser. It needs no network but this server.

pub(super) const INDEX: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Steadfast</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }
  form { display: flex; gap: .5rem }
  input { flex: 1; font: inherit; padding: .3rem .5rem; min-width: 0 }
  button { font: inherit; padding: .3rem 1rem }
  #log { padding-left: 1.2rem; overflow-wrap: anywhere }
  #status { font-weight: 600 }
</style>
<h1>Steadfast</h1>
<p>This page holds one WebSocket to <code>/echo</code>: <span id="status" role="status">connecting</span>.
What the server counts stands at <a href="/stats">/stats</a>.</p>
<form id="form">
  <input id="message" aria-label="Message" autocomplete="off" placeholder="Message" autofocus>
  <button id="send">Send</button>
</form>
<ol id="log" aria-label="What came back"></ol>
<script>
  const byId = id => document.getElementById(id);
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${scheme}//${location.host}/echo`);
  const show = text => { byId("status").textContent = text };
  socket.onopen = () => show("open");
  socket.onclose = () => show("closed");
  socket.onmessage = event => {
    const item = document.createElement("li");
    item.textContent = event.data;
    byId("log").append(item);
  };
  byId("form").onsubmit = event => {
    event.preventDefault();
    if (socket.readyState !== WebSocket.OPEN) return;
    socket.send(byId("message").value);
    byId("message").value = "";
  };
</script>
</html>
"#;
