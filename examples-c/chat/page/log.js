// The list of what was said and what happened. Text goes in as text: nothing
// that came over the net is ever made into markup.

const KEPT = 500;
const SAME_BREATH_MS = 3 * 60 * 1000;
const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// A disc with the first sign of the name, in a colour of its own.
export function face(name) {
  const disc = element("span", "face", [...name][0] ?? "?");
  let hue = 7;
  for (const sign of name) hue = (hue * 31 + sign.codePointAt(0)) % 360;
  disc.style.setProperty("--hue", (hue * 137) % 360); // Neighbours far apart.
  disc.setAttribute("aria-hidden", "true");
  return disc;
}

export class Log {
  #list;
  #scroll;
  #down;
  #last = null; // Who spoke last, to group what one person says in a breath.
  #day = calendar.format(Date.now()); // Today goes without saying.
  #said = []; // Name and text of what is shown, to know it again in the past.
  #known = new Map();

  constructor(list, scroll, down) {
    this.#list = list;
    this.#scroll = scroll;
    this.#down = down;
    down.onclick = () => this.toEnd();
    scroll.onscroll = () => {
      if (this.#atEnd()) down.hidden = true;
    };
    // The keyboard of a phone, a growing composer: stay where the talk is.
    let stuck = true;
    scroll.addEventListener("scroll", () => (stuck = this.#atEnd()));
    new ResizeObserver(() => stuck && this.toEnd()).observe(scroll);
  }

  clear() {
    this.#list.replaceChildren();
    this.#last = null;
    this.#day = calendar.format(Date.now()); // Today goes without saying.
    this.#said = [];
    this.#known.clear();
    this.#down.hidden = true;
  }

  // A new connection: the past comes again, and what is shown already shall
  // not be shown twice.
  expectPast() {
    this.#known.clear();
    for (const key of this.#said) this.#known.set(key, (this.#known.get(key) ?? 0) + 1);
  }

  // `time` is in milliseconds; `mine` tells what was said here.
  said(name, text, { mine = false, time = Date.now(), past = false } = {}) {
    const key = `${name}\n${text}`;
    if (past && this.#known.get(key) > 0) {
      this.#known.set(key, this.#known.get(key) - 1);
      return;
    }
    this.#said.push(key);
    if (this.#said.length > 100) this.#said.shift();

    this.#newDay(time);
    const follows = this.#last?.name === name && this.#last.mine === mine && time - this.#last.time < SAME_BREATH_MS;
    const item = element("li", `said${mine ? " mine" : ""}${follows ? " follows" : ""}`);
    if (!mine) item.append(follows ? element("span", "face-gap") : face(name));
    const body = element("div", "body");
    const head = element("p", follows ? "unseen" : "who");
    head.append(element("bdi", "", mine ? "You" : name), " ", this.#time(time));
    const bubble = element("p", "bubble", text);
    bubble.dir = "auto";
    bubble.title = clock.format(time);
    body.append(head, bubble);
    item.append(body);
    this.#append(item, mine);
    this.#last = { name, mine, time };
  }

  // Who comes and goes, and how the connection fares.
  quiet(name, text) {
    this.#newDay(Date.now());
    const item = element("li", "quiet");
    if (name) item.append(element("bdi", "", name), " ");
    item.append(text, " ", this.#time(Date.now()));
    this.#append(item);
    this.#last = null;
  }

  // The house: a Welcome, help, a refusal.
  house(text, refused = false) {
    this.#append(element("li", refused ? "house refused" : "house", text));
    this.#last = null;
  }

  toEnd() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#down.hidden = true;
  }

  #time(time) {
    const made = element("time", "", clock.format(time));
    made.dateTime = new Date(time).toISOString();
    return made;
  }

  #newDay(time) {
    const day = calendar.format(time);
    if (day === this.#day) return;
    this.#day = day;
    this.#append(element("li", "day", day));
    this.#last = null;
  }

  #atEnd() {
    return this.#scroll.scrollHeight - this.#scroll.scrollTop - this.#scroll.clientHeight < 60;
  }

  #append(item, follow = false) {
    const atEnd = this.#atEnd();
    this.#list.append(item);
    if (this.#list.childElementCount > KEPT) this.#list.firstElementChild.remove();
    if (atEnd || follow) this.toEnd();
    else if (item.classList.contains("said")) this.#down.hidden = false;
  }
}
