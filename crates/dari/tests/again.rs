//! Connecting again: every gap is told, each attempt has an id of its own, and it ends when it should.

mod common;

use common::raw::{Raw, RawListener, black_hole, wait_for};
use common::system::{limit_descriptors, memory};
use common::tls::{Ca, listen, trusting};
use common::*;
use dari::{
    Cause, Close, Config, ConnId, Connect, DialId, Error, Handler, Listen, ListenerId, Loop, Message, Net, Reconnect,
};
use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

/// What was told of a dial: for each connection its end, and which attempt follows in how long.
#[derive(Clone, Default)]
struct Story(Rc<RefCell<Vec<Told>>>);

#[derive(Clone, Debug)]
enum Told {
    Open(ConnId),
    Close(ConnId, Close),
    Retry(DialId, u32, u32),
}

impl Story {
    fn count(&self, is: impl Fn(&Told) -> bool) -> usize {
        self.0.borrow().iter().filter(|told| is(told)).count()
    }

    fn opens(&self) -> usize {
        self.count(|told| matches!(told, Told::Open(_)))
    }

    fn closes(&self) -> usize {
        self.count(|told| matches!(told, Told::Close(..)))
    }

    fn retries(&self) -> usize {
        self.count(|told| matches!(told, Told::Retry(..)))
    }

    fn last_close(&self) -> Close {
        let all = self.0.borrow();
        all.iter()
            .rev()
            .find_map(|told| if let Told::Close(_, why) = told { Some(why.clone()) } else { None })
            .unwrap()
    }

    fn last_open(&self) -> ConnId {
        let all = self.0.borrow();
        all.iter().rev().find_map(|told| if let Told::Open(conn) = told { Some(*conn) } else { None }).unwrap()
    }

    /// Bytes of the texts that were written down.
    fn written(&self) -> usize {
        let len = |told: &Told| if let Told::Close(_, why) = told { why.text().len() } else { 0 };
        self.0.borrow().iter().map(len).sum()
    }

    fn dial(&self) -> DialId {
        let all = self.0.borrow();
        all.iter().find_map(|told| if let Told::Retry(dial, ..) = told { Some(*dial) } else { None }).unwrap()
    }
}

impl Handler for Story {
    fn open(&mut self, _: &mut Net, conn: ConnId) {
        self.0.borrow_mut().push(Told::Open(conn));
    }

    fn close(&mut self, _: &mut Net, conn: ConnId, why: &Close) {
        self.0.borrow_mut().push(Told::Close(conn, why.clone()));
    }

    fn retry(&mut self, _: &mut Net, dial: DialId, attempt: u32, delay_ms: u32) {
        assert!(matches!(self.0.borrow().last(), Some(Told::Close(_, why)) if why.will_retry));
        self.0.borrow_mut().push(Told::Retry(dial, attempt, delay_ms));
    }
}

const QUICK: Reconnect = Reconnect { first_ms: 2, longest_ms: 8, count: u32::MAX };

fn again(retry: Reconnect) -> Connect {
    Connect { retry: Some(retry), ..Connect::default() }
}

/// A server that is killed and started again, always on the same port, and a client on a loop of its own.
struct Two {
    server: Loop,
    listener: Option<ListenerId>,
    port: u16,
    how: Listen,
    client: Loop,
    story: Story,
}

impl Two {
    fn new(how: Listen, connect: Connect) -> Self {
        let scheme = if how.tls.is_some() { "wss" } else { "ws" };
        let mut two = Self {
            server: Loop::new(Config::default()).unwrap(),
            listener: None,
            port: 0,
            how,
            client: Loop::new(Config::default()).unwrap(),
            story: Story::default(),
        };
        two.start();
        let url = format!("{scheme}://localhost:{}/", two.port);
        two.client.net().connect(&url, connect, Box::new(two.story.clone())).unwrap();
        two.until("it opens", |two| two.story.opens() == 1);
        two
    }

    fn start(&mut self) {
        let address = format!("127.0.0.1:{}", self.port);
        let listener = self.server.net().listen(&address, self.how.clone(), Box::new(PlainEcho)).unwrap();
        self.port = self.server.net().listener_port(listener).unwrap();
        self.listener = Some(listener);
    }

    fn kill(&mut self) {
        self.server.net().close_listener(self.listener.take().unwrap()).unwrap();
        self.with_conns(|net, conn| net.abort(conn).unwrap());
    }

    fn with_conns(&mut self, mut call: impl FnMut(&mut Net, ConnId)) {
        let mut conn = self.server.net().next(None);
        while let Some(id) = conn {
            call(self.server.net(), id);
            conn = self.server.net().next(Some(id));
        }
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}; told: {:?}", self.story.0.borrow());
            self.server.turn(Some(0)).unwrap();
            self.client.turn(Some(1)).unwrap();
        }
    }

    fn turn_for(&mut self, ms: u64) {
        let start = Instant::now();
        self.until("a while", |_| start.elapsed() >= Duration::from_millis(ms));
    }
}

/// Has a loop remember as many ends as it will.
fn fill_past(of: &mut Loop) {
    let nobody = RawListener::new().port;
    for _ in 0..20 {
        let story = Story::default();
        for _ in 0..50 {
            let url = format!("ws://localhost:{nobody}/");
            of.net().connect(&url, Connect::default(), Box::new(story.clone())).unwrap();
        }
        wait_for("their ends", || {
            of.turn(Some(1)).unwrap();
            (story.closes() == 50).then_some(())
        });
    }
}

#[test]
fn a_server_that_goes_and_comes_a_hundred_times_is_found_again_each_time() {
    alone("a_server_that_goes_and_comes_a_hundred_times_is_found_again_each_time", || {
        let ca = Ca::new("hundred");
        let mut two =
            Two::new(listen(ca.server("localhost")), Connect { retry: Some(QUICK), ..trusting(ca.client()) });
        let first = two.story.last_open();
        let dial = two.client.net().dial(first).unwrap();
        let (mut descriptors, mut before) = (0, 0);
        fill_past(&mut two.server);
        fill_past(&mut two.client);
        for round in 1..=100 {
            let (conn, told) = (two.story.last_open(), two.story.closes());
            assert_eq!(two.client.net().dial(conn), Some(dial));
            two.client.net().send(conn, Message::text("are you there?")).unwrap();
            two.kill();
            two.until("the gap is told", |two| two.story.closes() > told);
            assert_eq!(two.client.net().send(conn, Message::text("and now?")), Err(Error::Stale));
            // Every other time it stays away for a while.
            if round % 2 == 0 {
                two.until("attempts that fail", |two| two.story.closes() > told + 3);
            }
            two.start();
            two.until("it is found", |two| two.story.opens() == round + 1);
            if round == 20 {
                descriptors = open_descriptors();
                // What this test writes down is not the loops'.
                two.story.0.borrow_mut().reserve(2_000);
                before = memory() - two.story.written();
            }
        }
        let used = (memory() - two.story.written()).saturating_sub(before);
        assert!(used < 32 << 10, "{used} bytes more than after 20 rounds");
        assert_eq!(open_descriptors(), descriptors);
        let conn = two.story.last_open();
        two.client.net().close(conn, 1000, "").unwrap();
        two.until("the end", |two| two.client.net().next(None).is_none());
        assert_eq!(two.client.net().stats().memory, 0);

        // One close for each, and after each but the last one the next attempt, within its bound.
        let story = two.story.0.borrow();
        let (mut seen, mut in_a_row, mut delays) = (HashSet::new(), 0, HashSet::new());
        for (i, told) in story.iter().enumerate() {
            match told {
                Told::Open(conn) => assert!(!seen.contains(conn), "told after its end"),
                Told::Close(conn, why) => {
                    assert!(seen.insert(*conn), "{conn:?} ended twice");
                    let is_last = i + 1 == story.len();
                    assert!(is_last || matches!(story[i + 1], Told::Retry(..)), "{}", why.text());
                    assert_eq!(why.will_retry, !is_last, "{}", why.text());
                    let known = [Cause::Reset, Cause::Eof, Cause::Connect, Cause::Tls, Cause::Local];
                    assert!(known.contains(&why.cause), "{}", why.text());
                }
                Told::Retry(id, attempt, delay_ms) => {
                    in_a_row += 1;
                    assert_eq!((*id, *attempt), (dial, in_a_row), "none was stable");
                    let bound = (u64::from(QUICK.first_ms) << (attempt - 1).min(30)).min(QUICK.longest_ms.into());
                    assert!(u64::from(*delay_ms) <= bound, "{attempt}: {delay_ms}");
                    delays.insert(*delay_ms);
                }
            }
        }
        assert_eq!(story.iter().filter(|told| matches!(told, Told::Close(..))).count(), in_a_row as usize + 1);
        assert_eq!(delays.len(), QUICK.longest_ms as usize + 1, "all of them at random: {delays:?}");
        assert!(seen.len() > 250);
    });
}

#[test]
fn what_was_not_sent_is_told_and_not_sent_again() {
    let mut two = Two::new(Listen::default(), again(QUICK));
    let conn = two.story.last_open();
    two.with_conns(|net, conn| net.pause(conn).unwrap());
    let data = pattern(100_000);
    let mut sent = 0;
    while two.client.net().backlog(conn) < 1 << 20 {
        two.client.net().send(conn, Message::binary(&data)).unwrap();
        sent += 1;
    }
    two.kill();
    two.until("it is told", |two| two.story.closes() == 1);
    let end = two.story.last_close();
    let about = (1 << 20) / 100_000;
    assert!((about..=sent).contains(&end.unsent_messages) && end.unsent_bytes >= 1 << 20, "{}", end.text());
    two.start();
    two.until("it is found", |two| two.story.opens() == 2);
    two.turn_for(20);
    let conn = two.story.last_open();
    assert_eq!((two.client.net().backlog(conn), two.server.net().stats().messages_in), (0, 0));
}

/// Whether there is no connection on a loop, and nothing to come but that it gives memory back.
fn is_idle(of: &mut Loop) -> bool {
    of.net().next(None).is_none() && of.net().timeout().is_none_or(|ms| (9..=500).contains(&ms))
}

// --- when it ends -------------------------------------------------------------------------------------------------

#[test]
fn some_ends_are_the_last() {
    type Ending = fn(&mut Two);
    let by_server: [(u16, bool); 7] =
        [(1000, false), (1001, true), (1008, false), (1011, true), (1012, true), (3000, false), (4000, true)];
    for (code, goes_on) in by_server {
        let mut two = Two::new(Listen::default(), again(QUICK));
        two.with_conns(|net, conn| net.close(conn, code, "").unwrap());
        two.until("the end", |two| two.story.closes() == 1);
        assert_eq!((two.story.last_close().code, two.story.retries()), (code, usize::from(goes_on)), "{code}");
        assert_eq!(two.story.last_close().will_retry, goes_on, "{code}");
        if goes_on {
            two.until("it is there again", |two| two.story.opens() == 2);
        } else {
            two.turn_for(10);
            assert_eq!(two.story.opens(), 1, "{code}");
        }
    }
    let by_client: [(&str, Ending); 3] = [
        ("close", |two| two.client.net().close(two.story.last_open(), 1000, "").unwrap()),
        ("abort", |two| two.client.net().abort(two.story.last_open()).unwrap()),
        ("a close that is not answered", |two| {
            two.client.net().close(two.story.last_open(), 1001, "").unwrap();
            two.kill();
        }),
    ];
    for (what, ending) in by_client {
        let mut two = Two::new(Listen::default(), again(QUICK));
        ending(&mut two);
        two.until("the end", |two| two.story.closes() == 1);
        two.turn_for(10);
        assert_eq!((two.story.retries(), two.client.net().next(None)), (0, None), "{what}");
        assert!(!two.story.last_close().will_retry, "{what}");
    }
}

/// Attempts at a server that gives one answer; how many there were when it is over, or three.
fn attempts_at(answer: &str) -> usize {
    let listener = RawListener::new();
    let (mut event_loop, story) = (Loop::new(Config::default()).unwrap(), Story::default());
    let url = format!("ws://127.0.0.1:{}/", listener.port);
    event_loop.net().connect(&url, again(QUICK), Box::new(story.clone())).unwrap();
    let mut servers = Vec::new();
    wait_for("its end", || {
        event_loop.turn(Some(1)).unwrap();
        servers.extend(listener.accept());
        servers.retain_mut(|server: &mut Raw| {
            let asked = server.take_head().is_some();
            if asked {
                server.say(answer.as_bytes());
            }
            !asked
        });
        let is_over = story.closes() > 0 && event_loop.net().next(None).is_none() && is_idle(&mut event_loop);
        if is_over {
            assert!(!story.last_close().will_retry);
        }
        (is_over || story.closes() == 3).then(|| story.closes())
    })
}

#[test]
fn answers_that_would_be_the_same_again_are_the_last() {
    let answer = |status| format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n");
    for status in [200, 301, 400, 401, 403, 404, 426] {
        assert_eq!(attempts_at(&answer(status)), 1, "{status}");
    }
    for status in [408, 429, 500, 502, 503, 504] {
        assert_eq!(attempts_at(&answer(status)), 3, "{status}");
    }
    assert_eq!(attempts_at("220 mail.example.org\r\n"), 1);
    assert_eq!(attempts_at(""), 3);
}

/// After how long the next attempt comes, of one that got this answer.
fn delay_after(answer: &str, retry: Reconnect) -> u32 {
    let listener = RawListener::new();
    let (mut event_loop, story) = (Loop::new(Config::default()).unwrap(), Story::default());
    let url = format!("ws://127.0.0.1:{}/", listener.port);
    event_loop.net().connect(&url, again(retry), Box::new(story.clone())).unwrap();
    let mut server = None;
    wait_for("the next attempt", || {
        event_loop.turn(Some(1)).unwrap();
        server = server.take().or_else(|| listener.accept());
        if let Some(server) = server.as_mut().filter(|server: &&mut Raw| server.said == 0)
            && server.take_head().is_some()
        {
            server.will_say(answer.as_bytes().to_vec());
            assert!(server.push());
        }
        let told = story.0.borrow();
        told.iter().find_map(|told| if let Told::Retry(_, 1, delay) = told { Some(*delay) } else { None })
    })
}

#[test]
fn a_server_that_asks_to_be_left_alone_for_a_while_is() {
    let answer = |status: u16, lines: &str| format!("HTTP/1.1 {status} So\r\n{lines}Content-Length: 0\r\n\r\n");
    let long = Reconnect { first_ms: 5, longest_ms: 1 << 30, count: 1 };
    for status in [429, 503] {
        for line in ["Retry-After: 2\r\n", "retry-after:  2 \r\n"] {
            let delay = delay_after(&answer(status, line), long);
            assert!((2_000..=2_005).contains(&delay), "{status} {line}: {delay}");
        }
    }
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(1_000));
    let delay = delay_after(&answer(503, &format!("Retry-After: {date}\r\n")), long);
    assert!((900_000..=1_000_005).contains(&delay), "{delay}");
    // No longer than the program allows.
    let short = Reconnect { first_ms: 5, longest_ms: 50, count: 1 };
    for seconds in ["1", "99999999999999999999999999"] {
        assert_eq!(delay_after(&answer(503, &format!("Retry-After: {seconds}\r\n")), short), 50);
    }
    // What says nothing, and what says two things.
    for lines in ["", "Retry-After: soon\r\n", "Retry-After: -1\r\n", "Retry-After: 2\r\nRetry-After: 3\r\n"] {
        assert!(delay_after(&answer(503, lines), long) <= 5, "{lines}");
    }
}

#[test]
fn after_so_many_in_a_row_it_is_over() {
    let mut two = Two::new(Listen::default(), again(Reconnect { count: 5, ..QUICK }));
    let dial = two.client.net().dial(two.story.last_open()).unwrap();
    two.kill();
    two.until("all attempts", |two| two.story.closes() == 6);
    two.turn_for(30);
    assert_eq!((two.story.retries(), two.story.closes()), (5, 6));
    assert!(!two.story.last_close().will_retry);
    assert_eq!(two.client.net().stop_dial(dial), Err(Error::Stale), "it has gone with the last one");
    assert!(is_idle(&mut two.client));
}

// --- stopping -----------------------------------------------------------------------------------------------------

#[test]
fn it_is_stopped_in_the_gap_while_it_connects_and_while_it_is_open() {
    let slow = Reconnect { first_ms: 1 << 30, longest_ms: 1 << 30, count: u32::MAX };
    let mut two = Two::new(Listen::default(), again(slow));
    two.kill();
    two.until("the gap", |two| two.story.retries() == 1);
    let dial = two.story.dial();
    assert!(two.client.net().timeout().is_some());
    assert_eq!(two.client.net().stop_dial(dial), Ok(()));
    assert_eq!((two.client.net().stop_dial(dial), is_idle(&mut two.client)), (Err(Error::Stale), true));
    assert_eq!(Rc::strong_count(&two.story.0), 1, "its handler has gone with it");
    two.turn_for(5);
    assert_eq!((two.story.closes(), two.story.retries()), (1, 1), "and nobody hears of it");

    // While the second attempt is under way.
    let (hole, mut fillers) = black_hole();
    let (mut event_loop, story) = (Loop::new(Config::default()).unwrap(), Story::default());
    let limits = dari::Limits { handshake_ms: 50, ..dari::Limits::default() };
    let url = format!("ws://127.0.0.1:{}/", hole.port);
    let conn = event_loop.net().connect(&url, Connect { limits, ..again(QUICK) }, Box::new(story.clone())).unwrap();
    let dial = event_loop.net().dial(conn).unwrap();
    wait_for("the second", || {
        event_loop.turn(Some(1)).unwrap();
        (story.retries() == 1).then_some(())
    });
    let second = wait_for("the second", || {
        event_loop.turn(Some(1)).unwrap();
        event_loop.net().next(None)
    });
    assert!(second != conn && event_loop.net().dial(second) == Some(dial));
    event_loop.net().stop_dial(dial).unwrap();
    wait_for("its end", || {
        event_loop.turn(Some(1)).unwrap();
        (story.closes() == 2).then_some(())
    });
    assert_eq!((story.last_close().cause, story.last_close().will_retry, story.retries()), (Cause::Local, false, 1));
    assert_eq!((is_idle(&mut event_loop), Rc::strong_count(&story.0)), (true, 1));
    fillers.clear();

    // One that is open stays.
    let mut two = Two::new(Listen::default(), again(QUICK));
    let conn = two.story.last_open();
    let dial = two.client.net().dial(conn).unwrap();
    two.client.net().stop_dial(dial).unwrap();
    two.client.net().send(conn, Message::text("still")).unwrap();
    two.until("it is heard", |two| two.server.net().stats().messages_in == 1);
    two.kill();
    two.until("the end", |two| two.story.closes() == 1);
    two.turn_for(20);
    assert_eq!((two.story.retries(), two.client.net().next(None)), (0, None));
    assert!(!two.story.last_close().will_retry);
}

#[test]
fn a_hook_that_hears_of_an_end_can_still_stop_it() {
    // Which one stops it, and what `close` is told: what is true when it is called.
    for (in_error, told) in [(true, false), (false, true)] {
        struct Stops(bool, Story);
        impl Stops {
            fn stop(&self, net: &mut Net, conn: ConnId, why: &Close) {
                assert!(why.will_retry);
                let dial = net.dial(conn).unwrap();
                net.stop_dial(dial).unwrap();
            }
        }
        impl Handler for Stops {
            fn error(&mut self, net: &mut Net, conn: ConnId, why: &Close) {
                if self.0 {
                    self.stop(net, conn, why);
                }
            }

            fn close(&mut self, net: &mut Net, conn: ConnId, why: &Close) {
                if !self.0 {
                    self.stop(net, conn, why);
                }
                self.1.close(net, conn, why);
            }

            fn retry(&mut self, _: &mut Net, _: DialId, _: u32, _: u32) {
                panic!("it was stopped");
            }
        }
        let (mut event_loop, story) = (Loop::new(Config::default()).unwrap(), Story::default());
        let url = format!("ws://127.0.0.1:{}/", RawListener::new().port);
        event_loop.net().connect(&url, again(QUICK), Box::new(Stops(in_error, story.clone()))).unwrap();
        wait_for("its end", || {
            event_loop.turn(Some(1)).unwrap();
            (story.closes() == 1).then_some(())
        });
        assert_eq!((story.last_close().will_retry, is_idle(&mut event_loop)), (told, true));
    }
}

#[test]
fn a_loop_that_shuts_down_in_the_gap_is_done_and_connects_no_more() {
    let slow = Reconnect { first_ms: 1 << 30, longest_ms: 1 << 30, count: u32::MAX };
    for how in ["shutdown", "close"] {
        let mut two = Two::new(Listen::default(), again(slow));
        two.kill();
        two.until("the gap", |two| two.story.retries() == 1);
        let done = Rc::new(RefCell::new(false));
        if how == "shutdown" {
            let is_done = Rc::clone(&done);
            two.client.net().shutdown(0, 1_000, move |_, _| *is_done.borrow_mut() = true).unwrap();
            two.until("it is done", |_| *done.borrow());
        } else {
            two.client.close();
        }
        assert_eq!((is_idle(&mut two.client), Rc::strong_count(&two.story.0)), (true, 1), "{how}");
        assert_eq!(two.story.closes(), 1);
    }
}

#[test]
fn without_descriptors_it_waits_until_there_are_some() {
    alone("without_descriptors_it_waits_until_there_are_some", || {
        limit_descriptors(256);
        let mut two = Two::new(Listen::default(), again(QUICK));
        two.kill();
        two.until("the gap", |two| two.story.retries() > 2);
        // An attempt under way gives back what it has, for the next one to take.
        let (mut taken, mut dialled) = (Vec::new(), 0);
        while two.client.net().stats().dialled > dialled {
            dialled = two.client.net().stats().dialled;
            taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
            two.turn_for(30);
        }
        let told = two.story.0.borrow().len();
        two.turn_for(50);
        assert_eq!((two.client.net().stats().dialled, two.story.0.borrow().len()), (dialled, told), "it waits");
        drop(taken);
        two.start();
        two.until("it is found", |two| two.story.opens() == 2);
    });
}
