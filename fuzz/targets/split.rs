//! Any bytes, from the handshake on or behind it: however they are cut, the outcome is the same.

use super::common::splits::{Outcome, run as run_pieces};
use super::common::{Noise, Peer, Seen, opening, whole};
use super::{Data, OTHER, Setup};

const HANDSHAKE: u8 = OTHER[0];
const REFUSES: u8 = OTHER[1];
const CLOSES: u8 = OTHER[2];

pub(crate) fn run(data: &[u8]) {
    let mut data = Data(data);
    let setup = Setup::read(&mut data);
    let cuts: Vec<usize> = (0..data.byte() % 16).map(|_| usize::from(data.byte())).collect();
    let (mut pieces, mut rest) = (Vec::new(), data.0);
    for cut in cuts {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.extend(setup.pieces(rest));

    let outcome = |pieces: &[&[u8]]| {
        let outcome = run_pieces(new(&setup), pieces, &|peer, seen| answer(peer, seen, &setup));
        Outcome { events: whole(outcome.events.clone()), ..outcome }
    };
    assert_eq!(outcome(&pieces), outcome(&[data.0]), "cut like {:?}", pieces.iter().map(|p| p.len()));
}

fn new(setup: &Setup) -> Peer {
    let mut peer = match (setup.has(HANDSHAKE), setup.is_client()) {
        (false, _) => setup.open(),
        (true, false) => Peer::server(setup.limits.clone()),
        (true, true) => Peer::client(setup.limits.clone(), opening(), Noise::Zeros).unwrap(),
    };
    if setup.has(CLOSES) && !setup.has(HANDSHAKE) {
        peer.act(|connection, io| connection.close(1000, "", io)).unwrap();
    }
    peer
}

fn answer(peer: &mut Peer, seen: &Seen, setup: &Setup) {
    let result = match seen {
        Seen::Upgrade { .. } if !setup.has(REFUSES) => peer.act(|connection, io| connection.accept(None, &[], io)),
        Seen::Http { body, .. } => peer.act(|connection, io| connection.respond(200, &[], body, io)),
        _ => peer.act(|connection, io| connection.respond(403, &[], b"", io)),
    };
    result.unwrap();
}
