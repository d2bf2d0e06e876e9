//! A slow reader: says all it has to say, and only then listens. A message is one echo.

use super::Load;
use crate::Failure;
use crate::meter::{Figures, Meter, Plan, resident};
use crate::target::{PATIENCE, SCRATCH, Target};
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

/// How long the server may take nothing before we listen to some of it, so that it goes on.
const STALL: Duration = Duration::from_millis(8);
/// Messages that are listened to then, and in one go later.
const SIP: u64 = 4;
/// Where what is not read waits: in the server, not in our kernel.
const RECEIVE_BUFFER: usize = 64 << 10;

pub(super) fn run(load: &Load, target: &Target, plan: Plan) -> Result<Figures, Failure> {
    let volley = load.volley();
    let mut scratch = vec![0; SCRATCH];
    target.connect(0, load.offer)?.sample(&volley)?;
    let before = resident(target).unwrap_or_default();
    let mut most = 0f64;
    let mut meter = Meter::new(target, plan)?;
    for nth in 1.. {
        let mut channel =
            target.connect_with(nth, load.offer, |socket| socket.set_recv_buffer_size(RECEIVE_BUFFER))?;
        let since = Instant::now();
        channel.wire.set_write_timeout(Some(STALL))?;
        let (mut sent, mut due) = (0, volley.depth);
        while sent < volley.all.len() {
            match channel.wire.write(&volley.all[sent..]) {
                Ok(taken) => sent += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock && since.elapsed() < PATIENCE => {
                    most = most.max(resident(target).unwrap_or_default());
                    // It owes so many, or it would have taken more.
                    due -= channel.pump(SIP.min(due), load.size, &mut scratch)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        most = most.max(resident(target).unwrap_or_default());
        while due > 0 {
            due -= channel.pump(SIP.min(due), load.size, &mut scratch)?;
        }
        meter.count(volley.depth, since.elapsed());
        if let Some(mut figures) = meter.tick(Instant::now())? {
            figures.set("held_bytes", most - before);
            return Ok(figures);
        }
    }
    Err("there are no more connections".into())
}
