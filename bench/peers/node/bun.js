// Echo, or broadcast, with Bun's own WebSockets.
"use strict";
const { broadcast, compress, takeover, tls } = require("./options.js");

const EVERYBODY = "everybody";
const compressor = takeover ? "dedicated" : "shared";
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  tls,
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response("a WebSocket, please", { status: 426 });
  },
  websocket: {
    perMessageDeflate: compress && { compress: compressor, decompress: compressor },
    maxPayloadLength: 100 << 20,
    backpressureLimit: 1 << 30,
    open(socket) {
      if (broadcast) socket.subscribe(EVERYBODY);
    },
    message(socket, message) {
      if (broadcast) server.publish(EVERYBODY, message, compress);
      else socket.send(message, compress);
    },
  },
});
console.log(`listening on ${server.port} (Bun ${Bun.version})`);
