// What was written here and has not come back from the room yet.
//
// A message gets its id here, once. It is sent until it comes back: the room knows the id, and stores it once. Only one
// is under way at a time, so they arrive in the order in which they were written, also when some have to wait.

/** How long a message may be under way before the connection counts as broken, in milliseconds. */
const ANSWER_MS = 10_000;

export class Outbox {
  #key;
  #drafts;
  #send;
  #onStuck;
  #isOpen = false;
  #timer = null;
  #underWay = null;

  /** `send(draft)` says whether it could be sent; `onStuck` is called when nothing comes back. */
  constructor(room, { send, onStuck }) {
    this.#key = `outbox ${room}`;
    this.#send = send;
    this.#onStuck = onStuck;
    // A reload keeps what is not sent.
    this.#drafts = JSON.parse(sessionStorage.getItem(this.#key) ?? "[]");
  }

  /** All that wait, the oldest first. */
  get drafts() {
    return this.#drafts;
  }

  /** Adds a text, and sends it when its turn has come. */
  add(text) {
    const draft = { id: newId(), text };
    this.#drafts.push(draft);
    this.#save();
    this.#next();
    return draft;
  }

  /** The room has let us in: all that waits is sent. */
  open() {
    this.#isOpen = true;
    this.#next();
  }

  /** The connection is lost, and what was under way may be, too: it is sent again on the next one. */
  close() {
    this.#isOpen = false;
    this.#stop();
  }

  /** A message has come back, or never will: the next one goes. Says whether it was one of ours. */
  done(id) {
    const index = this.#drafts.findIndex((draft) => draft.id === id);
    if (index < 0) return false;
    this.#drafts.splice(index, 1);
    this.#save();
    if (this.#underWay === id) this.#stop();
    this.#next();
    return true;
  }

  /** The room wants the message that is under way again, but later. */
  later(waitMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#stop();
      this.#next();
    }, waitMs);
  }

  #next() {
    const draft = this.#drafts[0];
    if (draft === undefined || !this.#isOpen || this.#underWay !== null) return;
    if (!this.#send(draft)) return;
    this.#underWay = draft.id;
    this.#timer = setTimeout(this.#onStuck, ANSWER_MS);
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#underWay = null;
  }

  #save() {
    if (this.#drafts.length > 0) sessionStorage.setItem(this.#key, JSON.stringify(this.#drafts));
    else sessionStorage.removeItem(this.#key);
  }
}

/** A random id. `crypto.randomUUID` is not there on a page that came over plain HTTP from another machine. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
