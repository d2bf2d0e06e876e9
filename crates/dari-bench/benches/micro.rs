//! The parts of the protocol that are paid for with every connection, message or byte.     make microbench

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dari_bench::frames::{Kind, deflate, frame};
use dari_bench::micro::Peer;
use dari_bench::target::Offer;
use dari_core::testing::{accept_key, unmask};
use dari_core::{Message, Squeeze};
use std::hint::black_box;

const SIZES: [usize; 5] = [20, 125, 1 << 10, 16 << 10, 1 << 20];
/// Masked with zeros, a frame can be received again and again.
const NO_MASK: [u8; 4] = [0; 4];

fn handshake(c: &mut Criterion) {
    c.bench_function("accept key", |b| b.iter(|| accept_key(black_box(b"dGhlIHNhbXBsZSBub25jZQ=="))));
}

fn masking(c: &mut Criterion) {
    let mut group = c.benchmark_group("unmask");
    for size in SIZES {
        let mut bytes = vec![7; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| unmask(black_box(&mut bytes), [1, 2, 3, 4], 1));
        });
    }
}

const TEXTS: [(&str, Kind); 3] = [("ascii", Kind::Ascii), ("korean", Kind::Korean), ("mixed", Kind::Mixed)];

/// The check of UTF-8, and a header: what a send costs that refers to its payload.
fn sending(c: &mut Criterion) {
    let mut group = c.benchmark_group("utf8");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        for (name, kind) in TEXTS {
            let text = kind.payload(size);
            let mut peer = Peer::new(Offer::Plain);
            let message = Message { kind: dari_core::Kind::Text, data: &text };
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| peer.send(black_box(message), Squeeze::No));
            });
        }
    }
}

/// A whole frame: header, unmasking, the check of text.
fn receiving(c: &mut Criterion) {
    let mut group = c.benchmark_group("receive");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        for (name, kind) in TEXTS.into_iter().chain([("binary", Kind::Binary)]) {
            let first = if kind == Kind::Binary { 0x82 } else { 0x81 };
            let mut bytes = frame(first, &kind.payload(size), NO_MASK);
            let mut peer = Peer::new(Offer::Plain);
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| peer.receive(black_box(&mut bytes)));
            });
        }
    }
}

/// What a loop can hand on of a long frame after one read.
const PIECE: usize = 64 << 10;

/// A long frame as it comes from a socket: piece by piece, its text checked before all of it is there.
fn receiving_pieces(c: &mut Criterion) {
    let size = 1 << 20;
    let mut group = c.benchmark_group("receive in pieces");
    group.throughput(Throughput::Bytes(size as u64));
    for (name, kind) in TEXTS.into_iter().chain([("binary", Kind::Binary)]) {
        let first = if kind == Kind::Binary { 0x82 } else { 0x81 };
        let mut bytes = frame(first, &kind.payload(size), NO_MASK);
        let mut peer = Peer::new(Offer::Plain);
        group.bench_function(BenchmarkId::new(name, size), |b| {
            b.iter(|| {
                let received: usize = bytes.chunks_mut(PIECE).map(|piece| peer.receive(black_box(piece))).sum();
                assert!(received == size);
            });
        });
    }
}

fn compressing(c: &mut Criterion) {
    for (what, offer) in [("alone", Offer::Deflate), ("takeover", Offer::Takeover)] {
        let mut group = c.benchmark_group(format!("deflate {what}"));
        for size in [1 << 10, 16 << 10, 1 << 20] {
            let payload = Kind::Json.payload(size);
            group.throughput(Throughput::Bytes(size as u64));
            let mut peer = Peer::new(offer);
            let message = Message { kind: dari_core::Kind::Text, data: &payload };
            group.bench_function(BenchmarkId::new("send", size), |b| {
                b.iter(|| peer.send(black_box(message), Squeeze::Yes));
            });
            let mut bytes = frame(0xc1, &deflate(&payload), NO_MASK);
            let mut peer = Peer::new(offer);
            group.bench_function(BenchmarkId::new("receive", size), |b| {
                b.iter(|| peer.receive(black_box(&mut bytes)));
            });
        }
    }
}

criterion_group!(benches, handshake, masking, sending, receiving, receiving_pieces, compressing);
criterion_main!(benches);
