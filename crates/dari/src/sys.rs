//! What the operating system offers and no crate here does: the only unsafe code of this crate.

use dari_core::Entropy;
use socket2::{Domain, SockAddr, Socket, Type};
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

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
        unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, spec, ptr::null_mut()) };
    }
}

impl AsRawFd for TimerFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A number that a forked child finds to be 0, for the price of reading it: it lies in a page that the kernel wipes
/// there (`MADV_WIPEONFORK`, Linux 4.14). Where the kernel does not, the child finds the number itself.
#[derive(Debug)]
pub struct LostByFork {
    page: NonNull<AtomicU64>,
}

/// What is mapped for one number: the smallest that there is to map.
const PAGE: usize = 4096;

impl LostByFork {
    /// Keeps a number; an error if there is no memory for the page.
    pub fn new(number: u64) -> io::Result<Self> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, at a place that the kernel picks; nothing that is there is touched.
        let page = unsafe { libc::mmap(ptr::null_mut(), PAGE, access, kind, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let Some(page) = NonNull::new(page) else { return Err(io::ErrorKind::OutOfMemory.into()) };
        // SAFETY: it is the page that was just mapped. An older kernel refuses, and nothing changes.
        unsafe { libc::madvise(page.as_ptr(), PAGE, libc::MADV_WIPEONFORK) };
        let kept = Self { page: page.cast() };
        kept.place().store(number, Ordering::Relaxed);
        Ok(kept)
    }

    /// The number, or 0 in a forked child.
    pub fn get(&self) -> u64 {
        self.place().load(Ordering::Relaxed)
    }

    fn place(&self) -> &AtomicU64 {
        // SAFETY: the page is mapped for as long as `self` is there, is aligned, and any bytes are a number.
        unsafe { self.page.as_ref() }
    }
}

impl Drop for LostByFork {
    fn drop(&mut self) {
        // SAFETY: `new` has mapped it, and nothing refers to it any more.
        unsafe { libc::munmap(self.page.as_ptr().cast(), PAGE) };
    }
}

// SAFETY: nothing but an atomic number is behind the pointer, and the page belongs to nobody else.
unsafe impl Send for LostByFork {}
// SAFETY: as above.
unsafe impl Sync for LostByFork {}

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

/// The addresses of a name, by the system's resolver, in its order; blocks for as long as that takes. The error is an
/// `EAI_` code and, for `EAI_SYSTEM`, an errno. (The standard library's way hides the code.)
pub(crate) fn resolve(name: &str) -> Result<Vec<SocketAddr>, (i32, i32)> {
    let Ok(name) = CString::new(name) else { return Err((libc::EAI_NONAME, 0)) };
    let mut hints = MaybeUninit::<libc::addrinfo>::zeroed();
    // SAFETY: an addrinfo is integers and pointers, for which zero is a value.
    let hints = unsafe { hints.assume_init_mut() };
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list = ptr::null_mut();
    // SAFETY: name, hints and the place for the list live through the call; null asks for no service.
    let code = unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), hints, &raw mut list) };
    if code != 0 {
        let errno = if code == libc::EAI_SYSTEM { io::Error::last_os_error().raw_os_error() } else { None };
        return Err((code, errno.unwrap_or_default()));
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: getaddrinfo has made a list that ends with null, and that is freed below.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: `ai_addr` has `ai_addrlen` bytes, and the storage has room for every address that there is.
        let address = unsafe {
            SockAddr::try_init(|storage, len| {
                ptr::copy_nonoverlapping(entry.ai_addr.cast::<u8>(), storage.cast(), entry.ai_addrlen as usize);
                *len = entry.ai_addrlen;
                Ok(())
            })
        };
        found.extend(address.ok().and_then(|((), address)| address.as_socket()));
        next = entry.ai_next;
    }
    // SAFETY: getaddrinfo has made it, and nothing refers to it any more.
    unsafe { libc::freeaddrinfo(list) };
    Ok(found)
}

/// Runs `f` with all signals blocked: a thread that it starts begins so, and no handler of the host ever runs on it.
pub(crate) fn without_signals<T>(f: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the first call fills the set that the second reads and writes the old one to; both live through it.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let result = f();
    // SAFETY: `before` was written above: with these arguments that can not fail.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    result
}

/// Keeps the library that this code is in loaded until the process ends, whatever `dlclose` is told: a thread of ours
/// is still in it. Does nothing in a program that holds the code itself.
pub(crate) fn stay_loaded() {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    let here: fn() = stay_loaded;
    // SAFETY: `info` has room for what is written, and was zeros before, which are a value; the name in it is the
    // dynamic loader's and stays. A handle that is never closed is what is wanted here.
    unsafe {
        libc::dladdr(here as *const libc::c_void, info.as_mut_ptr());
        let name = info.assume_init().dli_fname;
        if !name.is_null() {
            libc::dlopen(name, libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
        }
    }
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
