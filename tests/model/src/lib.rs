//! The mailbox between other threads and a loop, in every order of events that there can be.
//!
//! `crates/dari/src/mailbox.rs` is compiled here as it stands, with loom's types in place of the standard library's.
//! The loop of a test does what `Loop::turn` does: wait, do what there is, look at the flag. If a wake-up is lost it
//! waits for ever, which loom calls a deadlock; then it aborts. Bounds are small here, so that they are met.
#![cfg(test)]

#[path = "../../../crates/dari/src/mailbox.rs"]
mod mailbox;
mod sync;

use loom::sync::{Arc, Notify};
use loom::thread;
use mailbox::{Inbox, Mailbox, Refused, Wake};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Thread and number.
type Entry = (u8, u8);

const MANY: usize = 100;

/// As the eventfd does it: a wake before the wait counts, two may be one. And how often it was called.
struct Waker(Arc<Notify>, Count);

type Count = std::sync::Arc<AtomicUsize>;

impl Wake for Waker {
    fn wake(&self) -> io::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.notify();
        Ok(())
    }
}

/// A loop, with the mailbox to put into.
struct Loop<E> {
    mailbox: Arc<Mailbox<E, Waker>>,
    waker: Arc<Notify>,
    wakes: Count,
    inbox: Inbox<E, Waker>,
    share: usize,
    done: Vec<E>,
    stopped: bool,
}

impl<E> Loop<E> {
    fn new(share: usize, most_entries: usize) -> Self {
        let waker = Arc::new(Notify::new());
        let wakes = Count::default();
        let mailbox = Arc::new(Mailbox::new(Waker(Arc::clone(&waker), Count::clone(&wakes)), most_entries, MANY));
        let inbox = Inbox::new(Arc::clone(&mailbox));
        Self { mailbox, waker, wakes, inbox, share, done: Vec::new(), stopped: false }
    }

    fn turn(&mut self) {
        self.waker.wait();
        for _ in 0..self.inbox.begin(self.share) {
            self.done.push(self.inbox.next().expect("as many as were counted"));
        }
        self.stopped |= self.inbox.take_stop();
    }
}

/// A thread that puts in some numbers, and tells which were taken in.
fn put(mailbox: &Arc<Mailbox<Entry, Waker>>, thread: u8, count: u8) -> thread::JoinHandle<Vec<Entry>> {
    let mailbox = Arc::clone(mailbox);
    thread::spawn(move || {
        (0..count).map(|number| (thread, number)).filter(|entry| mailbox.put(*entry, 1).is_ok()).collect()
    })
}

/// Those of one thread, in order.
fn of(thread: u8, entries: &[Entry]) -> Vec<Entry> {
    entries.iter().filter(|entry| entry.0 == thread).copied().collect()
}

fn two_threads_and_a_loop_that_does(share: usize) {
    loom::model(move || {
        let mut at = Loop::new(share, MANY);
        let threads = [put(&at.mailbox, 0, 2), put(&at.mailbox, 1, 1)];
        while at.done.len() < 3 {
            at.turn();
        }
        for (number, thread) in (0..).zip(threads) {
            assert_eq!(of(number, &at.done), thread.join().unwrap());
        }
        assert_eq!(at.inbox.begin(share), 0);
    });
}

#[test]
fn what_two_threads_put_in_comes_out_once_and_in_their_order() {
    two_threads_and_a_loop_that_does(MANY);
}

#[test]
fn a_loop_that_does_one_in_a_turn_does_all_in_the_end() {
    two_threads_and_a_loop_that_does(1);
}

#[test]
fn what_is_over_the_bound_is_refused_and_all_else_is_done() {
    loom::model(|| {
        let mut at = Loop::new(MANY, 1);
        let threads = [put(&at.mailbox, 0, 2), put(&at.mailbox, 1, 1)];
        at.turn();
        let taken: Vec<Vec<Entry>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        while at.done.len() < taken.concat().len() {
            at.turn();
        }
        assert!(!at.done.is_empty());
        for (number, taken) in (0..).zip(taken) {
            assert_eq!(of(number, &at.done), taken);
        }
    });
}

#[test]
fn a_stop_is_seen_whatever_else_comes() {
    loom::model(|| {
        let mut at = Loop::new(MANY, MANY);
        let thread = put(&at.mailbox, 0, 1);
        let mailbox = Arc::clone(&at.mailbox);
        let stopper = thread::spawn(move || mailbox.stop().unwrap());
        while at.done.is_empty() || !at.stopped {
            at.turn();
        }
        assert_eq!(thread.join().unwrap(), at.done);
        stopper.join().unwrap();
        assert!(!at.inbox.take_stop(), "one stop is one");
    });
}

#[test]
fn what_was_taken_in_before_the_end_is_done_or_left_over() {
    for share in [1, MANY] {
        loom::model(move || {
            let mut at = Loop::new(share, MANY);
            let threads = [put(&at.mailbox, 0, 2), put(&at.mailbox, 1, 1)];
            at.turn();
            let left: Vec<Entry> = at.inbox.shut().collect();
            let all = [&at.done[..], &left].concat();
            for (number, thread) in (0..).zip(threads) {
                assert_eq!(of(number, &all), thread.join().unwrap());
            }
            assert_eq!(at.mailbox.put((2, 0), 1), Err(Refused::Shut));
            assert_eq!((at.inbox.begin(MANY), at.inbox.shut().count()), (0, 0));
        });
    }
}

#[test]
fn a_stop_in_the_end_of_a_loop_harms_nobody() {
    loom::model(|| {
        let mut at: Loop<Entry> = Loop::new(MANY, MANY);
        let mailbox = Arc::clone(&at.mailbox);
        let stopper = thread::spawn(move || mailbox.stop().unwrap());
        assert_eq!(at.inbox.shut().count(), 0);
        drop(at);
        stopper.join().unwrap();
    });
}

#[test]
fn entries_and_bytes_are_bounded_and_free_again_when_they_are_taken() {
    loom::model(|| {
        let mut at = Loop::new(MANY, 3);
        for _ in 0..2 {
            assert_eq!(at.mailbox.put(0, MANY - 1), Ok(()));
            assert_eq!(at.mailbox.put(1, 2), Err(Refused::Full));
            assert_eq!(at.mailbox.put(2, 1), Ok(()));
            assert_eq!(at.mailbox.put(3, 1), Err(Refused::Full));
            assert_eq!(at.mailbox.put(4, usize::MAX), Err(Refused::Full));
            assert_eq!(at.mailbox.put(5, 0), Ok(()));
            assert_eq!(at.mailbox.put(6, 0), Err(Refused::Full));
            at.turn();
        }
        assert_eq!(at.done, [0, 2, 5, 0, 2, 5]);
    });
}

#[test]
fn a_batch_wakes_once() {
    loom::model(|| {
        let mut at = Loop::new(MANY, MANY);
        for batch in 1..=2 {
            for number in 0..3 {
                assert_eq!(at.mailbox.put(number, 1), Ok(()));
            }
            assert_eq!(at.wakes.load(Ordering::Relaxed), batch);
            at.turn();
        }
    });
}

/// Puts another one in when it is freed: if the lock is held then, that waits for ever.
struct Restless(Option<Arc<Mailbox<Restless, Waker>>>);

impl Drop for Restless {
    fn drop(&mut self) {
        if let Some(mailbox) = &self.0 {
            let _ = mailbox.put(Self(None), 0);
        }
    }
}

#[test]
fn no_entry_is_freed_under_the_lock() {
    loom::model(|| {
        let mut at = Loop::new(MANY, 2);
        let mailbox = Arc::clone(&at.mailbox);
        let restless = || Restless(Some(Arc::clone(&mailbox)));
        assert_eq!(mailbox.put(restless(), 0), Ok(()));
        assert_eq!(mailbox.put(restless(), usize::MAX), Err(Refused::Full));
        assert_eq!(mailbox.put(restless(), 0), Err(Refused::Full));
        at.turn();
        at.done.clear();
        assert_eq!(mailbox.put(restless(), 0), Ok(()));
        drop(at.inbox.shut());
        assert_eq!(mailbox.put(restless(), 0), Err(Refused::Shut));
    });
}
