// Bare uWebSockets.js behind the benchmark's two commands: "SUB <channel>" and "PUB <channel> <text>".
"use strict";
const uws = require("@trufflesuite/uws-js-unofficial");

const decoder = new TextDecoder();
const app = uws.App();
app.ws("/*", {
  compression: 0,
  maxPayloadLength: 64 * 1024,
  maxBackpressure: 64 * 1024 * 1024,
  idleTimeout: 0,
  message: (socket, message) => {
    const text = decoder.decode(message);
    const name = text.slice(4);
    if (text.startsWith("SUB ")) {
      socket.subscribe(name);
      socket.send("OK");
    } else if (text.startsWith("PUB ")) {
      const blank = name.indexOf(" ");
      app.publish(name.slice(0, blank), name.slice(blank + 1));
    } else if (text.includes("pusher:ping")) {
      socket.send('{"event":"pusher:pong","data":{}}');
    }
  },
});
app.listen("127.0.0.1", Number(process.argv[2]), (token) => {
  if (!token) process.exit(1);
});
