// The chat page: ties the link, the log and the panel together. The room is
// in the address (#room), so that it can be linked to and gone back to.
import { Link } from "./link.js";
import { bytes, parse, tidy } from "./lines.js";
import { element, face, Log } from "./log.js";

// As in room.h.
const ROOM_MAX = 60;
const NAME_MAX = 40;
const SPEECH_MAX = 2000;
const LOBBY = "lobby";

const MEANING = {
  1000: "Closed normally.",
  1001: "The server is going away.",
  1002: "A rule of the protocol was broken.",
  1003: "That kind of message is not taken here.",
  1005: "Closed without a code.",
  1006: "The connection was lost: no Close came.",
  1007: "Something was not UTF-8.",
  1008: "A limit was reached.",
  1009: "A message was too big.",
  1011: "The server met an error.",
  1013: "The server has too much to do. Later!",
};

const $ = (id) => document.getElementById(id);

// Storage may be switched off; the chat goes on without it.
const store = {
  get(key) {
    try {
      return localStorage.getItem(`dari.${key}`);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(`dari.${key}`, value);
    } catch {
      // Not remembered, then.
    }
  },
};

const log = new Log($("log"), $("scroll"), $("down"));
const people = new Set();
let count = 0;
let room = "";
let me = "";
let wanted = tidy(store.get("name") ?? "", NAME_MAX);
let renaming = false;
let everOpen = false; // In this room.
let tries = 0; // That did not open, since.
let again = false; // The next Welcome is not the first.
let unread = 0;

// ---------------------------------------------------------------- The link

const link = new Link({ state: showState, line: heard, ended: showEnd, waiting: showWait });

function address() {
  const path = room === LOBBY ? "" : encodeURIComponent(room);
  const query = wanted ? `?nick=${encodeURIComponent(wanted)}` : "";
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/${path}${query}`;
}

function showState(state) {
  $("state").dataset.state = state;
  $("state-text").textContent = state[0].toUpperCase() + state.slice(1);
  $("switch").textContent = state === "closed" ? "Connect" : "Disconnect";
  $("switch").disabled = state === "closing";
  $("now").disabled = state !== "closed";
  if (state === "open") {
    if (everOpen) log.quiet("", "Connected again");
    again = everOpen;
    everOpen = true;
    // The past comes in one gush, up to the list of who is here: not to be
    // read out line by line.
    $("log").ariaBusy = "true";
    tries = 0;
    $("ended").hidden = true;
    log.expectPast();
  } else {
    people.clear();
    count = 0;
    showPeople();
  }
  showComposer();
}

function showEnd({ code, reason, wasClean, opened }) {
  // A try that does not open says no more than that. How the last connection
  // ended is the better story: it stays.
  tries = opened ? 0 : tries + 1;
  if (!opened && everOpen) return;
  $("ended-what").textContent = opened
    ? (MEANING[code] ?? "The connection ended.")
    : "It did not open: the server is away, or refused.";
  $("ended-code").textContent = code;
  $("ended-reason").textContent = reason || "none";
  $("ended-clean").textContent = wasClean;
  $("ended").dataset.clean = wasClean;
  $("ended").hidden = false;
  if (opened) log.quiet("", `Connection closed: ${code}${reason ? `, ${reason}` : ""}`);
}

function showWait(seconds) {
  const failed = tries === 0 ? "" : tries === 1 ? "1 try did not open. " : `${tries} tries did not open. `;
  $("countdown").textContent = seconds === null ? "" : `${failed}Next in ${seconds} s`;
}

function heard(line) {
  const it = parse(line);
  switch (it.kind) {
    case "name":
      named(it.name);
      break;
    case "who":
      people.clear();
      for (const name of it.names.trim().split(" ")) if (name !== "..." && name) people.add(name);
      count = Number(it.count);
      $("log").ariaBusy = "false";
      break;
    case "joined":
      people.add(it.name);
      count++;
      log.quiet(it.name, "joined");
      break;
    case "left":
      people.delete(it.name);
      count--;
      log.quiet(it.name, `left: ${it.text}`);
      break;
    case "renamed":
      if (people.delete(it.name)) people.add(it.to);
      log.quiet(it.name, `is now ${it.to}`);
      break;
    case "said":
      log.said(it.name, it.text);
      if (document.hidden) unread++;
      break;
    case "past":
      log.said(it.name, it.text, { mine: it.name === me, time: Date.parse(it.time), past: true });
      break;
    case "refused":
      log.house(it.text, true);
      if (renaming) note(it.text);
      renaming = false;
      break;
    default:
      if (!again) log.house(it.text);
      again = false;
  }
  showPeople();
  showTitle();
}

// The server has the last word on names.
function named(name) {
  if (people.delete(me)) people.add(name);
  me = name;
  $("name").value = name;
  if (!renaming) return;
  renaming = false;
  wanted = name;
  store.set("name", name);
  link.url = address();
  note(`You are ${name} now.`);
}

// --------------------------------------------------------------- The panel

function note(text) {
  $("name-note").textContent = text;
}

function showTitle() {
  document.title = `${unread ? `(${unread}) ` : ""}#${room} · dari chat`;
  $("title").textContent = `#${room}`;
  $("message").placeholder = `Message #${room}`;
}

function showPeople() {
  $("people-count").textContent = count || "";
  $("subtitle").textContent = count === 0 ? "Not connected" : count === 1 ? "Only you" : `${count} people`;
  $("people").replaceChildren(
    ...[...people].sort((a, b) => (b === me) - (a === me) || a.localeCompare(b)).map((name) => {
      const item = element("li");
      item.append(face(name), element("bdi", "", name));
      if (name === me) item.append(element("span", "you", "you"));
      return item;
    }),
  );
}

function rooms() {
  try {
    const list = JSON.parse(store.get("rooms") ?? "[]");
    return Array.isArray(list) ? list.map((name) => tidy(String(name), ROOM_MAX)).filter((name) => name && name !== LOBBY) : [];
  } catch {
    return [];
  }
}

function showRooms() {
  const known = rooms();
  if (room !== LOBBY && !known.includes(room)) known.unshift(room);
  store.set("rooms", JSON.stringify(known.slice(0, 8)));
  $("rooms").replaceChildren(
    ...[LOBBY, ...known.slice(0, 8)].map((name) => {
      const item = element("li");
      const anchor = element("a", "", name);
      anchor.href = name === LOBBY ? "#" : `#${encodeURIComponent(name)}`;
      anchor.dir = "auto";
      if (name === room) anchor.setAttribute("aria-current", "page");
      item.append(anchor);
      return item;
    }),
  );
}

// Goes to the room that the address names.
function enter() {
  let name = location.hash.slice(1);
  try {
    name = decodeURIComponent(name);
  } catch {
    // Half a %XX: taken as it stands.
  }
  name = tidy(name, ROOM_MAX);
  // In an address a dot is no name: the browser would leave it out.
  if (/^\.{0,2}$/.test(name)) name = LOBBY;
  panel(false);
  if (name === room) return;
  room = name;
  everOpen = false;
  tries = 0;
  unread = 0;
  log.clear();
  showRooms();
  showTitle();
  $("ended").hidden = true;
  link.open(address());
}

// On a phone the panel is a drawer; closed, the keyboard must not get in.
const narrow = matchMedia("(max-width: 51.99rem)");

function panel(open) {
  const drawer = narrow.matches;
  const shown = drawer && open;
  $("side").classList.toggle("shown", shown);
  $("side").inert = drawer && !open;
  document.querySelector("main").inert = shown;
  $("veil").hidden = !shown;
  $("menu").setAttribute("aria-expanded", String(shown));
}

$("menu").onclick = () => {
  panel(true);
  $("shut").focus();
};
const shut = () => {
  panel(false);
  $("menu").focus();
};
$("shut").onclick = shut;
$("veil").onclick = shut;
addEventListener("keydown", (event) => event.key === "Escape" && $("side").classList.contains("shown") && shut());
narrow.addEventListener("change", () => panel(false));

$("room-form").onsubmit = (event) => {
  event.preventDefault();
  const name = tidy($("room").value.replace(/^#/, ""), ROOM_MAX);
  $("room").value = "";
  if (name) location.hash = name === LOBBY ? "" : encodeURIComponent(name);
};

$("name-form").onsubmit = (event) => {
  event.preventDefault();
  const name = tidy($("name").value, NAME_MAX);
  $("name").value = name || me;
  if (!name || name === me) return;
  note("");
  renaming = link.send(`/nick ${name}`);
  if (renaming) return;
  wanted = name;
  store.set("name", name);
  link.url = address();
  note("From the next connection on.");
};

$("switch").onclick = () => ($("state").dataset.state === "closed" ? link.retry() : link.close());
$("now").onclick = () => link.retry();

// ------------------------------------------------------------ The composer

function showComposer() {
  const size = bytes($("message").value);
  $("send").disabled = !link.isOpen || size === 0 || size > SPEECH_MAX;
  $("bytes-left").textContent = size > SPEECH_MAX * 0.8 ? `${SPEECH_MAX - size} bytes left` : "";
  $("bytes-left").classList.toggle("over", size > SPEECH_MAX);
}

function say() {
  const text = $("message").value.trim();
  if (!text || bytes(text) > SPEECH_MAX || !link.send(text)) return;
  // The server passes it on to the others alone: here it shows at once.
  if (text.startsWith("/nick ")) renaming = true;
  else if (!text.startsWith("/")) log.said(me, text, { mine: true });
  $("message").value = "";
  grow();
}

function grow() {
  const field = $("message");
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
  showComposer();
}

$("message").oninput = grow;
$("message").onkeydown = (event) => {
  // Enter that ends a composition (Hangul, Kana, ...) belongs to the input
  // method. Safari has ended it already and tells by 229.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  say();
};
$("composer").onsubmit = (event) => {
  event.preventDefault();
  say();
  $("message").focus();
};
$("skip").onclick = (event) => {
  event.preventDefault(); // The hash is the room.
  $("message").focus();
};

addEventListener("hashchange", enter);
// Back from the browser's cache of pages: the socket did not live on.
addEventListener("pageshow", (event) => event.persisted && link.retry());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unread = 0;
  showTitle();
});

panel(false);
enter();
if (!narrow.matches) $("message").focus();
