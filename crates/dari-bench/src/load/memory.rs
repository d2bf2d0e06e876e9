//! Memory: what a connection costs that does nothing, before and after it has done something.

use super::Load;
use crate::Failure;
use crate::frames::{Kind, Volley};
use crate::meter::{Figures, resident};
use crate::target::{Channel, Target};
use std::net::TcpStream;
use std::time::Duration;

/// Opened and used before, so that what is counted is connections and not the program's start.
const FIRST: usize = 100;
/// How long a server may keep what it needs no more.
const REST: Duration = Duration::from_secs(2);

pub(super) fn idle(load: &Load, target: &Target) -> Result<Figures, Failure> {
    let volley = load.volley();
    let (_first, before) = settle(load, target, &volley)?;
    let mut channels = connect(load, target, load.conns)?;
    let opened = resident(target)?;
    for channel in &mut channels {
        channel.sample(&volley)?;
    }
    Ok(figures(load, before, &[("opened_bytes", opened), ("bytes", resident(target)?)]))
}

pub(super) fn after(load: &Load, target: &Target) -> Result<Figures, Failure> {
    let (small, volley) = (Volley::new(Kind::Binary, 20, 1, false), load.volley());
    let (_first, before) = settle(load, target, &small)?;
    let mut channels = connect(load, target, load.conns)?;
    for channel in &mut channels {
        channel.sample(&volley)?;
    }
    let at_once = resident(target)?;
    std::thread::sleep(REST);
    Ok(figures(load, before, &[("at_once_bytes", at_once), ("bytes", resident(target)?)]))
}

fn connect(load: &Load, target: &Target, count: usize) -> Result<Vec<Channel<TcpStream>>, Failure> {
    let mut channels = Vec::with_capacity(count);
    for nth in 0..count {
        let mut channel = target.connect(nth, load.offer)?;
        if target.is_raw {
            // Without a handshake nothing says that it has been accepted, and that is what has to be paid for.
            channel.sample(&Volley::new(Kind::Binary, 20, 1, false))?;
        }
        channels.push(channel);
    }
    Ok(channels)
}

fn settle(load: &Load, target: &Target, volley: &Volley) -> Result<(Vec<Channel<TcpStream>>, f64), Failure> {
    let mut first = connect(load, target, FIRST)?;
    for channel in &mut first {
        channel.sample(volley)?;
    }
    Ok((first, resident(target)?))
}

fn figures(load: &Load, before: f64, after: &[(&'static str, f64)]) -> Figures {
    let mut figures = Figures::default();
    for (name, bytes) in after {
        figures.set(name, (bytes - before) / load.conns as f64);
    }
    figures
}
