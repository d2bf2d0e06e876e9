//! The echo of `tests/c/echo_server.c` in Rust, to see what the border to C costs.     rust_echo

use dari::{Config, ConnId, Error, Handler, Listen, Loop, Message, Net, Origins};

struct Echo;

impl Handler for Echo {
    fn message(&mut self, net: &mut Net, conn: ConnId, message: Message<'_>) {
        // Gone, or too slow to take its own words back: both are the peer's affair.
        let _ = net.send(conn, message);
    }
}

fn main() -> Result<(), Error> {
    let mut event_loop = Loop::new(Config::default())?;
    let how = Listen { origins: Origins::Any, ..Listen::default() };
    let listener = event_loop.net().listen("127.0.0.1:0", how, Box::new(Echo))?;
    println!("listening on {}", event_loop.net().listener_port(listener).unwrap_or_default());
    event_loop.run()
}
