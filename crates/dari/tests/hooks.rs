//! Everything may be called in every hook: each hook with each call, with more of the peer's bytes behind, peers that
//! end in all ways, and the log watching that no id is told too much or too little.

mod common;

use common::raw::{BINARY, HELLO, PONG, Raw, TEXT, close, frame};
use common::{Bench, Hooks, Log, Told, limited, pattern};
use dari::{ConnId, Connect, Error, Limits, Listen, ListenerId, Message, Net, Readiness, RemoteCall, Sent};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::rc::Rc;

/// What an action gets to work with beside the loop and the connection.
struct Scene {
    log: Log,
    url: String,
    listener: Cell<Option<ListenerId>>,
    file: File,
}

type Action = fn(&mut Net, ConnId, &Rc<Scene>);
type Act = Box<dyn Fn(&mut Net)>;

fn every(net: &mut Net, mut call: impl FnMut(&mut Net, ConnId)) {
    let mut at = None;
    while let Some(conn) = net.next(at) {
        at = Some(conn);
        call(net, conn);
    }
}

/// The calls. Those that can not be done in some state say so by an error, which is as good an answer as any.
const ACTIONS: [(&str, Action); 26] = [
    ("send", |net, conn, _| drop(net.send(conn, Message::text("x")))),
    ("send 16 MiB", |net, conn, _| drop(net.send(conn, Message::binary(&vec![7; 16 << 20])))),
    ("send until it is full", |net, conn, _| {
        let data = vec![7; 500_000];
        while matches!(net.send(conn, Message::binary(&data)), Ok(Sent::Done | Sent::Buffered)) {}
    }),
    ("send to all", |net, _, _| every(net, |net, conn| drop(net.send(conn, Message::text("x"))))),
    ("close", |net, conn, _| drop(net.close(conn, 1000, "enough"))),
    ("close twice", |net, conn, _| {
        let first = net.close(conn, 1000, "");
        assert!(first.is_err() || net.close(conn, 1000, "").is_err());
    }),
    ("abort", |net, conn, _| drop(net.abort(conn))),
    ("abort twice", |net, conn, _| {
        let first = net.abort(conn);
        assert!(first.is_err() || matches!(net.abort(conn), Err(Error::State(_))));
    }),
    ("close, then abort", |net, conn, _| drop((net.close(conn, 1000, ""), net.abort(conn)))),
    ("send, close, abort", |net, conn, _| {
        drop((net.send(conn, Message::text("x")), net.close(conn, 1000, ""), net.abort(conn)));
    }),
    ("close all", |net, _, _| every(net, |net, conn| drop(net.close(conn, 1000, "")))),
    ("abort all", |net, _, _| every(net, |net, conn| drop(net.abort(conn)))),
    ("abort the others", |net, conn, _| {
        every(net, |net, other| {
            if other != conn {
                drop(net.abort(other))
            }
        });
    }),
    ("ping", |net, conn, _| drop(net.ping(conn, b"?"))),
    ("pause", |net, conn, _| drop(net.pause(conn))),
    ("pause and resume", |net, conn, _| drop((net.pause(conn), net.resume(conn)))),
    ("pause, to resume later", |net, conn, _| {
        drop(net.pause(conn));
        net.timer(0, 0, Box::new(move |net, _| drop(net.resume(conn)))).unwrap();
    }),
    ("subscribe all and publish", |net, conn, _| {
        every(net, |net, conn| drop(net.subscribe(conn, "t")));
        net.publish("t", Some(conn), Message::binary(&[7; 5_000])).unwrap();
        drop(net.unsubscribe(conn, "t"));
    }),
    ("connect", |net, _, scene| {
        net.connect(&scene.url, Connect::default(), Box::new(Hooks::quiet(&scene.log))).unwrap();
    }),
    ("connect and give up", |net, _, scene| {
        let conn = net.connect(&scene.url, Connect::default(), Box::new(Hooks::quiet(&scene.log))).unwrap();
        net.abort(conn).unwrap();
    }),
    ("close the listener", |net, _, scene| drop(net.close_listener(scene.listener.get().unwrap()))),
    ("listen", |net, _, scene| {
        net.listen("127.0.0.1:0", Listen::default(), Box::new(Hooks::quiet(&scene.log))).unwrap();
    }),
    ("set a timer that ends all", |net, _, _| {
        net.timer(0, 0, Box::new(|net, _| every(net, |net, conn| drop(net.abort(conn))))).unwrap();
    }),
    ("watch", |net, _, scene| {
        let read = Readiness { read: true, write: false };
        let ready = |net: &mut Net, id, _: Readiness| net.cancel_watch(id).unwrap();
        net.watch(scene.file.as_raw_fd(), read, Box::new(ready)).unwrap();
    }),
    ("answer, whatever it is", |net, conn, _| {
        drop((net.respond_piece(conn, b"x"), net.respond(conn, 200, &[], b"x"), net.accept(conn, None, &[])));
        drop((net.respond_begin(conn, 200, &[]), net.respond_piece(conn, b"")));
    }),
    ("stop", |net, _, _| net.stop()),
];

/// What the peer says: enough to make every hook run, and more behind it.
fn talk(raw: &mut Raw) {
    let plain = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let messages = [frame(TEXT, b"1"), frame(PONG, b""), frame(BINARY, &[7; 3_000]), frame(TEXT, b"2")].concat();
    raw.say(&[plain, HELLO, &messages, &messages].concat());
}

/// Lets the hook for which `is` holds do each action once, on a loop of its own.
fn each_action(is: fn(&Told) -> bool) {
    for (name, action) in ACTIONS {
        let done = Rc::new(Cell::new(false));
        let (scene, bench, mut raws) = stage(is, action, &done);
        let mut bench = bench;
        let settle = |bench: &mut Bench, raws: &mut Vec<Raw>| {
            for _ in 0..20 {
                bench.event_loop.turn(Some(0)).unwrap();
                raws.iter_mut().for_each(Raw::hear);
            }
        };
        raws.iter_mut().for_each(talk);
        settle(&mut bench, &mut raws);
        // They go in all ways: with a reset, with the end of the stream, and as it should be.
        raws.pop().unwrap().reset();
        for (i, raw) in raws.iter_mut().enumerate().filter(|(_, raw)| raw.ended.is_none()) {
            if i > 0 {
                let _ = std::io::Write::write(&mut &raw.socket, &close(1000, ""));
            }
            let _ = raw.socket.shutdown(std::net::Shutdown::Write);
        }
        settle(&mut bench, &mut raws);
        let run = done.get();
        bench.event_loop.close();
        assert!(run, "{name}: the hook never ran");
        let log = &scene.log;
        assert_eq!(log.closes(), log.conns().len(), "{name}: every id has one close; told: {}", log.story());
        for conn in log.conns() {
            assert!(matches!(bench.net().abort(conn), Err(Error::Stale)), "{name}");
        }
    }
}

/// A loop, four raw peers, and hooks of which one acts, once.
fn stage(is: fn(&Told) -> bool, action: Action, done: &Rc<Cell<bool>>) -> (Rc<Scene>, Bench, Vec<Raw>) {
    let scene: Rc<RefCell<Option<Rc<Scene>>>> = Rc::default();
    let (set, done) = (Rc::clone(&scene), Rc::clone(done));
    let slow = pattern(1 << 20);
    let drains = is(&Told::Drain);
    let mut bench = Bench::new(limited(Limits { high_water: 50_000, ..Limits::default() }), |log| {
        Hooks::new(log, move |net, conn, told| {
            if drains && matches!(told, Told::Open) {
                while net.send(conn, Message::binary(&slow)) == Ok(Sent::Done) {}
            }
            if is(told) && !done.replace(true) {
                let scene = scene.borrow().clone();
                action(net, conn, &scene.unwrap());
            }
        })
    });
    let there = Rc::new(Scene {
        log: bench.log.clone(),
        url: format!("ws://127.0.0.1:{}/", bench.port),
        listener: Cell::new(Some(bench.listener)),
        file: File::open(std::env::current_exe().unwrap()).unwrap(),
    });
    *set.borrow_mut() = Some(Rc::clone(&there));
    let raws = (0..4).map(|_| bench.raw()).collect();
    bench.turn();
    (there, bench, raws)
}

#[test]
fn everything_may_be_called_in_http() {
    each_action(|told| matches!(told, Told::Http));
}

#[test]
fn everything_may_be_called_in_upgrade() {
    each_action(|told| matches!(told, Told::Upgrade));
}

#[test]
fn everything_may_be_called_in_open() {
    each_action(|told| matches!(told, Told::Open));
}

#[test]
fn everything_may_be_called_in_message() {
    each_action(|told| matches!(told, Told::Message(..)));
}

#[test]
fn everything_may_be_called_in_pong() {
    each_action(|told| matches!(told, Told::Pong(_)));
}

#[test]
fn everything_may_be_called_in_drain() {
    each_action(|told| matches!(told, Told::Drain));
}

#[test]
fn everything_may_be_called_in_error() {
    each_action(|told| matches!(told, Told::Error(_)));
}

#[test]
fn everything_may_be_called_in_close() {
    each_action(|told| matches!(told, Told::Close(_)));
}

/// Lets `begin` set up a call of the host's, which is given the action to do on the first connection.
fn each_action_outside(begin: fn(&mut Net, Act)) {
    for (name, action) in ACTIONS {
        let done = Rc::new(Cell::new(false));
        let (scene, mut bench, mut raws) = stage(|_| false, action, &done);
        raws.iter_mut().for_each(talk);
        bench.until("they are open", |bench| bench.log.opens() == 4);
        let conn = bench.log.conns()[0];
        let (there, once) = (Rc::clone(&scene), Rc::clone(&done));
        let act = move |net: &mut Net| {
            if !once.replace(true) {
                action(net, conn, &there);
            }
        };
        begin(bench.net(), Box::new(act));
        bench.until(name, |_| {
            raws.iter_mut().for_each(Raw::hear);
            done.get()
        });
        for _ in 0..20 {
            bench.event_loop.turn(Some(0)).unwrap();
        }
        drop(raws);
        bench.event_loop.close();
        let log = &scene.log;
        assert_eq!(log.closes(), log.conns().len(), "{name}: every id has one close; told: {}", log.story());
    }
}

#[test]
fn everything_may_be_called_in_a_timer() {
    each_action_outside(|net, act| {
        net.timer(0, 0, Box::new(move |net, _| act(net))).unwrap();
    });
}

#[test]
fn everything_may_be_called_in_a_watch() {
    each_action_outside(|net, act| {
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        let fd = file.as_raw_fd();
        let ready = move |net: &mut Net, id, _: Readiness| {
            let _open = &file;
            net.cancel_watch(id).unwrap();
            act(net);
        };
        net.watch(fd, Readiness { read: true, write: false }, Box::new(ready)).unwrap();
    });
}

#[test]
fn everything_may_be_called_between_turns() {
    each_action_outside(|net, act| act(net));
}

#[test]
fn everything_may_be_called_in_a_call_of_another_thread() {
    /// The test has one thread, and says so to the compiler by keeping what is not `Send` where it is.
    struct Knock;
    thread_local! {
        static ACT: RefCell<Option<Act>> = const { RefCell::new(None) };
    }
    impl RemoteCall for Knock {
        fn call(self: Box<Self>, net: &mut Net) {
            let act = ACT.take();
            act.unwrap()(net);
        }
    }
    each_action_outside(|net, act| {
        ACT.set(Some(act));
        net.remote().call(Box::new(Knock)).unwrap();
    });
}
