//! Echo: every connection has one volley under way at any time.

use super::{Desk, Load, push};
use crate::Failure;
use crate::frames::Volley;
use crate::meter::{Figures, Meter, Plan};
use crate::target::{Channel, Offer, Target, Wire};
use std::time::Instant;

struct Speaker<W> {
    channel: Channel<W>,
    /// Of the volley, in the kernel.
    sent: usize,
    /// Echoes that are still to come.
    due: u64,
    since: Instant,
}

impl<W: Wire> Speaker<W> {
    fn begin(&mut self, volley: &Volley, now: Instant) -> Result<(), Failure> {
        (self.sent, self.due, self.since) = (0, volley.depth, now);
        self.push(volley)
    }

    fn push(&mut self, volley: &Volley) -> Result<(), Failure> {
        push(&mut self.channel.wire, &volley.all, &mut self.sent)
    }
}

pub(super) fn run<W: Wire>(
    load: &Load,
    target: &Target,
    plan: Plan,
    connect: impl Fn(&Target, usize, Offer) -> Result<Channel<W>, Failure>,
) -> Result<Figures, Failure> {
    let (volley, mut desk, mut wire_size) = (load.volley(), Desk::new()?, 0);
    let mut speakers = Vec::with_capacity(load.conns);
    for nth in 0..load.conns {
        let mut channel = connect(target, nth, load.offer)?;
        wire_size = channel.sample(&volley)?;
        desk.add_channel(&channel, nth)?;
        speakers.push(Speaker { channel, sent: 0, due: 0, since: Instant::now() });
    }
    let mut meter = Meter::new(target, plan)?;
    for speaker in &mut speakers {
        speaker.begin(&volley, Instant::now())?;
    }
    loop {
        let now = desk.wait()?;
        for event in &desk.events {
            let speaker = &mut speakers[event.token().0];
            if event.is_writable() {
                speaker.push(&volley)?;
            }
            speaker.due -= speaker.channel.pump(speaker.due, wire_size, &mut desk.scratch)?;
            if speaker.due == 0 {
                let now = Instant::now();
                meter.count(volley.depth, now - speaker.since);
                speaker.begin(&volley, now)?;
            }
        }
        if let Some(mut figures) = meter.tick(now)? {
            figures.set("reply_bytes", wire_size as f64);
            return Ok(figures);
        }
    }
}
