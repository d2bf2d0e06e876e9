//! Broadcast: one speaks, and when everybody has heard it, speaks again. A message is one delivery.

use super::{Desk, Load, push};
use crate::Failure;
use crate::meter::{Figures, Meter, Plan};
use crate::target::Target;
use std::time::Instant;

pub(super) fn run(load: &Load, target: &Target, plan: Plan) -> Result<Figures, Failure> {
    let (volley, mut desk, mut wire_size) = (load.volley(), Desk::new()?, 0);
    let mut listeners = (0..load.conns).map(|nth| target.connect(nth, load.offer)).collect::<Result<Vec<_>, _>>()?;
    // Whoever has its answer to the handshake hears what is said from now on: that is what peers have to keep to.
    for (nth, listener) in listeners.iter_mut().enumerate() {
        if nth == 0 {
            wire_size = listener.sample(&volley)?;
        } else {
            listener.expect(&volley)?;
        }
        desk.add_channel(listener, nth)?;
    }
    let mut meter = Meter::new(target, plan)?;
    let mut due = vec![0; load.conns];
    let everything = volley.depth * load.conns as u64;
    loop {
        let since = Instant::now();
        let (mut left, mut sent) = (everything, 0);
        due.fill(volley.depth);
        push(&mut listeners[0].wire, &volley.all, &mut sent)?;
        while left > 0 {
            desk.wait()?;
            for event in &desk.events {
                let nth = event.token().0;
                if nth == 0 {
                    push(&mut listeners[0].wire, &volley.all, &mut sent)?;
                }
                let heard = listeners[nth].pump(due[nth], wire_size, &mut desk.scratch)?;
                due[nth] -= heard;
                left -= heard;
            }
        }
        let now = Instant::now();
        meter.count(everything, now - since);
        if let Some(mut figures) = meter.tick(now)? {
            figures.set("reply_bytes", wire_size as f64);
            return Ok(figures);
        }
    }
}
