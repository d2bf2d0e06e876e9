//! What is the host's own: timers, and watches on its descriptors.

mod common;

use common::raw::{TEXT, frame, wait_for};
use common::{Bench, Hooks};
use dari::{Config, Error, Listen, Loop, Net, Readiness};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

fn new_loop() -> Loop {
    Loop::new(Config::default()).unwrap()
}

type Notes<T> = Rc<RefCell<Vec<T>>>;

// --- timers -----------------------------------------------------------------------------------------------------

#[test]
fn timers_go_off_in_the_order_of_their_times_and_not_before() {
    let mut event_loop = new_loop();
    let notes: Notes<(u32, Duration)> = Notes::default();
    let start = Instant::now();
    for delay in [30, 10, 40, 20, 0] {
        let notes = Rc::clone(&notes);
        let fire = move |_: &mut Net, _| notes.borrow_mut().push((delay, start.elapsed()));
        event_loop.net().timer(delay, 0, Box::new(fire)).unwrap();
    }
    wait_for("all timers", || {
        event_loop.turn(None).unwrap();
        (notes.borrow().len() == 5).then_some(())
    });
    let notes = notes.borrow();
    assert_eq!(notes.iter().map(|(delay, _)| *delay).collect::<Vec<_>>(), [0, 10, 20, 30, 40]);
    // The loop's clock has whole milliseconds.
    assert!(notes.iter().all(|(delay, at)| *at + Duration::from_millis(1) >= Duration::from_millis((*delay).into())));
    assert_eq!(event_loop.net().timeout(), None, "one-shot timers are gone");
}

#[test]
fn a_timer_repeats_until_it_is_cancelled_in_its_own_hook() {
    let mut event_loop = new_loop();
    let notes: Notes<dari::TimerId> = Notes::default();
    let seen = Rc::clone(&notes);
    let fire = move |net: &mut Net, id| {
        seen.borrow_mut().push(id);
        if seen.borrow().len() == 5 {
            net.cancel_timer(id).unwrap();
            assert_eq!(net.cancel_timer(id), Err(Error::Stale));
        }
    };
    let id = event_loop.net().timer(1, 2, Box::new(fire)).unwrap();
    wait_for("five times", || {
        event_loop.turn(Some(5)).unwrap();
        (notes.borrow().len() == 5).then_some(())
    });
    for _ in 0..5 {
        event_loop.turn(Some(5)).unwrap();
    }
    assert_eq!(*notes.borrow(), [id; 5]);
    assert_eq!(event_loop.net().timeout(), None);
    assert_eq!(event_loop.net().cancel_timer(id), Err(Error::Stale));
}

#[test]
fn a_one_shot_timer_is_stale_in_its_own_hook() {
    let mut event_loop = new_loop();
    let notes: Notes<Result<(), Error>> = Notes::default();
    let seen = Rc::clone(&notes);
    let fire = move |net: &mut Net, id| seen.borrow_mut().push(net.cancel_timer(id));
    event_loop.net().timer(0, 0, Box::new(fire)).unwrap();
    event_loop.turn(Some(10)).unwrap();
    assert_eq!(*notes.borrow(), [Err(Error::Stale)]);
}

#[test]
fn a_timer_that_is_cancelled_by_another_of_the_same_moment_does_not_go_off() {
    let mut event_loop = new_loop();
    let (a, b): (Notes<dari::TimerId>, Notes<dari::TimerId>) = Default::default();
    let mut pair = Vec::new();
    for (mine, other) in [(&a, &b), (&b, &a)] {
        let (mine, other) = (Rc::clone(mine), Rc::clone(other));
        let fire = move |net: &mut Net, _| {
            let id = other.borrow()[0];
            assert_eq!(net.cancel_timer(id), Ok(()), "only one of the two goes off");
            mine.borrow_mut().clear();
        };
        pair.push(event_loop.net().timer(5, 0, Box::new(fire)).unwrap());
    }
    a.borrow_mut().push(pair[0]);
    b.borrow_mut().push(pair[1]);
    wait_for("one of the two", || {
        event_loop.turn(Some(10)).unwrap();
        (a.borrow().len() + b.borrow().len() == 1).then_some(())
    });
    event_loop.turn(Some(10)).unwrap();
    assert_eq!(a.borrow().len() + b.borrow().len(), 1);
}

#[test]
fn a_timer_that_always_sets_the_next_one_leaves_turns_for_others() {
    let mut bench = Bench::new(Listen::default(), Hooks::echo);
    let count = Rc::new(RefCell::new(0u32));
    fn again(net: &mut Net, count: Rc<RefCell<u32>>) {
        *count.borrow_mut() += 1;
        assert!(*count.borrow() < 100_000, "a turn that never ends");
        net.timer(0, 0, Box::new(move |net, _| again(net, Rc::clone(&count)))).unwrap();
    }
    again(bench.net(), Rc::clone(&count));
    let mut raw = bench.open_raw();
    raw.say(&frame(TEXT, b"me?"));
    bench.until("an echo", |_| raw.take_frame().is_some());
    assert!(*count.borrow() > 1);
}

#[test]
fn after_a_long_sleep_a_repeating_timer_goes_off_once() {
    let mut event_loop = new_loop();
    let notes: Notes<()> = Notes::default();
    let seen = Rc::clone(&notes);
    event_loop.net().timer(1, 1, Box::new(move |_, _| seen.borrow_mut().push(()))).unwrap();
    // A host that was busy elsewhere.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(30) {
        std::hint::spin_loop();
    }
    event_loop.turn(Some(0)).unwrap();
    assert_eq!(notes.borrow().len(), 1);
    event_loop.turn(Some(0)).unwrap();
    assert!(notes.borrow().len() <= 2);
}

// --- watches ----------------------------------------------------------------------------------------------------

const READ: Readiness = Readiness { read: true, write: false };
const WRITE: Readiness = Readiness { read: false, write: true };

#[test]
fn a_watch_is_told_in_every_turn_until_its_descriptor_is_read() {
    let mut event_loop = new_loop();
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let notes: Notes<Readiness> = Notes::default();
    let seen = Rc::clone(&notes);
    let ready = move |_: &mut Net, _, readiness| seen.borrow_mut().push(readiness);
    event_loop.net().watch(ours.as_raw_fd(), READ, Box::new(ready)).unwrap();
    event_loop.turn(Some(0)).unwrap();
    assert_eq!(*notes.borrow(), []);
    theirs.write_all(b"x").unwrap();
    for n in 1..=3 {
        event_loop.turn(Some(100)).unwrap();
        assert_eq!(*notes.borrow(), vec![READ; n]);
    }
    ours.read_exact(&mut [0]).unwrap();
    event_loop.turn(Some(0)).unwrap();
    event_loop.turn(Some(0)).unwrap();
    assert_eq!(notes.borrow().len(), 3);
    drop(theirs);
    event_loop.turn(Some(100)).unwrap();
    assert_eq!(notes.borrow().len(), 4, "the end can be read, too");
}

#[test]
fn a_watch_for_writing_is_told_of_room_and_of_a_peer_that_is_gone() {
    let mut event_loop = new_loop();
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let notes: Notes<Readiness> = Notes::default();
    let seen = Rc::clone(&notes);
    let ready = move |_: &mut Net, _, readiness| seen.borrow_mut().push(readiness);
    event_loop.net().watch(ours.as_raw_fd(), WRITE, Box::new(ready)).unwrap();
    event_loop.turn(Some(100)).unwrap();
    assert_eq!(*notes.borrow(), [WRITE]);
    while (&ours).write(&[0; 4096]).is_ok() {}
    event_loop.turn(Some(0)).unwrap();
    event_loop.turn(Some(0)).unwrap();
    let before = notes.borrow().len();
    assert!(before <= 2, "there is no room");
    drop(theirs);
    event_loop.turn(Some(100)).unwrap();
    assert!(notes.borrow().len() > before);
}

#[test]
fn a_watch_can_be_cancelled_inside_its_hook_and_by_others() {
    let mut event_loop = new_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let notes: Notes<()> = Notes::default();
    let seen = Rc::clone(&notes);
    let ready = move |net: &mut Net, id, _| {
        seen.borrow_mut().push(());
        net.cancel_watch(id).unwrap();
        assert_eq!(net.cancel_watch(id), Err(Error::Stale));
    };
    event_loop.net().watch(ours.as_raw_fd(), READ, Box::new(ready)).unwrap();
    theirs.write_all(b"x").unwrap();
    for _ in 0..3 {
        event_loop.turn(Some(5)).unwrap();
    }
    assert_eq!(notes.borrow().len(), 1);
    // The descriptor is the host's and can be watched anew, and the host may close it first.
    let seen = Rc::clone(&notes);
    let id =
        event_loop.net().watch(ours.as_raw_fd(), READ, Box::new(move |_, _, _| seen.borrow_mut().push(()))).unwrap();
    event_loop.turn(Some(100)).unwrap();
    assert_eq!(notes.borrow().len(), 2);
    drop(ours);
    assert_eq!(event_loop.net().cancel_watch(id), Ok(()));
    event_loop.turn(Some(5)).unwrap();
    assert_eq!(notes.borrow().len(), 2);
}

#[test]
fn one_watch_may_cancel_another_that_is_ready_in_the_same_turn() {
    let mut event_loop = new_loop();
    let pairs = [UnixStream::pair().unwrap(), UnixStream::pair().unwrap()];
    let ids: Notes<dari::WatchId> = Notes::default();
    let calls: Notes<dari::WatchId> = Notes::default();
    for (ours, theirs) in &pairs {
        let (all, seen) = (Rc::clone(&ids), Rc::clone(&calls));
        let ready = move |net: &mut Net, id, _| {
            seen.borrow_mut().push(id);
            for other in all.borrow().iter().filter(|other| **other != id) {
                net.cancel_watch(*other).unwrap();
            }
        };
        let id = event_loop.net().watch(ours.as_raw_fd(), READ, Box::new(ready)).unwrap();
        ids.borrow_mut().push(id);
        (&mut &*theirs).write_all(b"x").unwrap();
    }
    event_loop.turn(Some(100)).unwrap();
    assert_eq!(calls.borrow().len(), 1);
}

#[test]
fn a_plain_file_is_always_ready() {
    let mut event_loop = new_loop();
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let notes: Notes<Readiness> = Notes::default();
    let seen = Rc::clone(&notes);
    let ready = move |net: &mut Net, id, readiness| {
        seen.borrow_mut().push(readiness);
        if seen.borrow().len() == 3 {
            net.cancel_watch(id).unwrap();
        }
    };
    event_loop.net().watch(file.as_raw_fd(), READ, Box::new(ready)).unwrap();
    assert_eq!(event_loop.net().timeout(), Some(0));
    for _ in 0..5 {
        event_loop.turn(Some(0)).unwrap();
    }
    assert_eq!(*notes.borrow(), [READ; 3]);
    assert_eq!(event_loop.net().timeout(), None);
}

#[test]
fn a_watch_is_for_something_and_on_something() {
    let mut event_loop = new_loop();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let nothing = Readiness::default();
    let fd = ours.as_raw_fd();
    assert!(matches!(event_loop.net().watch(fd, nothing, Box::new(|_, _, _| {})), Err(Error::Argument(_))));
    let bad = event_loop.net().watch(-1, READ, Box::new(|_, _, _| {}));
    assert!(matches!(bad, Err(Error::System { errno: libc::EBADF, .. })));
    assert!(event_loop.net().watch(fd, READ, Box::new(|_, _, _| {})).is_ok());
    let twice = event_loop.net().watch(fd, READ, Box::new(|_, _, _| {}));
    assert!(matches!(twice, Err(Error::System { errno: libc::EEXIST, .. })));
}
