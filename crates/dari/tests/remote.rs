//! Other threads: what they may ask of a loop, what becomes of it, and how much of it waits.

mod common;

use common::raw::{HELLO, Raw, TEXT, frame, wait_for};
use common::system::{Counting, readable};
use common::{Bench, Hooks, Told};
use dari::{Config, ConnId, Error, Handler, Limits, Listen, Loop, Message, NEVER, Net, Remote, RemoteCall, Squeeze};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Entries that may wait, and that one turn does.
const MOST: usize = 64 << 10;
const SHARE: usize = 1024;

fn new_loop() -> Loop {
    Loop::new(Config::default()).unwrap()
}

// --- calls ------------------------------------------------------------------------------------------------------

/// Notes its number when it is called, and counts when it is dropped.
struct Call {
    thread: usize,
    number: usize,
    called: Arc<Mutex<Vec<(usize, usize)>>>,
    dropped: Arc<AtomicUsize>,
}

impl RemoteCall for Call {
    fn call(self: Box<Self>, _: &mut Net) {
        self.called.lock().unwrap().push((self.thread, self.number));
    }

    fn dropped(self: Box<Self>) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn calls_of_many_threads_arrive_once_each_and_in_the_order_of_their_thread() {
    const THREADS: usize = 4;
    const CALLS: usize = 10_000;
    let mut event_loop = new_loop();
    let called = Arc::new(Mutex::new(Vec::new()));
    let dropped = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (remote, called, dropped) = (event_loop.net().remote(), Arc::clone(&called), Arc::clone(&dropped));
            std::thread::spawn(move || {
                for number in 0..CALLS {
                    let (called, dropped) = (Arc::clone(&called), Arc::clone(&dropped));
                    remote.call(Box::new(Call { thread, number, called, dropped })).unwrap();
                }
            })
        })
        .collect();
    wait_for("all calls", || {
        // Without an end: only being woken lets it go on.
        event_loop.turn(Some(1000)).unwrap();
        (called.lock().unwrap().len() == THREADS * CALLS).then_some(())
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    event_loop.turn(Some(0)).unwrap();
    let called = called.lock().unwrap();
    for thread in 0..THREADS {
        let numbers = called.iter().filter(|call| call.0 == thread).map(|call| call.1);
        assert!(numbers.eq(0..CALLS), "thread {thread}");
    }
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
}

fn call_numbered(
    remote: &Remote,
    number: usize,
    called: &Arc<Mutex<Vec<(usize, usize)>>>,
    dropped: &Arc<AtomicUsize>,
) {
    let (called, dropped) = (Arc::clone(called), Arc::clone(dropped));
    remote.call(Box::new(Call { thread: 0, number, called, dropped })).unwrap();
}

#[test]
fn calls_that_were_not_made_are_dropped_when_the_loop_closes() {
    let mut event_loop = new_loop();
    let (called, dropped) = (Arc::default(), Arc::default());
    let remote = event_loop.net().remote();
    for number in 0..3 {
        call_numbered(&remote, number, &called, &dropped);
    }
    event_loop.close();
    assert_eq!((called.lock().unwrap().len(), dropped.load(Ordering::Relaxed)), (0, 3));
    let call = Box::new(Call { thread: 0, number: 3, called: Arc::clone(&called), dropped: Arc::clone(&dropped) });
    assert_eq!(remote.call(call), Err(Error::Stale));
}

#[test]
fn calls_that_were_not_made_are_dropped_when_the_loop_is() {
    let mut event_loop = new_loop();
    let (called, dropped) = (Arc::default(), Arc::default());
    let remote = event_loop.net().remote();
    for number in 0..3 {
        call_numbered(&remote, number, &called, &dropped);
    }
    drop(event_loop);
    assert_eq!((called.lock().unwrap().len(), dropped.load(Ordering::Relaxed)), (0, 3));
    let call = Box::new(Call { thread: 0, number: 3, called: Arc::clone(&called), dropped: Arc::clone(&dropped) });
    assert_eq!(remote.call(call), Err(Error::Stale));
    // Too late, and harmless.
    let _ = remote.stop();
}

#[test]
fn more_than_can_wait_is_refused_and_none_of_it_is_lost() {
    let mut event_loop = new_loop();
    let (called, dropped): (Arc<Mutex<Vec<_>>>, Arc<_>) = (Arc::default(), Arc::default());
    let remote = event_loop.net().remote();
    for number in 0..MOST {
        call_numbered(&remote, number, &called, &dropped);
    }
    let one_more =
        Box::new(Call { thread: 0, number: 0, called: Arc::clone(&called), dropped: Arc::clone(&dropped) });
    assert_eq!(remote.call(one_more), Err(Error::Full));
    assert_eq!(remote.publish("all", Message::text("x"), Squeeze::Auto), Err(Error::Full));
    event_loop.turn(Some(0)).unwrap();
    assert_eq!(called.lock().unwrap().len(), SHARE);
    // What the loop has taken waits no longer.
    call_numbered(&remote, MOST, &called, &dropped);
    wait_for("all of it", || {
        // Without an end: it has to wake itself.
        event_loop.turn(None).unwrap();
        (called.lock().unwrap().len() > MOST).then_some(())
    });
    assert!(called.lock().unwrap().iter().map(|call| call.1).eq(0..=MOST));
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
}

#[test]
fn what_is_left_over_from_a_turn_is_dropped_when_the_loop_closes() {
    let mut event_loop = new_loop();
    let (called, dropped) = (Arc::default(), Arc::default());
    let remote = event_loop.net().remote();
    for number in 0..SHARE + 10 {
        call_numbered(&remote, number, &called, &dropped);
    }
    event_loop.turn(Some(0)).unwrap();
    call_numbered(&remote, 0, &called, &dropped);
    event_loop.close();
    drop(event_loop);
    assert_eq!((called.lock().unwrap().len(), dropped.load(Ordering::Relaxed)), (SHARE, 11));
}

#[test]
fn what_stands_behind_a_call_that_panics_is_dropped_with_the_loop() {
    struct Panics;
    impl RemoteCall for Panics {
        fn call(self: Box<Self>, _: &mut Net) {
            panic!("on purpose");
        }
    }
    let mut event_loop = new_loop();
    let (called, dropped) = (Arc::default(), Arc::default());
    let remote = event_loop.net().remote();
    call_numbered(&remote, 0, &called, &dropped);
    remote.call(Box::new(Panics)).unwrap();
    call_numbered(&remote, 1, &called, &dropped);
    assert!(catch_unwind(AssertUnwindSafe(|| event_loop.turn(Some(0)))).is_err());
    drop(event_loop);
    assert_eq!((called.lock().unwrap().len(), dropped.load(Ordering::Relaxed)), (1, 1));
}

#[test]
fn what_is_dropped_may_ask_again_and_is_told_that_the_loop_is_gone() {
    struct Again(Remote, mpsc::Sender<Result<(), Error>>);
    impl RemoteCall for Again {
        fn call(self: Box<Self>, _: &mut Net) {}
        fn dropped(self: Box<Self>) {
            let Self(remote, answers) = *self;
            answers.send(remote.publish("all", Message::text("x"), Squeeze::Auto)).unwrap();
            answers.send(remote.clone().call(Box::new(Self(remote, answers.clone())))).unwrap();
        }
    }
    let mut event_loop = new_loop();
    let remote = event_loop.net().remote();
    let (sender, answers) = mpsc::channel();
    remote.call(Box::new(Again(remote.clone(), sender))).unwrap();
    event_loop.close();
    assert_eq!(answers.iter().collect::<Vec<_>>(), [Err(Error::Stale), Err(Error::Stale)]);
}

#[test]
fn the_room_that_a_burst_has_taken_is_given_back_before_the_loop_sleeps() {
    struct Nothing;
    impl RemoteCall for Nothing {
        fn call(self: Box<Self>, _: &mut Net) {}
    }
    let mut event_loop = new_loop();
    let remote = event_loop.net().remote();
    let before = Counting::live();
    for _ in 0..MOST {
        remote.call(Box::new(Nothing)).unwrap();
    }
    assert!(Counting::live() - before > 1 << 20);
    for _ in 0..MOST / SHARE {
        event_loop.turn(Some(0)).unwrap();
    }
    assert!(Counting::live() - before < 1 << 10, "{} bytes", Counting::live() - before);
}

#[test]
fn a_call_may_send_and_may_call_again() {
    struct Again(Remote, u32);
    impl RemoteCall for Again {
        fn call(self: Box<Self>, net: &mut Net) {
            net.publish("all", None, Message::text(&self.1.to_string())).unwrap();
            if self.1 > 0 {
                self.0.call(Box::new(Self(self.0.clone(), self.1 - 1))).unwrap();
            }
        }
    }
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Open = told {
                net.subscribe(conn, "all").unwrap();
            }
        })
    });
    let mut raw: Raw = bench.open_raw();
    let remote = bench.net().remote();
    remote.call(Box::new(Again(remote.clone(), 3))).unwrap();
    let mut heard = Vec::new();
    bench.until("all of them", |_| {
        heard.extend(raw.take_frame().map(|(_, payload)| payload));
        heard.len() == 4
    });
    assert_eq!(heard, [b"3", b"2", b"1", b"0"]);
}

// --- messages ---------------------------------------------------------------------------------------------------

/// A bench whose connections are all subscribed, and a peer with its id.
fn subscribed(limits: Limits) -> (Bench, Raw, ConnId) {
    let mut bench = Bench::new(Listen { limits, ..Listen::default() }, |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Open = told {
                net.subscribe(conn, "all").unwrap();
            }
        })
    });
    let raw = bench.open_raw();
    let conn = bench.log.opened();
    (bench, raw, conn)
}

fn send(remote: &Remote, conn: ConnId, text: &str) {
    remote.send(conn, Message::text(text), Squeeze::Auto).unwrap();
}

fn publish(remote: &Remote, text: &str) {
    remote.publish("all", Message::text(text), Squeeze::Auto).unwrap();
}

#[test]
fn sends_publishes_calls_and_closes_of_one_thread_are_done_in_their_order() {
    struct Says(&'static str);
    impl RemoteCall for Says {
        fn call(self: Box<Self>, net: &mut Net) {
            net.publish("all", None, Message::text(self.0)).unwrap();
        }
    }
    let (mut bench, mut raw, conn) = subscribed(Limits::default());
    let remote = bench.net().remote();
    let thread = std::thread::spawn(move || {
        send(&remote, conn, "1");
        publish(&remote, "2");
        remote.call(Box::new(Says("3"))).unwrap();
        send(&remote, conn, "4");
        remote.close(conn, 4000, "5").unwrap();
        send(&remote, conn, "too late");
    });
    let mut heard = Vec::new();
    bench.until("the close", |_| {
        heard.extend(raw.take_frame().map(|(_, payload)| payload));
        heard.len() == 5
    });
    thread.join().unwrap();
    assert_eq!(heard, [&b"1"[..], b"2", b"3", b"4", b"\x0f\xa05"]);
    bench.turn();
    assert_eq!(raw.take_frame(), None);
}

#[test]
fn a_message_is_compressed_or_not_as_it_was_asked_for() {
    let (mut bench, _, _) = subscribed(Limits { deflate: Some(dari::Deflate::default()), ..Limits::default() });
    let remote = bench.net().remote();
    let mut raw = bench.raw();
    raw.say(&[&HELLO[..HELLO.len() - 2], b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"].concat());
    bench.until("it opens", |bench| raw.take_head().is_some() && bench.log.opens() == 2);
    let conn = bench.log.opened();
    // Too short to be compressed unasked.
    let text = Message::text("tralalalalalalala");
    for squeeze in [Squeeze::Auto, Squeeze::Yes, Squeeze::No] {
        remote.send(conn, text, squeeze).unwrap();
        remote.publish("all", text, squeeze).unwrap();
    }
    let mut firsts = Vec::new();
    bench.until("all of them", |_| {
        firsts.extend(raw.take_frame().map(|(first, _)| first));
        firsts.len() == 6
    });
    assert_eq!(firsts, [0x81, 0x81, 0xc1, 0xc1, 0x81, 0x81]);
}

#[test]
fn wrong_arguments_are_told_at_the_call_and_leave_nothing() {
    let (mut bench, mut raw, conn) = subscribed(Limits::default());
    let remote = bench.net().remote();
    let bad = Message { kind: dari::Kind::Text, data: b"ab\xff" };
    let long = "x".repeat(1025);
    assert!(matches!(remote.send(conn, bad, Squeeze::Auto), Err(Error::Argument(_))));
    assert!(matches!(remote.publish("all", bad, Squeeze::Auto), Err(Error::Argument(_))));
    for topic in ["", &long] {
        let refused = remote.publish(topic, Message::text("x"), Squeeze::Auto);
        assert!(matches!(refused, Err(Error::Argument(_))));
    }
    for code in [1, 999, 1005, 1006, 1015, 2999, 5000] {
        assert!(matches!(remote.close(conn, code, ""), Err(Error::Argument(_))), "{code}");
    }
    assert!(matches!(remote.close(conn, 0, "why"), Err(Error::Argument(_))));
    assert!(matches!(remote.close(conn, 1000, &long[..124]), Err(Error::TooBig(_))));
    publish(&remote, &long);
    bench.until("the only message", |_| raw.take_frame().is_some_and(|(_, payload)| payload == long.as_bytes()));
    assert_eq!(bench.log.story(), "upgrade open");
}

#[test]
fn what_has_gone_or_is_not_open_is_passed_over() {
    let (mut bench, mut raw, gone) = subscribed(Limits::default());
    let remote = bench.net().remote();
    bench.net().abort(gone).unwrap();
    bench.until("the end", |bench| bench.log.closes() == 1);
    let mut other = bench.open_raw();
    let here = bench.log.opened();
    let connecting = bench.dial(Hooks::quiet(&common::Log::default()));
    for conn in [gone, connecting] {
        send(&remote, conn, "nobody");
    }
    remote.close(gone, 1000, "").unwrap();
    send(&remote, here, "somebody");
    bench.until("the message", |_| other.take_frame() == Some((0x81, b"somebody".to_vec())));
    assert_eq!(raw.take_frame(), None);
    bench.until("the dial", |bench| bench.net().state(connecting) == dari::State::Open);
    assert_eq!(bench.log.messages(), 0);
}

#[test]
fn a_connection_without_room_is_told_what_it_did_not_get() {
    #[derive(Clone, Default)]
    struct Told(Rc<RefCell<Vec<ConnId>>>, Rc<RefCell<Vec<(usize, usize)>>>);
    impl Handler for Told {
        fn open(&mut self, net: &mut Net, conn: ConnId) {
            net.subscribe(conn, "all").unwrap();
            self.0.borrow_mut().push(conn);
        }
        fn dropped(&mut self, _: &mut Net, _: ConnId, messages: usize, bytes: usize) {
            self.1.borrow_mut().push((messages, bytes));
        }
    }
    const LONG: usize = 4 << 20;
    let told = Told::default();
    let limits = Limits { max_backlog: 1 << 10, ..Limits::default() };
    let how = Listen { limits, ..Listen::default() };
    let mut bench = Bench::of(Config::default(), how, common::Log::default(), Box::new(told.clone()));
    let mut deaf = Raw::connect_narrow(bench.port);
    deaf.say(HELLO);
    bench.until("it opens", |_| told.0.borrow().len() == 1);
    let (conn, remote) = (told.0.borrow()[0], bench.net().remote());
    let data = vec![7; LONG];
    for _ in 0..2 {
        remote.send(conn, Message::binary(&data), Squeeze::Auto).unwrap();
        remote.publish("all", Message::binary(&data), Squeeze::Auto).unwrap();
    }
    bench.turn();
    assert_eq!(*told.1.borrow(), [(3, 3 * LONG)]);
}

#[test]
fn at_most_so_many_bytes_wait_and_one_that_never_could_is_told_so() {
    const MIB: usize = 1 << 20;
    let limits = Limits { max_backlog: usize::MAX, stall_ms: NEVER, ..Limits::default() };
    let (mut bench, mut raw, conn) = subscribed(limits);
    let remote = bench.net().remote();
    let data = vec![7; 64 * MIB + 1];
    let send = |len| remote.send(conn, Message::binary(&data[..len]), Squeeze::No);
    let publish = |len| remote.publish("all", Message::binary(&data[..len]), Squeeze::No);
    assert!(matches!(send(64 * MIB + 1), Err(Error::TooBig(_))));
    // The name of the topic counts, too.
    assert!(matches!(publish(64 * MIB - 2), Err(Error::TooBig(_))));
    for round in 0..2 {
        assert_eq!(publish(32 * MIB - 3), Ok(()));
        assert_eq!(send(32 * MIB - 4), Ok(()));
        assert_eq!(publish(2), Err(Error::Full));
        assert_eq!(send(5), Err(Error::Full));
        assert_eq!(remote.close(conn, 1000, "bye, all"), Err(Error::Full));
        assert_eq!(publish(1), Ok(()));
        assert_eq!(send(1), Err(Error::Full));
        let frames = 20 + 64 * MIB - 6 + 2;
        bench.until("all of them", |_| {
            raw.hear();
            raw.heard >= (round + 1) * frames
        });
        let lens: Vec<usize> = std::iter::from_fn(|| raw.next_frame()).map(|(_, payload)| payload.len()).collect();
        assert_eq!(lens, [32 * MIB - 3, 32 * MIB - 4, 1]);
    }
    assert_eq!(remote.close(conn, 1000, ""), Ok(()));
}

// --- stopping ---------------------------------------------------------------------------------------------------

#[test]
fn stop_from_another_thread_ends_run_and_the_loop_lives_on() {
    let mut bench = Bench::new(Listen::default(), Hooks::echo);
    let mut raw = bench.open_raw();
    for _ in 0..3 {
        let remote = bench.net().remote();
        let (running, waits) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            waits.recv().unwrap();
            remote.stop().unwrap();
        });
        bench.net().timer(0, 0, Box::new(move |_, _| running.send(()).unwrap())).unwrap();
        bench.event_loop.run().unwrap();
        thread.join().unwrap();
        raw.say(&frame(TEXT, b"still there?"));
        bench.until("an echo", |_| raw.take_frame().is_some());
    }
    // Before it runs, a stop counts as well.
    bench.net().remote().stop().unwrap();
    bench.event_loop.run().unwrap();
    bench.net().stop();
    bench.event_loop.run().unwrap();
}

#[test]
fn what_is_left_over_from_a_turn_makes_the_descriptor_readable() {
    let mut event_loop = new_loop();
    let fd = event_loop.net().fd().unwrap();
    let (called, dropped): (Arc<Mutex<Vec<_>>>, _) = (Arc::default(), Arc::default());
    let remote = event_loop.net().remote();
    for number in 0..SHARE + 1 {
        call_numbered(&remote, number, &called, &dropped);
    }
    for done in [SHARE, SHARE + 1] {
        assert!(readable(fd, 10_000));
        event_loop.turn(Some(0)).unwrap();
        assert_eq!(called.lock().unwrap().len(), done);
    }
    event_loop.turn(Some(0)).unwrap();
    assert!(!readable(fd, 10));
}

// --- several loops ----------------------------------------------------------------------------------------------

#[test]
fn what_is_published_to_all_reaches_every_loop_but_not_the_one_who_is_excepted() {
    let mut rooms: Vec<_> = (0..3).map(|_| subscribed(Limits::default())).collect();
    let mut speaker = rooms[1].0.open_raw();
    let except = rooms[1].0.log.opened();
    let remotes: Vec<Remote> = rooms.iter_mut().map(|(bench, ..)| bench.net().remote()).collect();
    let long = "long ".repeat(1_000);
    for text in ["short", &long] {
        let taken = Remote::publish_all(&remotes, "all", Some(except), Message::text(text), Squeeze::Auto);
        assert_eq!(taken, Ok(3));
        for (bench, raw, _) in &mut rooms {
            bench.until("the message", |_| raw.take_frame() == Some((0x81, text.as_bytes().to_vec())));
        }
    }
    assert_eq!(speaker.take_frame(), None);
    assert_eq!(Remote::publish_all([], "all", None, Message::text("x"), Squeeze::Auto), Ok(0));
}

#[test]
fn a_loop_without_room_or_gone_is_passed_over_and_the_others_get_it() {
    let (mut full, mut gone) = (new_loop(), new_loop());
    let (mut bench, mut raw, _) = subscribed(Limits::default());
    let remotes = [gone.net().remote(), full.net().remote(), bench.net().remote()];
    gone.close();
    let data = vec![7; 64 << 20];
    let all = |len| Remote::publish_all(&remotes, "all", None, Message::binary(&data[..len]), Squeeze::No);
    remotes[1].publish("all", Message::binary(&data[3..]), Squeeze::No).unwrap();
    assert_eq!(all(1), Ok(1));
    bench.until("the message", |_| raw.take_frame() == Some((0x82, vec![7])));
    full.turn(Some(0)).unwrap();
    assert_eq!(all(2), Ok(2));
    assert!(matches!(all(64 << 20), Err(Error::TooBig(_))));
}
