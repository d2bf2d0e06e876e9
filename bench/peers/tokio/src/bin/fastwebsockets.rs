//! Echo with fastwebsockets: one thread, its own upgrade over hyper, `simd` for UTF-8.

use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollector, OpCode, WebSocketError};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = peers::listen("fastwebsockets").await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(|mut request: Request<Incoming>| async move {
                let (response, opening) = upgrade(&mut request)?;
                tokio::spawn(echo(opening));
                Ok::<_, WebSocketError>(response)
            });
            http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades().await
        });
    }
}

async fn echo(opening: UpgradeFut) -> Result<(), WebSocketError> {
    let mut stream = FragmentCollector::new(opening.await?);
    loop {
        let frame = stream.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => stream.write_frame(frame).await?,
            _ => {}
        }
    }
}
