//! Long messages: put together where they were read to if they fit there, in memory of their own if not, and nobody
//! can tell which.

mod common;

use common::raw::{BINARY, HELLO, PING, PONG, TEXT, frame, header, unmasked};
use common::{Bench, Hooks, Log, PlainEcho, Random, Told, pattern};
use dari::{Cause, Config, ConnId, Handler, Listen, Message, Net, Sent};
use std::cell::RefCell;
use std::net::Shutdown;
use std::rc::Rc;

/// The smallest read there is, so that little is long: four reads are the most that one message is held for.
const READ: usize = 16 << 10;

fn small_reads() -> Config {
    Config { max_read: READ, ..Config::default() }
}

#[test]
fn messages_are_echoed_whole_and_in_order_wherever_reads_cut_them() {
    // Around what fits into a read, and into four.
    let sizes =
        [0, 10, 200, 5_000, READ - 8, READ - 7, READ + 1, 40_000, 4 * READ - 1, 4 * READ, 4 * READ + 1, 200_000];
    for seed in 0..12 {
        let mut random = Random(seed);
        let (mut said, mut wanted) = (Vec::new(), Vec::new());
        while said.len() < 2 << 20 {
            let size = sizes[random.below(sizes.len())] + random.below(3);
            if random.below(8) == 0 {
                said.extend(frame(PING, b"there?"));
                wanted.extend(unmasked(PONG, b"there?"));
            }
            if random.below(2) == 0 {
                let text = "\u{b2e4}\u{b9ac} ".repeat(size / 7 + 1);
                said.extend(frame(TEXT, text.as_bytes()));
                wanted.extend(unmasked(TEXT, text.as_bytes()));
            } else {
                let data = pattern(size);
                said.extend(frame(BINARY, &data));
                wanted.extend(unmasked(BINARY, &data));
            }
        }
        let mut bench = Bench::of(small_reads(), Listen::default(), Log::default(), Box::new(PlainEcho));
        let mut raw = bench.raw();
        raw.say(HELLO);
        bench.until("it opens", |_| raw.take_head().is_some());
        // All that the kernel takes, or so little that the socket is empty in the middle of a message, or as much as some
        // reads have room for.
        let pace = random.below(3);
        raw.will_say(said);
        bench.until("the echo of everything", |_| {
            match pace {
                0 => raw.push(),
                1 => raw.push_some(random.below(60_000)),
                _ => raw.push_some(READ * (1 + random.below(4))),
            };
            raw.hear();
            raw.got.len() >= wanted.len()
        });
        assert!(raw.got == wanted, "seed {seed}");
    }
}

/// Echoes, and keeps how that went.
struct Kept(Rc<RefCell<Vec<Sent>>>);

impl Handler for Kept {
    fn message(&mut self, net: &mut Net, conn: ConnId, message: Message<'_>) {
        self.0.borrow_mut().push(net.send(conn, message).unwrap());
    }
}

#[test]
fn an_echo_above_the_mark_is_done_if_the_kernel_takes_it() {
    let answers = Rc::new(RefCell::new(Vec::new()));
    let handler = Kept(Rc::clone(&answers));
    let mut bench = Bench::of(Config::default(), Listen::default(), Log::default(), Box::new(handler));
    let mut raw = bench.raw();
    raw.say(HELLO);
    bench.until("it opens", |_| raw.take_head().is_some());
    let data = pattern(300_000);
    for round in 1..=3 {
        raw.say(&frame(BINARY, &data));
        bench.until("the echo", |_| {
            raw.hear();
            raw.got.len() == unmasked(BINARY, &data).len()
        });
        assert_eq!(*answers.borrow(), vec![Sent::Done; round]);
        raw.got.clear();
    }
}

#[test]
fn what_has_come_of_a_message_when_the_peer_ends_is_no_message() {
    let mut bench = Bench::with(small_reads(), Listen::default(), Hooks::quiet);
    for (n, come) in [READ + 8, 2 * READ, 3 * READ + 100].into_iter().enumerate() {
        let mut raw = bench.open_raw();
        let conn = bench.log.conns()[n];
        let long = frame(BINARY, &pattern(4 * READ));
        raw.say(&[&frame(TEXT, b"before")[..], &long[..come]].concat());
        raw.socket.shutdown(Shutdown::Write).unwrap();
        bench.until("the end", |bench| bench.log.end_of(conn).is_some());
        let end = bench.log.end_of(conn).unwrap();
        assert_eq!(end.cause, Cause::Eof);
    }
    assert_eq!(bench.log.payloads(), [b"before", b"before", b"before"]);
}

#[test]
fn a_long_message_waits_behind_a_pause_and_comes_whole() {
    let mut bench = Bench::with(small_reads(), Listen::default(), |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Message(..) = told {
                net.pause(conn).unwrap();
            }
        })
    });
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    let long = pattern(3 * READ);
    raw.say(&[frame(TEXT, b"wait"), frame(BINARY, &long), frame(BINARY, &long)].concat());
    for n in 1..=3 {
        bench.until("the next message", |bench| bench.log.messages() == n);
        bench.turn_for(3);
        assert_eq!(bench.log.messages(), n, "it was paused");
        bench.net().resume(conn).unwrap();
    }
    assert_eq!(bench.log.payloads(), [b"wait".to_vec(), long.clone(), long]);
}

#[test]
fn a_bad_byte_of_a_held_text_is_found_where_it_is() {
    let mut bench = Bench::with(small_reads(), Listen::default(), Hooks::quiet);
    let mut raw = bench.open_raw();
    let mut text = vec![b'a'; 3 * READ];
    text[2 * READ + 5] = 0xff;
    let before = frame(TEXT, b"fine");
    raw.say(&[&before[..], &frame(TEXT, &text)].concat());
    bench.until("the failure", |bench| bench.log.closes() == 1);
    let end = bench.log.end();
    let head = header(TEXT, text.len(), Some([0; 4])).len();
    assert_eq!((end.cause, end.offset), (Cause::Utf8, (HELLO.len() + before.len() + head + 2 * READ + 5) as u64));
}

#[test]
fn who_streams_long_messages_has_a_turn_and_no_more() {
    let mut bench = Bench::with(small_reads(), Listen::default(), Hooks::quiet);
    let mut raw = bench.open_raw();
    raw.will_say(frame(BINARY, &pattern(3 * READ)).repeat(60));
    raw.push();
    while bench.log.messages() < 20 {
        let before = bench.log.messages();
        bench.turn();
        // One read, and what it takes to end the message that this read began.
        assert!(bench.log.messages() - before <= 2);
    }
}
