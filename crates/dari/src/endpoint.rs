//! Where connections come from: listeners, whose door is in `door`, and dials, which make them.

use crate::config::{Limits, Listen, Origins};
use crate::dial::Dial;
use crate::door::{Gate, Listener};
use crate::ids::ListenerId;
use crate::log::Level;
use crate::net::{Kind, token};
use crate::wire::Wire;
use crate::{Error, Handler, Net, folder};
use dari_core::{Request, check_protocols, is_same_origin};
use mio::Interest;
use mio::unix::SourceFd;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

/// A listener or a dial, with all that its connections have in common. It lives as long as any of them.
pub(crate) struct Endpoint {
    pub(crate) how: Listen,
    pub(crate) limits: Arc<Limits>,
    pub(crate) core: Arc<dari_core::Limits>,
    /// Not there while one of its hooks runs.
    pub(crate) handler: Option<Box<dyn Handler>>,
    pub(crate) conns: usize,
    pub(crate) listener: Option<Listener>,
    pub(crate) gate: Option<Gate>,
    pub(crate) dial: Option<Box<Dial>>,
}

impl Endpoint {
    pub(crate) fn new(how: Listen, handler: Box<dyn Handler>) -> Self {
        let core = Arc::new(how.limits.core());
        let limits = Arc::new(how.limits.ordered());
        let how = Listen { limits: Limits::clone(&limits), ..how };
        Self { how, limits, core, handler: Some(handler), conns: 0, listener: None, gate: None, dial: None }
    }

    /// Whether a page of this request's origin may open a WebSocket here.
    pub(crate) fn lets_in(&self, request: &Request) -> bool {
        // RFC 6455 4.2.2 and 10.2: only browsers send it, and they send it truthfully.
        let Some(origin) = request.header("origin", 0) else { return true };
        // RFC 6454 7.3: there is at most one. Whoever sends two wants different readers to believe different ones.
        if request.header("origin", 1).is_some() {
            return false;
        }
        match &self.how.origins {
            Origins::Any => true,
            Origins::List(list) => list.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(origin)),
            Origins::Same => request.header("host", 0).is_some_and(|host| is_same_origin(origin, host)),
        }
    }
}

impl Net {
    /// Listens on `host:port` (`[::]:0` picks a port), `unix:/path` or `unix:@abstract`.
    pub fn listen(&mut self, address: &str, how: Listen, handler: Box<dyn Handler>) -> Result<ListenerId, Error> {
        self.refuse_when_closing()?;
        how.limits.check()?;
        check_protocols(&how.protocols)?;
        let gate = Gate::new(&how.door)?;
        if let Some(tls) = &how.tls {
            // It has to have certificates, now rather than when somebody comes.
            Wire::server(tls)?;
        }
        let mut how = how;
        if let Some(folder) = &how.folder {
            how.folder = Some(folder::check(folder)?);
        }
        let (address, file) = parse_address(address).map_err(Error::Argument)?;
        if how.reuse_port && address.domain() == Domain::UNIX {
            return Err(Error::Argument("a unix socket has no port that others could have, too".to_owned()));
        }
        let socket = bind(&address, file.as_ref(), how.reuse_port).map_err(|error| {
            // Who it is the system does not say.
            let is_taken = how.reuse_port && error.kind() == io::ErrorKind::AddrInUse;
            let whom = if is_taken { ", which a socket without reuse_port has, or another user's" } else { "" };
            Error::system(format!("listening on {}{whom}", place(&address)), &error)
        })?;
        let place = place(&socket.local_addr().unwrap_or(address));
        let raw = socket.as_raw_fd();
        let mut endpoint = Endpoint::new(how, handler);
        endpoint.listener = Some(Listener::new(socket, file));
        endpoint.gate = Some(gate);
        let slot = self.endpoints.insert(endpoint).ok_or(Error::Memory)?;
        let id = self.endpoints.id(slot);
        if let Err(error) =
            self.poll.registry().register(&mut SourceFd(&raw), token(Kind::Listener, id), Interest::READABLE)
        {
            self.endpoints.remove(slot);
            return Err(Error::system("watching a listener", &error));
        }
        self.keep_spare();
        self.say(Level::Info, "listen", None, || format!("listening on {place}"));
        Ok(ListenerId(id))
    }

    /// The port of a listener; nothing if it is gone or has none.
    pub fn listener_port(&self, id: ListenerId) -> Option<u16> {
        let listener = self.endpoints.get(self.endpoints.find(id.0)?)?.listener.as_ref()?;
        listener.socket.local_addr().ok()?.as_socket().map(|address| address.port())
    }

    /// Accepts no more. Connections stay.
    pub fn close_listener(&mut self, id: ListenerId) -> Result<(), Error> {
        let slot = self.endpoints.find(id.0).ok_or(Error::Stale)?;
        let endpoint = self.endpoints.get_mut(slot).ok_or(Error::Stale)?;
        let listener = endpoint.listener.take().ok_or(Error::Stale)?;
        let _ = self.poll.registry().deregister(&mut SourceFd(&listener.socket.as_raw_fd()));
        drop(listener);
        self.tidy_endpoint(slot);
        Ok(())
    }

    /// A listener that is closed goes with its last connection, a dial with the last one that it makes.
    pub(crate) fn tidy_endpoint(&mut self, slot: u32) {
        let Some(endpoint) = self.endpoints.get(slot) else { return };
        let goes_on = endpoint.listener.is_some() || endpoint.dial.as_ref().is_some_and(|dial| dial.is_waiting());
        if endpoint.conns == 0 && !goes_on {
            self.endpoints.remove(slot);
        }
    }

    /// A forked child goes: the files of unix sockets are the parent's.
    pub(crate) fn forget_files(&mut self) {
        for id in self.listeners() {
            let listener = self.endpoints.find(id.0).and_then(|slot| self.endpoints.get_mut(slot)?.listener.as_mut());
            if let Some(listener) = listener {
                listener.file = None;
            }
        }
    }

    pub(crate) fn listeners(&self) -> Vec<ListenerId> {
        let mut found = Vec::new();
        let mut slot = self.endpoints.next(None);
        while let Some(index) = slot {
            if self.endpoints.get(index).is_some_and(|endpoint| endpoint.listener.is_some()) {
                found.push(ListenerId(self.endpoints.id(index)));
            }
            slot = self.endpoints.next(Some(index));
        }
        found
    }
}

fn parse_address(text: &str) -> Result<(SockAddr, Option<PathBuf>), String> {
    let bad = |why: &str| format!("address {text:?}: {why}");
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(bad("unix: is followed by a path, or by @ and a name"));
        }
        let (name, file) = match path.strip_prefix('@') {
            Some(name) => (format!("\0{name}"), None),
            None => (path.to_owned(), Some(PathBuf::from(path))),
        };
        let address = SockAddr::unix(name).map_err(|_| bad("the path is too long for a unix socket"))?;
        return Ok((address, file));
    }
    let Some((host, port)) = text.rsplit_once(':') else { return Err(bad("it is HOST:PORT or unix:PATH")) };
    let port: u16 = port.parse().map_err(|_| bad("the port is not a number from 0 to 65535"))?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host: IpAddr = match inner {
        Some(inner) => {
            inner.parse::<Ipv6Addr>().map_err(|_| bad("what stands in brackets is not an IPv6 address"))?.into()
        }
        None if host == "localhost" => Ipv4Addr::LOCALHOST.into(),
        None => host
            .parse::<Ipv4Addr>()
            .map_err(|_| bad("the host is not an address (127.0.0.1, 0.0.0.0, [::1], [::])"))?
            .into(),
    };
    Ok((SocketAddr::new(host, port).into(), None))
}

fn place(address: &SockAddr) -> String {
    address.as_socket().map_or_else(|| "a unix socket".to_owned(), |address| address.to_string())
}

fn bind(address: &SockAddr, file: Option<&PathBuf>, reuse_port: bool) -> io::Result<Socket> {
    let domain = address.domain();
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
    if domain != Domain::UNIX {
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(reuse_port)?;
        // Accepted sockets inherit it: small messages do not wait for each other.
        socket.set_tcp_nodelay(true)?;
    }
    match socket.bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(address, file) => {
            if let Some(file) = file {
                std::fs::remove_file(file)?;
            }
            socket.bind(address)?;
        }
        result => result?,
    }
    socket.listen(4096)?;
    Ok(socket)
}

/// Whether a unix socket's file is there without anybody behind it.
fn is_left_over(address: &SockAddr, file: Option<&PathBuf>) -> bool {
    let is_socket = file.and_then(|file| file.symlink_metadata().ok()).is_some_and(|at| {
        use std::os::unix::fs::FileTypeExt;
        at.file_type().is_socket()
    });
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None);
    is_socket
        && probe
            .is_ok_and(|probe| probe.connect(address).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused))
}
