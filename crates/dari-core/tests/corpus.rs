//! The seeds of the fuzz targets, run without a fuzzer; and the way they were made from the vectors.

#[path = "../../../fuzz/targets/mod.rs"]
mod targets;

use std::{fs, path};
use targets::common::pair::{What, text};
use targets::common::vector::{self, Vector};
use targets::common::{Peer, frames};
use targets::{CLIENT, DEFLATE, OTHER, PARTS, SETUP, TAKEOVER};

fn folder() -> path::PathBuf {
    path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

/// Runs every seed of a target; the files `found-*` are inputs that have failed once.
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
    let make = |(nth, data): (u8, &String)| {
        let setup = targets::Setup::read(&mut targets::Data(&[DEFLATE, nth << 6, 0]));
        let mut peer: Peer = setup.open();
        let message = dari_core::Message::text(data);
        peer.act(|connection, io| connection.send_with(message, dari_core::Squeeze::Yes, io)).unwrap();
        frames(&peer.sent())[0].payload.clone()
    };
    (0..).zip(&data).map(make).collect()
}

#[test]
#[ignore = "writes the seeds anew, from the vectors: cargo test -p dari-core --test corpus -- --ignored"]
fn seeds_are_written() {
    write_behind_a_handshake();
    write_from_the_handshake_on();
    write_compressed();
    write_steps();
    assert_eq!(SETUP, 3, "seeds have set-ups of three bytes");
}

fn write_behind_a_handshake() {
    for group in ["frames-server", "frames-client", "close", "deflate"] {
        for (nth, vector) in vectors(group).iter().enumerate() {
            if nth % 2 == 0 {
                let cut = [0, 1, 3][nth / 2 % 3];
                let more = [0, OTHER[0], PARTS, OTHER[1]][nth / 2 % 4];
                put("receive", &vector.name, &[flags(vector) | more, limits(vector), cut], &vector.bytes);
            } else if nth % 4 == 1 {
                put("split", &vector.name, &[flags(vector), limits(vector), 0, 2, 3, 5], &vector.bytes);
            }
        }
    }
}

fn write_from_the_handshake_on() {
    for group in ["handshake-server", "handshake-client", "http", "extensions"] {
        for (nth, vector) in vectors(group).iter().enumerate() {
            let every = if group == "http" { 2 } else { 4 };
            if nth % every == 0 {
                let more = [0, OTHER[1], OTHER[0], OTHER[3]][nth / every % 4];
                put("handshake", &vector.name, &[flags(vector) | more, limits(vector), 0], &vector.bytes);
            } else if nth % 6 == 3 {
                put("split", &vector.name, &[flags(vector) | OTHER[0], limits(vector), 0, 1, 30], &vector.bytes);
            }
        }
    }
    // Bodies of an odd length are answered without one.
    let in_pieces = [
        ("pieces until the end", "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"),
        ("pieces in chunks", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc"),
        ("pieces that are not sent", "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n"),
    ];
    for (name, request) in in_pieces {
        put("handshake", name, &[OTHER[1], 0, 0], request.as_bytes());
    }
}

fn write_compressed() {
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
    for (nth, payload) in (0..).zip(&payloads()) {
        put("inflate", &format!("made here {nth}"), &[OTHER[0] | (PARTS * (nth & 1)), 0, nth, 9], payload);
    }
}

/// Any bytes are steps: these are as good as others.
fn write_steps() {
    for nth in 0..12u8 {
        let steps = What { is_text: false, noisy: true, size: 30 + 8 * usize::from(nth) }.bytes(usize::from(nth));
        put("pair", &format!("steps {nth}"), &[nth & 3, nth >> 1, nth, nth << 1, 9, 0, 200, 1], &steps);
    }
}
