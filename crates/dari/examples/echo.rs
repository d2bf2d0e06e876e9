//! The smallest server: says back what it hears. `cargo run --example echo -- 127.0.0.1:9001 [takeover|plain]`

use dari::{Config, ConnId, Deflate, Error, Handler, Limits, Listen, Loop, Message, Net, Origins};

struct Echo;

impl Handler for Echo {
    fn message(&mut self, net: &mut Net, conn: ConnId, message: Message<'_>) {
        // Gone, or too slow to take its own words back: both are the peer's affair.
        let _ = net.send(conn, message);
    }
}

fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let mut event_loop = Loop::new(Config::default())?;
    let deflate = std::env::args().nth(2).map(|how| Deflate { takeover: how == "takeover", ..Deflate::default() });
    let limits = Limits { deflate, ..Limits::default() };
    let how = Listen { limits, origins: Origins::Any, ..Listen::default() };
    let listener = event_loop.net().listen(&address, how, Box::new(Echo))?;
    println!("listening on port {}", event_loop.net().listener_port(listener).unwrap_or_default());
    event_loop.run()
}
