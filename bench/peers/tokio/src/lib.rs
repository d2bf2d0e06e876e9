//! What both servers do alike: listen, and say so.

use tokio::net::TcpListener;

/// Listens on a free port, and says which, with the version of `name` that the lock file holds.
pub async fn listen(name: &str) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let lock = include_str!("../Cargo.lock");
    let entry = lock.split(&format!("name = \"{name}\"\nversion = \"")).nth(1).unwrap_or_default();
    let version = entry.split('"').next().unwrap_or_default();
    println!("listening on {} ({name} {version})", listener.local_addr()?.port());
    Ok(listener)
}
