// One room on ws: what a member sends goes to every client.
import { WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
server.on("connection", (socket) => {
  socket._socket.setNoDelay(true);
  socket.on("message", (said) => {
    for (const client of server.clients) client.send(said, { binary: false });
  });
});
server.on("listening", () => console.error(`listening on http://127.0.0.1:${server.address().port}`));
