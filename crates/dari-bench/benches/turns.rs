//! The parts of the loop that could grow with what is on it: topics, timers, ids.     make microbench

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dari::{Config, Loop, Message, State};
use dari_bench::Failure;
use dari_bench::micro::{Crowd, TOPIC};
use dari_bench::sys;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// A step that comes by every connection before it comes back, and leaves no order behind.
const STRIDE: usize = 7_919;

/// A publish and the turn that sends it: to nobody, which is the topic alone, and to subscribers, which is a send each.
fn publishing(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish 100 B to");
    group.sample_size(20);
    for count in [0, 1, 10, 100, 1_000] {
        let mut crowd = Crowd::new(count).expect("clients connect on the loopback address");
        let mut scratch = vec![0; 64 << 10];
        group.throughput(Throughput::Elements(count.max(1) as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter_custom(|times| {
                let rounds = (0..times).map(|_| publish(&mut crowd, &mut scratch));
                rounds.sum::<Result<Duration, Failure>>().expect("everybody hears it")
            });
        });
    }
}

/// How long it takes to publish; that it was heard is not counted.
fn publish(crowd: &mut Crowd, scratch: &mut [u8]) -> Result<Duration, Failure> {
    let began = Instant::now();
    crowd.event_loop.net().publish(TOPIC, None, Message::binary(&[7; 100]))?;
    crowd.event_loop.turn(Some(0))?;
    let gone = began.elapsed();
    for client in &mut crowd.clients {
        client.pump(1, 100, scratch)?;
    }
    Ok(gone)
}

/// Setting a timer and taking it back, while others wait.
fn timers(c: &mut Criterion) {
    let mut group = c.benchmark_group("timer beside");
    for count in [10_u32, 1_000, 100_000] {
        let mut event_loop = Loop::new(Config::default()).expect("a loop");
        let net = event_loop.net();
        for nth in 0..count {
            net.timer(3_600_000 + nth, 0, Box::new(|_, _| {})).expect("a timer");
        }
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                let timer = net.timer(black_box(3_600_000 + count / 2), 0, Box::new(|_, _| {})).expect("a timer");
                net.cancel_timer(timer).expect("it has not gone off");
            });
        });
    }
}

/// Finding a connection by its id, here and there among all; a turn in which nothing happens to any of them.
fn ids(c: &mut Criterion) {
    // Two descriptors for each connection.
    let most = sys::raise_descriptors().map_or(1_000, |limit| usize::try_from(limit).unwrap_or(1_000) / 2 - 100);
    for count in [10, 1_000, 100_000] {
        let count = count.min(most);
        let mut crowd = Crowd::new(count).expect("clients connect on the loopback address");
        let mut at = 0;
        c.bench_function(&format!("id among {count} connections"), |b| {
            b.iter(|| {
                at = (at + STRIDE) % count;
                let net = crowd.event_loop.net();
                assert!(net.state(black_box(crowd.conns[at])) == State::Open);
            });
        });
        c.bench_function(&format!("empty turn with {count} connections"), |b| {
            b.iter(|| crowd.event_loop.turn(Some(0)).expect("a turn"));
        });
    }
}

criterion_group!(benches, publishing, timers, ids);
criterion_main!(benches);
