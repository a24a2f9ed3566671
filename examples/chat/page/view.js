// What is to be seen. Text of members is only ever set as text, never as HTML.

const $ = (id) => document.getElementById(id);

/** Messages of one author within this time stand together, in milliseconds. */
const TOGETHER_MS = 5 * 60_000;
/** So near to the end, in pixels, counts as being there. */
const NEAR_END_PX = 80;
/** As many colours of faces there are in the style sheet. */
const TONES = 8;
/** How many faces the bar shows. */
const FACES = 3;
/** Unseen characters that the server does not take in a name. */
const CONTROL = /[\p{Cc}\u202A-\u202E\u2066-\u2069]/u;

const time = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });
const dayOfYear = new Intl.DateTimeFormat("en-GB", { dateStyle: "long" });
const list = new Intl.ListFormat("en", { type: "conjunction" });
const byName = new Intl.Collator(undefined, { numeric: true });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** The beginning of a name, on a colour of its own. */
function face(name) {
  const made = element("span", "face", [...name][0].toUpperCase());
  made.dataset.tone = [...name].reduce((sum, char) => (sum * 31 + char.codePointAt(0)) % 997, 7) % TONES;
  made.ariaHidden = "true";
  return made;
}

/** A date as people say it: today, yesterday, Monday 3 March. */
function dayText(date) {
  const midnight = (of) => new Date(of.getFullYear(), of.getMonth(), of.getDate());
  const today = midnight(new Date());
  const days = Math.round((midnight(date) - today) / 86_400_000);
  if (days === 0 || days === -1) {
    const word = relative.format(days, "day");
    return word[0].toUpperCase() + word.slice(1);
  }
  return (date.getFullYear() === today.getFullYear() ? day : dayOfYear).format(date);
}

/** Asks who somebody is, and which room they want. */
export class Door {
  /** `room` is null if there is one to be chosen. Calls `onEnter(name, room)`. */
  constructor({ room, name, recent, roomPath }, onEnter) {
    $("door").hidden = false;
    $("name").value = name;
    if (room !== null) {
      $("room-field").hidden = true;
      $("door-title").textContent = room;
      $("door-lead").textContent = "What shall the others call you?";
    } else if (recent.length > 0) {
      $("recent").hidden = false;
      for (const known of recent) {
        const link = element("a", "", known);
        link.href = roomPath(known);
        const item = element("li");
        item.append(link);
        $("recent-rooms").append(item);
      }
    }
    (name && room === null ? $("room") : $("name")).focus();
    $("enter").addEventListener("submit", (event) => {
      event.preventDefault();
      const chosen = { name: $("name").value.trim(), room: room ?? ($("room").value.trim() || "lobby") };
      const problem = this.#problem(chosen);
      $("door-problem").textContent = problem ?? "";
      if (problem) return;
      $("door").hidden = true;
      onEnter(chosen.name, chosen.room);
    });
  }

  #problem({ name, room }) {
    if (name === "") return "Please say your name.";
    if (CONTROL.test(name + room)) return "There is an unseen character in it.";
    // Browsers make another path of these.
    return /^\.+$/.test(room) ? "A room needs a name with a letter in it." : null;
  }
}

/** A room: its bar, its messages and its people. */
export class RoomView {
  #me;
  #people = new Set();
  /** Who was here when the connection broke, and may come back as we do. */
  #returning = new Set();
  #firstSeq = null;
  #lastSeq = 0;
  #unread = 0;
  #isAtEnd = true;
  /** What the last line says, if it is about comings and goings: name to "joined" or "left". */
  #notice = null;
  #scroll = $("scroll");
  #messages = $("messages");

  constructor(room, me, { onSend, onRetry, loadEarlier }) {
    this.#me = me;
    $("chat").hidden = false;
    $("room-name").textContent = room;
    document.title = room;
    this.#listenToComposer(onSend);
    $("retry").addEventListener("click", onRetry);
    $("earlier").addEventListener("click", () => this.#showEarlier(loadEarlier));
    $("newest").addEventListener("click", () => this.#toEnd("smooth"));
    this.#watchScroll();
    this.#listenToPeople();
    // On a phone that would bring up the keyboard.
    if (matchMedia("(pointer: fine)").matches) $("text").focus();
  }

  /** Shows how the connection is. */
  showState(state, seconds) {
    const texts = {
      connecting: "Connecting…",
      online: "Connected",
      waiting: `Reconnecting in ${seconds} s`,
      offline: "You are offline",
    };
    $("state").dataset.state = state;
    $("state-text").textContent = texts[state];
    $("people-word").textContent = state === "online" ? "Who is here" : "Who was here";
    $("retry").hidden = state !== "waiting" && state !== "offline";
    this.#tell(state);
    if (state !== "online" && this.#people.size > 0) {
      this.#returning = this.#people;
      this.#people = new Set();
    }
  }

  /** Has it read out, but not each second, and not each attempt. */
  #tell(state) {
    const lost = state === "offline" ? "You are offline" : "Connection lost, trying again";
    const told = state === "online" ? "Connected" : lost;
    const isFirst = $("told").textContent === "" && state !== "online";
    if (!isFirst && $("told").textContent !== told) $("told").textContent = told;
  }

  /** We are in, for the first time or again. */
  welcome(members, posts) {
    this.#people = new Set(members);
    members.forEach((name) => this.#returning.delete(name));
    this.#showPeople();
    // More was said meanwhile than we are told, and paging back fills the hole; or somebody has emptied the room.
    const hasHole = posts.length > 0 && posts[0].seq > this.#lastSeq + 1;
    const isOther = (posts.at(-1)?.seq ?? 0) < this.#lastSeq;
    if (hasHole || isOther) {
      this.#messages.replaceChildren();
      this.#firstSeq = null;
      this.#lastSeq = 0;
    }
    const wasEmpty = this.#firstSeq === null;
    const news = posts.filter((post) => post.seq > this.#lastSeq);
    const show = () => news.forEach((post) => this.#append(post));
    if (wasEmpty) {
      // What is there already is no news to be read out.
      this.#silently(show);
      this.#toEnd();
    } else {
      show();
      this.#arrived(news);
    }
    this.#showBeginning();
  }

  /** A message was stored. */
  add(post) {
    if (post.seq <= this.#lastSeq) return;
    this.#append(post);
    this.#arrived([post]);
    this.#showBeginning();
  }

  joined(name) {
    this.#people.add(name);
    this.#showPeople();
    if (!this.#returning.delete(name)) this.#say(name, "joined");
  }

  left(name) {
    this.#people.delete(name);
    this.#showPeople();
    this.#say(name, "left");
  }

  /** A message of ours that is not stored yet. */
  addPending({ id, text }) {
    const item = element("li", "message own pending");
    item.id = `pending-${id}`;
    const bubble = element("div", "bubble");
    bubble.append(element("p", "text", text), element("span", "meta", "sending…"));
    item.append(bubble);
    $("pending").append(item);
    this.#showBeginning();
    this.#toEnd();
  }

  removePending(id) {
    $(`pending-${id}`)?.remove();
    if (this.#isAtEnd) this.#toEnd();
  }

  showRefused(id, reason) {
    const item = $(`pending-${id}`);
    item?.classList.add("refused");
    const meta = item?.querySelector(".meta");
    if (meta) meta.textContent = `not sent: ${reason}`;
  }

  #append(post) {
    this.#notice = null;
    const item = this.#make(post);
    this.#messages.append(item);
    this.#arrange(item);
    this.#lastSeq = post.seq;
    this.#firstSeq ??= post.seq;
  }

  async #showEarlier(load) {
    const button = $("earlier");
    button.disabled = true;
    try {
      const posts = await load(this.#firstSeq);
      const next = this.#messages.firstElementChild;
      const height = this.#scroll.scrollHeight;
      this.#silently(() => {
        const items = posts.map((post) => this.#make(post));
        this.#messages.prepend(...items);
        [...items, next].forEach((item) => item && this.#arrange(item));
      });
      this.#firstSeq = posts[0]?.seq ?? this.#firstSeq;
      // What was being read stays where it is.
      this.#isAtEnd = false;
      this.#scroll.scrollTop += this.#scroll.scrollHeight - height;
      button.textContent = "Earlier messages";
    } catch {
      button.textContent = "Earlier messages: try again";
    }
    button.disabled = false;
    this.#showBeginning();
  }

  #make(post) {
    const item = element("li", "message");
    item.classList.toggle("own", post.author === this.#me);
    item.dataset.seq = post.seq;
    item.dataset.author = post.author;
    item.dataset.at = post.at_ms;
    const at = new Date(post.at_ms);
    const clock = element("time", "meta", time.format(at));
    clock.dateTime = at.toISOString();
    clock.title = at.toLocaleString();
    const bubble = element("div", "bubble");
    bubble.append(element("p", "text", post.text), clock);
    const author = element("span", "author", post.author);
    item.append(element("h2", "day", dayText(at)), face(post.author), author, bubble);
    return item;
  }

  /** Decides whether a message goes on where the one before it ended, and whether a day begins with it. */
  #arrange(item) {
    if (item.dataset.seq === undefined) return;
    let before = item.previousElementSibling;
    const follows = before === null || before.dataset.seq !== undefined;
    while (before && before.dataset.seq === undefined) before = before.previousElementSibling;
    const at = new Date(Number(item.dataset.at));
    const atBefore = before && new Date(Number(before.dataset.at));
    const isNewDay = before === null || at.toDateString() !== atBefore.toDateString();
    item.classList.toggle("new-day", isNewDay);
    const isTogether = !isNewDay && follows && before.dataset.author === item.dataset.author;
    item.classList.toggle("together", isTogether && at - atBefore < TOGETHER_MS);
  }

  /** A line about who comes and goes. Several in a row are one line. */
  #say(name, what) {
    this.#notice ??= new Map();
    if (this.#notice.has(name) && this.#notice.get(name) !== what) this.#notice.delete(name);
    else this.#notice.set(name, what);
    const last = this.#messages.lastElementChild;
    const line = last?.classList.contains("notice") ? last : element("li", "notice");
    const told = ["joined", "left"].map((what) => {
      const names = [...this.#notice].filter(([, known]) => known === what).map(([name]) => name);
      const some = names.length > 3 ? [...names.slice(0, 3), `${names.length - 3} more`] : names;
      return some.length > 0 ? `${list.format(some)} ${what}` : "";
    });
    line.textContent = told.filter((part) => part).join(", ");
    this.#messages.append(line);
    if (this.#notice.size === 0) line.remove();
    if (this.#isAtEnd) this.#toEnd();
  }

  /** Messages have come: shows them, or says how many there are. */
  #arrived(posts) {
    if (this.#isAtEnd) return this.#toEnd();
    this.#setUnread(this.#unread + posts.filter((post) => post.author !== this.#me).length);
  }

  #toEnd(behavior = "instant") {
    this.#isAtEnd = true;
    this.#setUnread(0);
    this.#scroll.scrollTo({ top: this.#scroll.scrollHeight, behavior });
  }

  /** The reader decides by scrolling whether new messages are shown at once, or counted. */
  #watchScroll() {
    const look = () => {
      const { scrollTop, clientHeight, scrollHeight } = this.#scroll;
      this.#isAtEnd = scrollTop + clientHeight >= scrollHeight - NEAR_END_PX;
      if (this.#isAtEnd) this.#setUnread(0);
    };
    this.#scroll.addEventListener("scroll", look, { passive: true });
    // A keyboard comes up, a font arrives: who was at the end stays there.
    const watch = new ResizeObserver(() => this.#isAtEnd && this.#toEnd());
    watch.observe(this.#scroll);
    watch.observe(this.#scroll.firstElementChild);
  }

  #setUnread(count) {
    this.#unread = count;
    $("newest").hidden = count === 0;
    $("newest").textContent = count === 1 ? "1 new message" : `${count} new messages`;
    document.title = count === 0 ? $("room-name").textContent : `(${count}) ${$("room-name").textContent}`;
  }

  #showBeginning() {
    const isEmpty = this.#firstSeq === null && $("pending").childElementCount === 0;
    $("empty").hidden = !isEmpty;
    $("earlier").hidden = this.#firstSeq === null || this.#firstSeq <= 1;
    $("beginning").hidden = this.#firstSeq !== 1;
  }

  /** Changes the messages without having them read out. */
  #silently(change) {
    const log = this.#messages.parentElement;
    log.ariaBusy = "true";
    log.ariaLive = "off";
    change();
    requestAnimationFrame(() => {
      log.ariaBusy = "false";
      log.ariaLive = "polite";
    });
  }

  #showPeople() {
    const others = [...this.#people].filter((name) => name !== this.#me);
    const names = [this.#me, ...others.sort(byName.compare)];
    $("people-count").textContent = names.length;
    $("people-total").textContent = names.length;
    $("faces").replaceChildren(...names.slice(0, FACES).map(face));
    const items = names.map((name) => {
      const item = element("li");
      item.append(face(name), element("span", "who", name));
      if (name === this.#me) item.append(element("span", "you", "you"));
      return item;
    });
    $("people-list").replaceChildren(...items);
  }

  #listenToComposer(onSend) {
    const text = $("text");
    const fit = () => {
      text.style.height = "auto";
      text.style.height = `${text.scrollHeight + 2}px`;
    };
    text.addEventListener("input", fit);
    text.addEventListener("keydown", (event) => {
      // Shift+Enter begins a line; Enter within an input method belongs to it.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      $("composer").requestSubmit();
    });
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      const written = text.value.trim();
      if (written === "") return;
      onSend(written);
      text.value = "";
      fit();
      text.focus();
    });
  }

  #listenToPeople() {
    const button = $("people-button");
    const show = (isShown) => {
      button.ariaExpanded = String(isShown);
      $("people").classList.toggle("shown", isShown);
    };
    button.addEventListener("click", () => show(button.ariaExpanded !== "true"));
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || button.ariaExpanded !== "true") return;
      show(false);
      button.focus();
    });
    document.addEventListener("click", (event) => {
      if (!$("people").contains(event.target) && !button.contains(event.target)) show(false);
    });
  }
}
