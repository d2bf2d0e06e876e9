//! How connections end: close at every awkward moment, in both roles.

mod common;

use common::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Peer, Seen, TEXT, close_payload, frame, header, plain};
use dari_core::{By, Closing, Limits, Message, Misuse, Received, State};

const ROLES: [bool; 2] = [false, true];

fn received(code: u16, reason: &str) -> Option<Received> {
    Some(Received { code, reason: reason.into() })
}

fn close(peer: &mut Peer, code: u16, reason: &str) {
    peer.act(|connection, io| connection.close(code, reason, io)).unwrap();
}

/// The peer's Close frame for `is_client`.
fn bye(is_client: bool, code: u16) -> Vec<u8> {
    frame(is_client, FIN | CLOSE, &close_payload(code, b""))
}

#[test]
fn close_is_reported_once_when_the_peer_closes() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        assert_eq!(peer.feed(&[bye(is_client, 1001), bye(is_client, 1001)].concat()), [Seen::Closed]);
        assert_eq!(peer.state(), State::Closed);
        let wanted = Closing { first: By::Peer, sent: Some(1001), received: received(1001, ""), failure: None };
        assert_eq!(peer.closing(), Some(&wanted));
        assert_eq!(plain(&peer.sent()), [(FIN | CLOSE, close_payload(1001, b""))]);
        assert_eq!(peer.feed(&bye(is_client, 1000)), []);
        assert_eq!(peer.closing(), Some(&wanted));
        peer.release();
    }
}

#[test]
fn close_is_reported_once_when_both_sides_close() {
    let (mut server, mut client) = (Peer::open(false), Peer::open(true));
    close(&mut server, 1000, "server");
    close(&mut client, 3000, "client");
    let (from_server, from_client) = (server.sent(), client.sent());
    assert_eq!(server.feed(&from_client), [Seen::Closed]);
    assert_eq!(client.feed(&from_server), [Seen::Closed]);
    assert_eq!((server.sent(), client.sent()), (vec![], vec![]), "no Close frame is answered twice");
    for (peer, sent, got) in [(&server, 1000, received(3000, "client")), (&client, 3000, received(1000, "server"))] {
        let closing = peer.closing().unwrap();
        assert_eq!((closing.first, closing.sent, &closing.received), (By::Us, Some(sent), &got));
        assert!(closing.was_clean());
        assert_eq!(peer.state(), State::Closed);
    }
}

#[test]
fn nothing_is_told_behind_a_close_of_ours() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        close(&mut peer, 1000, "");
        assert_eq!(peer.state(), State::Closing);
        peer.sent();
        for first in [TEXT, FIN | TEXT, FIN | BINARY, FIN | CONTINUATION, FIN | PING, FIN | PONG, 0xf3] {
            assert_eq!(peer.feed(&frame(is_client, first, b"late")), []);
        }
        assert_eq!(peer.sent(), b"");
        assert_eq!(peer.feed(&bye(is_client, 1000)), [Seen::Closed]);
        assert_eq!(peer.sent(), b"");
        assert!(peer.closing().unwrap().was_clean());
        peer.release();
    }
}

#[test]
fn nothing_can_be_sent_behind_a_close() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        close(&mut peer, 1000, "");
        for state in [State::Closing, State::Closed] {
            let not_open = Misuse::NotOpen(state);
            assert_eq!(peer.misuse(|connection, io| connection.send(Message::text("x"), io)), not_open);
            assert_eq!(peer.misuse(|connection, io| connection.ping(b"", io)), not_open);
            assert_eq!(peer.misuse(|connection, io| connection.close(1001, "", io)), not_open);
            peer.feed(&bye(is_client, 1000));
        }
    }
}

#[test]
fn a_code_that_may_not_be_sent_is_a_misuse() {
    let mut peer = Peer::open(false);
    for code in [1, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, u16::MAX] {
        assert_eq!(peer.misuse(|connection, io| connection.close(code, "", io)), Misuse::Code(code));
    }
    assert_eq!(peer.misuse(|connection, io| connection.close(0, "why", io)), Misuse::ReasonAlone);
    for code in [1000, 1003, 1007, 1014, 3000, 4999] {
        for is_client in ROLES {
            let mut peer = Peer::open(is_client);
            close(&mut peer, code, "");
            assert_eq!(plain(&peer.sent()), [(FIN | CLOSE, close_payload(code, b""))]);
        }
    }
}

#[test]
fn a_reason_has_at_most_123_bytes() {
    let mut peer = Peer::open(false);
    let long = "x".repeat(124);
    let misuse = peer.misuse(|connection, io| connection.close(1000, &long, io));
    assert_eq!(misuse, Misuse::TooLong(124, 123));
    // Bytes count, not characters.
    let long = "안".repeat(42);
    let misuse = peer.misuse(|connection, io| connection.close(1000, &long, io));
    assert_eq!(misuse, Misuse::TooLong(126, 123));
    let longest = "안".repeat(41);
    close(&mut peer, 1000, &longest);
    assert_eq!(plain(&peer.sent()), [(FIN | CLOSE, close_payload(1000, longest.as_bytes()))]);
}

#[test]
fn close_in_mid_message_gives_its_memory_back_and_the_rest_is_passed_over() {
    for is_client in ROLES {
        let whole = frame(is_client, FIN | TEXT, &b"a long text that is cut somewhere".repeat(9));
        for cut in 0..whole.len() {
            let mut peer = Peer::open(is_client);
            assert_eq!(peer.feed(&whole[..cut]), []);
            close(&mut peer, 1000, "");
            assert_eq!(peer.buffers.used(), 0, "cut at {cut}");
            assert_eq!(peer.feed(&whole[cut..]), [], "cut at {cut}");
            assert_eq!(peer.feed(&bye(is_client, 1000)), [Seen::Closed], "cut at {cut}");
            assert!(peer.closing().unwrap().was_clean());
            assert_eq!(peer.buffers.used(), 0);
        }
    }
}

#[test]
fn close_between_fragments_ends_their_message() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        assert_eq!(peer.feed(&frame(is_client, TEXT, b"Hel")), []);
        close(&mut peer, 1000, "");
        assert_eq!(peer.buffers.used(), 0);
        assert_eq!(peer.feed(&frame(is_client, FIN | CONTINUATION, b"lo")), []);
        assert_eq!(peer.feed(&bye(is_client, 1000)), [Seen::Closed]);
    }
}

#[test]
fn the_peers_close_in_mid_message_gives_its_memory_back() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        assert_eq!(peer.feed(&frame(is_client, BINARY, &[7; 5000])), []);
        assert!(peer.buffers.used() >= 5000);
        assert_eq!(peer.feed(&bye(is_client, 1000)), [Seen::Closed]);
        assert_eq!(peer.buffers.used(), 0);
        assert_eq!(peer.feed(&frame(is_client, FIN | CONTINUATION, b"lo")), []);
    }
}

#[test]
fn a_ping_that_is_half_there_when_we_close_is_not_answered() {
    for is_client in ROLES {
        let ping = frame(is_client, FIN | PING, b"half a ping");
        for cut in 1..ping.len() {
            let mut peer = Peer::open(is_client);
            assert_eq!(peer.feed(&ping[..cut]), []);
            close(&mut peer, 1000, "");
            assert_eq!(plain(&peer.sent()), [(FIN | CLOSE, close_payload(1000, b""))]);
            assert_eq!(peer.feed(&ping[cut..]), [], "cut at {cut}");
            assert_eq!(peer.sent(), b"", "cut at {cut}");
            assert_eq!(peer.feed(&frame(is_client, FIN | CLOSE, &close_payload(4000, b"why"))), [Seen::Closed]);
            assert_eq!(peer.closing().unwrap().received, received(4000, "why"), "cut at {cut}");
        }
    }
}

#[test]
fn a_close_frame_that_is_half_there_when_we_close_still_counts() {
    for is_client in ROLES {
        let theirs = frame(is_client, FIN | CLOSE, &close_payload(4001, "안녕".as_bytes()));
        for cut in 1..theirs.len() {
            let mut peer = Peer::open(is_client);
            assert_eq!(peer.feed(&theirs[..cut]), []);
            close(&mut peer, 1000, "");
            assert_eq!(peer.feed(&theirs[cut..]), [Seen::Closed], "cut at {cut}");
            let closing = peer.closing().unwrap();
            assert_eq!((closing.first, &closing.received), (By::Us, &received(4001, "안녕")), "cut at {cut}");
            assert!(closing.was_clean());
        }
    }
}

#[test]
fn a_pong_that_waits_is_not_sent_behind_a_close() {
    for we_close in [true, false] {
        let mut peer = Peer::open(false);
        peer.out.blocked = true;
        peer.feed(&frame(false, FIN | PING, b"x"));
        if we_close {
            close(&mut peer, 1000, "");
        } else {
            peer.feed(&bye(false, 1000));
        }
        peer.out.blocked = false;
        peer.act(|connection, io| connection.unblocked(io));
        assert_eq!(plain(&peer.sent()), [(FIN | CLOSE, close_payload(1000, b""))]);
    }
}

#[test]
fn a_failure_gives_memory_back_and_awaits_the_peers_close() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        peer.feed(&frame(is_client, BINARY, &[7; 5000]));
        let seen = peer.feed(&frame(is_client, FIN | TEXT, b"in between"));
        assert!(matches!(&seen[..], [Seen::Failed { code: 1002, .. }]), "{seen:?}");
        assert_eq!(peer.buffers.used(), 0);
        assert_eq!(peer.state(), State::Closing);
        assert_eq!(peer.feed(&bye(is_client, 1002)), [Seen::Closed]);
        let closing = peer.closing().unwrap();
        assert_eq!((closing.first, closing.sent, &closing.received), (By::Us, Some(1002), &received(1002, "")));
        assert!(!closing.was_clean());
        peer.release();
    }
}

#[test]
fn behind_a_failure_a_declared_payload_is_passed_over_without_memory() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        let seen = peer.feed(&header(is_client, FIN | BINARY, (1 << 62) - 1));
        assert!(matches!(&seen[..], [Seen::Failed { code: 1009, offset: 0, .. }]), "{seen:?}");
        for _ in 0..100 {
            assert_eq!(peer.feed(&[0x88; 4096]), []);
            assert_eq!(peer.buffers.used(), 0);
        }
        assert_eq!(peer.state(), State::Closing);
    }
}

#[test]
fn behind_a_close_frame_that_breaks_a_rule_no_other_is_awaited() {
    for is_client in ROLES {
        for payload in [&b"\x03"[..], b"\x03\xed", b"\x03\xe8\xff"] {
            let mut peer = Peer::open(is_client);
            let seen = peer.feed(&frame(is_client, FIN | CLOSE, payload));
            assert!(matches!(&seen[..], [Seen::Failed { offset: 0, .. }]), "{seen:?}");
            assert_eq!(peer.state(), State::Closed);
            assert!(!peer.closing().unwrap().was_clean());
        }
    }
}

#[test]
fn an_empty_close_frame_stands_for_1005_which_is_never_sent() {
    for is_client in ROLES {
        let mut peer = Peer::open(is_client);
        assert_eq!(peer.feed(&frame(is_client, FIN | CLOSE, b"")), [Seen::Closed]);
        assert_eq!(plain(&peer.sent()), [(FIN | CLOSE, vec![])]);
        let closing = peer.closing().unwrap();
        assert_eq!((closing.sent, &closing.received), (Some(0), &received(1005, "")));
        assert!(closing.was_clean());
    }
}

#[test]
fn release_gives_all_memory_back_in_every_state() {
    let opened = || Peer::open(false);
    Peer::server(Limits::default()).release();
    let mut peer = Peer::server(Limits::default());
    peer.feed(b"GET / HTTP/1.1\r\nHost");
    assert!(peer.buffers.used() > 0);
    peer.release();
    let mut peer = Peer::server(Limits::default());
    peer.feed(common::handshake().as_bytes());
    assert!(peer.buffers.used() > 0);
    peer.release();
    let mut peer = opened();
    peer.feed(&header(false, FIN | BINARY, 1 << 20));
    peer.feed(&[0; 10_000]);
    assert!(peer.buffers.used() > 0);
    peer.release();
    let mut peer = opened();
    peer.feed(&frame(false, TEXT, b"begun"));
    close(&mut peer, 1000, "");
    peer.release();
}
