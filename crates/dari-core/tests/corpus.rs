//! The seeds of the fuzz targets, run without a fuzzer; and the way they were made from the vectors.

#[path = "../../../fuzz/targets/mod.rs"]
mod targets;

use std::{fs, path};
use targets::common::pair::text;
use targets::common::vector::{self, Vector};
use targets::common::{Peer, frames};
use targets::{CLIENT, DEFLATE, OTHER, PARTS, SETUP, TAKEOVER};

fn folder() -> path::PathBuf {
    path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

/// Runs every seed of a target, and every input that has failed once.
fn replay(target: &str, run: fn(&[u8])) {
    let mut files: Vec<_> = fs::read_dir(folder().join(target)).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "{target} has {} seeds", files.len());
    for file in files {
        println!("{}", file.display());
        run(&fs::read(file).unwrap());
    }
}

#[test]
fn every_seed_of_receive_holds() {
    replay("receive", targets::receive::run);
}

#[test]
fn every_seed_of_handshake_holds() {
    replay("handshake", targets::handshake::run);
}

#[test]
fn every_seed_of_inflate_holds() {
    replay("inflate", targets::inflate::run);
}

#[test]
fn every_seed_of_split_holds() {
    replay("split", targets::split::run);
}

#[test]
fn every_seed_of_pair_holds() {
    replay("pair", targets::pair::run);
}

#[test]
fn the_corpus_is_small() {
    let folders = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().metadata());
    let sizes: Vec<u64> = files.map(|data| data.unwrap().len()).collect();
    assert!(sizes.len() < 300, "{} files", sizes.len());
    assert!(sizes.iter().sum::<u64>() < 200_000, "{} bytes", sizes.iter().sum::<u64>());
}

/// Longer vectors teach a fuzzer nothing.
const LONGEST: usize = 700;

fn vectors(group: &str) -> Vec<Vector> {
    let file = format!("../../tests/vectors/{group}.txt");
    let text = fs::read_to_string(path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    vector::parse(&text).into_iter().filter(|vector| vector.bytes.len() <= LONGEST).collect()
}

fn flags(vector: &Vector) -> u8 {
    let deflate = vector.limits.deflate.map_or(0, |wish| DEFLATE | if wish.takeover { TAKEOVER } else { 0 });
    deflate | if vector.is_client { CLIENT } else { 0 }
}

fn limits(vector: &Vector) -> u8 {
    match vector.limits.max_message {
        10 => 4,
        1_000 => 6,
        _ => 0,
    }
}

/// Writes one seed; its name is the vector's.
fn put(target: &str, name: &str, setup: &[u8], bytes: &[u8]) {
    let name: String = name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    let name = name.to_ascii_lowercase().split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    let folder = folder().join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), [setup, bytes].concat()).unwrap();
}

/// Compressed payloads of all levels, as our own side makes them.
fn payloads() -> Vec<Vec<u8>> {
    let data = [text(40, 1), text(600, 2), "aaaa".repeat(300), (0..150).map(|i| format!("{i} ")).collect()];
    let make = |(nth, data): (usize, &String)| {
        let setup = targets::Setup::read(&mut targets::Data(&[DEFLATE, (nth as u8 * 2) << 5, 0]));
        let mut peer: Peer = setup.open();
        let message = dari_core::Message::text(data);
        peer.act(|connection, io| connection.send_with(message, dari_core::Squeeze::Yes, io)).unwrap();
        frames(&peer.sent())[0].payload.clone()
    };
    data.iter().enumerate().map(make).collect()
}

#[test]
#[ignore = "writes the seeds anew, from the vectors: cargo test -p dari-core --test corpus -- --ignored"]
fn seeds_are_written() {
    let whole = |vector: &Vector| [flags(vector), limits(vector), 0];
    for group in ["frames-server", "frames-client", "close", "deflate"] {
        for (nth, vector) in vectors(group).iter().enumerate() {
            let [mut flags, limits, _] = whole(vector);
            if nth % 2 == 0 {
                let cut = [0, 1, 3][nth / 2 % 3];
                flags |= [0, OTHER[0], PARTS, OTHER[1]][nth / 2 % 4];
                put("receive", &vector.name, &[flags, limits, cut], &vector.bytes);
            } else if nth % 4 == 1 {
                put("split", &vector.name, &[flags, limits, 0, 2, 3, 5], &vector.bytes);
            }
        }
    }
    for group in ["handshake-server", "handshake-client", "http", "extensions"] {
        for (nth, vector) in vectors(group).iter().enumerate() {
            let [mut flags, limits, _] = whole(vector);
            if nth % 3 == 0 {
                flags |= [0, OTHER[0], OTHER[1], OTHER[3]][nth / 3 % 4];
                put("handshake", &vector.name, &[flags, limits, 0], &vector.bytes);
            } else if nth % 6 == 1 {
                put("split", &vector.name, &[flags | OTHER[0], limits, 0, 1, 30], &vector.bytes);
            }
        }
    }
    for vector in vectors("deflate") {
        // The payload of a frame that is a whole compressed message.
        let [first, len] = vector.bytes[..2] else { continue };
        if first & 0xf0 == 0xc0 && len & 0x7f > 2 && len < 0xfe && !vector.is_client {
            let key = &vector.bytes[2..6];
            let end = (6 + usize::from(len & 0x7f)).min(vector.bytes.len());
            let masked = vector.bytes[6..end].iter().zip(key.iter().cycle());
            let payload: Vec<u8> = masked.map(|(byte, key)| byte ^ key).collect();
            put("inflate", &vector.name, &[flags(&vector) | OTHER[1], limits(&vector), 0, 255], &payload);
        }
    }
    for (nth, payload) in payloads().iter().enumerate() {
        let nth = nth as u8;
        put("inflate", &format!("made here {nth}"), &[OTHER[0] | PARTS * (nth & 1), 0, nth, 9], payload);
    }
    // Any bytes are steps: these are as good as others.
    let mut noise = 1u32;
    for nth in 0..16u8 {
        let steps = (0..30 + 8 * usize::from(nth)).map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        });
        let steps = steps.collect::<Vec<u8>>();
        put("pair", &format!("steps {nth}"), &[nth & 3, nth >> 1, nth, nth << 1, 9, 0, 200, 1], &steps);
    }
    assert_eq!(SETUP, 3, "seeds have set-ups of three bytes");
}
