// The lines of the protocol (it is told at the top of chat.c), taken apart.
// Pure: no page, no socket.

const FORMS = [
  ["name", /^= you are (?<name>\S+)$/],
  ["who", /^# (?<count>\d+) here:(?<names>.*)$/],
  ["joined", /^\+ (?<name>\S+) joined$/],
  ["left", /^- (?<name>\S+) left: (?<text>.*)$/s],
  ["renamed", /^~ (?<name>\S+) is now (?<to>\S+)$/],
  ["said", /^<(?<name>[^>]+)> (?<text>.*)$/s],
  ["past", /^\[(?<time>[^\]]+)\] <(?<name>[^>]+)> (?<text>.*)$/s],
  ["refused", /^! (?<text>.*)$/s],
  ["house", /^\* (?<text>.*)$/s],
];

// { kind, ...its parts }. What has no known form is the house speaking: a
// newer server shall not be silent.
export function parse(line) {
  for (const [kind, form] of FORMS) {
    const found = form.exec(line);
    if (found) return { kind, ...found.groups };
  }
  return { kind: "house", text: line };
}

const utf8 = new TextEncoder();

// The server counts bytes: a Hangul syllable is three of them.
export const bytes = (text) => utf8.encode(text).length;

// As much of the front of `text` as fits, whole characters only.
export function cut(text, max) {
  let kept = "";
  for (const sign of text) {
    if (bytes(kept + sign) > max) break;
    kept += sign;
  }
  return kept;
}

// Brackets, controls, and what is never seen.
const UNFIT = /[<>[\]\p{C}\p{Default_Ignorable_Code_Point}]/gu;

// A name that the server takes: composed, so that 한 typed anywhere is one
// and the same name, and with dashes for blanks.
export const tidy = (text, max) => cut(text.normalize("NFC").trim().replace(UNFIT, "").replace(/\s+/gu, "-"), max);
