//! What all test files share: a [`Bench`] (a loop with one listener and a log of every hook), and in `raw` a peer
//! that is nothing but a socket.
//!
//! The log checks what holds for every connection of every test: `open` before messages, `error` right before
//! `close` and with the same story, one `close`, and nothing after it. Waiting is always turning the loop, with a
//! deadline; nothing sleeps.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod dialled;
pub(crate) mod raw;
pub(crate) mod system;
pub(crate) mod tls;

use dari::{Close, Config, ConnId, Connect, Handler, Kind, Limits, Listen, ListenerId, Loop, Message, Net};
use raw::Raw;
use std::cell::{Ref, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Nothing takes this long on a machine that works.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// What a hook was told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Upgrade,
    Http,
    Open,
    Message(Kind, Vec<u8>),
    Drain,
    Pong(Vec<u8>),
    Error(Close),
    Close(Close),
}

#[derive(Clone, Copy, Debug, Default)]
struct Life {
    opened: bool,
    failed: bool,
    closed: bool,
}

/// All that the hooks of a test were told, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    told: Vec<(ConnId, Told)>,
    lives: HashMap<ConnId, Life>,
}

impl Log {
    fn note(&self, conn: ConnId, told: Told) {
        let mut inner = self.0.borrow_mut();
        let life = inner.lives.entry(conn).or_default();
        assert!(!life.closed, "{conn:?} was told {told:?} after its close");
        assert!(!life.failed || matches!(told, Told::Close(_)), "{conn:?} was told {told:?} after its error");
        match &told {
            Told::Open => {
                assert!(!life.opened, "{conn:?} opened twice");
                life.opened = true;
            }
            Told::Message(..) | Told::Pong(_) => assert!(life.opened, "{conn:?} was told {told:?} before its open"),
            Told::Upgrade | Told::Http => assert!(!life.opened, "{conn:?} was told {told:?} after its open"),
            Told::Drain => {}
            Told::Error(why) => {
                assert!(why.cause.is_failure(), "{why:?} is no failure");
                life.failed = true;
            }
            Told::Close(why) => {
                assert_eq!(life.failed, why.cause.is_failure(), "error comes before close iff it is a failure");
                assert_eq!(life.opened, why.opened, "{why:?}");
                assert!(why.text().starts_with(why.cause.text()), "{}", why.text());
                life.closed = true;
            }
        }
        inner.told.push((conn, told));
    }

    pub(crate) fn all(&self) -> Ref<'_, [(ConnId, Told)]> {
        Ref::map(self.0.borrow(), |inner| &inner.told[..])
    }

    pub(crate) fn count(&self, is: impl Fn(&Told) -> bool) -> usize {
        self.all().iter().filter(|(_, told)| is(told)).count()
    }

    pub(crate) fn opens(&self) -> usize {
        self.count(|told| matches!(told, Told::Open))
    }

    pub(crate) fn drains(&self) -> usize {
        self.count(|told| matches!(told, Told::Drain))
    }

    pub(crate) fn closes(&self) -> usize {
        self.count(|told| matches!(told, Told::Close(_)))
    }

    pub(crate) fn messages(&self) -> usize {
        self.count(|told| matches!(told, Told::Message(..)))
    }

    /// The payloads of all messages, in order.
    pub(crate) fn payloads(&self) -> Vec<Vec<u8>> {
        let payload = |(_, told): &(ConnId, Told)| match told {
            Told::Message(_, data) => Some(data.clone()),
            _ => None,
        };
        self.all().iter().filter_map(payload).collect()
    }

    /// How `conn` ended, if it has.
    pub(crate) fn end_of(&self, conn: ConnId) -> Option<Close> {
        self.all().iter().find_map(|(id, told)| match told {
            Told::Close(why) if *id == conn => Some(why.clone()),
            _ => None,
        })
    }

    /// The only end there was.
    pub(crate) fn end(&self) -> Close {
        let all = self.all();
        let mut ends = all.iter().filter_map(|(_, told)| match told {
            Told::Close(why) => Some(why.clone()),
            _ => None,
        });
        let end = ends.next().expect("a connection that ended");
        assert!(ends.next().is_none(), "one connection was expected to end");
        end
    }

    /// The ids, in the order in which they were first told.
    pub(crate) fn conns(&self) -> Vec<ConnId> {
        let mut conns = Vec::new();
        for (conn, _) in self.all().iter() {
            if !conns.contains(conn) {
                conns.push(*conn);
            }
        }
        conns
    }

    /// The last connection that opened.
    pub(crate) fn opened(&self) -> ConnId {
        let open = |(conn, told): &(ConnId, Told)| matches!(told, Told::Open).then_some(*conn);
        self.all().iter().rev().find_map(open).expect("a connection that opened")
    }

    /// The kinds of what was told, as one word each: for order and number.
    pub(crate) fn story(&self) -> String {
        let word = |(_, told): &(ConnId, Told)| match told {
            Told::Upgrade => "upgrade",
            Told::Http => "http",
            Told::Open => "open",
            Told::Message(..) => "message",
            Told::Drain => "drain",
            Told::Pong(_) => "pong",
            Told::Error(_) => "error",
            Told::Close(_) => "close",
        };
        self.all().iter().map(word).collect::<Vec<_>>().join(" ")
    }
}

type Act = Box<dyn FnMut(&mut Net, ConnId, &Told)>;

/// A handler that writes everything into a [`Log`], and then does what the test wants.
pub(crate) struct Hooks {
    log: Log,
    act: Act,
    later: bool,
}

impl Hooks {
    pub(crate) fn new(log: &Log, act: impl FnMut(&mut Net, ConnId, &Told) + 'static) -> Self {
        Self { log: log.clone(), act: Box::new(act), later: false }
    }

    pub(crate) fn quiet(log: &Log) -> Self {
        Self::new(log, |_, _, _| {})
    }

    pub(crate) fn echo(log: &Log) -> Self {
        Self::new(log, |net, conn, told| {
            if let Told::Message(kind, data) = told {
                net.send(conn, Message { kind: *kind, data }).unwrap();
            }
        })
    }

    /// Requests that `act` does not answer wait, instead of being answered by default.
    pub(crate) fn later(mut self) -> Self {
        self.later = true;
        self
    }

    fn tell(&mut self, net: &mut Net, conn: ConnId, told: Told) {
        self.log.note(conn, told.clone());
        (self.act)(net, conn, &told);
    }
}

impl Handler for Hooks {
    fn open(&mut self, net: &mut Net, conn: ConnId) {
        self.tell(net, conn, Told::Open);
    }

    fn message(&mut self, net: &mut Net, conn: ConnId, message: Message<'_>) {
        self.tell(net, conn, Told::Message(message.kind, message.data.to_vec()));
    }

    fn drain(&mut self, net: &mut Net, conn: ConnId) {
        self.tell(net, conn, Told::Drain);
    }

    fn pong(&mut self, net: &mut Net, conn: ConnId, data: &[u8]) {
        self.tell(net, conn, Told::Pong(data.to_vec()));
    }

    fn error(&mut self, net: &mut Net, conn: ConnId, why: &Close) {
        self.tell(net, conn, Told::Error(why.clone()));
    }

    fn close(&mut self, net: &mut Net, conn: ConnId, why: &Close) {
        self.tell(net, conn, Told::Close(why.clone()));
    }

    fn upgrade(&mut self, net: &mut Net, conn: ConnId) {
        self.tell(net, conn, Told::Upgrade);
        if !self.later && net.request(conn).is_some() {
            // Refused only if the test has ended it.
            let _ = net.accept(conn, None, &[]);
        }
    }

    fn http(&mut self, net: &mut Net, conn: ConnId) {
        self.tell(net, conn, Told::Http);
        if !self.later && net.request(conn).is_some() {
            net.respond_default(conn);
        }
    }
}

/// Answers from where the message lies, without a log: the way to echo that a program would take.
pub(crate) struct PlainEcho;

impl Handler for PlainEcho {
    fn message(&mut self, net: &mut Net, conn: ConnId, message: Message<'_>) {
        // Gone or slow is what some tests are about.
        let _ = net.send(conn, message);
    }
}

/// A loop with one listener on a free port of 127.0.0.1.
pub(crate) struct Bench {
    pub(crate) event_loop: Loop,
    pub(crate) log: Log,
    pub(crate) listener: ListenerId,
    pub(crate) port: u16,
}

impl Bench {
    /// `hooks` gets the log that it is to write to.
    pub(crate) fn new(how: Listen, hooks: impl FnOnce(&Log) -> Hooks) -> Self {
        Self::with(Config::default(), how, hooks)
    }

    pub(crate) fn with(config: Config, how: Listen, hooks: impl FnOnce(&Log) -> Hooks) -> Self {
        let log = Log::default();
        let handler = hooks(&log);
        Self::of(config, how, log, Box::new(handler))
    }

    pub(crate) fn of(config: Config, how: Listen, log: Log, handler: Box<dyn Handler>) -> Self {
        let mut event_loop = Loop::new(config).unwrap();
        let listener = event_loop.net().listen("127.0.0.1:0", how, handler).unwrap();
        let port = event_loop.net().listener_port(listener).unwrap();
        Self { event_loop, log, listener, port }
    }

    pub(crate) fn net(&mut self) -> &mut Net {
        self.event_loop.net()
    }

    /// One turn that hardly waits.
    pub(crate) fn turn(&mut self) {
        self.event_loop.turn(Some(1)).unwrap();
    }

    /// Turns until `done`, which may move raw peers on meanwhile. `what` is said when it takes too long.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}; told: {}", self.log.story());
            self.turn();
        }
    }

    /// The same for what is to be got. It turns nothing: that is up to `get`.
    #[track_caller]
    pub(crate) fn until_some<T>(&mut self, what: &str, mut get: impl FnMut(&mut Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(got) = get(self) {
                return got;
            }
            assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}; told: {}", self.log.story());
        }
    }

    /// Turns for a while: for what must not happen.
    pub(crate) fn turn_for(&mut self, ms: u64) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(ms) {
            self.turn();
        }
    }

    /// A raw peer that has connected and said nothing yet.
    pub(crate) fn raw(&self) -> Raw {
        Raw::connect(self.port)
    }

    /// A raw peer whose handshake is done; the 101 is taken off.
    #[track_caller]
    pub(crate) fn open_raw(&mut self) -> Raw {
        let mut raw = self.raw();
        raw.say(raw::HELLO);
        self.until("a raw peer opens", |_| raw.take_head().is_some());
        raw
    }

    /// A client of ours, on the same loop.
    pub(crate) fn dial(&mut self, hooks: Hooks) -> ConnId {
        self.dial_with(Connect::default(), hooks)
    }

    pub(crate) fn dial_with(&mut self, how: Connect, hooks: Hooks) -> ConnId {
        let url = format!("ws://127.0.0.1:{}/", self.port);
        self.net().connect(&url, how, Box::new(hooks)).unwrap()
    }

    /// Turns until one connection has ended, and tells how.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Close {
        self.until("a connection ends", |bench| bench.log.closes() > 0);
        self.log.end()
    }
}

/// Listening with other limits than the default ones.
pub(crate) fn limited(limits: Limits) -> Listen {
    Listen { limits, ..Listen::default() }
}

/// Random numbers that are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// Bytes that are different everywhere, so that nothing can be lost, doubled or moved unseen.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Descriptors of this process that are open.
pub(crate) fn open_descriptors() -> usize {
    // The one that reads the folder is in it.
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

pub(crate) const ALONE: &str = "DARI_TEST_ALONE";

/// Runs `test`, the body of the test `name`, in a process of its own.
#[track_caller]
pub(crate) fn alone(name: &str, test: impl FnOnce()) {
    alone_with(name, &[], test);
}

/// The same, with these variables in its environment.
#[track_caller]
pub(crate) fn alone_with(name: &str, variables: &[(&str, &str)], test: impl FnOnce()) {
    if std::env::var(ALONE).is_ok_and(|running| running == name) {
        return test();
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(ALONE, name);
    let output = child.envs(variables.iter().copied()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}
