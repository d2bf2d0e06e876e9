//! What the standard library has no word for: cores, clocks of other processes, bytes that nobody wants to see. The
//! only unsafe code here.

use std::io;
use std::mem::zeroed;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::null_mut;
use std::time::Duration;

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets this thread, and what it starts from now on, run on one core alone.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: a set of cores is plain bits, valid when all are zero; CPU_SET stays inside it for any core below its
    // size, which is checked.
    unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        if core >= 8 * size_of::<libc::cpu_set_t>() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        libc::CPU_SET(core, &mut set);
        check(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set))
    }
}

/// The CPU time, user and kernel, that a process or this thread has used.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// That of a process with all its threads.
    pub fn of(pid: u32) -> io::Result<Self> {
        let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut clock = 0;
        // SAFETY: writes one clock id to where one lies.
        match unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } {
            0 => Ok(Self(clock)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// That of the thread that reads it.
    pub fn of_this_thread() -> Self {
        Self(libc::CLOCK_THREAD_CPUTIME_ID)
    }

    /// Used so far. An error when the process is gone.
    pub fn read(self) -> io::Result<Duration> {
        // SAFETY: writes one timespec, which is plain numbers, to where one lies.
        let time = unsafe {
            let mut time: libc::timespec = zeroed();
            check(libc::clock_gettime(self.0, &raw mut time))?;
            time
        };
        let number = |value: i64| u64::try_from(value).unwrap_or_default();
        Ok(Duration::from_secs(number(time.tv_sec)) + Duration::from_nanos(number(time.tv_nsec)))
    }
}

/// Takes at most `most` bytes off a stream without copying them anywhere.
pub fn discard(socket: &TcpStream, most: usize) -> io::Result<usize> {
    // SAFETY: with MSG_TRUNC the kernel takes bytes off a TCP stream and writes none (tcp(7)): no buffer is needed.
    let taken = unsafe { libc::recv(socket.as_raw_fd(), null_mut(), most, libc::MSG_TRUNC) };
    usize::try_from(taken).map_err(|_| io::Error::last_os_error())
}

/// Accepts a connection that does not block, in one system call.
pub fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: nobody asks for the address, so nothing is written; a descriptor that comes is new, and owned by nobody.
    unsafe {
        let socket = libc::accept4(listener.as_raw_fd(), null_mut(), null_mut(), flags);
        check(socket)?;
        Ok(TcpStream::from_raw_fd(socket))
    }
}

/// Leaves the choice of a local port to `connect`: many connections may then share one.
pub fn bind_without_port(socket: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or_default();
    // SAFETY: the option is an int, and so is what `on` is, of the size that is said.
    check(unsafe {
        let option = libc::IP_BIND_ADDRESS_NO_PORT;
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, option, (&raw const on).cast(), size)
    })
}

/// Raises the soft limit of descriptors to the hard one, here and for what is started later, and says what it is.
pub fn raise_descriptors() -> io::Result<u64> {
    // SAFETY: reads and writes one rlimit, which is plain numbers.
    unsafe {
        let mut limit: libc::rlimit = zeroed();
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))?;
        Ok(limit.rlim_cur)
    }
}

/// Makes the kernel kill what `command` starts when this thread ends, however that comes about.
pub fn die_with_us(command: &mut Command) {
    // SAFETY: between fork and exec only prctl is called, which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(|| check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)));
    }
}
