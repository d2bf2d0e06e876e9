//! The system has no memory left: an allocator that says no, to all that is large or to one allocation after the other,
//! while a loop has all kinds of work. Whom it hits is told so and ends; everybody else goes on, and nothing leaks.
//!
//! Each scenario is a process of its own, so that one that aborts says which it was. The allocator says no on the
//! thread that has asked for it and inside the loop's turns alone: peers and hooks of a test have what they need.

mod common;

use common::raw::{self, BINARY, CLOSE, HELLO, PING, PONG, Raw, TEXT, frame};
use common::tls::{self, Ca};
use common::{DEADLINE, alone_with, pattern};
use dari::{
    Cause, Close, Config, ConnId, Connect, Deflate, Error, Handler, Kind, Limits, Listen, Loop, Message, Net, Slow,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Instant;

/// Sizes from which on nothing is to be had. The first is what docs/c-api/memory.md promises.
const SIZES: [usize; 4] = [512, 4 << 10, 64 << 10, 1 << 20];
/// The same where connections are encrypted: rustls allocates by itself, and its state alone is larger than that.
const SEALED_SIZES: [usize; 4] = [2 << 10, 4 << 10, 64 << 10, 1 << 20];
/// Of allocations that are as large as this, each is refused once.
const LEAST: usize = SIZES[0];
/// As many of them are tried, spread evenly.
const MOST_TRIES: usize = 25;

// --- the allocator ----------------------------------------------------------------------------------------------

/// What is refused: of allocations of at least so many bytes the one that `left` counts down to, or each.
#[derive(Clone, Copy)]
struct Plan {
    least: usize,
    /// Those that are granted before it; none are if it is nothing.
    left: Option<usize>,
}

const PLENTY: Plan = Plan { least: usize::MAX, left: None };

thread_local! {
    static PLAN: Cell<Plan> = const { Cell::new(PLENTY) };
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    static REFUSED: Cell<usize> = const { Cell::new(0) };
    /// Whether it is the library that allocates, and what it has.
    static IS_LIBRARY: Cell<bool> = const { Cell::new(false) };
    static LIBRARY: Cell<usize> = const { Cell::new(0) };
}

struct Scarce;

#[global_allocator]
static SCARCE: Scarce = Scarce;

/// Whether `size` bytes are refused now.
fn refuses(size: usize) -> bool {
    let plan = PLAN.get();
    if size < plan.least {
        return false;
    }
    if let Some(left) = plan.left {
        // Behind the one that was refused all are granted: the count goes on to where it does not come.
        PLAN.set(Plan { left: Some(left.wrapping_sub(1)), ..plan });
        if left != 0 {
            return false;
        }
    }
    REFUSED.set(REFUSED.get() + 1);
    with_plenty(|| {
        if std::env::var_os("DARI_TEST_WHERE").is_some() {
            eprintln!("{size} bytes refused: {}", std::backtrace::Backtrace::force_capture());
        }
    });
    true
}

fn count(before: usize, now: usize) {
    ALLOCATED.set(ALLOCATED.get().wrapping_sub(before).wrapping_add(now));
    if IS_LIBRARY.get() {
        LIBRARY.set(LIBRARY.get().wrapping_sub(before).wrapping_add(now));
    }
}

// SAFETY: everything that is granted is the system's allocator's, with the layout that was asked for.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses(layout.size()) {
            return std::ptr::null_mut();
        }
        count(0, layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if refuses(layout.size()) {
            return std::ptr::null_mut();
        }
        count(0, layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(layout.size(), 0);
        // SAFETY: the caller's promise, handed on; `place` came from the system's allocator.
        unsafe { System.dealloc(place, layout) }
    }

    /// What is to become smaller can stay where it is: no C library refuses that.
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() && refuses(size) {
            return std::ptr::null_mut();
        }
        count(layout.size(), size);
        // SAFETY: the caller's promise, handed on; `place` came from the system's allocator.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Runs `what` with `plan`, and tells what is left of that.
fn under<R>(plan: Plan, what: impl FnOnce() -> R) -> (R, Plan) {
    let outer = PLAN.replace(plan);
    let result = what();
    (result, PLAN.replace(outer))
}

/// Runs what belongs to the test and not to the library.
fn with_plenty<R>(what: impl FnOnce() -> R) -> R {
    let outer = IS_LIBRARY.replace(false);
    let (result, _) = under(PLENTY, what);
    IS_LIBRARY.set(outer);
    result
}

// --- a loop on which memory is scarce ---------------------------------------------------------------------------

/// How the connections of the loop have ended, and what its handlers were refused.
#[derive(Clone, Default)]
struct Ends(Rc<RefCell<Told>>);

#[derive(Default)]
struct Told {
    ended: HashSet<ConnId>,
    /// Calls that were answered with [`Error::Memory`].
    refused: usize,
    /// Clients that have what they wanted, or know that they will not get it.
    done: usize,
}

impl Ends {
    fn closed(&self, conn: ConnId) {
        with_plenty(|| assert!(self.0.borrow_mut().ended.insert(conn), "{conn:?} was closed twice"));
    }

    /// Counts what a call of the library was answered with. Whether it has failed.
    fn refuses<R>(&self, result: Result<R, Error>) -> bool {
        match result {
            Ok(_) => return false,
            Err(Error::Memory) => self.0.borrow_mut().refused += 1,
            // One that is over in the same breath.
            Err(Error::State(_) | Error::Stale) => {}
            Err(error) => with_plenty(|| panic!("{error}")),
        }
        true
    }
}

/// Echoes, publishes, and answers requests with their body.
struct Host {
    ends: Ends,
    topic: Option<&'static str>,
}

impl Handler for Host {
    fn open(&mut self, net: &mut Net, conn: ConnId) {
        if let Some(topic) = self.topic
            && self.ends.refuses(net.subscribe(conn, topic))
        {
            net.abort(conn).unwrap_or_default();
        }
    }

    fn message(&mut self, net: &mut Net, conn: ConnId, message: Message<'_>) {
        match self.topic {
            Some(topic) => drop(self.ends.refuses(net.publish(topic, None, message))),
            None if self.ends.refuses(net.send(conn, message)) => net.abort(conn).unwrap_or_default(),
            None => {}
        }
    }

    fn http(&mut self, net: &mut Net, conn: ConnId) {
        let body = with_plenty(|| net.request(conn).map(|request| request.body().to_vec())).unwrap_or_default();
        if self.ends.refuses(net.respond(conn, 200, &[], &body)) {
            net.abort(conn).unwrap_or_default();
        }
        with_plenty(|| drop(body));
    }

    fn close(&mut self, _: &mut Net, conn: ConnId, _: &Close) {
        self.ends.closed(conn);
    }
}

/// A client that sends one message, as often as it is echoed.
struct Asker {
    ends: Ends,
    message: Vec<u8>,
    rounds: usize,
}

impl Asker {
    fn ask(&mut self, net: &mut Net, conn: ConnId) {
        if self.rounds == 0 || self.ends.refuses(net.send(conn, Message::binary(&self.message))) {
            self.ends.0.borrow_mut().done += 1;
        } else {
            self.rounds -= 1;
        }
    }
}

impl Handler for Asker {
    fn open(&mut self, net: &mut Net, conn: ConnId) {
        self.ask(net, conn);
    }

    fn message(&mut self, net: &mut Net, conn: ConnId, message: Message<'_>) {
        assert!(message.data == self.message && message.kind == Kind::Binary);
        self.ask(net, conn);
    }

    fn close(&mut self, _: &mut Net, conn: ConnId, _: &Close) {
        self.ends.closed(conn);
        self.ends.0.borrow_mut().done += 1;
    }
}

/// A loop with one listener, one peer that memory has nothing to do with, and the plan for its turns.
struct Stage {
    event_loop: Loop,
    port: u16,
    ends: Ends,
    plan: Plan,
    /// How many peers and clients did not get what they came for.
    unserved: usize,
}

impl Stage {
    fn new(plan: Plan, how: Listen, topic: Option<&'static str>) -> Self {
        let ends = Ends::default();
        let mut event_loop = Loop::new(Config::default()).unwrap();
        let handler = Box::new(Host { ends: ends.clone(), topic });
        let listener = event_loop.net().listen("127.0.0.1:0", how, handler).unwrap();
        let port = event_loop.net().listener_port(listener).unwrap();
        Self { event_loop, port, ends, plan, unserved: 0 }
    }

    fn turn(&mut self) {
        let event_loop = &mut self.event_loop;
        let outer = IS_LIBRARY.replace(true);
        let (result, left) = under(self.plan, || event_loop.turn(Some(1)));
        IS_LIBRARY.set(outer);
        self.plan = left;
        result.unwrap();
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
            self.turn();
        }
    }

    /// A peer that has shaken hands while there was plenty.
    fn opened(&mut self) -> Raw {
        let mut raw = Raw::connect(self.port);
        self.open(&mut raw);
        raw
    }

    fn open(&mut self, raw: &mut Raw) {
        let plan = std::mem::replace(&mut self.plan, PLENTY);
        raw.say(HELLO);
        self.until("a peer opens", |_| raw.take_head().is_some());
        self.plan = plan;
    }

    /// Each peer says all of its bytes and gets the frames that it is owed, or is told why not.
    fn serve(&mut self, guests: Vec<Guest>) {
        drop(self.serve_and_keep(guests));
    }

    fn serve_and_keep(&mut self, guests: Vec<Guest>) -> Vec<Guest> {
        let mut guests = guests;
        self.until("all are served or ended", |_| {
            let waiting: Vec<bool> = guests.iter_mut().map(|guest| !guest.is_done()).collect();
            !waiting.contains(&true)
        });
        self.unserved += guests.iter().filter(|guest| guest.is_unserved()).count();
        self.judge();
        guests
    }

    /// Whoever was not served has ended for want of memory, and nobody else has.
    fn judge(&mut self) {
        let refused = self.ends.0.borrow().refused;
        self.until("ends are told", |stage| {
            let stats = stage.event_loop.net().stats();
            let memory = stats.closes[Cause::Memory as usize];
            usize::try_from(memory).unwrap() + refused >= stage.unserved
        });
        let closes = self.event_loop.net().stats().closes;
        for cause in Cause::ALL {
            let is_known = matches!(cause, Cause::Memory | Cause::Abort);
            assert!(is_known || closes[cause as usize] == 0, "{} times {cause:?}", closes[cause as usize]);
        }
        assert!(self.unserved == 0 || REFUSED.get() > 0, "nothing was refused, and yet somebody was not served");
    }

    /// The loop is well: somebody who was there before and somebody who comes now get their echo.
    /// What is left of the plan.
    fn prove(mut self, bystander: &mut Raw) -> Plan {
        let plan = std::mem::replace(&mut self.plan, PLENTY);
        let mut other = self.opened();
        for raw in [bystander, &mut other] {
            raw.say(&frame(TEXT, b"still here?"));
            self.until("an echo afterwards", |_| {
                loop {
                    match raw.take_frame() {
                        Some((TEXT, text)) if text == b"still here?" => return true,
                        Some(_) => {}
                        None => return false,
                    }
                }
            });
        }
        plan
    }
}

/// A peer with something to say.
struct Guest {
    raw: Raw,
    /// The payloads that it waits for.
    owed: Vec<Vec<u8>>,
    got: usize,
    is_http: bool,
    is_shaking_hands: bool,
    /// It hears nothing before it has said everything that the other side takes.
    is_deaf: bool,
}

impl Guest {
    fn new(mut raw: Raw, says: Vec<u8>, owed: Vec<Vec<u8>>) -> Self {
        raw.will_say(says);
        Self { raw, owed, got: 0, is_http: false, is_shaking_hands: false, is_deaf: false }
    }

    /// One whose requests wait for as many answers with these bodies.
    fn http(port: u16, says: Vec<u8>, owed: Vec<Vec<u8>>) -> Self {
        Self { is_http: true, ..Self::new(Raw::connect(port), says, owed) }
    }

    fn is_done(&mut self) -> bool {
        let before = self.raw.said;
        let has_said_all = self.raw.push();
        if self.is_deaf && !has_said_all && self.raw.said > before {
            return false;
        }
        self.raw.hear();
        if self.is_shaking_hands {
            match raw::next_head(&mut self.raw.got) {
                Some(head) if head.starts_with("HTTP/1.1 101 ") => self.is_shaking_hands = false,
                Some(head) => assert!(head.starts_with("HTTP/1.1 503 "), "{head}"),
                None => {}
            }
        } else if self.is_http {
            while let Some((head, body)) = self.raw.take_answer() {
                if !head.starts_with("HTTP/1.1 503 ") {
                    assert!(head.starts_with("HTTP/1.1 200 ") && body == self.owed[self.got], "{head}");
                    self.got += 1;
                }
            }
        } else {
            self.take_frames();
        }
        if self.raw.ended.is_some() {
            // The other side waits for it. A socket that was reset has no end.
            let _ = self.raw.socket.shutdown(Shutdown::Write);
        }
        self.got == self.owed.len() || self.raw.ended.is_some()
    }

    fn take_frames(&mut self) {
        while let Some((first, payload)) = self.raw.next_frame() {
            if first == CLOSE {
                assert_eq!(payload[..2], 1013u16.to_be_bytes(), "{}", payload.escape_ascii());
                self.raw.will_say(raw::close(1013, ""));
                self.raw.push();
            } else {
                assert!(payload == self.owed[self.got], "what comes is what was owed");
                self.got += 1;
            }
        }
    }

    fn is_unserved(&self) -> bool {
        self.got < self.owed.len()
    }
}

/// Plays a scenario with plenty, with nothing large, and with each allocation refused once.
fn try_all(name: &str, scenario: fn(&mut Plan)) {
    try_with(name, SIZES, MOST_TRIES, scenario);
}

/// The same with other sizes, and so many that are refused once.
fn try_with(name: &str, sizes: [usize; 4], most_tries: usize, scenario: fn(&mut Plan)) {
    // What a panic of zlib-rs's, which is caught, would keep in memory is none of the library's.
    alone_with(name, &[("RUST_BACKTRACE", "0")], || {
        let play = |plan: Plan, what: &str| {
            eprintln!("{name}: {what}");
            REFUSED.set(0);
            let before = ALLOCATED.get();
            let mut plan = plan;
            scenario(&mut plan);
            COUNTED.set(plan.left.map_or(0, |left| usize::MAX - left));
            (before, ALLOCATED.get())
        };
        // What is made once and for all is there after the first time.
        play(PLENTY, "warming up");
        let check = |(before, after): (usize, usize)| assert_eq!(after, before, "bytes after and before");
        check(play(PLENTY, "plenty"));
        for least in sizes {
            check(play(Plan { least, left: None }, &format!("nothing from {least} bytes on")));
        }
        check(play(Plan { least: LEAST, left: Some(usize::MAX) }, "counting"));
        let most = COUNTED.get();
        assert!(most > 0, "nothing is allocated here");
        for try_number in 0..most.min(most_tries) {
            let nth = try_number * most / most.min(most_tries);
            check(play(Plan { least: LEAST, left: Some(nth) }, &format!("without number {nth} of {most}")));
        }
    });
}

thread_local! {
    /// Allocations that the last scenario has asked for.
    static COUNTED: Cell<usize> = const { Cell::new(0) };
}

// --- the scenarios ----------------------------------------------------------------------------------------------

#[test]
fn long_messages_and_fragments_survive() {
    try_all("long_messages_and_fragments_survive", |plan| {
        let mut stage = Stage::new(*plan, Listen::default(), None);
        let mut bystander = stage.opened();
        let big = pattern(3 << 19);
        let text = "다리 bridge ".repeat(20_000).into_bytes();
        let fragments = pattern(200_000);
        let mut in_pieces = frame(BINARY & 0x7f, &fragments[..1_000]);
        for piece in fragments[1_000..].chunks(3_000) {
            in_pieces.extend_from_slice(&frame(0, piece));
        }
        in_pieces.extend_from_slice(&frame(0x80, b""));
        let guests =
            [(frame(BINARY, &big), vec![big]), (frame(TEXT, &text), vec![text]), (in_pieces, vec![fragments])];
        let guests = guests.map(|(says, owed)| Guest::new(stage.opened(), says, owed)).into();
        stage.serve(guests);
        *plan = stage.prove(&mut bystander);
    });
}

#[test]
fn crowds_of_small_messages_and_pings_survive() {
    try_all("crowds_of_small_messages_and_pings_survive", |plan| {
        let mut stage = Stage::new(*plan, Listen::default(), None);
        let mut bystander = stage.opened();
        let crowd = frame(TEXT, b"abc").repeat(60_000);
        let pings = frame(PING, &[b'p'; 100]).repeat(3_000);
        let middle = pattern(6_000);
        let guests = [
            (crowd, vec![b"abc".to_vec(); 60_000]),
            (pings, vec![vec![b'p'; 100]; 3_000]),
            (frame(BINARY, &middle).repeat(100), vec![middle; 100]),
        ];
        let guests = guests.map(|(says, owed)| Guest::new(stage.opened(), says, owed)).into();
        stage.serve(guests);
        *plan = stage.prove(&mut bystander);
    });
}

/// Peers that listen only after they have said everything, so that queues grow.
#[test]
fn slow_readers_survive_whatever_the_policy() {
    try_all("slow_readers_survive_whatever_the_policy", |plan| {
        for slow in [Slow::Refuse, Slow::DropOldest] {
            let limits = Limits { high_water: 8 << 20, low_water: 1 << 20, slow, ..Limits::default() };
            let mut stage = Stage::new(*plan, Listen { limits, ..Listen::default() }, None);
            let mut bystander = stage.opened();
            let mut guests = Vec::new();
            for size in [3, 700, 5_000, 150_000] {
                let payload = pattern(size);
                let count = (3 << 19) / (size + 600);
                let mut raw = Raw::connect_narrow(stage.port);
                stage.open(&mut raw);
                let says = [frame(BINARY, &payload).repeat(count), frame(PING, b"p")].concat();
                let owed = [vec![payload; count], vec![b"p".to_vec()]].concat();
                guests.push(Guest { is_deaf: true, ..Guest::new(raw, says, owed) });
            }
            stage.serve(guests);
            *plan = stage.prove(&mut bystander);
        }
    });
}

#[test]
fn what_is_published_to_slow_readers_survives() {
    try_all("what_is_published_to_slow_readers_survives", |plan| {
        let limits = Limits { high_water: 8 << 20, low_water: 1 << 20, ..Limits::default() };
        let mut stage = Stage::new(*plan, Listen { limits, ..Listen::default() }, Some("all"));
        let mut bystander = stage.opened();
        let mut deaf = Vec::new();
        for _ in 0..3 {
            let mut raw = Raw::connect_narrow(stage.port);
            stage.open(&mut raw);
            deaf.push(raw);
        }
        let mut speaker = stage.opened();
        let says = [frame(BINARY, &pattern(100_000)).repeat(10), frame(TEXT, &[b'x'; 3_000]).repeat(300)].concat();
        speaker.will_say([says, frame(PING, b"all")].concat());
        // What it has published comes back to the speaker, too: what it waits for comes behind all of that.
        stage.until("all is published", |_| {
            speaker.push();
            while let Some((first, payload)) = speaker.take_frame() {
                match first {
                    PONG => return true,
                    CLOSE => assert_eq!(payload[..2], 1013u16.to_be_bytes()),
                    _ => {}
                }
            }
            speaker.ended.is_some()
        });
        stage.judge();
        *plan = stage.prove(&mut bystander);
    });
}

#[test]
fn long_heads_and_bodies_survive() {
    try_all("long_heads_and_bodies_survive", |plan| {
        let how = Listen {
            limits: Limits { deflate: Some(Deflate::default()), ..Limits::default() },
            protocols: vec!["chat".to_owned()],
            ..Listen::default()
        };
        let mut stage = Stage::new(*plan, how, None);
        let mut bystander = stage.opened();
        let body = pattern(150_000);
        let head = "Host: localhost\r\n".to_owned() + &"X-Long: yes and no and yes and no\r\n".repeat(90);
        let with_length = [
            format!("POST /{} HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n", "a".repeat(8_000), body.len())
                .as_bytes(),
            &body,
        ]
        .concat();
        let mut in_chunks = format!("POST / HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for chunk in body.chunks(5_000) {
            in_chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            in_chunks.extend_from_slice(chunk);
            in_chunks.extend_from_slice(b"\r\n");
        }
        in_chunks.extend_from_slice(b"0\r\n\r\n");
        let mut guests = vec![
            Guest::http(stage.port, with_length, vec![body.clone()]),
            Guest::http(stage.port, in_chunks, vec![body]),
        ];
        let lists = [
            ("Sec-WebSocket-Protocol", (0..1_000).map(|n| format!("p{n}")).collect::<Vec<_>>().join(",")),
            ("Sec-WebSocket-Extensions", vec!["x"; 7_000].join(",")),
            ("Sec-WebSocket-Extensions", "permessage-deflate;".to_owned() + &"x".repeat(13_000)),
            ("Origin", "http://".to_owned() + &"a".repeat(6_000)),
        ];
        for (name, value) in lists {
            let host = if name == "Origin" { &value["http://".len()..] } else { "localhost" };
            let hello =
                String::from_utf8(HELLO.to_vec()).unwrap().replace("Host: localhost", &format!("Host: {host}"));
            let hello = hello.replacen("\r\n\r\n", &format!("\r\n{name}: {value}\r\n\r\n"), 1);
            let mut says = hello.into_bytes();
            says.extend_from_slice(&frame(TEXT, b"in"));
            let raw = Raw::connect(stage.port);
            guests.push(Guest { is_shaking_hands: true, ..Guest::new(raw, says, vec![b"in".to_vec()]) });
        }
        stage.serve(guests);
        *plan = stage.prove(&mut bystander);
    });
}

#[test]
fn many_who_come_at_once_survive() {
    try_all("many_who_come_at_once_survive", |plan| {
        let mut stage = Stage::new(*plan, Listen::default(), Some("all"));
        let mut bystander = stage.opened();
        let says = [HELLO, &frame(PING, b"p")].concat();
        let come = |port| Guest {
            is_shaking_hands: true,
            ..Guest::new(Raw::connect(port), says.clone(), vec![b"p".to_vec()])
        };
        // In two waves, so that listeners' queues are long enough.
        let mut guests = Vec::new();
        for _ in 0..2 {
            let wave = (0..100).map(|_| come(stage.port)).collect();
            guests.push(stage.serve_and_keep(wave));
        }
        *plan = stage.prove(&mut bystander);
    });
}

#[test]
fn dials_with_and_without_compression_survive() {
    try_all("dials_with_and_without_compression_survive", |plan| {
        let text = "다리 bridge over the river ".repeat(3_000).into_bytes();
        let noise = pattern(90_000);
        for deflate in [None, Some(false), Some(true)] {
            let deflate = deflate.map(|takeover| Deflate { takeover, ..Deflate::default() });
            let limits = Limits { deflate, ..Limits::default() };
            let mut stage = Stage::new(*plan, Listen { limits: limits.clone(), ..Listen::default() }, None);
            let mut bystander = stage.opened();
            let url = format!("ws://127.0.0.1:{}/", stage.port);
            for message in [&text, &noise] {
                let asker = Asker { ends: stage.ends.clone(), message: message.clone(), rounds: 2 };
                let how = Connect { limits: limits.clone(), ..Connect::default() };
                stage.event_loop.net().connect(&url, how, Box::new(asker)).unwrap();
            }
            stage.until("all dials are done", |stage| stage.ends.0.borrow().done >= 2);
            *plan = stage.prove(&mut bystander);
        }
    });
}

#[test]
fn files_survive() {
    try_all("files_survive", |plan| {
        let folder = std::env::temp_dir().join(format!("dari-out-of-memory-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let content = pattern(300_000);
        std::fs::write(folder.join("file"), &content).unwrap();
        let how = Listen { folder: Some(folder.clone()), ..Listen::default() };
        let mut stage = Stage::new(*plan, how, None);
        let mut bystander = stage.opened();
        let request =
            "GET /file HTTP/1.1\r\nHost: localhost\r\n".to_owned() + &"If-None-Match: \"x\"\r\n".repeat(90) + "\r\n";
        let guests = (0..3)
            .map(|_| Guest::http(stage.port, request.repeat(2).into_bytes(), vec![content.clone(), content.clone()]));
        let guests = guests.collect();
        stage.serve(guests);
        *plan = stage.prove(&mut bystander);
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

#[test]
fn encrypted_connections_survive_what_is_large() {
    try_with("encrypted_connections_survive_what_is_large", SEALED_SIZES, 0, |plan| {
        let ca = Ca::new("memory");
        let mut stage = Stage::new(*plan, tls::listen(ca.server("localhost")), None);
        let url = format!("wss://localhost:{}/", stage.port);
        for size in [100, 5_000, 400_000] {
            let asker = Asker { ends: stage.ends.clone(), message: pattern(size), rounds: 2 };
            stage.event_loop.net().connect(&url, tls::trusting(ca.client()), Box::new(asker)).unwrap();
        }
        stage.until("all dials are done", |stage| stage.ends.0.borrow().done >= 3);
        *plan = std::mem::replace(&mut stage.plan, PLENTY);
        let asker = Asker { ends: stage.ends.clone(), message: pattern(100), rounds: 1 };
        let served = stage.ends.0.borrow().ended.len();
        stage.event_loop.net().connect(&url, tls::trusting(ca.client()), Box::new(asker)).unwrap();
        stage.until("one more is served", |stage| stage.ends.0.borrow().done >= 4);
        assert_eq!(stage.ends.0.borrow().ended.len(), served, "with plenty again nobody ends");
    });
}

// --- what is counted --------------------------------------------------------------------------------------------

/// How far what a loop says that connections use may be from what is allocated for them: by a part of it, and by some
/// bytes for each of them, for what it is that holds the rest.
const PART: usize = 100;
const EACH: usize = 1 << 10;

/// Has `crowd` peers make the loop hold something, at least `least` bytes, and compares what it says of that with what
/// was allocated.
fn compare<T>(what: &str, how: Listen, crowd: usize, least: usize, hold: impl Fn(&mut Stage, Raw) -> T) {
    let mut stage = Stage::new(PLENTY, how, None);
    let mut raws: Vec<Raw> = (0..=crowd).map(|_| Raw::connect_narrow(stage.port)).collect();
    stage.until("all are accepted", |stage| stage.event_loop.net().stats().accepted > crowd as u64);
    // The first one has the loop make what it has for all of them.
    let first = raws.pop().map(|raw| hold(&mut stage, raw));
    let (said, allocated) = (stage.event_loop.net().stats().memory, LIBRARY.get());
    let held: Vec<T> = raws.into_iter().map(|raw| hold(&mut stage, raw)).collect();
    let said = |stage: &mut Stage| usize::try_from(stage.event_loop.net().stats().memory - said).unwrap();
    stage.until("it holds what it is to hold", |stage| said(stage) >= least);
    let said = said(&mut stage);
    let allocated = LIBRARY.get().wrapping_sub(allocated);
    eprintln!("{what}: {said} bytes said, {allocated} allocated");
    let may_differ = allocated / PART + crowd * EACH;
    assert!(said.abs_diff(allocated) <= may_differ, "{what}: {said} bytes said, {allocated} allocated");
    drop((first, held));
}

#[test]
fn what_is_said_to_be_used_is_what_is_allocated() {
    let say = |stage: &mut Stage, raw: Raw, bytes: Vec<u8>| {
        let mut raw = raw;
        raw.will_say(bytes);
        stage.until("all is said", |_| raw.push());
        raw
    };
    for sent in [5_000, 200_000, 1_100_000] {
        compare(&format!("{sent} bytes of messages"), Listen::default(), 10, 10 * (sent - 20), |stage, mut raw| {
            stage.open(&mut raw);
            say(stage, raw, frame(BINARY, &vec![7; 3 << 20])[..sent].to_vec())
        });
    }
    // More than the kernel takes for those who do not listen.
    for size in [20, 700, 5_000, 150_000] {
        let limits = Limits { high_water: 64 << 20, max_backlog: 64 << 20, ..Limits::default() };
        let how = Listen { limits, ..Listen::default() };
        compare(&format!("queues of messages of {size} bytes"), how, 2, 1 << 20, |stage, mut raw| {
            stage.open(&mut raw);
            say(stage, raw, frame(BINARY, &vec![7; size]).repeat((12 << 20) / (size + 8)))
        });
    }
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\n".to_owned() + &"X-Long: yes and no and yes\r\n".repeat(80);
    compare("heads", Listen::default(), 10, 20_000, |stage, raw| say(stage, raw, head.clone().into_bytes()));
    compare("bodies", Listen::default(), 10, 2_000_000, |stage, raw| {
        let head = format!("{head}Content-Length: 800000\r\n\r\n").into_bytes();
        say(stage, raw, [head, vec![b'x'; 200_000]].concat())
    });
    let deflate = Some(Deflate { takeover: true, ..Deflate::default() });
    let limits = Limits { deflate, ..Limits::default() };
    let how = Listen { limits: limits.clone(), ..Listen::default() };
    compare("contexts of compression, at both ends", how, 5, 5 * 700_000, |stage, raw| {
        let asker = Asker { ends: stage.ends.clone(), message: pattern(1_000), rounds: 1 };
        let how = Connect { limits: limits.clone(), ..Connect::default() };
        let url = format!("ws://127.0.0.1:{}/", stage.port);
        let before = stage.ends.0.borrow().done;
        stage.event_loop.net().connect(&url, how, Box::new(asker)).unwrap();
        stage.until("it has its echo", |stage| stage.ends.0.borrow().done > before);
        raw
    });
    let ca = Ca::new("said");
    let client = ca.client();
    compare("encrypted connections, both ends", tls::listen(ca.server("localhost")), 10, 20 * 3_000, |stage, raw| {
        let asker = Asker { ends: stage.ends.clone(), message: pattern(1_000), rounds: 1 };
        let url = format!("wss://localhost:{}/", stage.port);
        let before = stage.ends.0.borrow().done;
        stage.event_loop.net().connect(&url, tls::trusting(client.clone()), Box::new(asker)).unwrap();
        stage.until("it has its echo", |stage| stage.ends.0.borrow().done > before);
        raw
    });
}
