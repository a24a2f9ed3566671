// A WebSocket that comes back by itself.
//
// It is in one of these states: "connecting"; "online"; "waiting" until the next attempt, with the seconds
// that are left; and "offline", which waits too, but the browser says that there is no network.

/** The wait before the second attempt, in milliseconds. Each wait is up to twice as long as the one before. */
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
/** How often it asks whether the server is there, and how long an answer may take. */
const PULSE_MS = 20_000;
const ANSWER_MS = 10_000;
/** The server's way to say that it will be back in a moment. */
const SERVICE_RESTART = 1012;

export class Connection {
  #url;
  #onFrame;
  #onState;
  #socket = null;
  #attempts = 0;
  #retry = null;
  #pulse = null;
  #silence = null;

  /** Tells `onState(state, secondsLeft)` whenever that changes, and gives `onFrame` what the server sends. */
  constructor(url, { onFrame, onState }) {
    this.#url = url;
    this.#onFrame = onFrame;
    this.#onState = onState;
    window.addEventListener("online", () => this.now());
    window.addEventListener("offline", () => this.#check());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.now();
    });
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) this.now();
    });
  }

  /** Connects at once, if there is no connection; asks whether the server is there, if there is one. */
  now() {
    if (this.#socket === null) this.#connect();
    else this.#check();
  }

  /** Ends the connection that is there, and makes another. */
  again() {
    this.#lost(this.#socket, 0);
  }

  /** Sends a frame if there is a connection, and says whether there is one. It may be lost all the same. */
  send(text) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  #connect() {
    clearTimeout(this.#retry);
    this.#onState("connecting");
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.addEventListener("open", () => {
      if (socket !== this.#socket) return;
      this.#pulse = setInterval(() => this.#check(), PULSE_MS);
      this.#onState("online");
    });
    socket.addEventListener("message", ({ data }) => {
      if (socket !== this.#socket) return;
      this.#heard();
      // The server has taken us in: the next loss begins with short waits again.
      this.#attempts = 0;
      if (data !== "pong") this.#onFrame(JSON.parse(data));
    });
    socket.addEventListener("close", ({ code }) => this.#lost(socket, code));
    // A server that accepts and then says nothing is not there.
    this.#silence = setTimeout(() => this.#lost(socket, 0), ANSWER_MS);
  }

  /** A connection can be dead without anybody being told, such as after a sleep. */
  #check() {
    if (!this.send("ping")) return;
    this.#silence ??= setTimeout(() => this.#lost(this.#socket, 0), ANSWER_MS);
  }

  #heard() {
    clearTimeout(this.#silence);
    this.#silence = null;
  }

  #lost(socket, code) {
    if (socket === null || socket !== this.#socket) return;
    this.#socket = null;
    this.#heard();
    clearInterval(this.#pulse);
    socket.close();
    const doubled = Math.min(FIRST_WAIT_MS * 2 ** this.#attempts, LONGEST_WAIT_MS);
    this.#attempts += code === SERVICE_RESTART ? 0 : 1;
    // Not all at the same time: a server that comes back has many clients.
    this.#wait(Date.now() + doubled * (0.5 + Math.random() / 2));
  }

  #wait(until) {
    const left = until - Date.now();
    if (left <= 0) return this.#connect();
    const seconds = Math.ceil(left / 1000);
    this.#onState(navigator.onLine ? "waiting" : "offline", seconds);
    this.#retry = setTimeout(() => this.#wait(until), left - (seconds - 1) * 1000);
  }
}
