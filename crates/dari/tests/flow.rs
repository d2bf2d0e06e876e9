//! The flow of bytes: a slow reader is held back and loses nothing, pausing holds, a flood keeps nobody waiting.

mod common;

use common::raw::{BINARY, HELLO, PING, PONG, Raw, TEXT, frame, frames, unmasked};
use common::{Bench, Hooks, Log, PlainEcho, Told, limited, pattern};
use dari::{Cause, Config, ConnId, Connect, Error, Handler, Kind, Limits, Listen, Message, NEVER, Net, Sent};
use std::cell::RefCell;
use std::rc::Rc;

/// A peer with a small receive buffer that has opened.
fn open_narrow(bench: &mut Bench) -> Raw {
    let mut raw = Raw::connect_narrow(bench.port);
    raw.say(HELLO);
    bench.until("a narrow peer opens", |_| raw.take_head().is_some());
    raw
}

// --- a peer that does not read ----------------------------------------------------------------------------------

#[test]
fn sends_to_a_slow_reader_are_done_then_buffered_then_refused_and_arrive_in_order() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = open_narrow(&mut bench);
    let conn = bench.log.opened();
    let limits = Limits::default();
    let data = pattern(10_000);
    let (mut wanted, mut answers) = (Vec::new(), Vec::new());
    loop {
        let sent = bench.net().send(conn, Message::binary(&data));
        let backlog = bench.net().backlog(conn);
        match sent {
            Ok(Sent::Done) => assert!(backlog <= limits.high_water),
            Ok(Sent::Buffered) => assert!(backlog > limits.high_water && backlog < limits.max_backlog + 11_000),
            Err(Error::Full) => break,
            Err(error) => panic!("{error}"),
        }
        wanted.extend(unmasked(BINARY, &data));
        answers.push(sent.unwrap());
        // Whatever the kernel can take it has taken when a send says that it is buffered.
        assert!(wanted.len() < 64 << 20, "never full");
    }
    assert!(bench.net().backlog(conn) >= limits.max_backlog);
    let first = answers.iter().position(|sent| *sent == Sent::Buffered).unwrap();
    assert!(first > 0 && answers[first..].iter().all(|sent| *sent == Sent::Buffered));
    assert!(matches!(bench.net().send(conn, Message::text("")), Err(Error::Full)), "even the smallest");
    bench.turn_for(20);
    assert_eq!(bench.log.drains(), 0);
    bench.until("the drain", |bench| {
        raw.hear_some(100_000);
        bench.log.drains() > 0
    });
    assert!(bench.net().backlog(conn) <= limits.low_water);
    bench.until("all that was sent", |_| {
        raw.hear();
        raw.got.len() >= wanted.len()
    });
    assert!(raw.got == wanted);
    bench.turn_for(10);
    assert_eq!((bench.log.drains(), bench.net().backlog(conn)), (1, 0), "one drain for one time of waiting");
    assert_eq!(bench.net().send(conn, Message::binary(&data)), Ok(Sent::Done));
}

#[test]
fn drain_comes_once_after_each_time_of_being_buffered() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = open_narrow(&mut bench);
    let conn = bench.log.opened();
    let data = pattern(1 << 20);
    for round in 1..=3 {
        while bench.net().send(conn, Message::binary(&data)).unwrap() == Sent::Done {}
        bench.until("the drain", |bench| {
            raw.hear_some(200_000);
            bench.log.drains() == round
        });
        bench.until("everything", |bench| {
            raw.hear();
            bench.net().backlog(conn) == 0
        });
        bench.turn_for(5);
        assert_eq!(bench.log.drains(), round);
    }
}

#[test]
fn a_peer_that_does_not_take_its_echo_is_not_read_from() {
    let mut bench = Bench::of(Config::default(), Listen::default(), Log::default(), Box::new(PlainEcho));
    let conns = |bench: &mut Bench| bench.net().next(None);
    let mut raw = open_narrow(&mut bench);
    let conn = conns(&mut bench).unwrap();
    let data = pattern(40 << 20);
    let (said, wanted) = frames(&data, 30_000);
    let all = said.len();
    raw.will_say(said);
    // It says what it can, and hears nothing: after a while nothing is taken any more.
    let (mut before, mut still) = (0, 0);
    let mut most = 0;
    bench.until("the standstill", |bench| {
        raw.push();
        still = if raw.said == before { still + 1 } else { 0 };
        before = raw.said;
        most = most.max(bench.net().backlog(conn));
        still == 100
    });
    assert!(raw.said < all, "all of it was taken");
    let limits = Limits::default();
    assert!(most <= limits.high_water + 30_010 + (64 << 10), "{most} bytes were queued");
    // Nothing is lost once it hears again.
    let mut checked = 0;
    bench.until("the whole echo", |_| {
        raw.push();
        raw.hear();
        let new = &raw.got[..];
        assert!(wanted[checked..].starts_with(new));
        checked += raw.got.len();
        raw.got.clear();
        checked == wanted.len()
    });
}

#[test]
fn a_message_of_16_mib_is_echoed_whole_to_a_slow_reader() {
    let mut bench = Bench::of(Config::default(), Listen::default(), Log::default(), Box::new(PlainEcho));
    let mut raw = open_narrow(&mut bench);
    let data = pattern(16 << 20);
    raw.will_say(frame(BINARY, &data));
    bench.until("all is said", |_| raw.push());
    bench.turn_for(20);
    bench.until("the whole echo", |_| {
        raw.hear_some(1 << 20);
        raw.got.len() >= data.len() + 10
    });
    assert!(raw.got == unmasked(BINARY, &data));
}

#[test]
fn pings_of_a_peer_that_does_not_read_cost_next_to_nothing() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = open_narrow(&mut bench);
    let conn = bench.log.opened();
    let one = |i: u32| frame(PING, format!("{i:0>125}").as_bytes());
    let flood: Vec<u8> = (0..50_000).flat_map(one).collect();
    raw.will_say(flood);
    let mut most = 0;
    bench.until("all is said", |bench| {
        most = most.max(bench.net().backlog(conn));
        raw.push()
    });
    assert!(most < 1 << 20, "{most} bytes were queued");
    // Those that are answered are answered in order, and the last one is among them.
    let mut last = -1;
    bench.until("the last pong", |_| {
        raw.hear();
        let whole = raw.got.len() / 127 * 127;
        for pong in raw.got.drain(..whole).collect::<Vec<u8>>().chunks(127) {
            let number: i32 = str::from_utf8(&pong[2..]).unwrap().parse().unwrap();
            assert!(pong[..2] == [PONG, 125] && number > last);
            last = number;
        }
        last == 49_999
    });
}

#[test]
fn a_peer_that_reads_gets_a_pong_for_every_ping() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = bench.open_raw();
    raw.will_say((0..10_000u32).flat_map(|i| frame(PING, &i.to_be_bytes())).collect());
    let mut next = 0u32;
    bench.until("all pongs", |_| {
        raw.push();
        raw.hear();
        while let Some(pong) = raw.next_frame() {
            assert_eq!(pong, (PONG, next.to_be_bytes().to_vec()));
            next += 1;
        }
        next == 10_000
    });
}

#[test]
fn what_waits_for_a_slow_reader_still_goes_out_after_close() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = open_narrow(&mut bench);
    let conn = bench.log.opened();
    let data = pattern(12 << 20);
    bench.net().send(conn, Message::binary(&data)).unwrap();
    bench.net().close(conn, 1000, "that was it").unwrap();
    bench.turn_for(10);
    assert!(bench.net().backlog(conn) > 1 << 20);
    bench.until("all of it", |_| {
        raw.hear_some(1 << 20);
        raw.got.len() >= data.len() + 10 + 15
    });
    assert_eq!(raw.next_frame(), Some((BINARY, data)));
    assert!(raw.next_frame().unwrap().1.ends_with(b"that was it"));
    raw.say(&common::raw::close(1000, ""));
    let end = bench.end();
    assert_eq!((end.cause, end.was_clean, end.unsent_bytes), (Cause::Local, true, 0));
}

#[test]
fn a_slow_subscriber_is_passed_over_and_the_others_hear_everything() {
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Open = told {
                net.subscribe(conn, "all").unwrap();
            }
        })
    });
    let mut slow = open_narrow(&mut bench);
    let slow_conn = bench.log.opened();
    let mut quick = bench.open_raw();
    let data = pattern(100_000);
    let mut heard = 0;
    for round in 1..=200 {
        bench.net().publish("all", None, Message::binary(&data)).unwrap();
        bench.until("the quick one hears it", |_| {
            while quick.take_frame().is_some() {
                heard += 1;
            }
            heard == round
        });
    }
    let most = Limits::default().max_backlog + 100_010;
    assert!(bench.net().backlog(slow_conn) <= most);
    let mut whole = 0;
    bench.until("the slow one hears its share", |bench| {
        while let Some((_, payload)) = slow.take_frame() {
            assert!(payload == data);
            whole += 1;
        }
        bench.net().backlog(slow_conn) == 0
    });
    assert!((40..200).contains(&whole), "{whole}");
}

// --- pausing ----------------------------------------------------------------------------------------------------

#[test]
fn after_a_pause_inside_message_those_behind_it_wait_for_the_resume() {
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, |net, conn, told| {
            if let Told::Message(..) = told {
                net.pause(conn).unwrap();
            }
        })
    });
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    let texts: Vec<Vec<u8>> = (0..20).map(|i| format!("message {i}").into_bytes()).collect();
    raw.say(&texts.iter().flat_map(|text| frame(TEXT, text)).collect::<Vec<u8>>());
    for n in 1..=20 {
        bench.until("the next message", |bench| bench.log.messages() == n);
        bench.turn_for(3);
        assert_eq!(bench.log.messages(), n, "it was paused");
        bench.net().resume(conn).unwrap();
    }
    assert_eq!(bench.log.payloads(), texts);
}

#[test]
fn echoes_of_messages_that_waited_are_not_mixed_up_with_what_came_later() {
    // What is referred to in the receive buffer must be out before the buffer is used again.
    let log = Log::default();
    let paused = Hooks::new(&log, |net, conn, told| match told {
        Told::Message(_, data) if data == b"pause" => net.pause(conn).unwrap(),
        _ => {}
    });
    struct PausingEcho(Hooks);
    impl Handler for PausingEcho {
        fn open(&mut self, net: &mut Net, conn: ConnId) {
            self.0.open(net, conn);
        }
        fn message(&mut self, net: &mut Net, conn: ConnId, message: Message<'_>) {
            if message.data == b"pause" {
                self.0.message(net, conn, message);
            } else {
                net.send(conn, message).unwrap();
            }
        }
    }
    let mut bench = Bench::of(Config::default(), Listen::default(), log, Box::new(PausingEcho(paused)));
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    let data = pattern(200_000);
    let (early, late) = data.split_at(100_000);
    raw.say(&[frame(TEXT, b"pause"), frames(early, 5_000).0].concat());
    bench.until("the pause", |bench| bench.log.messages() == 1);
    raw.say(&frames(late, 5_000).0);
    bench.turn_for(10);
    bench.net().resume(conn).unwrap();
    let (_, wanted) = frames(&data, 5_000);
    bench.until("all echoes", |_| {
        raw.hear();
        raw.got.len() >= wanted.len()
    });
    assert!(raw.got == wanted);
}

#[test]
fn a_paused_peer_is_slowed_down_by_tcp_and_nothing_is_lost() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    bench.net().pause(conn).unwrap();
    let data = pattern(30 << 20);
    raw.will_say(frames(&data, 1 << 20).0);
    let (mut before, mut still) = (0, 0);
    bench.until("the standstill", |_| {
        let all = raw.push();
        assert!(!all, "all of it was taken");
        still = if raw.said == before { still + 1 } else { 0 };
        before = raw.said;
        still == 50
    });
    assert_eq!(bench.log.messages(), 0);
    bench.net().resume(conn).unwrap();
    bench.until("all messages", |bench| {
        raw.push();
        bench.log.messages() == 30
    });
    assert!(bench.log.payloads().concat() == data);
}

#[test]
fn the_end_of_a_paused_peer_is_told_after_its_messages() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    bench.net().pause(conn).unwrap();
    raw.say(&[frame(TEXT, b"1"), frame(TEXT, b"2")].concat());
    raw.end();
    bench.turn_for(10);
    assert_eq!(bench.log.story(), "upgrade open");
    bench.net().resume(conn).unwrap();
    assert_eq!(bench.end().cause, Cause::Eof);
    assert_eq!(bench.log.story(), "upgrade open message message error close");
}

#[test]
fn the_idle_timeout_rests_while_reading_is_paused() {
    let mut bench = Bench::new(limited(Limits { idle_ms: 30, ..Limits::default() }), Hooks::quiet);
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    bench.net().pause(conn).unwrap();
    raw.say(&frame(TEXT, b"waits"));
    bench.turn_for(150);
    raw.hear();
    assert_eq!((bench.log.closes(), raw.got.len()), (0, 0), "neither pinged nor given up");
    bench.net().resume(conn).unwrap();
    bench.until("the message", |bench| bench.log.messages() == 1);
    assert_eq!(bench.end().cause, Cause::IdleTimeout);
}

#[test]
fn closing_a_paused_connection_reads_the_answer() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    bench.net().pause(conn).unwrap();
    raw.say(&frame(TEXT, b"too late"));
    bench.turn_for(5);
    bench.net().close(conn, 1000, "").unwrap();
    raw.say(&common::raw::close(1000, ""));
    let end = bench.end();
    assert_eq!((end.cause, end.was_clean), (Cause::Local, true));
    assert_eq!(bench.log.story(), "upgrade open close");
}

// --- turns ------------------------------------------------------------------------------------------------------

/// How many turns an answer takes at worst while somebody else says this without end, and reads what comes or not.
fn worst_wait_beside(flooding: &[u8], reads: bool) -> u32 {
    // Far more than the default lets anybody send.
    let listen = Listen { limits: Limits { max_controls: u32::MAX, ..Limits::default() }, ..Listen::default() };
    let mut bench = Bench::of(Config::default(), listen, Log::default(), Box::new(PlainEcho));
    let mut flood = bench.open_raw();
    let mut other = bench.open_raw();
    flood.will_say(flooding.repeat(400_000));
    let mut worst = 0;
    for _ in 0..50 {
        flood.push();
        if reads {
            flood.hear();
            flood.got.clear();
        }
        other.say(&frame(TEXT, b"me?"));
        let mut turns = 0;
        bench.until("an answer", |_| {
            turns += 1;
            flood.push();
            other.take_frame().is_some()
        });
        worst = worst.max(turns);
    }
    assert!(flood.said > 1 << 20, "it was no flood");
    worst
}

#[test]
fn one_that_floods_does_not_keep_another_waiting() {
    for (flooding, reads) in [
        (frame(TEXT, b"flood"), true),
        (frame(PING, b"flood"), true),
        (frame(PING, b"flood"), false),
        (frame(PING, &[b'x'; 125]), false),
    ] {
        let worst = worst_wait_beside(&flooding, reads);
        assert!(worst <= 5, "an answer took {worst} turns beside {flooding:?}");
    }
}

#[test]
fn much_that_came_at_once_is_read_over_several_turns_without_another_word_of_the_peer() {
    let read = Rc::new(RefCell::new(0));
    let count = Rc::clone(&read);
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, move |_, _, told| {
            if let Told::Message(_, data) = told {
                *count.borrow_mut() += data.len();
            }
        })
    });
    let mut raw = bench.open_raw();
    let conn = bench.log.opened();
    // The kernel gives a connection more room when it is used.
    raw.will_say(frames(&pattern(10 << 20), 10_000).0);
    bench.until("the first part", |_| {
        raw.push();
        *read.borrow() == 10 << 20
    });
    bench.net().pause(conn).unwrap();
    raw.will_say(frames(&pattern(10 << 20), 10_000).0);
    let (mut said, mut still) = (0, 0);
    while still < 20 {
        raw.push();
        still = if raw.said == said { still + 1 } else { 0 };
        said = raw.said;
        bench.turn();
    }
    // What the kernel holds now is all that one edge stands for: the peer says nothing more.
    bench.net().resume(conn).unwrap();
    let (mut before, mut most) = (10 << 20, 0);
    bench.until("what the kernel held", |_| {
        let so_far = *read.borrow();
        most = most.max(so_far - before);
        before = so_far;
        so_far - (10 << 20) + 20_000 >= said
    });
    assert!(most > 100_000, "the kernel held next to nothing");
    // And what had waited of the message in the making.
    assert!(most <= (256 << 10) + 10_000, "{most} bytes were read in one turn");
}

#[test]
fn an_end_right_behind_much_data_is_seen() {
    // Just what one read takes, and a little less and more: the end has no edge of its own.
    for extra in [-1000i32, -14, -1, 0, 1, 14, 1000, 256 << 10, (256 << 10) + 1] {
        let mut bench = Bench::new(Listen::default(), Hooks::quiet);
        let mut raw = bench.open_raw();
        let conn = bench.log.opened();
        bench.net().pause(conn).unwrap();
        let len = usize::try_from((256 << 10) + extra).unwrap();
        raw.will_say(frame(BINARY, &pattern(len - 14)));
        bench.until("all is said", |_| raw.push());
        raw.end();
        bench.turn_for(5);
        bench.net().resume(conn).unwrap();
        let end = bench.end();
        assert_eq!((end.cause, bench.log.messages()), (Cause::Eof, 1), "{extra}");
    }
}

#[test]
fn an_end_right_behind_data_is_seen_without_a_pause_too() {
    for len in [100, 100_000, 256 << 10, 300_000, 600_000] {
        let mut bench = Bench::new(limited(Limits { idle_ms: NEVER, ..Limits::default() }), Hooks::quiet);
        let mut raw = bench.open_raw();
        raw.will_say(frame(BINARY, &pattern(len)));
        while !raw.push() {
            bench.turn();
        }
        raw.end();
        assert_eq!(bench.end().cause, Cause::Eof);
        assert_eq!(bench.log.messages(), 1);
    }
}

#[test]
fn all_that_hooks_send_in_one_turn_leaves_in_one_packet() {
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, |net, _, told| {
            if let Told::Message(..) = told {
                let mut at = None;
                while let Some(conn) = net.next(at) {
                    net.send(conn, Message::text("for all")).unwrap();
                    at = Some(conn);
                }
            }
        })
    });
    let mut speaker = bench.open_raw();
    let mut listener = bench.open_raw();
    let before = listener.packets;
    speaker.say(&frame(TEXT, b"x").repeat(100));
    bench.until("all is heard", |_| {
        listener.hear();
        listener.got.len() >= 900
    });
    assert_eq!((listener.got.len(), listener.packets - before), (900, 1));
    speaker.hear();
    assert_eq!(speaker.got.len(), 900);
}

#[test]
fn order_is_kept_whatever_the_marks_are() {
    for (high_water, low_water) in [(0, 0), (1, 1 << 20), (1000, 1000), (100_000, 0)] {
        let how = limited(Limits { high_water, low_water, ..Limits::default() });
        let mut bench = Bench::of(Config::default(), how, Log::default(), Box::new(PlainEcho));
        let mut raw = open_narrow(&mut bench);
        let data = pattern(4 << 20);
        let (said, wanted) = frames(&data, 7_000);
        raw.will_say(said);
        for _ in 0..30 {
            raw.push();
            bench.turn();
        }
        bench.until("all echoes", |_| {
            raw.push();
            raw.hear_some(300_000);
            raw.got.len() >= wanted.len()
        });
        assert!(raw.got == wanted, "{high_water} {low_water}");
    }
}

// --- two ends that answer with more than they read -----------------------------------------------------------------

/// The server answers each message with two, and so does the client, in the way that is asked for. How many messages
/// came to the server by the time one of the two was given up, or enough of them.
fn doubled(way: &str, enough: usize) -> (usize, Option<Cause>) {
    let limits = Limits { stall_ms: 1_000, ..Limits::default() };
    let double = |net: &mut Net, conn: ConnId, data: &[u8]| {
        for _ in 0..2 {
            // What there is no room for is left out.
            let _ = net.send(conn, Message::binary(data));
        }
    };
    let answer = move |net: &mut Net, conn: ConnId, told: &Told| {
        if let Told::Message(_, data) = told {
            double(net, conn, data);
        }
    };
    let mut bench = Bench::new(limited(limits.clone()), |log| Hooks::new(log, answer));
    let (heard, notes) = (Log::default(), Rc::new(RefCell::new(Vec::new())));
    let hooks = match way {
        "later" => {
            let notes = Rc::clone(&notes);
            Hooks::new(&heard, move |_, _, told| {
                let mut notes = notes.borrow_mut();
                if let Told::Message(_, data) = told
                    && notes.len() < 100
                {
                    notes.push(data.clone());
                }
            })
        }
        _ => Hooks::new(&heard, answer),
    };
    let high_water = if way == "unlimited" { usize::MAX } else { limits.high_water };
    let conn = bench.dial_with(Connect { limits: Limits { high_water, ..limits }, ..Connect::default() }, hooks);
    bench.until("open", |_| heard.opens() == 1);
    bench.net().send(conn, Message::binary(&pattern(30_000))).unwrap();
    bench.until(way, |bench| {
        while bench.net().backlog(conn) < 100_000 {
            let Some(data) = notes.borrow_mut().pop() else { break };
            double(bench.net(), conn, &data);
        }
        heard.closes() + bench.log.closes() > 0 || bench.log.messages() > enough
    });
    let cause = (heard.closes() + bench.log.closes() > 0)
        .then(|| if heard.closes() > 0 { heard.end().cause } else { bench.log.end().cause });
    (bench.log.messages(), cause)
}

/// As docs/c-api/messages.md says of it.
#[test]
fn two_ends_that_answer_with_more_than_they_read_stall_unless_one_does_otherwise() {
    let (stalled, cause) = doubled("at once", usize::MAX);
    assert_eq!(cause, Some(Cause::SlowPeer), "after {stalled} messages");
    for way in ["later", "unlimited"] {
        let (messages, cause) = doubled(way, 3 * stalled);
        assert_eq!(cause, None, "{way}: after {messages} messages, and not {stalled}");
    }
}

// --- answers from where the message lies --------------------------------------------------------------------------

/// Answers in all ways in which what was received can be sent back.
struct Turns(u32);

impl Handler for Turns {
    fn message(&mut self, net: &mut Net, conn: ConnId, message: Message<'_>) {
        let Message { kind, data } = message;
        let mut say = |kind, data| assert!(net.send(conn, Message { kind, data }).is_ok());
        self.0 += 1;
        match self.0 % 6 {
            0 => say(kind, data),
            1 => {
                say(kind, data);
                say(Kind::Binary, data);
            }
            2 => {
                say(Kind::Binary, &data[1..]);
                say(kind, data);
            }
            3 => {
                say(Kind::Text, b"first");
                say(kind, data);
                say(Kind::Binary, &data[..data.len() / 2]);
            }
            4 => say(Kind::Binary, data),
            _ => {
                say(kind, &data[..0]);
                say(kind, data);
                say(kind, data);
            }
        }
    }
}

/// What [`Turns`] answers to them.
fn turned(messages: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut wanted = Vec::new();
    for ((first, data), turn) in messages.iter().zip(1..) {
        let mut hear = |first, data: &[u8]| wanted.extend(unmasked(first, data));
        match turn % 6 {
            0 => hear(*first, data),
            1 => {
                hear(*first, data);
                hear(BINARY, data);
            }
            2 => {
                hear(BINARY, &data[1..]);
                hear(*first, data);
            }
            3 => {
                hear(TEXT, b"first");
                hear(*first, data);
                hear(BINARY, &data[..data.len() / 2]);
            }
            4 => hear(BINARY, data),
            _ => {
                hear(*first, b"");
                hear(*first, data);
                hear(*first, data);
            }
        }
    }
    wanted
}

#[test]
fn answers_from_the_receive_buffer_are_whole_however_they_come_and_go() {
    let sizes = [4_096, 4_095, 5_000, 70_000, 65_535, 10, 65_536, 20_000, 126, 4_100, 200_000, 30_000];
    let messages: Vec<_> = sizes
        .iter()
        .zip(0u8..)
        .map(|(size, i)| {
            let mut data = pattern(*size);
            data[0] = i;
            if i % 4 < 2 { (BINARY, data) } else { (TEXT, data.iter().map(|byte| byte & 0x7f).collect()) }
        })
        .collect();
    let said: Vec<u8> = messages.iter().flat_map(|(first, data)| frame(*first, data)).collect();
    let wanted = turned(&messages);
    for step in [said.len(), 100_000, 4_111, 1_003] {
        let mut bench = Bench::of(Config::default(), Listen::default(), Log::default(), Box::new(Turns(0)));
        for narrow in [false, true] {
            let mut raw = if narrow { Raw::connect_narrow(bench.port) } else { Raw::connect(bench.port) };
            raw.say(HELLO);
            bench.until("it opens", |_| raw.take_head().is_some());
            let mut pieces = said.chunks(step);
            bench.until("all is answered", |bench| {
                if raw.push() {
                    pieces.next().into_iter().for_each(|piece| raw.will_say(piece.to_vec()));
                }
                bench.turn();
                raw.hear_some(if narrow { 20_000 } else { usize::MAX });
                raw.got.len() >= wanted.len()
            });
            assert!(raw.got == wanted, "{step} at a time, narrow: {narrow}");
        }
    }
}
