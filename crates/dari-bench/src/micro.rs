//! What the benches share: an open connection without a network, and a loop with open ones.

use crate::Failure;
use crate::target::{Channel, Offer, Target};
use dari::{Config, ConnId, Handler, Loop, Net, Origins};
use dari_core::{Buffers, Connection, Deflate, Event, Io, Limits, Message, NoEntropy, Output, Squeeze};
use std::cell::RefCell;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;

/// A server's end that is open, and where its output goes.
pub struct Peer {
    connection: Connection,
    buffers: Buffers,
    out: Nowhere,
}

/// Takes payloads by reference, as a loop does, and lets go of them.
#[derive(Default)]
struct Nowhere(Vec<u8>);

impl Output for Nowhere {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    fn payload(&mut self, _: &[u8]) {}
}

impl Peer {
    /// One that has agreed to what `offer` offers.
    pub fn new(offer: Offer) -> Self {
        let deflate = (offer != Offer::Plain).then(Deflate::default);
        let limits = Limits { deflate, ..Limits::default() };
        let connection = Connection::server(Arc::new(limits));
        let mut peer = Self { connection, buffers: Buffers::default(), out: Nowhere::default() };
        let mut request = offer.request().into_bytes();
        let mut io = Io { entropy: &mut NoEntropy, buffers: &mut peer.buffers, out: &mut peer.out };
        let asked = peer.connection.receive(&mut &mut request[..], &mut io);
        assert!(matches!(asked, Some(Event::Upgrade)) && peer.connection.accept(None, &[], &mut io).is_ok());
        assert!(peer.connection.may_compress() == deflate.is_some());
        peer
    }

    /// Receives all frames in `input`, which it unmasks, and counts the bytes of their messages.
    pub fn receive(&mut self, input: &mut [u8]) -> usize {
        let (mut rest, mut bytes) = (input, 0);
        self.out.0.clear();
        loop {
            let mut io = Io { entropy: &mut NoEntropy, buffers: &mut self.buffers, out: &mut self.out };
            match self.connection.receive(&mut rest, &mut io) {
                Some(Event::Message { payload, .. }) => bytes += payload.len(),
                Some(_) => {}
                None => return bytes,
            }
        }
    }

    /// Sends a message, and counts the bytes of it that were written and not only referred to.
    pub fn send(&mut self, message: Message<'_>, squeeze: Squeeze) -> usize {
        self.out.0.clear();
        let mut io = Io { entropy: &mut NoEntropy, buffers: &mut self.buffers, out: &mut self.out };
        assert!(self.connection.send_with(message, squeeze, &mut io).is_ok());
        self.out.0.len()
    }
}

/// The topic that all clients of a [`Crowd`] have subscribed to.
pub const TOPIC: &str = "everybody";

/// A loop, and clients of it in the same process.
pub struct Crowd {
    /// The loop.
    pub event_loop: Loop,
    /// Its connections, in the order of the clients.
    pub conns: Vec<ConnId>,
    /// The other ends.
    pub clients: Vec<Channel<TcpStream>>,
}

struct Subscriber(Rc<RefCell<Vec<ConnId>>>);

impl Handler for Subscriber {
    fn open(&mut self, net: &mut Net, conn: ConnId) {
        // It is open, so it can subscribe.
        let _ = net.subscribe(conn, TOPIC);
        self.0.borrow_mut().push(conn);
    }
}

impl Crowd {
    /// As many clients as that.
    pub fn new(count: usize) -> Result<Self, Failure> {
        let opened = Rc::new(RefCell::new(Vec::with_capacity(count)));
        let mut event_loop = Loop::new(Config::default())?;
        let how = dari::Listen { origins: Origins::Any, ..dari::Listen::default() };
        let listener = event_loop.net().listen("127.0.0.1:0", how, Box::new(Subscriber(Rc::clone(&opened))))?;
        let port = event_loop.net().listener_port(listener).ok_or("it listens on no port")?;
        let target =
            Target { address: ([127, 0, 0, 1], port).into(), pid: None, is_raw: false, cuts: false, tls: None };
        let mut clients = Vec::with_capacity(count);
        for nth in 0..count {
            let mut client = target.ask(nth, Offer::Plain)?;
            while opened.borrow().len() <= nth {
                event_loop.turn(Some(1000))?;
            }
            client.hear(Offer::Plain)?;
            clients.push(client);
        }
        let conns = opened.take();
        Ok(Self { event_loop, conns, clients })
    }
}
