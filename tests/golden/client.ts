// Made by `durable` from the classes that are exposed. Make it anew rather than edit it.

/** What a call gave in place of a value. */
export class CallError extends Error {
  constructor(
    /** The HTTP status. */
    readonly status: number,
    /** What went wrong, such as `overloaded`; `application` is the method's own error. */
    readonly kind: string,
    message: string,
    /** Whether the call surely had no effect and may be made again. */
    readonly retryable: boolean,
    /** What the method returned as its error. */
    readonly value: unknown,
  ) {
    super(message);
    this.name = "CallError";
  }
}

/** Where one object is. */
class ObjectUrl {
  private constructor(
    private readonly url: string,
    private readonly init: RequestInit,
  ) {}

  static named(base: string, className: string, name: string, init: RequestInit): ObjectUrl {
    if (name === "." || name === "..") {
      throw new TypeError("a URL cannot hold a name that is only dots: use the id");
    }
    return ObjectUrl.at(base, className, "name", name, init);
  }

  static withId(base: string, className: string, id: string, init: RequestInit): ObjectUrl {
    return ObjectUrl.at(base, className, "id", id, init);
  }

  private static at(base: string, className: string, kind: string, object: string, init: RequestInit): ObjectUrl {
    const parts = [className, kind, object].map(encodeURIComponent);
    return new ObjectUrl([base.replace(/\/$/, ""), ...parts].join("/"), init);
  }

  fetch(path: string, init: RequestInit): Promise<Response> {
    return fetch(`${this.url}/fetch${path}`, { ...this.init, ...init });
  }

  async call(method: string, args: object): Promise<unknown> {
    const headers = new Headers(this.init.headers);
    headers.set("Content-Type", "application/json");
    const body = JSON.stringify(args);
    const url = `${this.url}/${encodeURIComponent(method)}`;
    const response = await fetch(url, { ...this.init, method: "POST", headers, body });
    if (response.ok) {
      return response.json();
    }
    const reply = await response.json().catch(() => undefined);
    const error = reply?.error ?? {};
    throw new CallError(
      response.status,
      error.kind ?? "unknown",
      error.message ?? response.statusText,
      error.retryable ?? false,
      error.value,
    );
  }
}

export namespace Types {
  export type DurableError = { constraint?: string | null; kind: string; message: string };
  export type Event = { note: Types.Note; type: "posted" } | { type: "left"; who: string } | { type: "cleared" };
  /** A message in a room. */
  export type Note = { answers?: Types.Note | null; likes: number; text: string };
  /** Its name is also that of something in every browser. */
  export type Response = { ok: boolean };
  export type RoomError = "Closed" | { Full: { most: number } };
}

/** Calls one `Room`. */
export class RoomStub {
  readonly #object: ObjectUrl;

  private constructor(object: ObjectUrl) {
    this.#object = object;
  }

  /** The object with this name. `base` is where the router is, such as `/objects`; `init` goes with every request. */
  static named(base: string, name: string, init: RequestInit = {}): RoomStub {
    return new RoomStub(ObjectUrl.named(base, "Room", name, init));
  }

  /** The object with this id. */
  static withId(base: string, id: string, init: RequestInit = {}): RoomStub {
    return new RoomStub(ObjectUrl.withId(base, "Room", id, init));
  }

  /** Sends a request to the object's `fetch` handler. `path` begins with a slash. */
  fetch(path = "/", init: RequestInit = {}): Promise<Response> {
    return this.#object.fetch(path, init);
  }

  /**
   * Posts a note and gives its number.
   *
   * The room may be full. * / is no end of anything.
   */
  post(args: { note: Types.Note; tags: string[]; to?: string | null }): Promise<number> {
    return this.#object.call("post", args) as Promise<number>;
  }

  /** The last notes. */
  last(args: { count?: number | null } = {}): Promise<Types.Event[]> {
    return this.#object.call("last", args) as Promise<Types.Event[]>;
  }

  counts(args: { plain: unknown; by: { [key: string]: [number, boolean | null] } }): Promise<unknown> {
    return this.#object.call("counts", args) as Promise<unknown>;
  }

  ["constructor"](args: { type: Types.Response }): Promise<Types.Response> {
    return this.#object.call("constructor", args) as Promise<Types.Response>;
  }
}

/** Calls one `a counter/é`. */
export class a_counter_éStub {
  readonly #object: ObjectUrl;

  private constructor(object: ObjectUrl) {
    this.#object = object;
  }

  /** The object with this name. `base` is where the router is, such as `/objects`; `init` goes with every request. */
  static named(base: string, name: string, init: RequestInit = {}): a_counter_éStub {
    return new a_counter_éStub(ObjectUrl.named(base, "a counter/é", name, init));
  }

  /** The object with this id. */
  static withId(base: string, id: string, init: RequestInit = {}): a_counter_éStub {
    return new a_counter_éStub(ObjectUrl.withId(base, "a counter/é", id, init));
  }

  total(): Promise<number> {
    return this.#object.call("total", {}) as Promise<number>;
  }
}
