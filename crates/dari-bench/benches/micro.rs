//! The parts of the protocol that are paid for with every connection, message or byte.     make microbench

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dari_bench::{Peer, frame};
use dari_core::testing::{accept_key, unmask};
use std::hint::black_box;

const SIZES: [usize; 5] = [20, 125, 1 << 10, 16 << 10, 1 << 20];

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

fn receiving(c: &mut Criterion) {
    let texts = [("binary", false, "x"), ("ascii", true, "x"), ("korean", true, "다리를 놓다 ")];
    for (name, is_text, unit) in texts {
        let mut group = c.benchmark_group(format!("receive {name}"));
        for size in SIZES {
            let payload = unit.repeat(size / unit.len());
            let mut bytes = frame(is_text, payload.as_bytes());
            let mut peer = Peer::default();
            group.throughput(Throughput::Bytes(payload.len() as u64));
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter(|| peer.receive(black_box(&mut bytes)));
            });
        }
    }
}

criterion_group!(benches, handshake, masking, receiving);
criterion_main!(benches);
