//! Any bytes in place of a handshake, in either role: requests of all kinds are answered, in all ways.

use super::common::{Noise, Peer, Seen, opening};
use super::{CONSTANT, Data, OTHER, Setup};
use dari_core::{Limits, Opening, State, offered};

const REFUSES: u8 = OTHER[0];
const IN_PIECES: u8 = OTHER[1];
const SMALL: u8 = OTHER[2];
const PROTOCOLS: u8 = OTHER[3];

pub(crate) fn run(data: &[u8]) {
    let mut data = Data(data);
    let mut setup = Setup::read(&mut data);
    if setup.has(SMALL) {
        let small = Limits { max_head: 300, max_headers: 5, max_target: 20, max_body: 50, ..setup.limits };
        setup.limits = small;
    }
    let mut peer = match setup.is_client() {
        false => Peer::server(setup.limits.clone()),
        true => {
            let protocols = if setup.has(PROTOCOLS) { vec!["a".to_owned(), "b".to_owned()] } else { Vec::new() };
            Peer::client(setup.limits.clone(), Opening { protocols, ..opening() }, Noise::Zeros).unwrap()
        }
    };
    let request = peer.out.bytes.len();
    let (mut arrived, mut requests, mut ends) = (0, 0, 0);
    for piece in setup.pieces(data.0) {
        arrived += piece.len();
        let mut seen = peer.feed(piece);
        loop {
            ends += seen.iter().filter(|seen| matches!(seen, Seen::Failed { .. } | Seen::Refused(_))).count();
            let most = setup.bound(arrived).max(2 * arrived + CONSTANT);
            assert!(peer.peak <= most, "{} held, {arrived} arrived", peer.peak);
            let Some(last @ (Seen::Upgrade { .. } | Seen::Http { .. })) = seen.last() else { break };
            requests += 1;
            answer(&mut peer, last, &setup);
            seen = peer.feed(b"");
        }
        assert!(peer.connection.wants_input() && peer.waiting.is_empty());
    }
    assert!(ends <= 1, "{ends} ends");
    assert!(!setup.is_client() || requests == 0);
    // A short request brings a head of an answer, and its own body back in pieces; a failure tells its rule.
    let most = request + 16 * arrived + 200 * requests + 1024;
    assert!(peer.out.bytes.len() <= most, "{} bytes sent for {arrived}", peer.out.bytes.len());
    assert!(!setup.is_client() || peer.state() != State::Closed || peer.buffers.used() == 0);
    peer.release();
}

fn answer(peer: &mut Peer, seen: &Seen, setup: &Setup) {
    let request = peer.connection.request().expect("a request waits");
    let first = offered(request).next().map(ToOwned::to_owned);
    assert!(request.headers().count() <= setup.limits.max_headers);
    assert!(request.target().len() <= setup.limits.max_target);
    assert!(request.body().len() <= setup.limits.max_body);
    assert_eq!(peer.connection.asks_upgrade(), matches!(seen, Seen::Upgrade { .. }));
    let result = match seen {
        Seen::Upgrade { .. } if !setup.has(REFUSES) => {
            let protocol = first.filter(|_| setup.has(PROTOCOLS));
            peer.act(|connection, io| connection.accept(protocol.as_deref(), &[("X-More", "x")], io))
        }
        Seen::Http { body, .. } if setup.has(IN_PIECES) => peer.act(|connection, io| {
            let length = (body.len() % 2 == 0).then_some(body.len());
            connection.respond_begin(200, &[], length, io)?;
            for piece in body.chunks(20) {
                connection.respond_piece(piece, io)?;
            }
            connection.respond_piece(b"", io)
        }),
        Seen::Http { body, .. } => peer.act(|connection, io| connection.respond(200, &[], body, io)),
        _ => peer.act(|connection, io| connection.respond(403, &[], b"no", io)),
    };
    assert_eq!(result, Ok(()), "an answer was refused");
}
