// Echo, or broadcast, with ws on Node. What comes is sent back as it came, so text is never made a string.
"use strict";
const http = require("http");
const https = require("https");
const { WebSocketServer } = require("ws");
const { version } = require("ws/package.json");
const { broadcast, compress, takeover, tls } = require("./options.js");

// Messages of any length are compressed, as elsewhere.
const perMessageDeflate = compress && {
  threshold: 0,
  serverNoContextTakeover: !takeover,
  clientNoContextTakeover: !takeover,
};
const server = tls ? https.createServer(tls) : http.createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate, clientTracking: broadcast });

sockets.on("connection", (socket) => {
  // Who goes away has gone.
  socket.on("error", () => {});
  socket.on("message", (data, binary) => {
    if (!broadcast) return socket.send(data, { binary });
    for (const other of sockets.clients) other.send(data, { binary });
  });
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log(`listening on ${server.address().port} (ws ${version}, Node ${process.versions.node})`);
});
