//! Echo, or broadcast, with tokio-tungstenite: one thread, and a flush only where nothing more can be read. Reads of 16
//! KiB, since it fills with zeros what it reads into: with its default of 128 KiB a message of 20 B costs twice as much,
//! one of 1 MiB a fifth less.

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast::{Sender, channel};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let is_broadcast = std::env::args().any(|word| word == "--broadcast");
    let listener = peers::listen("tokio-tungstenite").await?;
    let everybody = channel::<Message>(1024).0;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        if is_broadcast {
            tokio::spawn(spread(socket, everybody.clone()));
        } else {
            tokio::spawn(echo(socket));
        }
    }
}

async fn accept(socket: TcpStream) -> Result<WebSocketStream<TcpStream>, Error> {
    accept_async_with_config(socket, Some(WebSocketConfig::default().read_buffer_size(16 << 10))).await
}

async fn echo(socket: TcpStream) -> Result<(), Error> {
    let mut stream = accept(socket).await?;
    let mut next = stream.next().await;
    while let Some(message) = next.transpose()? {
        if message.is_text() || message.is_binary() {
            stream.feed(message).await?;
        }
        next = match stream.next().now_or_never() {
            Some(next) => next,
            None => {
                stream.flush().await?;
                stream.next().await
            }
        };
    }
    Ok(())
}

async fn spread(socket: TcpStream, everybody: Sender<Message>) -> Result<(), Error> {
    // Before the handshake is answered: whoever has the answer hears everything.
    let mut heard = everybody.subscribe();
    let mut stream = accept(socket).await?;
    loop {
        tokio::select! {
            message = stream.next() => match message.transpose()? {
                Some(message) if message.is_text() || message.is_binary() => {
                    let _ = everybody.send(message);
                }
                Some(_) => {}
                None => return Ok(()),
            },
            Ok(message) = heard.recv() => {
                stream.feed(message).await?;
                while let Ok(message) = heard.try_recv() {
                    stream.feed(message).await?;
                }
                stream.flush().await?;
            }
        }
    }
}
