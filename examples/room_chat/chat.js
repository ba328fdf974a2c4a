// A member of a room. What others say is only ever set as text, never as markup.
"use strict";

// The codes of a close after which this page stays out: banned or kicked, room closed, joined from elsewhere, erased.
const FINAL = new Set([4403, 4404, 4409, 4410]);
const FIRST_WAIT = 500; // ms
const LAST_WAIT = 30_000;
const PING = 20_000; // ms between two looks whether the server is there
const SILENCE = 45_000; // a connection that says nothing for so long is dead
const LINES = 500;

const at = (id) => document.getElementById(id);

let socket = null;
let asked = null; // what was filled in, while the page wants to be in the room
let seen = null; // epoch and seq of the last message that was shown
let attempts = 0;
let retry = 0;
let heard = 0;
let isAdmin = false;
let sent = ""; // what was said last, in case it is refused

// The wait before an attempt: anything up to twice as long as before, so that pages that were cut off together do not
// come back together.
function backoff(attempt, random) {
  return random * Math.min(LAST_WAIT, FIRST_WAIT * 2 ** attempt);
}

function isAfter(position, other) {
  return !other || position.epoch > other.epoch || (position.epoch === other.epoch && position.seq > other.seq);
}

function connect() {
  const url = new URL(asked.server.replace(/\/+$/, "") + "/ws/rooms/" + encodeURIComponent(asked.room));
  url.searchParams.set("user_id", asked.user);
  url.searchParams.set("nickname", asked.nickname);
  if (seen) {
    url.searchParams.set("epoch", seen.epoch);
    url.searchParams.set("seq", seen.seq);
  }
  const protocols = ["presence.v1"];
  if (asked.token) protocols.push("bearer." + asked.token);
  state("connecting");
  const mine = new WebSocket(url, protocols);
  socket = mine;
  heard = Date.now();
  mine.onmessage = (event) => {
    heard = Date.now();
    const frame = JSON.parse(event.data);
    take(frame.type, frame.payload ?? {});
  };
  mine.onclose = (event) => lost(event.code, event.reason);
}

function drop() {
  clearTimeout(retry);
  if (!socket) return;
  socket.onmessage = socket.onclose = null;
  socket.close();
  socket = null;
}

function lost(code, reason) {
  drop();
  if (FINAL.has(code)) {
    asked = null;
    state("out: " + reason);
    at("join").hidden = false;
    return;
  }
  const wait = backoff(attempts++, Math.random());
  state("not connected, next try in " + Math.ceil(wait / 1000) + " s");
  retry = setTimeout(connect, wait);
}

function take(type, payload) {
  switch (type) {
    case "WelcomeInfo":
      attempts = 0;
      isAdmin = payload.is_admin;
      state("in as " + payload.nickname + (isAdmin ? ", administrator" : "") + (payload.is_muted ? ", muted" : ""));
      // What was missed follows, each with its own place: until it is here, this page has seen no more than before.
      if (payload.recovered) break;
      if (payload.recovered === false) line("told", "more was said meanwhile than the server remembers");
      seen = { epoch: payload.epoch, seq: payload.seq };
      break;
    case "Message":
      if (!isAfter(payload, seen)) break;
      seen = { epoch: payload.epoch, seq: payload.seq };
      message(payload);
      break;
    case "RoomStats":
      at("members").textContent = payload.current_users + " here, " + payload.peak_users + " at most";
      break;
    case "UserJoined":
      line("told", payload.nickname + " is here");
      break;
    case "UserLeft":
      line("told", payload.nickname + " is gone");
      break;
    case "System":
      line("told", payload.message);
      break;
    case "CustomEvent":
      line("told", payload.event_type + " " + JSON.stringify(payload.payload));
      break;
    case "UserMuted":
      line("told", payload.user_id + " is muted");
      break;
    case "YouAreMuted":
      line("wrong", "you are muted");
      break;
    case "YouAreKicked":
      line("wrong", "you are out");
      break;
    case "Error":
      line("wrong", payload.message);
      if (payload.code === "RATE_LIMITED" && !at("content").value) at("content").value = sent;
      break;
  }
}

function message({ from, nickname, content, created_at }) {
  const item = line("said", content);
  item.title = new Date(created_at * 1000).toLocaleString();
  const who = document.createElement("span");
  who.className = "who";
  who.textContent = nickname;
  item.prepend(who);
  if (!isAdmin || from === asked.user) return;
  item.append(command("mute", "MuteUser", from), command("kick", "KickUser", from));
}

function command(label, type, user) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.onclick = () => say({ type, payload: { user_id: user } });
  return button;
}

function line(kind, text) {
  const lines = at("lines");
  const isAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  const item = document.createElement("li");
  item.className = kind;
  item.textContent = text;
  lines.append(item);
  while (lines.childElementCount > LINES) lines.firstElementChild.remove();
  if (isAtEnd) lines.scrollTop = lines.scrollHeight;
  return item;
}

function state(text) {
  at("state").textContent = text;
}

function say(frame) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(frame));
  return true;
}

at("join").onsubmit = (event) => {
  event.preventDefault();
  drop();
  const values = ["server", "room", "user", "nickname", "token"].map((id) => [id, at(id).value.trim()]);
  const next = Object.fromEntries(values);
  if (next.server + next.room !== at("lines").dataset.room) {
    seen = null;
    at("lines").replaceChildren();
    at("lines").dataset.room = next.server + next.room;
  }
  asked = next;
  attempts = 0;
  at("talk").hidden = false;
  try {
    connect();
  } catch {
    asked = null;
    state("this is not the address of a server: it looks like ws://127.0.0.1:3000");
    return;
  }
  at("join").hidden = true;
  at("content").focus();
};

at("say").onsubmit = (event) => {
  event.preventDefault();
  const content = at("content").value;
  if (!content || !say({ type: "SendMessage", payload: { content } })) return;
  sent = content;
  at("content").value = "";
};

at("leave").onclick = () => {
  drop();
  asked = null;
  state("out");
  at("join").hidden = false;
};

setInterval(() => {
  if (!socket) return;
  // A browser may take minutes to see that the other side is gone.
  if (Date.now() - heard > SILENCE) lost(1006, "");
  else say({ type: "Ping" });
}, PING);

// `?room=ID&user=alice&nickname=Alice` fills the form in.
for (const [id, value] of new URLSearchParams(location.search)) {
  if (["server", "room", "user", "nickname"].includes(id)) at(id).value = value;
}
