// The page: the door, where somebody says who they are, or a room.
//
// `connection.js` keeps the socket, `outbox.js` what is not sent yet, `view.js` what is to be seen.

import { Connection } from "./connection.js";
import { Outbox } from "./outbox.js";
import { Door, RoomView } from "./view.js";

const NAME_KEY = "name";
const RECENT_KEY = "rooms";
const RECENT_MAX = 6;

/** What somebody is called in this tab; a new tab begins with the last name of all. */
const known = () => sessionStorage.getItem(NAME_KEY) ?? localStorage.getItem(NAME_KEY);

function remember(name) {
  sessionStorage.setItem(NAME_KEY, name);
  localStorage.setItem(NAME_KEY, name);
}

const recent = () => JSON.parse(localStorage.getItem(RECENT_KEY) ?? "[]");
const roomPath = (room) => `/room/${encodeURIComponent(room)}`;

/** The room in the address, or null for the door. */
function roomOfAddress() {
  const path = location.pathname.match(/^\/room\/([^/]+)$/);
  try {
    return path && decodeURIComponent(path[1]);
  } catch {
    return null;
  }
}

function main() {
  const room = roomOfAddress();
  const name = known();
  if (room !== null && name) return enter(room, name);
  new Door({ room, name: name ?? "", recent: recent(), roomPath }, (name, room) => {
    remember(name);
    if (roomOfAddress() === room) enter(room, name);
    else location.assign(roomPath(room));
  });
}

function enter(room, name) {
  sessionStorage.setItem(NAME_KEY, name);
  const rooms = [room, ...recent().filter((other) => other !== room)];
  localStorage.setItem(RECENT_KEY, JSON.stringify(rooms.slice(0, RECENT_MAX)));

  const objects = `/objects/Room/name/${encodeURIComponent(room)}`;
  const socket = new URL(`${objects}/fetch/socket?${new URLSearchParams({ name })}`, location.href);
  socket.protocol = socket.protocol.replace("http", "ws");

  const connection = new Connection(socket, {
    onState(state, seconds) {
      if (state !== "online") outbox.close();
      view.showState(state, seconds);
    },
    onFrame: (frame) => handle[frame.type]?.(frame),
  });
  const outbox = new Outbox(room, {
    send: ({ id, text }) => connection.send(JSON.stringify({ type: "post", id, text })),
    onStuck: () => connection.again(),
  });
  const view = new RoomView(room, name, {
    onSend: (text) => view.addPending(outbox.add(text)),
    onRetry: () => connection.now(),
    loadEarlier: (before) => history(objects, before),
  });

  const stored = (post) => {
    if (outbox.done(post.id)) view.removePending(post.id);
  };
  const handle = {
    welcome({ members, posts }) {
      view.welcome(members, posts);
      posts.forEach(stored);
      outbox.open();
    },
    posted({ post }) {
      view.add(post);
      stored(post);
    },
    joined: ({ name }) => view.joined(name),
    left: ({ name }) => view.left(name),
    refused({ id, reason, retry_after_ms: wait }) {
      if (wait !== null) return outbox.later(wait);
      if (outbox.done(id)) view.showRefused(id, reason);
    },
  };

  outbox.drafts.forEach((draft) => view.addPending(draft));
  connection.now();
}

/** The messages before a number, the oldest first. */
async function history(objects, before) {
  const reply = await fetch(`${objects}/history?before=${before}`);
  if (!reply.ok) throw new Error(`status ${reply.status}`);
  return reply.json();
}

main();
