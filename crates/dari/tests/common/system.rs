//! poll(2), resource limits, signals, fork, an allocator that counts: what the standard library does not offer. The only
//! unsafe code of the tests.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether `fd` becomes readable within `ms` milliseconds.
pub(crate) fn readable(fd: RawFd, ms: i32) -> bool {
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: `entry` is one pollfd, and lives through the call.
    let ready = unsafe { libc::poll(&raw mut entry, 1, ms) };
    assert!(ready >= 0 && entry.revents & (libc::POLLNVAL | libc::POLLERR) == 0, "{}", entry.revents);
    ready == 1
}

/// Lowers the number of descriptors that this process may have.
pub(crate) fn limit_descriptors(count: u64) {
    let limit = libc::rlimit { rlim_cur: count, rlim_max: count };
    // SAFETY: `limit` lives through the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(result, 0);
}

/// Processor time that this process has used, in milliseconds.
pub(crate) fn processor_ms() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel writes one rusage, for which there is room; before that it is zeros, which are a value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let ms = |time: libc::timeval| time.tv_sec * 1000 + time.tv_usec / 1000;
    ms(usage.ru_utime) + ms(usage.ru_stime)
}

/// Bytes that this process has allocated.
pub(crate) fn memory() -> usize {
    // SAFETY: it takes no pointers, and the allocator is the C library's.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

/// Has a signal call `handler`, or do what it does by default. System calls that it interrupts are not restarted.
pub(crate) fn on_signal(signal: i32, handler: Option<extern "C" fn(i32)>) {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a sigaction of zeros is one: no flags, an empty mask, the default.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = handler.map_or(libc::SIG_DFL, |handler| handler as libc::sighandler_t);
    // SAFETY: `action` lives through the call; the handlers of these tests do nothing that a handler may not.
    let result = unsafe { libc::sigaction(signal, action, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// Sends this process a signal, now.
pub(crate) fn raise(signal: i32) {
    // SAFETY: no pointers are passed.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// Has another thread send this one a signal some thousand times a second, while `run` runs.
pub(crate) fn interrupted(signal: i32, run: impl FnOnce()) {
    // SAFETY: it only tells who calls.
    let here = unsafe { libc::pthread_self() };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                // SAFETY: the scope does not let that thread go before this one.
                unsafe { libc::pthread_kill(here, signal) };
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        over.store(true, Ordering::Release);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs `child` in a forked child, and tells whether it went well: no panic, and true.
pub(crate) fn in_child(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `child` alone, which allocates and uses descriptors, and leaves by _exit; the C library's
    // allocator is good for that after a fork.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: it ends the child here, without the parent's destructors.
        unsafe { libc::_exit(i32::from(!well)) };
    }
    assert!(pid > 0);
    let mut status = 0;
    // SAFETY: `status` lives through the call, and the child is ours.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    waited == pid && status == 0
}

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, and a count of what this thread has and did not free.
pub(crate) struct Counting;

impl Counting {
    pub(crate) fn live() -> isize {
        LIVE.get()
    }

    fn count(size: usize, sign: isize) {
        LIVE.set(LIVE.get() + sign * isize::try_from(size).unwrap_or_default());
    }
}

// SAFETY: all is passed on as it comes; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size(), 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        Self::count(layout.size(), -1);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }
}
