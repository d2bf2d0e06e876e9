//! Topics: who hears of what, against a model that is obviously right.

mod common;

use common::raw::{Raw, TEXT, frame};
use common::{Bench, Hooks, Random, Told, pattern};
use dari::{ConnId, Error, Listen, Message};
use std::collections::{HashMap, HashSet};

/// Connections and their peers, by the order in which they opened.
fn open_some(bench: &mut Bench, count: usize) -> (Vec<ConnId>, Vec<Raw>) {
    let mut conns = Vec::new();
    let mut raws = Vec::new();
    for _ in 0..count {
        raws.push(bench.open_raw());
        conns.push(bench.log.opened());
    }
    (conns, raws)
}

fn heard(raw: &mut Raw) -> Vec<Vec<u8>> {
    raw.hear();
    std::iter::from_fn(|| raw.next_frame()).map(|(_, payload)| payload).collect()
}

#[test]
fn what_is_published_reaches_every_subscriber_but_one() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let (conns, mut raws) = open_some(&mut bench, 4);
    let net = bench.net();
    for conn in &conns[..3] {
        net.subscribe(*conn, "news").unwrap();
    }
    net.publish("news", Some(conns[1]), Message::text("1")).unwrap();
    net.publish("news", None, Message::binary(&pattern(100_000))).unwrap();
    net.publish("news", Some(conns[3]), Message::text("3")).unwrap();
    net.publish("nobody's", None, Message::text("4")).unwrap();
    let bad = Message { kind: dari::Kind::Text, data: b"\xff" };
    assert!(matches!(net.publish("news", None, bad), Err(Error::Argument(_))));
    bench.turn_for(10);
    let all: Vec<_> = raws.iter_mut().map(heard).collect();
    let (one, big, three) = (b"1".to_vec(), pattern(100_000), b"3".to_vec());
    assert_eq!(all[0], [one.clone(), big.clone(), three.clone()]);
    assert_eq!(all[1], [big.clone(), three.clone()]);
    assert_eq!(all[2], [one, big, three]);
    assert_eq!(all[3], Vec::<Vec<u8>>::new());
}

#[test]
fn subscribing_twice_changes_nothing_and_unsubscribing_ends_it() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let (conns, mut raws) = open_some(&mut bench, 1);
    let net = bench.net();
    for _ in 0..3 {
        net.subscribe(conns[0], "t").unwrap();
    }
    assert_eq!(net.subscribers("t"), 1);
    net.publish("t", None, Message::text("once")).unwrap();
    for _ in 0..2 {
        net.unsubscribe(conns[0], "t").unwrap();
    }
    net.unsubscribe(conns[0], "never there").unwrap();
    assert_eq!(net.subscribers("t"), 0);
    net.publish("t", None, Message::text("twice")).unwrap();
    bench.turn_for(5);
    assert_eq!(heard(&mut raws[0]), [b"once"]);
}

#[test]
fn the_end_of_a_connection_ends_its_subscriptions() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let (conns, raws) = open_some(&mut bench, 3);
    for conn in &conns {
        for topic in ["a", "b", "c"] {
            bench.net().subscribe(*conn, topic).unwrap();
        }
    }
    let mut raws = raws.into_iter();
    drop(raws.next());
    bench.until("one is gone", |bench| bench.log.closes() == 1);
    assert_eq!(["a", "b", "c"].map(|topic| bench.net().subscribers(topic)), [2; 3]);
    drop(raws);
    bench.until("all are gone", |bench| bench.log.closes() == 3);
    assert_eq!(["a", "b", "c"].map(|topic| bench.net().subscribers(topic)), [0; 3]);
}

#[test]
fn a_topic_needs_a_name_and_the_name_has_an_end() {
    let mut bench = Bench::new(Listen::default(), Hooks::quiet);
    let (conns, _raws) = open_some(&mut bench, 1);
    assert!(matches!(bench.net().subscribe(conns[0], ""), Err(Error::Argument(_))));
    assert!(matches!(bench.net().subscribe(conns[0], &"x".repeat(1025)), Err(Error::Argument(_))));
    assert_eq!(bench.net().subscribe(conns[0], &"x".repeat(1024)), Ok(()));
}

#[test]
fn publishing_inside_a_hook_reaches_those_who_are_closing_or_gone_not_at_all() {
    let mut bench = Bench::new(Listen::default(), |log| {
        Hooks::new(log, |net, conn, told| match told {
            Told::Open => net.subscribe(conn, "room").unwrap(),
            Told::Message(..) => {
                net.close(conn, 1000, "").unwrap();
                net.publish("room", None, Message::text("left")).unwrap();
            }
            Told::Close(_) => net.publish("room", None, Message::text("gone")).unwrap(),
            _ => {}
        })
    });
    let (_, mut raws) = open_some(&mut bench, 2);
    raws[0].say(&frame(TEXT, b"I go"));
    raws[0].end();
    bench.until("the end of one", |bench| bench.log.closes() == 1);
    bench.turn_for(5);
    assert_eq!(heard(&mut raws[1]), [b"left", b"gone"]);
    assert_eq!(heard(&mut raws[0]), [1000u16.to_be_bytes()]);
    assert_eq!(bench.net().subscribers("room"), 1);
}

#[test]
fn random_comings_and_goings_agree_with_a_map_of_sets() {
    let names = ["a", "b", "c", "d", "e"];
    for seed in 0..4 {
        let mut bench = Bench::new(Listen::default(), Hooks::quiet);
        let mut random = Random(seed);
        let mut model: HashMap<&str, HashSet<ConnId>> = HashMap::new();
        let mut living: Vec<(ConnId, Raw, Vec<Vec<u8>>)> = Vec::new();
        for step in 0..600u32 {
            let topic = names[random.below(names.len())];
            let pick = random.below(living.len().max(1));
            match random.below(10) {
                0 if living.len() < 12 => {
                    let raw = bench.open_raw();
                    living.push((bench.log.opened(), raw, Vec::new()));
                }
                1 if living.len() > 3 => {
                    let (conn, raw, _) = living.swap_remove(pick);
                    drop(raw);
                    bench.until("its end", |bench| bench.log.end_of(conn).is_some());
                    model.values_mut().for_each(|set| set.retain(|other| *other != conn));
                }
                2..=5 if !living.is_empty() => {
                    let conn = living[pick].0;
                    bench.net().subscribe(conn, topic).unwrap();
                    model.entry(topic).or_default().insert(conn);
                }
                6 | 7 if !living.is_empty() => {
                    let conn = living[pick].0;
                    bench.net().unsubscribe(conn, topic).unwrap();
                    model.entry(topic).or_default().remove(&conn);
                }
                _ => {
                    let except = (random.below(2) == 0 && !living.is_empty()).then(|| living[pick].0);
                    let data = step.to_be_bytes();
                    bench.net().publish(topic, except, Message::binary(&data)).unwrap();
                    for (conn, _, wanted) in &mut living {
                        if Some(*conn) != except && model.get(topic).is_some_and(|set| set.contains(conn)) {
                            wanted.push(data.to_vec());
                        }
                    }
                }
            }
            for name in names {
                assert_eq!(bench.net().subscribers(name), model.get(name).map_or(0, HashSet::len), "step {step}");
            }
        }
        for (conn, raw, wanted) in &mut living {
            let mut got = Vec::new();
            bench.until("all that was published", |_| {
                got.extend(heard(raw));
                got.len() >= wanted.len()
            });
            bench.turn();
            got.extend(heard(raw));
            assert_eq!(got, *wanted, "{conn:?}, seed {seed}");
        }
    }
}

/// Whatever else happens between them, what is published comes to everybody once and in order: to those who read, to
/// those who are slow, and to the one in whose hook it happens.
#[test]
fn runs_of_publishing_keep_their_place_among_everything_else() {
    for seed in 1..=20 {
        let mut random = Random(seed);
        let mut bench = Bench::new(Listen::default(), Hooks::quiet);
        let (conns, mut raws) = open_some(&mut bench, 5);
        raws.push(Raw::connect_narrow(bench.port));
        raws[5].say(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
        bench.until("all are open", |bench| bench.log.opens() == 6);
        raws[5].hear();
        assert!(raws[5].take_head().is_some());
        let conns = [&conns[..], &[bench.log.opened()]].concat();
        let mut subscribed = vec![[false; 2]; conns.len()];
        let mut wanted = vec![Vec::new(); conns.len()];
        for number in 0..300_u32 {
            let size = [4, 100, 3_000, 30_000][random.below(4)];
            let mut data = pattern(size);
            data[..4].copy_from_slice(&number.to_be_bytes());
            let (who, topic) = (random.below(conns.len()), random.below(2));
            let name = ["a", "b"][topic];
            let net = bench.net();
            match random.below(10) {
                0 => {
                    net.subscribe(conns[who], name).unwrap();
                    subscribed[who][topic] = true;
                }
                1 => {
                    net.unsubscribe(conns[who], name).unwrap();
                    subscribed[who][topic] = false;
                }
                2 => {
                    // It is full one day, and then nobody gets it.
                    if net.send(conns[who], Message::binary(&data)).is_ok() {
                        wanted[who].push(data);
                    }
                }
                3 => {
                    bench.turn();
                    raws[..5].iter_mut().for_each(Raw::hear);
                }
                _ => {
                    let except = (random.below(3) == 0).then_some(who);
                    net.publish(name, except.map(|who| conns[who]), Message::binary(&data)).unwrap();
                    for (who, wanted) in wanted.iter_mut().enumerate() {
                        if subscribed[who][topic] && except != Some(who) {
                            wanted.push(data.clone());
                        }
                    }
                }
            }
        }
        let mut got = vec![Vec::new(); conns.len()];
        bench.until("everything is heard", |_| {
            let all = raws.iter_mut().zip(&mut got);
            all.for_each(|(raw, got)| {
                raw.hear();
                got.extend(std::iter::from_fn(|| raw.next_frame()).map(|(_, payload)| payload));
            });
            got.iter().zip(&wanted).all(|(got, wanted)| got.len() >= wanted.len())
        });
        assert!(got == wanted, "seed {seed}");
    }
}
