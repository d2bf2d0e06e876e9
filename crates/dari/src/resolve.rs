//! From names to addresses, off the loop. The system's resolver blocks, for seconds if a name server is gone, so it
//! has a thread of its own: one for each loop, started by the first name, never by anything else.
//!
//! The thread ends with the [`Resolver`]. If it is idle, that is waited for. If it is in the middle of a lookup, which
//! nothing can interrupt, it is left alone and ends by itself after that: to wait would hang the host for as long as a
//! dead name server likes. What it touches from then on is its own, and the library stays loaded for it.

use crate::{Error, sys};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::{fmt, io, mem};

/// Questions that may wait at a time.
const MOST_WAITING: usize = 1_024;

/// What has come of one question.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The key that it was asked with.
    pub(crate) key: u64,
    /// With the port that it was asked with, in the system's order of preference (RFC 6724); never none.
    pub(crate) addresses: Result<Vec<SocketAddr>, NoAddress>,
}

/// A name without an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoAddress {
    pub(crate) name: String,
    /// `EAI_NONAME`, ...
    pub(crate) code: i32,
    /// For `EAI_SYSTEM`.
    pub(crate) errno: i32,
}

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match self.code {
            libc::EAI_NONAME => f.write_str("no such name"),
            libc::EAI_AGAIN => f.write_str("no name server answers now, try again"),
            libc::EAI_FAIL => f.write_str("the name server can not answer"),
            libc::EAI_NODATA => f.write_str("the name has no address"),
            libc::EAI_MEMORY => f.write_str("out of memory"),
            libc::EAI_SYSTEM => write!(f, "{}", io::Error::from_raw_os_error(self.errno)),
            code => write!(f, "getaddrinfo error {code}"),
        }
    }
}

/// Asks for names. In a forked child, where its thread is not, it can only be [forgotten](Self::forget).
pub(crate) struct Resolver {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

type Lookup = dyn Fn(&str) -> Result<Vec<SocketAddr>, (i32, i32)> + Send + Sync;

struct Shared {
    state: Mutex<State>,
    asked: Condvar,
    lookup: Box<Lookup>,
}

struct State {
    queue: VecDeque<Question>,
    /// What is being looked up.
    current: Option<Question>,
    answers: Vec<Answer>,
    /// Tells the loop that there are answers. Nothing once the loop is gone.
    wake: Option<Box<dyn Fn() + Send>>,
}

/// One name, and all who want to know.
struct Question {
    name: String,
    /// Their keys and ports.
    asking: Vec<(u64, u16)>,
}

impl Resolver {
    /// Starts nothing yet. `wake` is called on the thread, when [`take`](Self::take) has something to give.
    pub(crate) fn new(wake: impl Fn() + Send + 'static) -> Self {
        Self::with(wake, sys::resolve)
    }

    fn with(
        wake: impl Fn() + Send + 'static,
        lookup: impl Fn(&str) -> Result<Vec<SocketAddr>, (i32, i32)> + Send + Sync + 'static,
    ) -> Self {
        let wake: Box<dyn Fn() + Send> = Box::new(wake);
        let state = State { queue: VecDeque::new(), current: None, answers: Vec::new(), wake: Some(wake) };
        let shared = Shared { state: Mutex::new(state), asked: Condvar::new(), lookup: Box::new(lookup) };
        Self { shared: Arc::new(shared), thread: None }
    }

    /// Asks for the addresses of `name`: the answer has `key`. Whoever asks for a name that is already asked for
    /// shares its answer.
    pub(crate) fn ask(&mut self, key: u64, name: &str, port: u16) -> Result<(), Error> {
        let mut state = self.shared.lock();
        if state.waiting() >= MOST_WAITING {
            return Err(Error::Full);
        }
        if self.thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let builder = thread::Builder::new().name("dari-resolver".to_owned());
            let started = sys::without_signals(|| builder.spawn(move || shared.run()));
            self.thread = Some(started.map_err(|error| Error::system("starting the resolver's thread", &error))?);
        }
        let State { queue, current, .. } = &mut *state;
        match current.iter_mut().chain(queue).find(|question| question.name == name) {
            Some(question) => question.asking.push((key, port)),
            None => {
                state.queue.push_back(Question { name: name.to_owned(), asking: vec![(key, port)] });
                self.shared.asked.notify_one();
            }
        }
        Ok(())
    }

    /// Nobody waits for `key` any more: no answer comes, and a name that nobody else wants is not looked up.
    pub(crate) fn cancel(&mut self, key: u64) {
        let mut state = self.shared.lock();
        let State { queue, current, answers, .. } = &mut *state;
        answers.retain(|answer| answer.key != key);
        for question in current.iter_mut().chain(queue.iter_mut()) {
            question.asking.retain(|(other, _)| *other != key);
        }
        queue.retain(|question| !question.asking.is_empty());
    }

    /// The answers since the last time.
    pub(crate) fn take(&mut self) -> Vec<Answer> {
        mem::take(&mut self.shared.lock().answers)
    }

    /// Lets go of it in a forked child: its lock may be held for ever there, by a thread that does not exist.
    pub(crate) fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let mut state = self.shared.lock();
        let is_idle = state.current.is_none();
        state.wake = None;
        drop(state);
        self.shared.asked.notify_one();
        if is_idle {
            // It ends at once; a panic of its has nobody to be told to.
            let _ = thread.join();
        } else {
            sys::stay_loaded();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread does.
    fn run(&self) {
        let mut state = self.lock();
        while state.wake.is_some() {
            let Some(question) = state.queue.pop_front() else {
                state = self.asked.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let name = question.name.clone();
            state.current = Some(question);
            drop(state);
            let found = (self.lookup)(&name);
            state = self.lock();
            state.answer(found);
        }
    }
}

impl State {
    fn waiting(&self) -> usize {
        let asking: usize = self.queue.iter().chain(&self.current).map(|question| question.asking.len()).sum();
        asking + self.answers.len()
    }

    /// Answers those who asked for what was looked up.
    fn answer(&mut self, found: Result<Vec<SocketAddr>, (i32, i32)>) {
        let (Some(Question { name, asking }), Some(wake)) = (self.current.take(), &self.wake) else { return };
        let found = found.and_then(|found| if found.is_empty() { Err((libc::EAI_NODATA, 0)) } else { Ok(found) });
        let found = found.map_err(|(code, errno)| NoAddress { name, code, errno });
        for (key, port) in &asking {
            let mut addresses = found.clone();
            addresses.iter_mut().flatten().for_each(|address| address.set_port(*port));
            self.answers.push(Answer { key: *key, addresses });
        }
        if !asking.is_empty() {
            wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// A resolver whose lookups say that they have begun, and wait until they are let go.
    struct Stage {
        resolver: Resolver,
        woken: Receiver<()>,
        begun: Receiver<String>,
        go: Sender<Result<Vec<SocketAddr>, (i32, i32)>>,
    }

    fn stage() -> Stage {
        let (wake, woken) = channel();
        let (begin, begun) = channel();
        let (go, gone) = channel();
        let gone = Mutex::new(gone);
        let lookup = move |name: &str| {
            // A test that is over listens no more, and lets everything go.
            let _ = begin.send(name.to_owned());
            gone.lock().unwrap().recv_timeout(DEADLINE).unwrap_or(Err((libc::EAI_FAIL, 0)))
        };
        Stage { resolver: Resolver::with(move || wake.send(()).unwrap(), lookup), woken, begun, go }
    }

    impl Stage {
        fn answers(&mut self) -> Vec<(u64, Result<Vec<SocketAddr>, NoAddress>)> {
            self.woken.recv_timeout(DEADLINE).unwrap();
            self.resolver.take().into_iter().map(|answer| (answer.key, answer.addresses)).collect()
        }

        fn begun(&self) -> String {
            self.begun.recv_timeout(DEADLINE).unwrap()
        }
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn answers_have_the_key_the_port_and_the_order() {
        let mut stage = stage();
        stage.resolver.ask(7, "a", 80).unwrap();
        stage.go.send(Ok(vec![at("[::1]:0"), at("127.0.0.1:0")])).unwrap();
        assert_eq!(stage.answers(), [(7, Ok(vec![at("[::1]:80"), at("127.0.0.1:80")]))]);
        stage.resolver.ask(8, "b", 80).unwrap();
        stage.go.send(Ok(Vec::new())).unwrap();
        let (key, none) = stage.answers().remove(0);
        assert_eq!((key, none.unwrap_err().to_string()), (8, "b: the name has no address".to_owned()));
        assert!(stage.resolver.take().is_empty());
    }

    #[test]
    fn who_asks_for_the_same_name_shares_the_answer() {
        let mut stage = stage();
        stage.resolver.ask(1, "a", 80).unwrap();
        assert_eq!(stage.begun(), "a");
        stage.resolver.ask(2, "b", 80).unwrap();
        stage.resolver.ask(3, "a", 81).unwrap();
        stage.resolver.ask(4, "b", 82).unwrap();
        stage.go.send(Ok(vec![at("127.0.0.1:0")])).unwrap();
        assert_eq!(stage.answers(), [(1, Ok(vec![at("127.0.0.1:80")])), (3, Ok(vec![at("127.0.0.1:81")]))]);
        assert_eq!(stage.begun(), "b");
        stage.go.send(Err((libc::EAI_NONAME, 0))).unwrap();
        let none = NoAddress { name: "b".into(), code: libc::EAI_NONAME, errno: 0 };
        assert_eq!(stage.answers(), [(2, Err(none.clone())), (4, Err(none))]);
    }

    #[test]
    fn what_is_cancelled_is_neither_looked_up_nor_answered() {
        let mut stage = stage();
        for (key, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "c"), (5, "a")] {
            stage.resolver.ask(key, name, 80).unwrap();
        }
        assert_eq!(stage.begun(), "a");
        for key in [1, 2, 4] {
            stage.resolver.cancel(key);
        }
        stage.go.send(Ok(vec![at("127.0.0.1:0")])).unwrap();
        assert_eq!(stage.begun(), "c", "nobody wants b");
        let keys = |answers: Vec<(u64, _)>| answers.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys(stage.answers()), [5]);
        stage.go.send(Err((libc::EAI_AGAIN, 0))).unwrap();
        stage.woken.recv_timeout(DEADLINE).unwrap();
        stage.resolver.cancel(3);
        assert!(stage.resolver.take().is_empty(), "an answer that was not taken goes, too");
    }

    #[test]
    fn one_question_more_than_may_wait_is_refused() {
        let mut stage = stage();
        stage.resolver.ask(0, "a", 80).unwrap();
        assert_eq!(stage.begun(), "a");
        for key in 1..MOST_WAITING as u64 {
            stage.resolver.ask(key, if key % 2 == 0 { "a" } else { "b" }, 80).unwrap();
        }
        assert_eq!(stage.resolver.ask(9_999, "a", 80), Err(Error::Full));
        stage.go.send(Err((libc::EAI_FAIL, 0))).unwrap();
        stage.woken.recv_timeout(DEADLINE).unwrap();
        assert_eq!(stage.resolver.ask(9_999, "a", 80), Err(Error::Full), "answers wait, too");
        stage.resolver.cancel(1);
        stage.resolver.ask(9_999, "c", 80).unwrap();
    }

    #[test]
    fn the_thread_has_a_name_and_no_signals() {
        let status = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let blocked = |status: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        let before = blocked(&status());
        let (told, hears) = channel();
        let told = Mutex::new(told);
        let lookup = move |_: &str| {
            told.lock().unwrap().send(status()).unwrap();
            Err((libc::EAI_FAIL, 0))
        };
        let mut resolver = Resolver::with(|| {}, lookup);
        resolver.ask(1, "a", 80).unwrap();
        let seen = hears.recv_timeout(DEADLINE).unwrap();
        assert!(seen.contains("dari-resolver"), "{seen}");
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD, libc::SIGALRM, libc::SIGUSR1, libc::SIGPIPE] {
            assert_ne!(blocked(&seen) & 1 << (signal - 1), 0, "signal {signal} is blocked");
        }
        let own = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert_eq!(blocked(&own), before, "the loop's thread has its signals back");
    }

    /// Ends a resolver elsewhere, so that an end that hangs is a failure and no hang.
    fn end(resolver: Resolver, how: fn(Resolver)) {
        let (done, ended) = channel();
        thread::spawn(move || {
            how(resolver);
            done.send(()).unwrap();
        });
        ended.recv_timeout(DEADLINE).expect("the end of a resolver waits for nobody");
    }

    #[test]
    fn its_end_does_not_wait_for_a_lookup_and_wakes_nobody() {
        let mut stage = stage();
        stage.resolver.ask(1, "a", 80).unwrap();
        stage.resolver.ask(2, "b", 80).unwrap();
        assert_eq!(stage.begun(), "a");
        let left = Arc::downgrade(&stage.resolver.shared);
        end(stage.resolver, drop);
        assert_eq!(left.strong_count(), 1, "the thread has it alone");
        assert!(stage.woken.recv_timeout(DEADLINE).is_err(), "what wakes the loop is gone with the loop");
        stage.go.send(Err((libc::EAI_FAIL, 0))).unwrap();
        // The lookup's end of this channel goes with the thread; b was never begun.
        assert!(stage.begun.recv_timeout(DEADLINE).is_err());
    }

    #[test]
    fn its_end_waits_for_an_idle_thread() {
        let mut stage = stage();
        stage.resolver.ask(1, "a", 80).unwrap();
        stage.go.send(Err((libc::EAI_FAIL, 0))).unwrap();
        assert_eq!(stage.answers().len(), 1);
        let left = Arc::downgrade(&stage.resolver.shared);
        end(stage.resolver, drop);
        assert_eq!(left.strong_count(), 0, "nobody has it any more");
        end(Resolver::new(|| {}), drop);
    }

    #[test]
    fn it_is_forgotten_without_its_lock() {
        let mut stage = stage();
        stage.resolver.ask(1, "a", 80).unwrap();
        let shared = Arc::clone(&stage.resolver.shared);
        let _held = shared.lock();
        end(stage.resolver, Resolver::forget);
    }

    #[test]
    fn the_system_resolves_what_needs_no_name_server() {
        assert_eq!(sys::resolve("127.0.0.1"), Ok(vec![at("127.0.0.1:0")]));
        assert_eq!(sys::resolve("::1"), Ok(vec![at("[::1]:0")]));
        assert!(sys::resolve("localhost").unwrap().iter().all(|address| address.ip().is_loopback()));
        assert_eq!(sys::resolve("a\0b"), Err((libc::EAI_NONAME, 0)));
        assert!(sys::resolve(&"a".repeat(300)).is_err());
    }

    #[test]
    fn errors_are_in_words_with_the_name() {
        let text = |code, errno| NoAddress { name: "a.example".into(), code, errno }.to_string();
        assert_eq!(text(libc::EAI_NONAME, 0), "a.example: no such name");
        assert_eq!(text(libc::EAI_AGAIN, 0), "a.example: no name server answers now, try again");
        assert_eq!(text(libc::EAI_SYSTEM, libc::EMFILE), "a.example: Too many open files (os error 24)");
        assert_eq!(text(-99, 0), "a.example: getaddrinfo error -99");
    }
}
