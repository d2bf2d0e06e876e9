//! How a client comes to its connection: a name, a race of addresses, a proxy, TLS; and how it comes to the next one.
//!
//! ```text
//! connect -> resolve -> race -> (proxy) -> (TLS) -> opening handshake -> open
//!    ^                                                                    |
//!    +---------------- retry: some time later <----------- close ---------+
//! ```
//!
//! The connection is there from the call on, with its id and its deadline. Until it has got through it is `dialling`,
//! and what its socket says is heard here.

use crate::cause::End;
use crate::config::{Connect, Listen};
use crate::conn::{Conn, Flag, Peer};
use crate::endpoint::Endpoint;
use crate::ids::{ConnId, DialId};
use crate::log::Level;
use crate::net::{Kind, token};
use crate::proxy::Proxy;
use crate::race::{Race, Step as RaceStep};
use crate::resolve::Resolver;
use crate::retry::{Next, Retry, Rule};
use crate::timers::{Due, NEVER};
use crate::tls::Tls;
use crate::tunnel::{Refusal, Step as TunnelStep, Tunnel};
use crate::wire::Wire;
use crate::{Close, Error, Handler, Net, sys};
use dari_core::{Connection, Host, Io, Login, Opening, Url};
use mio::Interest;
use mio::unix::SourceFd;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The longest keepalive that Linux takes, in seconds.
const MOST_KEEPALIVE_S: u64 = 32_767;
/// How long a dial waits for a socket when there are none, in milliseconds.
const NO_SOCKET_MS: u64 = 1_000;

/// A client that connects, and connects again if it is to.
pub(crate) struct Dial {
    url: Url,
    opening: Opening,
    proxy: Option<Proxy>,
    tls: Option<Tls>,
    /// The name that the server's certificate is for, if it is not the URL's.
    tls_name: Option<String>,
    /// What the system is told of its sockets.
    keepalive: Option<TcpKeepalive>,
    user_timeout: Option<Duration>,
    retry: Option<Retry>,
    /// When the next attempt is due; `NEVER` if none is.
    next: u64,
    /// The connection that there is, or was last.
    conn: u64,
}

/// What a connection that has not got through is doing.
pub(crate) struct Dialling {
    stage: Stage,
    /// Sockets on their way, with where they go.
    attempts: Vec<(SockAddr, Socket)>,
    /// When the next one may join them; `NEVER` if that is not up to the time.
    next: u64,
}

enum Stage {
    /// The name is being looked up.
    Name,
    /// Addresses are being tried.
    Addresses(Race),
    /// The proxy is being asked.
    Proxy(Tunnel),
}

impl Dial {
    /// Whether it will make another connection.
    pub(crate) fn is_waiting(&self) -> bool {
        self.next != NEVER
    }

    /// Where the connection is made to: the server, or the proxy before it.
    fn place(&self) -> (&Host, u16) {
        self.proxy.as_ref().map_or((&self.url.host, self.url.port), |proxy| (&proxy.host, proxy.port))
    }
}

impl Dialling {
    /// What it was doing when its time was up.
    pub(crate) fn stage(&self) -> &'static str {
        match self.stage {
            Stage::Name => "looking up the name",
            Stage::Addresses(_) => "connecting",
            Stage::Proxy(_) => "asking the proxy",
        }
    }
}

impl Net {
    /// Connects to a `ws://`, `wss://` or `ws+unix:` URL: `open` and `close` follow, or `close`.
    pub fn connect(&mut self, url: &str, how: Connect, handler: Box<dyn Handler>) -> Result<ConnId, Error> {
        self.refuse_when_closing()?;
        how.limits.check()?;
        let url = Url::parse(url).map_err(|bad| Error::Argument(format!("URL {bad}")))?;
        let proxy = proxy(&url, how.proxy.as_deref())?;
        if let Some(proxy) = &proxy {
            // What can not be asked of it is said now rather than later.
            Tunnel::new(proxy, &url.host, url.port)?;
        }
        let tls = match (url.tls, how.tls) {
            (false, _) => None,
            (true, Some(tls)) => Some(tls),
            (true, None) => Some(self.default_tls()?),
        };
        if let Some(tls) = &tls {
            // The name has to be one, now rather than later.
            Wire::client(tls, &tls_name(how.tls_name.as_deref(), &url))?;
        }
        let retry = how.retry.map(|retry| {
            Retry::new(Rule { first_ms: retry.first_ms, longest_ms: retry.longest_ms, count: retry.count })
        });
        let opening = Opening {
            authority: url.authority.clone(),
            target: url.target.clone(),
            protocols: how.protocols,
            origin: how.origin,
            authorization: url.login.as_ref().map(Login::basic),
            headers: how.headers,
        };
        let mut endpoint = Endpoint::new(Listen { limits: how.limits, ..Listen::default() }, handler);
        // As much as the kernel takes (tcp(7)).
        let seconds = |ms: u32| Duration::from_secs(u64::from(ms).div_ceil(1_000).min(MOST_KEEPALIVE_S));
        endpoint.dial = Some(Box::new(Dial {
            url,
            opening,
            proxy,
            tls,
            tls_name: how.tls_name,
            keepalive: how
                .keepalive_ms
                .map(|ms| TcpKeepalive::new().with_time(seconds(ms)).with_interval(seconds(ms))),
            user_timeout: how.user_timeout_ms.map(|ms| Duration::from_millis(u64::from(ms).min(i32::MAX as u64))),
            retry,
            next: NEVER,
            conn: 0,
        }));
        let endpoint = self.endpoints.insert(endpoint).ok_or(Error::Memory)?;
        let slot = self.attempt(endpoint).inspect_err(|_| {
            self.endpoints.remove(endpoint);
        })?;
        // The deadline of its handshake is set now.
        self.tell_host();
        Ok(self.id(slot))
    }

    /// What a connection that this side has made belongs to: it connects again, if it is to.
    pub fn dial(&self, conn: ConnId) -> Option<DialId> {
        let endpoint = self.conns.get(self.find(conn).ok()?)?.endpoint;
        self.endpoints.get(endpoint)?.dial.as_ref()?;
        Some(DialId(self.endpoints.id(endpoint)))
    }

    /// Connects no more. A connection that is open stays, one that is not is given up.
    pub fn stop_dial(&mut self, dial: DialId) -> Result<(), Error> {
        let endpoint = self.endpoints.find(dial.0).ok_or(Error::Stale)?;
        let dial = self.endpoints.get_mut(endpoint).and_then(|at| at.dial.as_mut()).ok_or(Error::Stale)?;
        dial.retry = None;
        self.timers.cancel(take_next(dial), Due::Dial(endpoint));
        let conn = dial.conn;
        if let Some(slot) = self.conns.find(conn)
            && self.conns.get(slot).is_some_and(|conn| conn.core.state() == dari_core::State::Connecting)
        {
            self.end(slot, End::Done);
        }
        self.tidy_endpoint(endpoint);
        Ok(())
    }

    /// Whom clients trust if nobody says: the system's certificates, read when they are first needed.
    fn default_tls(&mut self) -> Result<Tls, Error> {
        if let Some(tls) = &self.trust {
            return Ok(tls.clone());
        }
        let tls = Tls::client(None, None)?;
        self.trust = Some(tls.clone());
        Ok(tls)
    }

    /// Begins one connection of a dial.
    fn attempt(&mut self, endpoint: u32) -> Result<u32, Error> {
        let at = self.endpoints.get(endpoint).ok_or(Error::Stale)?;
        let dial = at.dial.as_ref().ok_or(Error::Stale)?;
        let mut request = Vec::new();
        let mut io = Io { entropy: &mut self.entropy, buffers: &mut self.buffers, out: &mut request };
        let core = Connection::client(Arc::clone(&at.core), dial.opening.clone(), &mut io)?;
        // It stands for the one that is not there yet, and is as little as a socket can be.
        let nothing = sys::spare_socket().map_err(|error| Error::system("making a socket", &error))?;
        let (host, port) = dial.place();
        let host = host.clone();
        let now = self.clock();
        let slot = self.conns.insert(Conn::new(core, nothing, Peer::Nobody, endpoint, now)).ok_or(Error::Memory)?;
        self.stats.dialled += 1;
        let id = self.conns.id(slot);
        if let Some(at) = self.endpoints.get_mut(endpoint) {
            at.conns += 1;
            if let Some(dial) = &mut at.dial {
                dial.conn = id;
            }
        }
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.set(Flag::Seen, true);
            conn.set(Flag::Dialling, true);
            let dialling = Dialling { stage: Stage::Name, attempts: Vec::new(), next: NEVER };
            conn.rare().dialling = Some(Box::new(dialling));
            conn.outbox.get_or_insert_default().tail().extend_from_slice(&request);
        }
        self.arm(slot);
        let at = |ip| SocketAddr::new(ip, port);
        match host {
            Host::Address(address) => self.race(slot, Race::new([at(address)])),
            Host::Name(name) if name.strip_suffix('.').unwrap_or(&name) == "localhost" => {
                let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                self.race(slot, Race::new(both.map(at)));
            }
            Host::Name(name) => self.ask_for(slot, &name, port),
            Host::Unix(path) => self.dial_unix(slot, &path),
        }
        Ok(slot)
    }

    // --- names --------------------------------------------------------------------------------------------------

    fn ask_for(&mut self, slot: u32, name: &str, port: u16) {
        let id = self.conns.id(slot);
        let remote = self.remote.clone();
        let resolver = self.resolver.get_or_insert_with(|| Resolver::new(move || remote.wake()));
        if let Err(error) = resolver.ask(id, name, port) {
            self.end_on_the_way(slot, End::Dns, format!("{name}: {error}"));
        }
    }

    /// Goes on with those whose names have been looked up.
    pub(crate) fn take_answers(&mut self) {
        let Some(resolver) = &mut self.resolver else { return };
        for answer in resolver.take() {
            let Some(slot) = self.conns.find(answer.key) else { continue };
            match answer.addresses {
                Ok(addresses) => self.race(slot, Race::new(addresses)),
                Err(why) => self.end_on_the_way(slot, End::Dns, why.to_string()),
            }
        }
    }

    // --- addresses ----------------------------------------------------------------------------------------------

    fn race(&mut self, slot: u32, race: Race) {
        if let Some(dialling) = self.dialling(slot) {
            dialling.stage = Stage::Addresses(race);
            self.race_on(slot);
        }
    }

    /// Begins those attempts whose time has come.
    pub(crate) fn race_on(&mut self, slot: u32) {
        let now = self.clock();
        while let Some(Dialling { stage: Stage::Addresses(race), .. }) = self.dialling(slot) {
            match race.step(now) {
                RaceStep::Start(address) => {
                    if let Err(error) = self.set_out(slot, address.into())
                        && let Some(Dialling { stage: Stage::Addresses(race), .. }) = self.dialling(slot)
                    {
                        race.failed(address, error.raw_os_error().unwrap_or_default());
                    }
                }
                RaceStep::Wait(until) => return self.race_at(slot, until),
                RaceStep::Failed => {
                    let (errno, text) = (race.errno(), race.to_string());
                    return self.end_on_the_way(slot, End::Connect(errno), text);
                }
            }
        }
    }

    /// Sets when the race goes on, in place of what was set before.
    pub(crate) fn race_at(&mut self, slot: u32, until: u64) {
        let dialling = self.conns.get_mut(slot).and_then(|conn| conn.rare.as_mut()?.dialling.as_mut());
        if let Some(dialling) = dialling {
            let before = std::mem::replace(&mut dialling.next, until);
            self.timers.cancel(before, Due::Race(slot));
            self.timers.set(until, Due::Race(slot));
        }
    }

    fn dial_unix(&mut self, slot: u32, path: &[u8]) {
        use std::os::unix::ffi::OsStrExt;
        let address = SockAddr::unix(std::ffi::OsStr::from_bytes(path));
        if let Err(error) = address.and_then(|address| self.set_out(slot, address)) {
            let text = format!("unix:{}: {error}", String::from_utf8_lossy(path).replace('\0', "@"));
            self.end_with(slot, End::Connect(error.raw_os_error().unwrap_or_default()), text);
        }
    }

    /// Begins to connect to one address.
    fn set_out(&mut self, slot: u32, address: SockAddr) -> io::Result<()> {
        let id = self.conns.id(slot);
        let protocol = (address.domain() != Domain::UNIX).then_some(Protocol::TCP);
        let socket = Socket::new(address.domain(), Type::STREAM.nonblocking(), protocol)?;
        if protocol.is_some() {
            socket.set_tcp_nodelay(true)?;
            let dial = self.dial_of(slot);
            if let Some(keepalive) = dial.and_then(|dial| dial.keepalive.as_ref()) {
                socket.set_tcp_keepalive(keepalive)?;
            }
            if let Some(timeout) = dial.and_then(|dial| dial.user_timeout) {
                socket.set_tcp_user_timeout(Some(timeout))?;
            }
        }
        match socket.connect(&address) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token(Kind::Conn, id), both)?;
        if let Some(dialling) = self.dialling(slot) {
            dialling.attempts.push((address, socket));
        }
        Ok(())
    }

    /// One of a dial's sockets has something to say.
    pub(crate) fn dialled(&mut self, slot: u32) {
        let Some(dialling) = self.dialling(slot) else { return };
        if let Stage::Proxy(_) = dialling.stage {
            return self.hear_proxy(slot);
        }
        let mut at = 0;
        while let Some((address, socket)) = dialling.attempts.get(at) {
            let errno = match socket.take_error() {
                Ok(None) if is_itself(socket) => libc::ECONNREFUSED,
                Ok(None) if socket.peer_addr().is_ok() => {
                    let (address, socket) = dialling.attempts.swap_remove(at);
                    return self.connected(slot, &address, socket);
                }
                // Woken without a result, or for another one.
                Ok(None) => {
                    at += 1;
                    continue;
                }
                Ok(Some(error)) | Err(error) => error.raw_os_error().unwrap_or_default(),
            };
            let address = address.as_socket();
            dialling.attempts.remove(at);
            match (&mut dialling.stage, address) {
                (Stage::Addresses(race), Some(address)) => race.failed(address, errno),
                _ => return self.end(slot, End::Connect(errno)),
            }
        }
        self.race_on(slot);
    }

    /// There is a connection: to the server, or to the proxy before it.
    fn connected(&mut self, slot: u32, address: &SockAddr, socket: Socket) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        conn.socket = socket;
        conn.peer = Peer::new(address);
        conn.set(Flag::HungUp, false);
        if let Some(dialling) = &mut conn.rare().dialling {
            dialling.attempts = Vec::new();
        }
        self.race_at(slot, NEVER);
        let dial = self.dial_of(slot);
        let asked = dial.and_then(|dial| Some(Tunnel::new(dial.proxy.as_ref()?, &dial.url.host, dial.url.port)));
        match asked {
            None => self.got_through(slot),
            Some(Ok((tunnel, request))) => {
                if let Some(dialling) = self.dialling(slot) {
                    dialling.stage = Stage::Proxy(tunnel);
                }
                self.say_to_proxy(slot, &request);
                self.hear_proxy(slot);
            }
            Some(Err(error)) => self.end_with(slot, End::Proxy(0), error.to_string()),
        }
    }

    // --- proxies ------------------------------------------------------------------------------------------------

    fn say_to_proxy(&mut self, slot: u32, bytes: &[u8]) {
        let Some(conn) = self.conns.get(slot) else { return };
        // A connection that has just begun takes a few hundred bytes at once.
        match conn.socket.send_with_flags(bytes, libc::MSG_NOSIGNAL) {
            Ok(sent) if sent == bytes.len() => {}
            Ok(_) => self.end_with(slot, End::Proxy(0), "it takes nothing".to_owned()),
            Err(error) => self.end_with(slot, End::Proxy(0), format!("writing to it: {error}")),
        }
    }

    fn hear_proxy(&mut self, slot: u32) {
        let mut buffer = [0; 4 << 10];
        loop {
            let Some(conn) = self.conns.get(slot).filter(|conn| !conn.is_over()) else { return };
            let len = match (&conn.socket).read(&mut buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.end_with(slot, End::Proxy(0), format!("reading from it: {error}")),
            };
            if len == 0 {
                let Refusal { text, status } = Tunnel::ended();
                return self.end_with(slot, End::Proxy(status), text);
            }
            let mut input = buffer.get(..len).unwrap_or_default();
            while let Some(Dialling { stage: Stage::Proxy(tunnel), .. }) = self.dialling(slot) {
                match tunnel.receive(&mut input) {
                    TunnelStep::More => break,
                    TunnelStep::Send(bytes) => self.say_to_proxy(slot, &bytes),
                    TunnelStep::Failed(Refusal { text, status }) => {
                        return self.end_with(slot, End::Proxy(status), text);
                    }
                    TunnelStep::Done => {
                        self.got_through(slot);
                        return self.keep_early(slot, input);
                    }
                }
            }
        }
    }

    // --- through ------------------------------------------------------------------------------------------------

    /// The way to the server is free: what is queued may go out.
    fn got_through(&mut self, slot: u32) {
        let dial = self.dial_of(slot);
        let wire = dial
            .and_then(|dial| Some(Wire::client(dial.tls.as_ref()?, &tls_name(dial.tls_name.as_deref(), &dial.url))));
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.set(Flag::Dialling, false);
            conn.rare().dialling = None;
        }
        match wire {
            Some(Err(error)) => {
                return self.end_with(slot, End::Tls { alert: 0, received: false }, error.to_string());
            }
            Some(Ok(wire)) => self.set_wire(slot, wire),
            None => {}
        }
        self.touch(slot);
        // What the server said at once came with the news of the connection, and has no other.
        self.read_later(slot);
    }

    /// Fails before there is a connection; it may be the one to the proxy.
    fn end_on_the_way(&mut self, slot: u32, end: End, text: String) {
        let by_proxy = self.dial_of(slot).is_some_and(|dial| dial.proxy.is_some());
        self.end_with(slot, end, if by_proxy { format!("the proxy {text}") } else { text });
    }

    fn dialling(&mut self, slot: u32) -> Option<&mut Dialling> {
        let conn = self.conns.get_mut(slot).filter(|conn| !conn.is_over())?;
        conn.rare.as_mut()?.dialling.as_deref_mut()
    }

    fn dial_of(&self, slot: u32) -> Option<&Dial> {
        self.endpoint_of(slot)?.dial.as_deref()
    }

    // --- and again ----------------------------------------------------------------------------------------------

    /// A connection of a dial is open.
    pub(crate) fn dial_opened(&mut self, endpoint: u32) {
        let now = self.now;
        if let Some(retry) = self.retry_of(endpoint) {
            retry.opened(now);
        }
    }

    /// The server has answered with a header Retry-After.
    pub(crate) fn dial_asked_to_wait(&mut self, slot: u32, retry_after: &str) {
        let Some(endpoint) = self.conns.get(slot).map(|conn| conn.endpoint) else { return };
        if let Some(retry) = self.retry_of(endpoint) {
            retry.asked_to_wait(retry_after, SystemTime::now());
        }
    }

    /// A connection of a dial has ended: whether and when the next one is made.
    pub(crate) fn dial_ended(&mut self, endpoint: u32, why: &Close, by_host: bool) -> Option<Next> {
        let dial = self.endpoints.get_mut(endpoint)?.dial.as_mut()?;
        Some(dial.retry.as_mut()?.ended(why, by_host || self.closing, self.now, &mut self.entropy))
    }

    /// Whether a dial may connect again: nobody has stopped it.
    pub(crate) fn may_retry(&self, endpoint: u32) -> bool {
        let dial = self.endpoints.get(endpoint).and_then(|at| at.dial.as_ref());
        !self.closing && dial.is_some_and(|dial| dial.retry.is_some())
    }

    /// The hooks have heard of that end: sets about the next connection, as `retry` is told.
    pub(crate) fn dial_next(&mut self, endpoint: u32, next: Next) -> Option<(DialId, u32, u32)> {
        match next {
            Next::Again { .. } if !self.may_retry(endpoint) => None,
            Next::Again { attempt, delay_ms } => {
                let at = self.now + u64::from(delay_ms);
                self.endpoints.get_mut(endpoint)?.dial.as_mut()?.next = at;
                self.timers.set(at, Due::Dial(endpoint));
                Some((DialId(self.endpoints.id(endpoint)), attempt, delay_ms))
            }
            Next::Never(why) => {
                self.say(Level::Info, "retry", None, || format!("not connecting again: {why}"));
                None
            }
        }
    }

    /// It is time for the next connection of a dial.
    pub(crate) fn dial_again(&mut self, endpoint: u32) {
        let now = self.now;
        let dial = self.endpoints.get_mut(endpoint).and_then(|at| at.dial.as_mut());
        let Some(dial) = dial.filter(|dial| dial.next <= now) else { return };
        take_next(dial);
        if self.closing {
            return self.tidy_endpoint(endpoint);
        }
        if let Err(error) = self.attempt(endpoint) {
            self.say(Level::Error, "retry", None, || format!("connecting again: {error}"));
            if let Some(dial) = self.endpoints.get_mut(endpoint).and_then(|at| at.dial.as_mut()) {
                dial.next = now + NO_SOCKET_MS;
            }
            self.timers.set(now + NO_SOCKET_MS, Due::Dial(endpoint));
        }
    }

    /// The loop shuts down: nobody connects again.
    pub(crate) fn stop_dials(&mut self) {
        let mut slot = self.endpoints.next(None);
        while let Some(index) = slot {
            slot = self.endpoints.next(Some(index));
            if let Some(dial) = self.endpoints.get_mut(index).and_then(|at| at.dial.as_mut()) {
                self.timers.cancel(take_next(dial), Due::Dial(index));
            }
            self.tidy_endpoint(index);
        }
    }

    fn retry_of(&mut self, endpoint: u32) -> Option<&mut Retry> {
        self.endpoints.get_mut(endpoint)?.dial.as_mut()?.retry.as_mut()
    }
}

/// Which proxy there is before a URL: "env" has the environment say.
fn proxy(url: &Url, wish: Option<&str>) -> Result<Option<Proxy>, Error> {
    match wish {
        None => Ok(None),
        Some("env") => Proxy::of_environment(url, |name| std::env::var(name).ok()).map_err(Error::Argument),
        Some(text) => Proxy::parse(text).map(Some).map_err(|bad| Error::Argument(format!("proxy {bad}"))),
    }
}

/// Whether a socket is connected to itself: TCP does that by chance where nobody listens, on a port that the system
/// also gives to clients. A client that tries for long enough would meet itself, and keep the server off its port.
fn is_itself(socket: &Socket) -> bool {
    let name = |address: io::Result<SockAddr>| address.ok().and_then(|address| address.as_socket());
    name(socket.local_addr()).is_some_and(|local| Some(local) == name(socket.peer_addr()))
}

/// The name that the server's certificate has to be for.
fn tls_name(wish: Option<&str>, url: &Url) -> String {
    match (wish, &url.host) {
        (Some(name), _) => name.to_owned(),
        (None, Host::Address(address)) => address.to_string(),
        (None, host) => host.to_string(),
    }
}

fn take_next(dial: &mut Dial) -> u64 {
    std::mem::replace(&mut dial.next, NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_met_itself_is_known() {
        let of = |address: SocketAddr| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::new(address.ip(), 0).into()).unwrap();
            socket
        };
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let Ok(listener) = std::net::TcpListener::bind((ip, 0)) else { continue };
            let address = listener.local_addr().unwrap();
            let other = of(address);
            assert!(!is_itself(&other));
            other.connect(&address.into()).unwrap();
            assert!(!is_itself(&other));
            let own = of(address);
            own.connect(&own.local_addr().unwrap()).unwrap();
            assert!(is_itself(&own));
        }
    }
}
