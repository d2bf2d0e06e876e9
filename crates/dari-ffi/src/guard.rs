//! The boundary: what every call from C passes before `dari` sees it, and how its arguments are read.
//!
//! No panic leaves this file for C, no second `&mut Net` is made while one is in use, and no pointer of C is
//! looked behind anywhere else (but for the hooks, in `hooks`).
//!
//! The functions here that take a pointer are for exports, with the arguments as C passed them: the contract at
//! the top of the header is what makes them sound, and the C caller keeps it. A pointer that is not NULL points to
//! what its type says, for the length of the call; a loop is one that was not freed.

pub(crate) mod arguments;

use crate::status::{
    DARI_ERR_MEMORY, DARI_ERR_PANIC, DARI_ERR_STATE, DARI_ERR_THREAD, DARI_OK, Refusal, dari_status_t,
};
use crate::types::dari_loop_t;
use arguments::null;
use dari::{Error, Loop, LostByFork, Net};
use std::cell::{Cell, UnsafeCell};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an export's body comes to.
pub(crate) type Answer = Result<dari_status_t, Refusal>;

/// A loop as C holds it.
pub(crate) struct Guarded {
    /// The number of the thread that made it; 0, which no thread has, in a forked child.
    owner: Arc<LostByFork>,
    inner: UnsafeCell<ManuallyDrop<Loop>>,
    /// The `&mut Net` that a running hook was given, for calls from inside the hook; else NULL.
    lent: Cell<*mut Net>,
    /// Run, turn or free is at work, so `inner` is borrowed.
    busy: Cell<bool>,
    /// A panic has left it in an unknown state.
    poisoned: Cell<bool>,
}

/// What a hook unwinds with, back to run, turn or free, when a call inside it has poisoned the loop, or in a child that
/// it has forked.
struct Poisoned;

/// Runs an export that needs no loop.
pub(crate) fn plain(function: &str, body: impl FnOnce() -> Answer) -> dari_status_t {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => status,
        Ok(Err(refusal)) => refusal.report(function),
        Err(_) => panicked().report(function),
    }
}

/// Runs an export that may change what is on a loop.
pub(crate) fn verb(
    function: &str,
    owner: *const dari_loop_t,
    body: impl FnOnce(&mut Net) -> Answer,
) -> dari_status_t {
    let answer = catch_unwind(AssertUnwindSafe(|| {
        let net = enter(owner)?.net()?;
        // SAFETY: `net` gave the only way to the Net there is now, and no body calls back into C.
        body(unsafe { &mut *net })
    }));
    match answer {
        Ok(Ok(status)) => status,
        Ok(Err(refusal)) => refusal.report(function),
        Err(_) => spoil(owner).report(function),
    }
}

/// Runs an export that hooks call for each message: `quick` where that does it, else `body` as a verb.
#[inline]
pub(crate) fn quick(
    function: &str,
    owner: *const dari_loop_t,
    quick: impl FnOnce(&mut Net) -> bool,
    body: impl FnOnce(&mut Net) -> Answer,
) -> dari_status_t {
    let done = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: see the top of this file. Another thread reads only `owner`, which never changes.
        let Some(dari_loop_t(cell)) = (unsafe { owner.as_ref() }) else { return false };
        if cell.owner.get() != thread() || cell.poisoned.get() || cell.lent.get().is_null() {
            return false;
        }
        // SAFETY: as for a verb inside a hook.
        quick(unsafe { &mut *cell.lent.get() })
    }));
    match done {
        Ok(true) => DARI_OK,
        Ok(false) => slow(function, owner, body),
        Err(_) => spoil(owner).report(function),
    }
}

/// A verb that does not take up room where it is rarely called.
#[cold]
#[inline(never)]
fn slow(function: &str, owner: *const dari_loop_t, body: impl FnOnce(&mut Net) -> Answer) -> dari_status_t {
    verb(function, owner, body)
}

/// Runs an export that only looks, and has a neutral value for when there is nothing to see.
pub(crate) fn getter<T>(owner: *const dari_loop_t, neutral: T, body: impl FnOnce(&mut Net) -> T) -> T {
    let seen = catch_unwind(AssertUnwindSafe(|| {
        let net = enter(owner).ok()?.net().ok()?;
        // SAFETY: as for a verb.
        Some(body(unsafe { &mut *net }))
    }));
    match seen {
        Ok(seen) => seen.unwrap_or(neutral),
        Err(_) => {
            spoil(owner);
            neutral
        }
    }
}

/// Runs an export that calls hooks, and so may not be called by one.
pub(crate) fn exclusive(
    function: &str,
    owner: *const dari_loop_t,
    body: impl FnOnce(&mut Loop) -> Result<(), Error>,
) -> dari_status_t {
    plain(function, || {
        let cell = enter(owner)?;
        cell.not_inside_a_hook()?;
        cell.busy.set(true);
        // SAFETY: not busy and not lent, so nobody else has the loop; from here to `busy` again unset, nobody gets it.
        let answer = cell.poisoning(|| body(unsafe { &mut *cell.inner.get() }));
        cell.lent.set(ptr::null_mut());
        cell.busy.set(false);
        answer??;
        Ok(DARI_OK)
    })
}

/// Makes a loop that belongs to this thread of this process.
pub(crate) fn own(inner: Loop) -> Result<*mut dari_loop_t, Refusal> {
    let owner = LostByFork::new(thread()).map_err(|_| Refusal::new(DARI_ERR_MEMORY, "no memory for a loop"))?;
    let inner = UnsafeCell::new(ManuallyDrop::new(inner));
    let (lent, busy, poisoned) = (Cell::new(ptr::null_mut()), Cell::new(false), Cell::new(false));
    Ok(Box::into_raw(Box::new(dari_loop_t(Guarded { owner: Arc::new(owner), inner, lent, busy, poisoned }))))
}

/// Where a remote finds out that it is in a forked child, even after the loop is gone.
pub(crate) fn home(owner: *const dari_loop_t) -> Result<Arc<LostByFork>, Refusal> {
    Ok(Arc::clone(&enter(owner)?.owner))
}

/// What is the parent's may not be touched by a forked child.
pub(crate) fn at_home(home: &LostByFork) -> Result<(), Refusal> {
    if home.get() == 0 { Err(forked()) } else { Ok(()) }
}

/// Closes a loop, hooks included, and frees it; one that is poisoned is freed without hooks.
pub(crate) fn disown(function: &str, owner: *mut dari_loop_t) -> dari_status_t {
    if owner.is_null() {
        return DARI_OK;
    }
    plain(function, || {
        // SAFETY: it is not NULL; see the top of this file.
        let cell = unsafe { &(*owner).0 };
        match enter(owner) {
            Ok(_) => {}
            Err(refusal) if refusal.is(DARI_ERR_PANIC) || cell.is_forked() => {}
            Err(refusal) => return Err(refusal),
        }
        cell.not_inside_a_hook()?;
        cell.busy.set(true);
        let mut closed = Ok(());
        if !cell.poisoned.get() {
            // SAFETY: as in `exclusive`; `busy` stays set, so that nothing that C does now gets at the loop again.
            closed = cell.poisoning(|| unsafe { &mut *cell.inner.get() }.close());
        }
        cell.lent.set(ptr::null_mut());
        // SAFETY: once, here, and the box is freed without looking at it.
        let dropped = cell.poisoning(|| unsafe { ManuallyDrop::drop(&mut *cell.inner.get()) });
        // SAFETY: `own` made the box, and C frees a loop once.
        drop(unsafe { Box::from_raw(owner) });
        closed.and(dropped).map(|()| DARI_OK)
    })
}

/// Lends the Net to C for the length of a hook.
pub(crate) fn lend(owner: *const dari_loop_t, net: &mut Net, hook: impl FnOnce(*mut dari_loop_t)) {
    // SAFETY: hooks are called by a loop at work, and `disown` frees the box after the loop.
    let cell = unsafe { &(*owner).0 };
    let before = cell.lent.replace(ptr::from_mut(net));
    hook(owner.cast_mut());
    cell.lent.set(before);
    // A child that the hook has forked, and that returns from it, would go on with what is the parent's.
    if cell.poisoned.get() || cell.is_forked() {
        resume_unwind(Box::new(Poisoned));
    }
}

/// The checks that come before everything else, in this order.
fn enter<'a>(owner: *const dari_loop_t) -> Result<&'a Guarded, Refusal> {
    // SAFETY: see the top of this file. Another thread reads only `owner`, which never changes.
    let Some(dari_loop_t(cell)) = (unsafe { owner.as_ref() }) else {
        return Err(null("loop"));
    };
    if cell.owner.get() != thread() {
        return Err(cell.elsewhere());
    }
    if cell.poisoned.get() {
        return Err(Refusal::new(DARI_ERR_PANIC, "an earlier panic has spoilt the loop; free it"));
    }
    Ok(cell)
}

impl Guarded {
    /// The Net, for one call: the one that a hook was lent, or the resting loop's.
    fn net(&self) -> Result<*mut Net, Refusal> {
        if !self.lent.get().is_null() {
            Ok(self.lent.get())
        } else if self.busy.get() {
            Err(Refusal::new(DARI_ERR_STATE, "the loop is at work, and this is none of its hooks"))
        } else {
            // SAFETY: nobody has the loop now, see `exclusive`.
            Ok(ptr::from_mut(unsafe { &mut *self.inner.get() }.net()))
        }
    }

    fn is_forked(&self) -> bool {
        self.owner.get() == 0
    }

    #[cold]
    fn elsewhere(&self) -> Refusal {
        if self.is_forked() {
            return forked();
        }
        Refusal::new(DARI_ERR_THREAD, "the loop belongs to another thread; use dari_remote_call")
    }

    fn not_inside_a_hook(&self) -> Result<(), Refusal> {
        if self.lent.get().is_null() && !self.busy.get() {
            return Ok(());
        }
        Err(Refusal::new(DARI_ERR_STATE, "called inside a hook, where dari_loop_run, _turn and _free may not be"))
    }

    /// A panic in `body` is the last thing that this loop has done.
    fn poisoning<T>(&self, body: impl FnOnce() -> T) -> Result<T, Refusal> {
        catch_unwind(AssertUnwindSafe(body)).map_err(|_| {
            self.poisoned.set(true);
            if self.is_forked() { forked() } else { panicked() }
        })
    }
}

/// A body has panicked: it is the last thing that its loop has done.
fn spoil(owner: *const dari_loop_t) -> Refusal {
    if let Ok(cell) = enter(owner) {
        cell.poisoned.set(true);
    }
    panicked()
}

fn forked() -> Refusal {
    Refusal::new(DARI_ERR_STATE, "a forked child may only free a loop of its parent's")
}

fn panicked() -> Refusal {
    Refusal::new(DARI_ERR_PANIC, "a bug in dari: it panicked")
}

/// This thread's number. Numbers are not used again, so a loop never belongs to a later thread.
fn thread() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    match NUMBER.get() {
        0 => {
            NUMBER.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
            NUMBER.get()
        }
        number => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{DARI_ERR_ARGUMENT, dari_last_error};
    use dari::{Close, Config, ConnId, Handler, Listen, Message};
    use std::cell::RefCell;
    use std::ffi::CStr;
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream;
    use std::rc::Rc;
    use std::thread::spawn;

    fn new_loop() -> *mut dari_loop_t {
        own(Loop::new(Config::default()).expect("a poller")).expect("memory")
    }

    fn last_error() -> String {
        // SAFETY: it is text until the next error of this thread.
        unsafe { CStr::from_ptr(dari_last_error()) }.to_string_lossy().into_owned()
    }

    fn call(owner: *const dari_loop_t) -> dari_status_t {
        verb("call", owner, |_| Ok(DARI_OK))
    }

    #[test]
    fn a_panic_poisons_the_loop_and_no_more() {
        let (spoilt, other) = (new_loop(), new_loop());
        assert_eq!(verb("verb", spoilt, |_| panic!("on purpose")), DARI_ERR_PANIC);
        assert_eq!(last_error(), "verb: a bug in dari: it panicked");
        assert_eq!(call(spoilt), DARI_ERR_PANIC);
        assert_eq!(exclusive("run", spoilt, Loop::run), DARI_ERR_PANIC);
        assert_eq!(getter(spoilt, 7, |_| 8), 7);
        assert_eq!(call(other), DARI_OK);
        assert_eq!(disown("free", spoilt), DARI_OK);
        assert_eq!(disown("free", other), DARI_OK);
    }

    #[test]
    fn what_other_threads_asked_of_a_spoilt_loop_is_dropped_with_it() {
        struct Asked(std::sync::mpsc::Sender<&'static str>);
        impl dari::RemoteCall for Asked {
            fn call(self: Box<Self>, _: &mut Net) {
                let _ = self.0.send("called");
            }
            fn dropped(self: Box<Self>) {
                let _ = self.0.send("dropped");
            }
        }
        let owner = new_loop();
        let (sender, heard) = std::sync::mpsc::channel();
        let asked = verb("ask", owner, |net| {
            net.remote().call(Box::new(Asked(sender)))?;
            Ok(DARI_OK)
        });
        assert_eq!(asked, DARI_OK);
        assert_eq!(verb("verb", owner, |_| panic!("on purpose")), DARI_ERR_PANIC);
        assert_eq!(disown("free", owner), DARI_OK);
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["dropped"]);
    }

    #[test]
    fn a_panic_in_a_getter_gives_the_neutral_value_and_poisons() {
        let owner = new_loop();
        assert_eq!(getter(owner, 7, |_| panic!("on purpose")), 7);
        assert_eq!(call(owner), DARI_ERR_PANIC);
        assert_eq!(disown("free", owner), DARI_OK);
    }

    #[test]
    fn a_panic_inside_a_hook_ends_the_turn_and_no_later_hook_is_called() {
        let owner = new_loop();
        let hook = move |net: &mut Net| lend(owner, net, |owner| assert!(verb("verb", owner, |_| panic!()) < 0));
        let turn = exclusive("turn", owner, |inner| {
            hook(inner.net());
            unreachable!("the hook has unwound")
        });
        assert_eq!(turn, DARI_ERR_PANIC);
        assert_eq!(disown("free", owner), DARI_OK);
    }

    /// Writes down what it hears; at a message, a call has a bug.
    struct Trips {
        owner: *mut dari_loop_t,
        heard: Rc<RefCell<String>>,
    }

    impl Handler for Trips {
        fn open(&mut self, _: &mut Net, _: ConnId) {
            self.heard.borrow_mut().push('o');
        }

        fn message(&mut self, net: &mut Net, _: ConnId, _: Message<'_>) {
            self.heard.borrow_mut().push('m');
            lend(self.owner, net, |owner| assert_eq!(verb("verb", owner, |_| panic!("on purpose")), DARI_ERR_PANIC));
        }

        fn close(&mut self, _: &mut Net, _: ConnId, _: &Close) {
            self.heard.borrow_mut().push('c');
        }
    }

    #[test]
    fn a_loop_that_is_spoilt_in_the_middle_of_a_read_is_freed_with_its_sockets() {
        let (owner, heard) = (new_loop(), Rc::new(RefCell::new(String::new())));
        let mut port = 0;
        let listened = verb("listen", owner, |net| {
            let handler = Trips { owner, heard: Rc::clone(&heard) };
            let listener = net.listen("127.0.0.1:0", Listen::default(), Box::new(handler))?;
            port = net.listener_port(listener).expect("it has one");
            Ok(DARI_OK)
        });
        assert_eq!(listened, DARI_OK);
        let mut peer = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
        let hello = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        // Two messages at once: nobody hears the second one.
        peer.write_all(&[hello.as_bytes(), b"\x81\x80\0\0\0\0\x81\x80\0\0\0\0"].concat()).expect("room");
        let turn = |wait| exclusive("turn", owner, |inner| inner.turn(Some(wait)));
        let spoilt = (0..100).map(|_| turn(100)).find(|status| *status != DARI_OK);
        assert_eq!(spoilt, Some(DARI_ERR_PANIC));
        assert_eq!((turn(0), call(owner), getter(owner, 7, |_| 8)), (DARI_ERR_PANIC, DARI_ERR_PANIC, 7));
        assert_eq!(disown("free", owner), DARI_OK);
        assert_eq!(*heard.borrow(), "om", "no hook runs behind a panic");
        // Closed with what was unread, or without: it is gone in either case, and so is the listener.
        let gone = peer.read_to_end(&mut Vec::new());
        assert!(gone.is_ok() || gone.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn a_call_inside_a_hook_uses_the_net_that_was_lent() {
        let owner = new_loop();
        let turn = exclusive("turn", owner, |inner| {
            let lent = ptr::from_mut(inner.net());
            lend(owner, inner.net(), |owner| {
                assert_eq!(call(owner), DARI_OK);
                assert!(getter(owner, false, |net| ptr::eq(net, lent)));
                assert_eq!(exclusive("turn", owner, Loop::run), DARI_ERR_STATE);
                assert_eq!(disown("free", owner), DARI_ERR_STATE);
            });
            // Busy, but not in a hook: a signal handler, or a `dropped`.
            assert_eq!(call(owner), DARI_ERR_STATE);
            Ok(())
        });
        assert_eq!(turn, DARI_OK);
        assert_eq!(disown("free", owner), DARI_OK);
    }

    #[test]
    fn no_thread_has_the_number_of_another() {
        let owner = new_loop();
        let address = owner as usize;
        let elsewhere = move || call(ptr::with_exposed_provenance(address));
        assert_eq!(spawn(elsewhere).join().expect("no panic"), DARI_ERR_THREAD);
        assert_eq!(disown("free", owner), DARI_OK);
    }

    #[test]
    fn the_checks_come_in_their_order() {
        assert_eq!(call(ptr::null()), DARI_ERR_ARGUMENT);
        assert_eq!(last_error(), "call: loop is NULL");
        assert_eq!(disown("free", ptr::null_mut()), DARI_OK);
    }
}
