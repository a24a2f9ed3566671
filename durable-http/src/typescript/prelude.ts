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
