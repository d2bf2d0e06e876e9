//! What a process has one of: descriptors, signals, a parent. Each test is a process of its own, since they count and
//! change what is the process's.

mod common;

use common::raw::{HELLO, Raw, TEXT, frame, frames, unmasked};
use common::system::{in_child, interrupted, limit_descriptors, on_signal, processor_ms, raise};
use common::{Bench, Hooks, Log, PlainEcho, Told, alone, open_descriptors, pattern};
use dari::{Cause, Config, Connect, Error, Listen, Loop, Message, Readiness, Remote};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Takes descriptors until `left` are left.
fn take_all_but(left: usize) -> Vec<File> {
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    taken.truncate(taken.len() - left);
    taken
}

#[test]
fn a_listener_that_ran_out_of_descriptors_comes_back_without_spinning() {
    alone("a_listener_that_ran_out_of_descriptors_comes_back_without_spinning", || {
        limit_descriptors(256);
        let mut bench = Bench::new(Listen::default(), Hooks::echo);
        let taken = take_all_but(6);
        let mut raws: Vec<Raw> = (0..4).map(|_| bench.raw()).collect();
        raws.iter_mut().for_each(|raw| raw.say(HELLO));
        bench.until("those for which there is room", |bench| bench.log.opens() == 2);
        // The others are told so, by means of a descriptor that is kept for that.
        for raw in &mut raws[2..] {
            bench.until("a refusal", |_| raw.take_head().is_some_and(|head| head.starts_with("HTTP/1.1 503 ")));
        }
        let (start, processor) = (Instant::now(), processor_ms());
        let mut turns = 0;
        while start.elapsed() < Duration::from_millis(800) {
            bench.event_loop.turn(Some(800)).unwrap();
            turns += 1;
        }
        let used = processor_ms() - processor;
        assert!(turns <= 8, "{turns} turns with nothing to do");
        assert!(used <= 40, "{used} ms of 800 were spent");
        assert_eq!(bench.log.opens(), 2);
        // Those that are there are served as ever.
        raws[0].say(&frame(TEXT, b"hi"));
        raws[0].take_head().unwrap();
        bench.until("an echo", |_| raws[0].take_frame().is_some());
        drop(taken);
        let start = Instant::now();
        bench.open_raw();
        bench.open_raw();
        assert_eq!(bench.log.opens(), 4);
        assert!(start.elapsed() < Duration::from_millis(1_500), "{:?}", start.elapsed());
        // And it is as it was: the next one is accepted at once.
        bench.open_raw();
    });
}

#[test]
fn calls_without_descriptors_fail_and_change_nothing() {
    alone("calls_without_descriptors_fail_and_change_nothing", || {
        limit_descriptors(128);
        let mut bench = Bench::new(Listen::default(), Hooks::echo);
        let url = format!("ws://127.0.0.1:{}/", bench.port);
        let log = Log::default();
        for left in 0..4 {
            let taken = take_all_but(left);
            let before = open_descriptors_or_full(left);
            let loops: Vec<Loop> = std::iter::from_fn(|| Loop::new(Config::default()).ok()).collect();
            drop(loops);
            if left == 0 {
                let net = bench.event_loop.net();
                let emfile = |result: Result<(), Error>| {
                    assert!(matches!(result, Err(Error::System { errno: libc::EMFILE, .. })), "{result:?}");
                };
                emfile(net.connect(&url, Connect::default(), Box::new(Hooks::quiet(&log))).map(drop));
                emfile(net.listen("127.0.0.1:0", Listen::default(), Box::new(Hooks::quiet(&log))).map(drop));
                emfile(net.fd().map(drop));
            }
            assert_eq!(open_descriptors_or_full(left), before);
            drop(taken);
        }
        bench.event_loop.turn(Some(0)).unwrap();
        assert_eq!(log.story(), "");
        bench.open_raw();
        assert!(bench.net().fd().is_ok());
    });
}

/// How many more descriptors can be had: as many as were left.
fn open_descriptors_or_full(left: usize) -> usize {
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    assert_eq!(files.len(), left);
    files.len()
}

#[test]
fn connections_over_the_limit_are_told_503() {
    alone("connections_over_the_limit_are_told_503", || {
        // 64 are left to the host, so this many are served; the raw peers take as many again.
        limit_descriptors(64 + 20);
        let mut bench = Bench::new(Listen::default(), Hooks::quiet);
        let mut raws: Vec<Raw> = (0..20).map(|_| bench.open_raw()).collect();
        let mut one_more = bench.raw();
        bench.until("a refusal", |_| one_more.take_head().is_some_and(|head| head.starts_with("HTTP/1.1 503 ")));
        assert_eq!(bench.log.opens(), 20);
        drop(raws.pop());
        bench.until("one to go", |bench| bench.log.closes() == 1);
        bench.open_raw();
    });
}

#[test]
fn a_thousand_loops_leave_nothing_behind() {
    alone("a_thousand_loops_leave_nothing_behind", || {
        let tasks = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let before = (open_descriptors(), tasks());
        let mut kept = Vec::new();
        for i in 0..1000 {
            let mut bench = Bench::new(Listen::default(), |log| {
                Hooks::new(log, |net, conn, told| {
                    if let Told::Message(kind, data) = told {
                        net.send(conn, Message { kind: *kind, data }).unwrap();
                    }
                })
            });
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let read = Readiness { read: true, write: false };
            bench.net().watch(ours.as_raw_fd(), read, Box::new(|_, _, _| {})).unwrap();
            bench.net().timer(0, 1, Box::new(|_, _| {})).unwrap();
            bench.net().fd().unwrap();
            let heard = Log::default();
            bench.dial(Hooks::quiet(&heard));
            let mut raw = bench.open_raw();
            let conn = bench.log.opened();
            raw.say(&frame(TEXT, b"hi"));
            bench.until("an echo", |_| raw.take_frame().is_some());
            // One is dropped in the middle of something, one after having closed, one with a message half sent.
            match i % 4 {
                0 => bench.event_loop.close(),
                1 => drop(bench.net().send(conn, Message::binary(&pattern(100_000)))),
                2 => {
                    drop(bench.net().connect("ws://127.0.0.1:9/", Connect::default(), Box::new(Hooks::quiet(&heard))))
                }
                _ => {}
            }
            if i % 100 == 0 {
                kept.push(bench.net().remote());
            }
        }
        drop(kept);
        assert_eq!((open_descriptors(), tasks()), before);
    });
}

#[test]
fn every_descriptor_is_closed_on_exec_and_does_not_block() {
    alone("every_descriptor_is_closed_on_exec_and_does_not_block", || {
        let fds = || -> Vec<i32> {
            let entries = std::fs::read_dir("/proc/self/fd").unwrap();
            let all: Vec<i32> =
                entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
            // The folder that was being read is gone again.
            all.into_iter().filter(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok()).collect()
        };
        let before = fds();
        let mut bench = Bench::new(Listen::default(), Hooks::quiet);
        bench.net().fd().unwrap();
        let unix = format!("unix:@dari-{}-flags", std::process::id());
        bench.net().listen(&unix, Listen::default(), Box::new(Hooks::quiet(&Log::default()))).unwrap();
        let heard = Log::default();
        bench.dial(Hooks::quiet(&heard));
        bench.until("both ends open", |bench| heard.opens() == 1 && bench.log.opens() == 1);
        let ours: Vec<i32> = fds().into_iter().filter(|fd| !before.contains(fd)).collect();
        assert_eq!(ours.len(), 8, "poller, eventfd, timerfd, a spare one, two listeners, both ends");
        for fd in ours {
            let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
            let flags = i32::from_str_radix(flags, 8).unwrap();
            assert!(flags & libc::O_CLOEXEC != 0, "{link:?} outlives exec: {flags:o}");
            // Nobody reads an epoll descriptor.
            let is_epoll = link.to_str().is_some_and(|link| link.contains("eventpoll"));
            assert!(is_epoll || flags & libc::O_NONBLOCK != 0, "{link:?} blocks: {flags:o}");
        }
    });
}

// --- signals ----------------------------------------------------------------------------------------------------

#[test]
fn a_peer_that_is_gone_raises_no_signal() {
    alone("a_peer_that_is_gone_raises_no_signal", || {
        // Rust's runtime ignores it; in a C program it ends the process.
        on_signal(libc::SIGPIPE, None);
        for size in [10, 10_000, 100_000, 1 << 20] {
            let mut bench = Bench::new(Listen::default(), Hooks::quiet);
            let raw = bench.open_raw();
            let conn = bench.log.opened();
            bench.net().subscribe(conn, "t").unwrap();
            let data = pattern(size);
            raw.reset();
            for _ in 0..3 {
                drop(bench.net().send(conn, Message::binary(&data)));
                bench.net().publish("t", None, Message::binary(&data)).unwrap();
            }
            assert_eq!(bench.end().cause, Cause::Reset);
            // The file of a folder, the 503 and the goodbye go other ways.
            let mut raw = bench.open_raw();
            raw.end();
            raw.reset();
            bench.event_loop.close();
        }
    });
}

extern "C" fn nothing(_: i32) {}

#[test]
fn signals_interrupt_calls_and_lose_nothing() {
    alone("signals_interrupt_calls_and_lose_nothing", || {
        let mut bench = Bench::of(Config::default(), Listen::default(), Log::default(), Box::new(PlainEcho));
        let mut raw = bench.open_raw();
        let data = pattern(8 << 20);
        let (said, wanted) = frames(&data, 20_000);
        raw.will_say(said);
        on_signal(libc::SIGUSR1, Some(nothing));
        interrupted(libc::SIGUSR1, || {
            bench.until("the echo", |_| {
                raw.push();
                raw.hear();
                raw.got.len() >= wanted.len()
            });
            assert!(raw.got == wanted && raw.ended.is_none());
            // Waiting is interrupted, too, and that is no error.
            let start = Instant::now();
            for _ in 0..20 {
                bench.event_loop.turn(Some(5_000)).unwrap();
            }
            assert!(start.elapsed() < Duration::from_secs(5), "nothing was interrupted");
        });
    });
}

static STOPS: OnceLock<Remote> = OnceLock::new();

extern "C" fn stop(_: i32) {
    STOPS.get().unwrap().stop().unwrap();
}

#[test]
fn a_signal_handler_may_stop_the_loop() {
    alone("a_signal_handler_may_stop_the_loop", || {
        let mut bench = Bench::new(Listen::default(), Hooks::quiet);
        let mut raw = bench.open_raw();
        STOPS.set(bench.net().remote()).unwrap();
        on_signal(libc::SIGTERM, Some(stop));
        bench.net().timer(5, 0, Box::new(|_, _| raise(libc::SIGTERM))).unwrap();
        bench.event_loop.run().unwrap();
        bench.event_loop.close();
        raw.hear();
        assert_eq!(raw.got, unmasked(0x88, &1001u16.to_be_bytes()));
    });
}

// --- fork -------------------------------------------------------------------------------------------------------

#[test]
fn a_forked_child_may_only_drop_the_loop_and_the_parent_does_not_notice() {
    alone("a_forked_child_may_only_drop_the_loop_and_the_parent_does_not_notice", || {
        let path = std::env::temp_dir().join(format!("dari-{}-fork.sock", std::process::id()));
        let mut bench = Bench::new(Listen::default(), Hooks::echo);
        let hooks = Box::new(Hooks::quiet(&Log::default()));
        bench.net().listen(&format!("unix:{}", path.display()), Listen::default(), hooks).unwrap();
        let mut raw = bench.open_raw();
        for how in ["drop", "close", "turn"] {
            let mut moved = Some(bench);
            let well = in_child(|| {
                let mut bench = moved.take().unwrap();
                match how {
                    "drop" => {}
                    "close" => bench.event_loop.close(),
                    _ => assert!(matches!(bench.event_loop.turn(Some(0)), Err(Error::State(_)))),
                }
                let no_hook = bench.log.story() == "upgrade open";
                drop(bench);
                no_hook
            });
            assert!(well, "{how}");
            bench = moved.unwrap();
            assert!(path.exists(), "{how}");
            raw.hear();
            assert_eq!((raw.got.len(), raw.ended), (0, None), "{how}");
        }
        raw.say(&frame(TEXT, b"still there?"));
        bench.until("an echo", |_| raw.take_frame().is_some());
        drop(bench);
        assert!(!path.exists());
    });
}
