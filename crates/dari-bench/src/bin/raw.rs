//! The physical limit: sends back the bytes that come, and knows nothing of WebSocket.     raw [--broadcast]
//!
//! One read and one send for what is there, edge-triggered, nothing registered twice: no server on epoll can do less.

use dari_bench::sys;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

const LISTENER: Token = Token(usize::MAX);
const BUFFER: usize = 256 << 10;

struct Conn {
    socket: TcpStream,
    /// What the kernel has not taken yet. While there is any, nothing is read.
    rest: Vec<u8>,
}

fn main() -> io::Result<()> {
    let is_broadcast = std::env::args().any(|word| word == "--broadcast");
    let listener = listen()?;
    println!("listening on {}", listener.local_addr()?.port());
    let mut poll = Poll::new()?;
    poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), LISTENER, Interest::READABLE)?;
    let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; BUFFER]);
    let (mut conns, mut free) = (Vec::<Option<Conn>>::new(), Vec::new());
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut conns, &mut free)?;
                continue;
            }
            let slot = event.token().0;
            let is_alive = if is_broadcast {
                spread(&mut conns, slot, &mut buffer)
            } else {
                conns[slot].as_mut().is_none_or(|conn| conn.echo(&mut buffer).is_ok())
            };
            if !is_alive {
                conns[slot] = None;
                free.push(slot);
            }
        }
    }
}

/// With the longest queue there can be: nobody says when he has been accepted.
fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    conns: &mut Vec<Option<Conn>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    loop {
        let socket = match sys::accept(listener) {
            Ok(socket) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let slot = free.pop().unwrap_or_else(|| {
            conns.push(None);
            conns.len() - 1
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(slot), interest)?;
        conns[slot] = Some(Conn { socket, rest: Vec::new() });
    }
}

impl Conn {
    fn echo(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            self.flush()?;
            if !self.rest.is_empty() {
                return Ok(());
            }
            let Some(bytes) = self.read(buffer)? else { return Ok(()) };
            self.send(&buffer[..bytes])?;
            if bytes < buffer.len() {
                return Ok(());
            }
        }
    }

    /// What has come; nothing if nothing has. The end is an error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.socket.read(buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while self.rest.is_empty() && sent < bytes.len() {
            match self.socket.write(&bytes[sent..]) {
                Ok(taken) => sent += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.rest.extend(&bytes[sent..]);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let rest = std::mem::take(&mut self.rest);
        self.send(&rest)
    }
}

/// Sends what one says to everybody; whether the one is still there.
fn spread(conns: &mut [Option<Conn>], slot: usize, buffer: &mut [u8]) -> bool {
    loop {
        let Some(speaker) = &mut conns[slot] else { return true };
        let bytes = match speaker.flush().and_then(|()| speaker.read(buffer)) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return true,
            Err(_) => return false,
        };
        for listener in conns.iter_mut().flatten() {
            // Who has gone is found out when his own end is read.
            let _ = listener.send(&buffer[..bytes]);
        }
        if bytes < buffer.len() {
            return true;
        }
    }
}
