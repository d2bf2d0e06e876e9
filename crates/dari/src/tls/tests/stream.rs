//! Bytes: cut anywhere, of any length, damaged, and ended or not.

use super::*;
use proptest::prelude::*;
use rustls::unbuffered::ConnectionState;
use session::Side;

/// Bytes in which a place can be told from others.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)).to_le_bytes()[0]).collect()
}

#[test]
fn a_stream_that_comes_byte_by_byte_is_the_same_stream() {
    let ca = Ca::new("test");
    for version in BOTH {
        let server = only(&ca.issue(&["localhost"]).tls(), version);
        let mut pair = Pair::new(&trusting(&ca), "localhost", &server);
        pair.talk_cut(&mut || 1).must_be_open();
        pair.client.send(&pattern(40_000));
        pair.server.send(&pattern(20_000));
        pair.talk_cut(&mut || 1);
        assert!(pair.server.got == pattern(40_000) && pair.client.got == pattern(20_000));
    }
}

#[test]
fn large_data_passes_whole_both_ways() {
    for version in BOTH {
        let mut pair = open(version);
        let data = pattern(3 << 20);
        pair.client.send(&data);
        pair.server.send(&data);
        pair.talk();
        assert!(pair.server.got == data && pair.client.got == data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_of_any_messages_is_the_same_stream(
        cuts in prop::collection::vec(1_usize..40_000, 1..40),
        messages in prop::collection::vec((any::<bool>(), 0_usize..50_000), 1..12),
        is_old in any::<bool>(),
    ) {
        let ca = Ca::new("test");
        let server = only(&ca.issue(&["localhost"]).tls(), BOTH[usize::from(is_old)]);
        let mut pair = Pair::new(&trusting(&ca), "localhost", &server);
        let mut cuts = cuts.into_iter().cycle();
        let mut cut = move || cuts.next().unwrap_or(1);
        pair.talk_cut(&mut cut).must_be_open();
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for (i, (is_up, len)) in messages.into_iter().enumerate() {
            let message: Vec<_> = pattern(len).into_iter().map(|byte| byte.wrapping_add(i.to_le_bytes()[0])).collect();
            let (end, all) = if is_up { (&mut pair.client, &mut up) } else { (&mut pair.server, &mut down) };
            end.send(&message);
            all.extend(message);
            if i % 3 == 0 {
                pair.talk_cut(&mut cut);
            }
        }
        pair.talk_cut(&mut cut).must_be_open();
        prop_assert!(pair.server.got == up && pair.client.got == down);
    }

    #[test]
    fn no_bytes_make_it_panic(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        at in 0_usize..2_000,
        flip in 1_u8..,
        is_old in any::<bool>(),
        cut in 1_usize..400,
    ) {
        let version = BOTH[usize::from(is_old)];
        let ca = Ca::new("test");
        let server = only(&ca.issue(&["localhost"]).tls(), version);
        // One byte of either side's first flight is another.
        for to_client in [false, true] {
            let mut pair = Pair::new(&trusting(&ca), "localhost", &server);
            if to_client {
                pair.server.take(std::mem::take(&mut pair.client.out), &mut || cut);
            }
            let flight = if to_client { &mut pair.server.out } else { &mut pair.client.out };
            let at = at % flight.len();
            flight[at] ^= flip;
            pair.talk_cut(&mut || cut);
        }
        // Noise, before and after the handshake.
        let mut end = End::new(Session::server(&server).unwrap(), Vec::new());
        end.take(noise.clone(), &mut || cut);
        let mut pair = open(version);
        pair.server.take(noise, &mut || cut);
    }
}

#[test]
fn an_end_that_was_said_differs_from_one_that_was_not() {
    for version in BOTH {
        let mut pair = open(version);
        pair.client.send(b"last");
        pair.talk();
        assert!(!pair.server.last.close_notify);
        pair.client.send(b" words");
        pair.client.session.close_notify(&mut pair.client.out);
        pair.client.session.close_notify(&mut pair.client.out);
        let mut bytes = std::mem::take(&mut pair.client.out);
        bytes.extend(b"\x17\x03\x03\x40\x00what follows is not looked at");
        let held = pair.server.session.held();
        pair.server.take(bytes, &mut || usize::MAX);
        assert!(pair.server.last.close_notify && pair.server.failure.is_none());
        assert_eq!(pair.server.session.held(), held);
        assert_eq!(pair.server.got, b"last words");
        // It may still answer.
        pair.server.send(b"answer");
        pair.server.session.close_notify(&mut pair.server.out);
        pair.talk();
        assert_eq!((&pair.client.failure, &pair.client.got[..]), (&None, &b"answer"[..]));
        let after = pair.client.session.send(b"more", &mut Vec::new()).unwrap_err();
        assert_eq!(after.text, "nothing follows a close_notify");
    }
}

#[test]
fn who_has_only_heard_the_end_may_go_on() {
    for version in BOTH {
        let mut pair = open(version);
        pair.server.session.close_notify(&mut pair.server.out);
        pair.talk();
        assert!(pair.client.last.close_notify);
        pair.client.send(b"one thing more");
        assert!(!pair.client.out.is_empty());
    }
}

#[test]
fn nothing_is_said_before_the_handshake_is_over() {
    let ca = Ca::new("test");
    let mut pair = Pair::new(&trusting(&ca), "localhost", &ca.issue(&["localhost"]).tls());
    pair.server.session.close_notify(&mut pair.server.out);
    let early = pair.server.session.send(b"early", &mut pair.server.out).unwrap_err();
    assert_eq!((&*early.text, pair.server.out.len()), ("the handshake is not over", 0));
    pair.talk().must_be_open();
    pair.server.send(b"now");
    pair.talk();
    assert_eq!(pair.client.got, b"now");
}

#[test]
fn what_was_changed_on_the_way_is_refused_after_what_came_before_it() {
    for version in BOTH {
        for cut in [usize::MAX, 7] {
            let mut pair = open(version);
            pair.client.send(b"whole");
            let good = pair.client.out.len();
            pair.client.send(b"changed");
            let last = pair.client.out.len() - 1;
            assert!(good < last);
            pair.client.out[last] ^= 1;
            pair.talk_cut(&mut || cut);
            assert_eq!(pair.server.got, b"whole");
            let text = "what the peer sent can not be decrypted: it was changed on the way".to_owned();
            assert_eq!(pair.server.failure, Some(TlsFailure { alert: 20, received: false, is_memory: false, text }));
            let failure = pair.client.failure.unwrap();
            assert_eq!((failure.alert, failure.received), (20, true));
            assert_eq!(failure.text, "the peer sent alert 20 (bad_record_mac)");
            // And so it stays.
            assert!(pair.server.session.send(b"", &mut Vec::new()).is_err());
            assert!(pair.server.session.receive(&mut [], &mut [], &mut Vec::new()).is_err());
        }
    }
}

#[test]
fn keys_may_be_changed_at_any_time() {
    let mut pair = open(&TLS13);
    for round in 0..3_u8 {
        let Side::Client(client) = &mut pair.client.session.side else { panic!("a client") };
        let Ok(ConnectionState::WriteTraffic(traffic)) = client.process_tls_records(&mut []).state else {
            panic!("it is open")
        };
        traffic.refresh_traffic_keys().unwrap();
        pair.client.send(&[round; 20_000]);
        pair.talk();
        pair.server.send(&[round; 20_000]);
        pair.talk_cut(&mut || 100).must_be_open();
    }
    assert!(pair.server.got.len() == 60_000 && pair.client.got.len() == 60_000);
}

#[test]
fn where_there_is_no_room_nothing_is_taken() {
    let mut pair = open(&TLS13);
    pair.client.send(&pattern(100_000));
    let mut cipher = std::mem::take(&mut pair.client.out);
    let mut plain = vec![0; 3 * RECORD + 100];
    let got = pair.server.session.receive(&mut cipher, &mut plain, &mut Vec::new()).unwrap();
    assert_eq!(got.produced, 3 * RECORD);
    assert!(plain[..got.produced] == pattern(100_000)[..got.produced]);
    assert!(cipher.len() - got.consumed > 100_000 - got.produced);
    // Too little for any record, be it whole or half there.
    let again = pair.server.session.receive(&mut cipher[got.consumed..], &mut [0; 10], &mut Vec::new()).unwrap();
    assert_eq!((again.consumed, again.produced), (0, 0));
    let (half, rest) = cipher[got.consumed..].split_at_mut(RECORD);
    pair.server.take(half.to_vec(), &mut || usize::MAX);
    let mut none = [0; 10];
    let again = pair.server.session.receive(rest, &mut none, &mut Vec::new()).unwrap();
    assert!(again.consumed < rest.len() && again.produced == 0);
    let last = pair.server.session.receive(&mut [], &mut plain, &mut Vec::new()).unwrap();
    pair.server.got.extend(&plain[..last.produced]);
    pair.server.take(rest[again.consumed..].to_vec(), &mut || usize::MAX);
    assert!(pair.server.got == pattern(100_000)[got.produced..]);
}

#[test]
fn memory_grows_with_what_arrived_and_goes_again() {
    let mut pair = open(&TLS13);
    let idle = pair.server.session.held();
    assert!((2_048..4_096).contains(&idle), "{idle}");
    // A record of 16 KiB is announced, and five bytes are all that comes.
    pair.server.take(vec![23, 3, 3, 0x40, 0], &mut || usize::MAX);
    assert!((idle + 5..idle + 100).contains(&pair.server.session.held()));

    let mut pair = open(&TLS13);
    pair.client.send(&pattern(RECORD));
    let bytes = std::mem::take(&mut pair.client.out);
    let (all_but_one, one) = bytes.split_at(bytes.len() - 1);
    pair.server.take(all_but_one.to_vec(), &mut || usize::MAX);
    assert!((idle + RECORD..idle + 2 * RECORD).contains(&pair.server.session.held()));
    pair.server.take(one.to_vec(), &mut || usize::MAX);
    assert_eq!((pair.server.got.len(), pair.server.session.held()), (RECORD, idle));
}

#[test]
fn a_handshake_in_many_small_records_is_understood_but_not_without_end() {
    let ca = Ca::new("test");
    let server = ca.issue(&["localhost"]).tls();
    for cut in [usize::MAX, 1, 1_000] {
        let mut pair = Pair::new(&trusting(&ca), "localhost", &server);
        let hello = std::mem::take(&mut pair.client.out);
        for byte in &hello[5..] {
            pair.client.out.extend([22, 3, 1, 0, 1, *byte]);
        }
        pair.talk_cut(&mut || cut).must_be_open();

        // A message that is announced as 64 KiB, in records of one byte.
        let mut endless = End::new(Session::server(&server).unwrap(), Vec::new());
        let mut bytes: Vec<_> = [1, 0, 0xff, 0xfa].iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
        bytes.extend([22, 3, 1, 0, 1, 0].repeat(20_000));
        endless.take(bytes, &mut || cut);
        assert_eq!(endless.failure.unwrap().text, "the peer sent a handshake message in too many pieces");
        assert!(endless.session.held() < 16 << 10);
    }
}

#[test]
fn half_a_message_of_the_handshake_keeps_nobody_from_sending() {
    let ca = Ca::new("test");
    let server = with_server(&ca.issue(&["localhost"]).tls(), |config| config.max_fragment_size = Some(40));
    for given in 0..400 {
        let mut pair = Pair::new(&trusting(&ca), "localhost", &server);
        let mut all = || usize::MAX;
        while pair.server.session.is_handshaking() {
            pair.client.take(std::mem::take(&mut pair.server.out), &mut all);
            pair.server.take(std::mem::take(&mut pair.client.out), &mut all);
        }
        // What is left are tickets, in many records.
        let rest = pair.server.out.split_off(given.min(pair.server.out.len()));
        pair.client.take(std::mem::take(&mut pair.server.out), &mut all);
        pair.client.send(b"between");
        pair.server.take(std::mem::take(&mut pair.client.out), &mut all);
        pair.client.take(rest, &mut all);
        pair.client.send(b" and after");
        pair.talk().must_be_open();
        assert_eq!(pair.server.got, b"between and after");
        pair.client.session.close_notify(&mut pair.client.out);
        assert!(pair.talk().must_be_open().server.last.close_notify);
    }
}

#[test]
fn half_a_message_of_the_handshake_may_be_the_last_that_is_heard() {
    let ca = Ca::new("test");
    let server = with_server(&ca.issue(&["localhost"]).tls(), |config| config.max_fragment_size = Some(40));
    let mut pair = Pair::new(&trusting(&ca), "localhost", &server);
    let mut all = || usize::MAX;
    while pair.server.session.is_handshaking() {
        pair.client.take(std::mem::take(&mut pair.server.out), &mut all);
        pair.server.take(std::mem::take(&mut pair.client.out), &mut all);
    }
    let rest = pair.server.out.split_off(100);
    pair.client.take(std::mem::take(&mut pair.server.out), &mut all);
    pair.client.session.close_notify(&mut pair.client.out);
    let said = pair.client.out.len();
    pair.client.session.close_notify(&mut pair.client.out);
    pair.client.take(rest, &mut all);
    assert_eq!((pair.client.out.len(), &pair.client.failure), (said, &None));
}
