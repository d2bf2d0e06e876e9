//! poll(2) and resource limits: what the standard library does not offer, for tests of descriptors.

use std::os::fd::RawFd;

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
