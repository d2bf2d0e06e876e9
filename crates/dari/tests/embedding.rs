//! Embedded by its descriptor alone: the host polls it, and turns the loop when it is readable and only then.

mod common;

use common::raw::{HELLO, TEXT, black_hole, frame, frames, unmasked};
use common::system::readable;
use common::{Bench, DEADLINE, Hooks, Log, PlainEcho, Told, limited, pattern};
use dari::{Cause, Config, Connect, Limits, Listen, Message, Net, Readiness, RemoteCall};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Longer than anything here takes, in milliseconds.
const LONG: i32 = 5_000;

/// A bench and the descriptor by which it is driven, quiet to begin with.
fn embedded(how: Listen, hooks: impl FnOnce(&Log) -> Hooks) -> (Bench, RawFd) {
    quiet(Bench::new(how, hooks))
}

fn quiet(mut bench: Bench) -> (Bench, RawFd) {
    let fd = bench.net().fd().unwrap();
    assert_eq!(bench.net().fd().unwrap(), fd);
    settle(&mut bench, fd);
    (bench, fd)
}

/// Turns as long as there is something to do; there has to be an end of it.
#[track_caller]
fn settle(bench: &mut Bench, fd: RawFd) {
    let mut turns = 0;
    while readable(fd, 0) {
        bench.event_loop.turn(Some(0)).unwrap();
        turns += 1;
        assert!(turns < 10_000, "the descriptor stays readable");
    }
}

/// Turns when the descriptor says so, and never otherwise. Tells how many turns that took.
#[track_caller]
fn drive(bench: &mut Bench, fd: RawFd, what: &str, mut done: impl FnMut(&mut Bench) -> bool) -> usize {
    let start = Instant::now();
    let mut turns = 0;
    while !done(bench) {
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        // Raw peers are moved on by `done`, so there is no waiting for ever.
        if readable(fd, 1) {
            bench.event_loop.turn(Some(0)).unwrap();
            turns += 1;
        }
    }
    turns
}

#[test]
fn it_is_not_readable_while_nothing_happens() {
    let (mut bench, fd) = embedded(Listen::default(), Hooks::echo);
    assert!(!readable(fd, 50));
    let mut raw = bench.raw();
    raw.say(HELLO);
    assert!(readable(fd, LONG));
    drive(&mut bench, fd, "the 101", |_| raw.take_head().is_some());
    settle(&mut bench, fd);
    assert!(!readable(fd, 50), "an open connection is nothing to do");
}

#[test]
fn a_due_timer_makes_it_readable_and_firing_makes_it_quiet() {
    let (mut bench, fd) = embedded(Listen::default(), Hooks::quiet);
    let fired = Rc::new(RefCell::new(0));
    for delay in [30, 0, 60] {
        let fired = Rc::clone(&fired);
        bench.net().timer(delay, 0, Box::new(move |_, _| *fired.borrow_mut() += 1)).unwrap();
    }
    let start = Instant::now();
    for (n, least) in [(1, 0), (2, 29), (3, 59)] {
        while *fired.borrow() < n {
            assert!(readable(fd, LONG));
            bench.event_loop.turn(Some(0)).unwrap();
        }
        assert!(start.elapsed() >= Duration::from_millis(least));
    }
    settle(&mut bench, fd);
    assert!(!readable(fd, 20));
}

#[test]
fn a_timer_that_is_due_before_the_others_is_not_slept_over() {
    let (mut bench, fd) = embedded(Listen::default(), Hooks::quiet);
    bench.net().timer(60_000, 0, Box::new(|_, _| {})).unwrap();
    assert!(!readable(fd, 5));
    let fired = Rc::new(RefCell::new(0));
    let count = Rc::clone(&fired);
    let id = bench.net().timer(5, 10, Box::new(move |_, _| *count.borrow_mut() += 1)).unwrap();
    let turns = drive(&mut bench, fd, "five times", |_| *fired.borrow() == 5);
    assert!(turns <= 15, "{turns} turns for five timers");
    bench.net().cancel_timer(id).unwrap();
    // It may be readable once more, for the time at which the timer would have gone off.
    assert!(
        !readable(fd, 30) || {
            settle(&mut bench, fd);
            !readable(fd, 30)
        }
    );
    assert_eq!(*fired.borrow(), 5);
}

#[test]
fn what_is_called_between_turns_makes_it_readable() {
    let (mut bench, fd) = embedded(Listen::default(), |log| Hooks::quiet(log).later());
    let mut raw = bench.raw();
    raw.say(&[HELLO, &frame(TEXT, b"1"), &frame(TEXT, b"2")].concat());
    drive(&mut bench, fd, "the upgrade", |bench| bench.log.story() == "upgrade");
    settle(&mut bench, fd);
    let conn = bench.log.conns()[0];

    bench.net().accept(conn, None, &[]).unwrap();
    assert!(readable(fd, 0), "accept");
    drive(&mut bench, fd, "both messages", |bench| bench.log.messages() == 2);
    settle(&mut bench, fd);
    raw.take_head().unwrap();

    bench.net().send(conn, Message::text("hello")).unwrap();
    assert!(readable(fd, 0), "send");
    settle(&mut bench, fd);
    assert_eq!(raw.take_frame(), Some((TEXT, b"hello".to_vec())));

    bench.net().pause(conn).unwrap();
    raw.say(&frame(TEXT, b"3"));
    settle(&mut bench, fd);
    bench.net().resume(conn).unwrap();
    assert!(readable(fd, 0), "resume");
    drive(&mut bench, fd, "the message", |bench| bench.log.messages() == 3);
    settle(&mut bench, fd);

    bench.net().ping(conn, b"").unwrap();
    assert!(readable(fd, 0), "ping");
    settle(&mut bench, fd);
    bench.net().subscribe(conn, "t").unwrap();
    bench.net().publish("t", None, Message::text("news")).unwrap();
    assert!(readable(fd, 0), "publish");
    settle(&mut bench, fd);
    bench.net().close(conn, 1000, "").unwrap();
    assert!(readable(fd, 0), "close");
    settle(&mut bench, fd);
    raw.hear();
    assert!(raw.got.ends_with(&unmasked(0x88, &1000u16.to_be_bytes())));

    bench.net().abort(conn).unwrap();
    assert!(readable(fd, 0), "abort");
    settle(&mut bench, fd);
    assert_eq!(bench.log.end().cause, Cause::Abort);
    assert!(!readable(fd, 10));
}

#[test]
fn work_that_a_budget_left_over_keeps_it_readable() {
    let (mut bench, fd) = quiet(Bench::of(Config::default(), Listen::default(), Log::default(), Box::new(PlainEcho)));
    let mut raw = bench.raw();
    raw.say(HELLO);
    drive(&mut bench, fd, "the 101", |_| raw.take_head().is_some());
    let data = pattern(2 << 20);
    let (said, wanted) = frames(&data, 50_000);
    raw.will_say(said);
    drive(&mut bench, fd, "the echo", |_| {
        raw.push();
        raw.hear();
        raw.got.len() >= wanted.len()
    });
    assert!(raw.got == wanted);
    settle(&mut bench, fd);
    assert!(!readable(fd, 20));
}

#[test]
fn more_connections_than_one_turn_accepts_are_all_accepted() {
    let (mut bench, fd) = embedded(Listen::default(), Hooks::quiet);
    let mut raws: Vec<_> = (0..400).map(|_| bench.raw()).collect();
    raws.iter_mut().for_each(|raw| raw.say(HELLO));
    drive(&mut bench, fd, "all open", |bench| bench.log.opens() == 400);
    settle(&mut bench, fd);
    assert!(!readable(fd, 20));
}

#[test]
fn a_slow_reader_is_served_without_spinning() {
    let (mut bench, fd) = embedded(Listen::default(), Hooks::quiet);
    let mut raw = common::raw::Raw::connect_narrow(bench.port);
    raw.say(HELLO);
    drive(&mut bench, fd, "it opens", |bench| bench.log.opens() == 1);
    settle(&mut bench, fd);
    let conn = bench.log.opened();
    let data = pattern(12 << 20);
    bench.net().send(conn, Message::binary(&data)).unwrap();
    settle(&mut bench, fd);
    assert!(!readable(fd, 30), "only the peer can change anything now");
    drive(&mut bench, fd, "all of it", |_| {
        raw.hear();
        raw.got.len() >= data.len()
    });
    settle(&mut bench, fd);
    assert_eq!(bench.log.drains(), 1);
}

#[test]
fn deadlines_of_connections_make_it_readable() {
    let limits = Limits { idle_ms: 30, handshake_ms: 30, close_ms: 30, ..Limits::default() };
    let (mut bench, fd) = embedded(limited(limits), Hooks::quiet);
    let mut silent = bench.raw();
    drive(&mut bench, fd, "the silent one is dropped", |_| {
        silent.hear();
        silent.ended.is_some()
    });
    let mut raw = bench.raw();
    raw.say(HELLO);
    drive(&mut bench, fd, "the idle one is given up", |bench| bench.log.closes() == 1);
    assert_eq!(bench.log.end().cause, Cause::IdleTimeout);
    raw.hear();
    let mut raw = bench.raw();
    raw.say(HELLO);
    drive(&mut bench, fd, "it opens", |bench| bench.log.opens() == 2);
    settle(&mut bench, fd);
    let conn = bench.log.opened();
    bench.net().close(conn, 1000, "").unwrap();
    drive(&mut bench, fd, "the close times out", |bench| bench.log.closes() == 2);
    assert_eq!(bench.log.end_of(conn).unwrap().cause, Cause::CloseTimeout);
    drop(raw);
}

#[test]
fn the_deadline_of_a_dial_between_turns_makes_it_readable() {
    let (mut bench, fd) = embedded(Listen::default(), Hooks::quiet);
    let (hole, _fillers) = black_hole();
    let heard = Log::default();
    let how = Connect { limits: Limits { handshake_ms: 30, ..Limits::default() }, ..Connect::default() };
    let url = format!("ws://127.0.0.1:{}", hole.port);
    bench.net().connect(&url, how, Box::new(Hooks::quiet(&heard))).unwrap();
    assert!(readable(fd, LONG), "its deadline is slept over");
    drive(&mut bench, fd, "the end of the dial", |_| heard.closes() == 1);
    assert_eq!(heard.end().cause, Cause::HandshakeTimeout);
}

#[test]
fn a_dial_is_driven_by_the_descriptor() {
    let (mut bench, fd) = embedded(Listen::default(), Hooks::echo);
    let heard = Log::default();
    let hooks = Hooks::new(&heard, |net, conn, told| match told {
        Told::Open => drop(net.send(conn, Message::text("hello"))),
        Told::Message(..) => net.close(conn, 1000, "").unwrap(),
        _ => {}
    });
    bench.dial(hooks);
    let turns = drive(&mut bench, fd, "both ends", |bench| heard.closes() == 1 && bench.log.closes() == 1);
    assert!(turns < 50, "{turns} turns");
    assert_eq!(heard.story(), "open message close");
    settle(&mut bench, fd);
    assert!(!readable(fd, 10));
}

#[test]
fn other_threads_and_watches_make_it_readable() {
    struct Note(std::sync::mpsc::Sender<()>);
    impl RemoteCall for Note {
        fn call(self: Box<Self>, _: &mut Net) {
            self.0.send(()).unwrap();
        }
    }
    let (mut bench, fd) = embedded(Listen::default(), Hooks::quiet);
    let remote = bench.net().remote();
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        for _ in 0..3 {
            remote.call(Box::new(Note(sender.clone()))).unwrap();
        }
    });
    let mut calls = 0;
    drive(&mut bench, fd, "the calls", |_| {
        calls += receiver.try_iter().count();
        calls == 3
    });
    thread.join().unwrap();
    settle(&mut bench, fd);
    assert!(!readable(fd, 10));

    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let times = Rc::new(RefCell::new(0));
    let count = Rc::clone(&times);
    let on_read = Readiness { read: true, write: false };
    let ready = move |_: &mut Net, _, _| *count.borrow_mut() += 1;
    let watch = bench.net().watch(ours.as_raw_fd(), on_read, Box::new(ready)).unwrap();
    assert!(!readable(fd, 10));
    theirs.write_all(b"x").unwrap();
    for n in 1..=3 {
        assert!(readable(fd, LONG), "it was not read: it is still ready");
        bench.event_loop.turn(Some(0)).unwrap();
        assert_eq!(*times.borrow(), n);
    }
    (&ours).read_exact(&mut [0]).unwrap();
    settle(&mut bench, fd);
    assert!(!readable(fd, 10));
    bench.net().cancel_watch(watch).unwrap();
    theirs.write_all(b"x").unwrap();
    settle(&mut bench, fd);
    assert_eq!(*times.borrow(), 3);

    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let ready = |net: &mut Net, id, _: Readiness| net.cancel_watch(id).unwrap();
    bench.net().watch(file.as_raw_fd(), on_read, Box::new(ready)).unwrap();
    assert!(readable(fd, 0), "a plain file is always ready");
    settle(&mut bench, fd);
    assert!(!readable(fd, 10));
}

#[test]
fn the_timeout_says_what_the_descriptor_says() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    bench.turn();
    let idle = Limits::default().idle_ms;
    assert!(bench.net().timeout().is_some_and(|ms| ms > 50 && ms <= idle));
    bench.net().timer(50, 0, Box::new(|_, _| {})).unwrap();
    assert!(bench.net().timeout().is_some_and(|ms| ms <= 50));
    bench.net().send(conn, Message::text("now")).unwrap();
    assert_eq!(bench.net().timeout(), Some(0));
    bench.turn();
    raw.hear();
    assert!(bench.net().timeout() != Some(0));
}
