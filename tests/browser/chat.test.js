// The chat as people use it: three pages in Chromium, one C program behind
// them. Screenshots are kept in target/browser, to be looked at.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { browser, foreignOrigin, SHOTS, start } from "./support.js";

const DESK = { viewport: { width: 1280, height: 800 }, locale: "en-US", colorScheme: "light" };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, locale: "en-US" };
const DARI = encodeURIComponent("다리");
const FOLDER = "examples-c/chat/page";

let chromium, chat, address;
const errors = [];

before(async () => {
  [chromium, chat] = await Promise.all([browser(), start("chat", "127.0.0.1:0", "--folder", FOLDER)]);
  address = `http://127.0.0.1:${chat.port}/`;
});

after(async () => {
  await chromium?.close();
  chat?.kill();
});

// A person of his own storage, in a room.
async function person(name, options = DESK, room = "") {
  const context = await chromium.newContext(options);
  await context.addInitScript((name) => name && !localStorage.getItem("dari.name") && localStorage.setItem("dari.name", name), name);
  const page = await context.newPage();
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => /Content Security Policy/.test(message.text()) && errors.push(message.text()));
  await page.goto(address + (room && `#${room}`));
  await open(page);
  return page;
}

const open = (page) => page.waitForSelector("#state[data-state=open]");
const sees = (page, text, where = "#log") => page.locator(where, { hasText: text }).first().waitFor();
const lacks = async (page, text) => assert.ok(!(await page.locator("#log").innerText()).includes(text), `sees "${text}"`);
const shot = (page, name) => page.screenshot({ path: `${SHOTS}/${name}.png`, animations: "disabled" });

async function say(page, text) {
  await page.fill("#message", text);
  await page.press("#message", "Enter");
}

let minsu, ann, younghee;

test("a newcomer is welcomed, and has the name that was remembered", async () => {
  minsu = await person("민수");
  await sees(minsu, "Welcome to the lobby, 민수!");
  assert.equal(await minsu.title(), "#lobby · dari chat");
  await sees(minsu, "민수", "#people");
});

test("what one says the others see, in both directions, Korean too", async () => {
  ann = await person("Ann", { ...PHONE, colorScheme: "light" });
  await sees(minsu, "Ann joined");
  await say(minsu, "안녕");
  await sees(minsu, "안녕");
  await sees(ann, "안녕");
  await say(ann, "Hello 민수! 잘 보여요.");
  await sees(minsu, "Hello 민수! 잘 보여요.");
});

test("a newcomer sees what was said before", async () => {
  younghee = await person("영희", { ...PHONE, colorScheme: "dark" });
  await sees(younghee, "안녕");
  await sees(younghee, "Hello 민수! 잘 보여요.");
  await sees(minsu, "3", "#people-count");
});

test("text stays text", async () => {
  await say(ann, '<img src=x onerror="document.title=1"><b>bold</b>');
  await sees(minsu, "<b>bold</b>");
  assert.equal(await minsu.locator("#log img, #log b").count(), 0);
});

test("Enter that ends a composition does not send", async () => {
  await minsu.focus("#message");
  const cdp = await minsu.context().newCDPSession(minsu);
  await cdp.send("Input.imeSetComposition", { text: "안녕하세", selectionStart: 4, selectionEnd: 4 });
  await minsu.evaluate(() => {
    for (const init of [{ isComposing: true }, { keyCode: 229 }])
      document.getElementById("message").dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...init }));
  });
  assert.equal(await minsu.inputValue("#message"), "안녕하세");
  await cdp.send("Input.insertText", { text: "안녕하세요" });
  await minsu.press("#message", "Enter");
  await sees(ann, "안녕하세요");
  assert.equal(await minsu.inputValue("#message"), "");
});

test("Shift+Enter is a new line, and a long text is counted in bytes", async () => {
  await minsu.fill("#message", "첫째 줄");
  await minsu.press("#message", "Shift+Enter");
  await minsu.keyboard.insertText("둘째 줄");
  await minsu.press("#message", "Enter");
  await sees(ann, "둘째 줄");
  await minsu.fill("#message", "가".repeat(667));
  await sees(minsu, "-1 bytes left", "#composer");
  assert.ok(await minsu.isDisabled("#send"));
  await minsu.fill("#message", "");
});

test("a name is changed in the panel, and remembered", async () => {
  await minsu.fill("#name", "Ann");
  await minsu.press("#name", "Enter");
  await sees(minsu, "somebody here is Ann already", "#name-note");
  await minsu.fill("#name", "김 민수");
  await minsu.press("#name", "Enter");
  await sees(ann, "is now 김-민수");
  await minsu.reload();
  await open(minsu);
  await sees(minsu, "Welcome to the lobby, 김-민수!");
  assert.equal(await minsu.locator("#log .said.mine", { hasText: "안녕하세요" }).count(), 0, "said under another name");
});

test("rooms are apart, and the address names them", async () => {
  await minsu.fill("#room", "다리");
  await minsu.press("#room", "Enter");
  await sees(minsu, "Welcome to the 다리 room");
  assert.ok(minsu.url().endsWith(`#${DARI}`));
  await sees(ann, "김-민수 left");
  await say(minsu, "비밀 이야기");
  await say(ann, "in the lobby");
  await sees(younghee, "in the lobby");
  await lacks(ann, "비밀 이야기");
  await lacks(minsu, "in the lobby");
  await minsu.goBack();
  await sees(minsu, "Welcome to the lobby");
  await sees(minsu, "in the lobby");
});

test("it looks well on a desk and a phone, by day and by night", async () => {
  const jihun = await person("지훈", { ...DESK, colorScheme: "dark" });
  await say(jihun, "저도 왔어요. 긴 주소도 괜찮을까요? https://example.org/a/path/that/does/not/end/until/it/meets/the/edge");
  await say(minsu, "한국어와 English를 섞어서 써도 줄바꿈은 낱말 사이에서만 일어나야 합니다. 같이 확인해 볼까요?");
  await say(younghee, "ㅋㅋㅋ");
  await say(younghee, "잘 보여요!");
  await say(ann, "Looks good here, too.");
  for (const page of [jihun, minsu, younghee]) await sees(page, "Looks good here, too.");
  await shot(minsu, "desk-light");
  await shot(jihun, "desk-dark");
  await shot(ann, "phone-light");
  await shot(younghee, "phone-dark");
  for (const page of [minsu, ann]) {
    const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(inner <= outer, "nothing sticks out to the side");
  }
  await ann.click("#menu");
  await sees(ann, "지훈", "#people");
  await shot(ann, "phone-panel");
  await ann.keyboard.press("Escape");
  await jihun.context().close();
});

test("a tab that is closed says so", async () => {
  await sees(minsu, /지훈\s+left: .*1001/);
});

test("a tab that is killed is seen to leave", async () => {
  const cdp = await younghee.context().newCDPSession(younghee);
  cdp.send("Page.crash").catch(() => {});
  await sees(minsu, "영희 left");
  await sees(ann, "영희 left");
  await minsu.waitForFunction(() => document.getElementById("people-count").textContent === "2");
  await younghee.context().close();
});

test("who disconnects is shown how it ended, and comes back when asked to", async () => {
  await minsu.click("#switch");
  await minsu.waitForSelector("#state[data-state=closed]");
  assert.equal(await minsu.innerText("#ended-code"), "1000");
  assert.equal(await minsu.innerText("#ended-clean"), "true");
  await sees(ann, /left: .*1000.*disconnected/);
  await minsu.click("#now");
  await open(minsu);
  assert.ok(await minsu.isHidden("#ended"));
  assert.equal(await minsu.locator("#log .said", { hasText: "ㅋㅋㅋ" }).count(), 1, "the past is not shown twice");
});

test("a page from another origin is refused", async () => {
  const origin = await foreignOrigin();
  const page = await chromium.newPage();
  await page.goto(origin.url);
  const got = await page.evaluate(
    (port) =>
      new Promise((resolve) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
        let opened = false;
        socket.onopen = () => (opened = true);
        socket.onclose = ({ code }) => resolve({ opened, code });
      }),
    chat.port,
  );
  assert.deepEqual(got, { opened: false, code: 1006 });
  await page.close();
  origin.close();
});

test("the server's end is 1001 and clean, and its exit status 0", async () => {
  assert.equal(await chat.end(), 0);
  for (const page of [minsu, ann]) {
    await page.waitForSelector("#ended:not([hidden])");
    assert.equal(await page.innerText("#ended-code"), "1001");
    assert.equal(await page.innerText("#ended-clean"), "true");
  }
  await sees(minsu, /Next in \d+ s/, "#countdown");
  await sees(ann, /did not open/, "#countdown");
  await shot(minsu, "desk-ended");
  await shot(ann, "phone-ended");
});

test("when the server is back, the pages are", async () => {
  chat = await start("chat", `127.0.0.1:${chat.port}`, "--folder", FOLDER);
  await Promise.all([open(minsu), open(ann)]);
  await sees(minsu, "Connected again");
  await say(ann, "다시 만났네요");
  await sees(minsu, "다시 만났네요");
  await shot(ann, "phone-again");
});

test("nothing went wrong inside the pages", () => assert.deepEqual(errors, []));
