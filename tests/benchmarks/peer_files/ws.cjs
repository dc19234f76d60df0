// The `ws` package behind the benchmark's two commands: "SUB <channel>" and "PUB <channel> <text>".
"use strict";
const { WebSocketServer } = require("ws");

const channels = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), perMessageDeflate: false, backlog: 4096 });
server.on("connection", (socket) => {
  let joined = null;
  socket.on("message", (message) => {
    const text = message.toString();
    const name = text.slice(4);
    if (text.startsWith("SUB ")) {
      joined = channels.get(name) ?? new Set();
      channels.set(name, joined.add(socket));
      socket.send("OK");
    } else if (text.startsWith("PUB ")) {
      const blank = name.indexOf(" ");
      const frame = name.slice(blank + 1);
      for (const member of channels.get(name.slice(0, blank)) ?? []) member.send(frame);
    } else if (text.includes("pusher:ping")) {
      socket.send('{"event":"pusher:pong","data":{}}');
    }
  });
  socket.on("error", () => {});
  socket.on("close", () => joined?.delete(socket));
});
