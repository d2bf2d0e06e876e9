//! The vectors of `tests/vectors`, each run in every way of cutting its bytes, and the proof that they reach every
//! rule there is.

mod common;

use common::{Seen, rule_name, vector};
use dari_core::Violation;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fs, path};

/// Every rule, by its variant, with the code or status that says it.
const RULES: [(Violation, u16); 55] = [
    (Violation::BareLineFeed, 400),
    (Violation::BareCarriageReturn, 400),
    (Violation::BadByteInHead, 400),
    (Violation::BadRequestLine, 400),
    (Violation::BadStatusLine, 400),
    (Violation::BadHeader, 400),
    (Violation::FoldedHeader, 400),
    (Violation::HeadTooLong { limit: 1 }, 431),
    (Violation::TooManyHeaders { limit: 1 }, 431),
    (Violation::TargetTooLong { limit: 1 }, 414),
    (Violation::BadTarget, 400),
    (Violation::BadVersion, 505),
    (Violation::MissingHost, 400),
    (Violation::RepeatedHost, 400),
    (Violation::BadHost, 400),
    (Violation::BadContentLength, 400),
    (Violation::LengthAndCoding, 400),
    (Violation::UnknownCoding, 501),
    (Violation::BadChunk, 400),
    (Violation::BodyTooLong { limit: 1 }, 413),
    (Violation::UpgradeNotGet, 405),
    (Violation::UpgradeOldHttp, 400),
    (Violation::UpgradeWithBody, 400),
    (Violation::MissingConnectionUpgrade, 400),
    (Violation::MissingKey, 400),
    (Violation::RepeatedKey, 400),
    (Violation::BadKey, 400),
    (Violation::MissingVersion, 426),
    (Violation::RepeatedVersion, 400),
    (Violation::OtherVersion, 426),
    (Violation::BadProtocolList, 400),
    (Violation::AnswerUpgrade, 0),
    (Violation::AnswerConnection, 0),
    (Violation::AnswerAccept, 0),
    (Violation::AnswerProtocol, 0),
    (Violation::AnswerExtension, 0),
    (Violation::ReservedBits, 1002),
    (Violation::ReservedOpcode, 1002),
    (Violation::FragmentedControl, 1002),
    (Violation::LongControl, 1002),
    (Violation::Unmasked, 1002),
    (Violation::Masked, 1002),
    (Violation::LengthNotMinimal, 1002),
    (Violation::LengthTopBit, 1002),
    (Violation::NothingToContinue, 1002),
    (Violation::MessageInMessage, 1002),
    (Violation::CloseLength, 1002),
    (Violation::CloseCode(1005), 1002),
    (Violation::CloseReason, 1007),
    (Violation::Text, 1007),
    (Violation::Deflate, 1007),
    (Violation::MessageTooBig { limit: 1, met: 2 }, 1009),
    (Violation::TooManyEmptyFragments { limit: 1 }, 1008),
    (Violation::TooManyControls { limit: 1 }, 1008),
    (Violation::OutOfMemory { limit: 1, met: 2 }, 1013),
];

const GROUPS: [&str; 8] = [
    "handshake-server",
    "handshake-client",
    "http",
    "frames-server",
    "frames-client",
    "close",
    "extensions",
    "deflate",
];

fn folder() -> path::PathBuf {
    path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

fn read(group: &str) -> Vec<vector::Vector> {
    let text = fs::read_to_string(folder().join(format!("{group}.txt"))).unwrap();
    vector::parse(&text)
}

/// Runs a group to its end, and tells every vector that failed.
fn run(group: &str) {
    let vectors = read(group);
    assert!(vectors.len() > 10, "{group} has {} vectors", vectors.len());
    let fails = |vector: &&vector::Vector| catch_unwind(AssertUnwindSafe(|| vector.run())).is_err();
    let failed: Vec<&str> = vectors.iter().filter(fails).map(|vector| vector.name.as_str()).collect();
    assert!(failed.is_empty(), "{group}: {failed:#?}");
}

#[test]
fn opening_handshakes_are_judged_by_the_server_as_the_vectors_say() {
    run("handshake-server");
}

#[test]
fn answers_to_handshakes_are_judged_by_the_client_as_the_vectors_say() {
    run("handshake-client");
}

#[test]
fn plain_requests_are_read_as_the_vectors_say() {
    run("http");
}

#[test]
fn frames_of_a_client_are_read_as_the_vectors_say() {
    run("frames-server");
}

#[test]
fn frames_of_a_server_are_read_as_the_vectors_say() {
    run("frames-client");
}

#[test]
fn connections_end_as_the_vectors_say() {
    run("close");
}

#[test]
fn extensions_are_agreed_on_as_the_vectors_say() {
    run("extensions");
}

#[test]
fn compressed_messages_are_read_as_the_vectors_say() {
    run("deflate");
}

#[test]
fn every_file_of_vectors_has_its_test() {
    let names = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = names.filter(|name| name.ends_with(".txt")).collect();
    assert_eq!(files, GROUPS.iter().map(|group| format!("{group}.txt")).collect());
}

#[test]
fn every_rule_is_reached_by_a_vector() {
    // The variants are read from their source, so that a new one can not be forgotten here.
    let source = fs::read_to_string(path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/error.rs")).unwrap();
    let (_, source) = source.split_once("pub enum Violation {\n").unwrap();
    let (source, _) = source.split_once("\n}").unwrap();
    let lines = source.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let name = |line: &str| line.split(|letter: char| !letter.is_alphanumeric()).next().unwrap().to_owned();
    let variants: BTreeSet<String> = lines.map(name).collect();
    let listed: BTreeSet<String> = RULES.iter().map(|(rule, _)| rule_name(*rule)).collect();
    assert_eq!(listed, variants, "RULES lists every variant");

    let events: Vec<Seen> = GROUPS.iter().flat_map(|group| read(group)).flat_map(|vector| vector.events).collect();
    let reached =
        |wanted: &str| events.iter().any(|seen| matches!(seen, Seen::Failed { rule, .. } if rule == wanted));
    let missed: Vec<&String> = listed.iter().filter(|rule| !reached(rule)).collect();
    assert!(missed.is_empty(), "no vector breaks {missed:?}");
}

#[test]
fn every_rule_says_its_code_and_its_source_in_one_line() {
    for (rule, code) in RULES {
        assert_eq!(rule.code(), code, "{rule:?}");
        assert!(rule.rule().starts_with("RFC "), "{rule:?}");
        assert!(rule.rule().len() <= 123, "{rule:?} fits into a Close frame");
        let line = rule.to_string();
        assert!(line.starts_with(rule.rule()) && line.chars().all(|letter| !letter.is_control()), "{line}");
        assert_eq!(rule.limit().is_some(), line.contains("(limit "), "{line}");
    }
}
