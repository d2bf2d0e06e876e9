//! What the operating system offers and no crate here does: the only unsafe code of this crate.

use dari_core::Entropy;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Accepts a connection, non-blocking and closed on exec from its first moment, and tells who it is. EINTR is
/// retried.
pub(crate) fn accept(listener: &Socket) -> io::Result<(Socket, SockAddr)> {
    loop {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let mut fd = -1;
        // SAFETY: the closure gives accept4 the storage and the length that it is handed, which are good for as long
        // as it runs; the descriptor is open as long as `listener` is. What accept4 writes is an address.
        let accepted = unsafe {
            SockAddr::try_init(|address, len| {
                fd = libc::accept4(listener.as_raw_fd(), address.cast(), len, flags);
                if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
            })
        };
        match accepted {
            // SAFETY: the kernel has just made this descriptor for us, nobody else knows it.
            Ok(((), peer)) => return Ok((unsafe { Socket::from_raw_fd(fd) }, peer)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A descriptor that becomes readable when a time has come: what tells the host of an embedded loop that there is
/// something to do.
#[derive(Debug)]
pub(crate) struct TimerFd(OwnedFd);

impl TimerFd {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us, nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes it readable in `ms` milliseconds, at once for 0, or never.
    pub(crate) fn set(&self, ms: Option<u64>) {
        // All zeros disarm the timer, so "at once" is one nanosecond.
        let (seconds, nanos) = match ms {
            None => (0, 0),
            Some(0) => (0, 1),
            Some(ms) => (ms / 1000, ms % 1000 * 1_000_000),
        };
        let mut spec = MaybeUninit::<libc::itimerspec>::zeroed();
        // SAFETY: an itimerspec is four integers, for which zero is a value.
        let spec = unsafe { spec.assume_init_mut() };
        spec.it_value.tv_sec = seconds.try_into().unwrap_or(libc::time_t::MAX);
        spec.it_value.tv_nsec = nanos.try_into().unwrap_or_default();
        // SAFETY: `spec` lives through the call, and null tells the kernel that the old value is not wanted. It
        // can only fail for arguments that are not these.
        unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, spec, std::ptr::null_mut()) };
    }
}

impl AsRawFd for TimerFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Asks the C library to give freed memory back to the system. glibc keeps up to twice its largest freed block at the
/// top of the heap, which for a megabyte of message is two that nobody uses.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, may be called on any thread at any time, and moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A descriptor that is only there to be let go of.
pub(crate) fn spare_socket() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::DGRAM.nonblocking(), None)
}

/// How many descriptors the process may have open: the soft limit.
pub(crate) fn descriptor_limit() -> u64 {
    let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: the kernel writes one rlimit, for which there is room; before that it is zeros, which are a value.
    let limit = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr());
        limit.assume_init()
    };
    limit.rlim_cur
}

/// Runs `f` and leaves errno as it was: what a signal handler owes to the code that it interrupts.
pub(crate) fn keeping_errno<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: the C library's errno of this thread is always there.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as above; nobody but this thread touches it.
    let before = unsafe { *place };
    let result = f();
    // SAFETY: as above.
    unsafe { *place = before };
    result
}

/// The system's randomness, fetched in larger pieces.
#[derive(Debug)]
pub(crate) struct SystemEntropy {
    buffer: [u8; 1024],
    used: usize,
}

impl SystemEntropy {
    pub(crate) fn new() -> Self {
        Self { buffer: [0; 1024], used: 1024 }
    }

    fn refill(&mut self) {
        let mut have = 0;
        while have < self.buffer.len() {
            let rest = &mut self.buffer[have..];
            // SAFETY: `rest` is writable for its length.
            let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
            match usize::try_from(got) {
                Ok(got) => have += got,
                // Interrupted. Linux gives no other error for these arguments.
                Err(_) => continue,
            }
        }
        self.used = 0;
    }
}

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.buffer.len() {
                self.refill();
            }
            *byte = std::mem::take(&mut self.buffer[self.used]);
            self.used += 1;
        }
    }
}
