// One WebSocket that is opened again when it ends. It knows nothing of the
// page: it tells its listener, and never touches the document.
//
//   state(name)    connecting, open, closing, closed: readyState in words
//   line(text)     a message
//   ended(event)   {code, reason, wasClean, opened}, after state("closed")
//   waiting(secs)  until the next try; null when there is none to wait for

const FIRST_MS = 1000;
const LONGEST_MS = 30000;
// A connection that lived this long was a good one: the next wait is short.
const GOOD_MS = 5000;

export class Link {
  #listener;
  #socket = null;
  #url = "";
  #tries = 0;
  #ticker = 0;
  #due = 0;
  #wanted = false;

  constructor(listener) {
    this.#listener = listener;
    // Two hints that a try is worth while now.
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#hurry());
  }

  // Opens `url`, in place of whatever was open.
  open(url) {
    this.#url = url;
    this.#wanted = true;
    this.#tries = 0;
    this.#drop("went to another room");
    this.#connect();
  }

  // What to open the next time, if that is not the same.
  set url(url) {
    this.#url = url;
  }

  // Closes, and stays closed until open() or retry().
  close() {
    this.#wanted = false;
    this.#wait(0);
    if (!this.isOpen) return;
    this.#socket.close(1000, "disconnected");
    this.#listener.state("closing");
  }

  retry() {
    this.#wanted = true;
    if (this.#socket === null) this.#connect();
  }

  // Whether it went out.
  send(text) {
    if (!this.isOpen) return false;
    this.#socket.send(text);
    return true;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  #connect() {
    this.#wait(0);
    const socket = new WebSocket(this.#url);
    let opened = 0;
    this.#socket = socket;
    this.#listener.state("connecting");
    // Events of a socket that was dropped are nobody's business any more.
    const mine = (act) => (event) => socket === this.#socket && act(event);
    socket.onopen = mine(() => {
      opened = Date.now();
      this.#listener.state("open");
    });
    socket.onmessage = mine((event) => this.#listener.line(String(event.data)));
    socket.onclose = mine((event) => {
      this.#socket = null;
      if (opened && Date.now() - opened > GOOD_MS) this.#tries = 0;
      const { code, reason, wasClean } = event;
      this.#listener.state("closed");
      this.#listener.ended({ code, reason, wasClean, opened: opened > 0 });
      if (this.#wanted) this.#wait(this.#delay());
    });
  }

  #drop(reason) {
    const socket = this.#socket;
    this.#socket = null;
    if (socket && socket.readyState <= WebSocket.OPEN) socket.close(1000, reason);
  }

  // Doubled each time. Half of it is chance: a thousand pages that lost one
  // server shall not come back in the same instant.
  #delay() {
    const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#tries++);
    return longest / 2 + (Math.random() * longest) / 2;
  }

  #wait(ms) {
    clearInterval(this.#ticker);
    this.#ticker = 0;
    if (ms <= 0) {
      this.#listener.waiting(null);
      return;
    }
    this.#due = Date.now() + ms;
    const tick = () => {
      const left = this.#due - Date.now();
      if (left <= 0) this.#connect();
      else this.#listener.waiting(Math.ceil(left / 1000));
    };
    this.#ticker = setInterval(tick, 200);
    tick();
  }

  #hurry() {
    if (this.#ticker) this.#connect();
  }
}
