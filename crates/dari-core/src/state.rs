//! How far a connection has come; every transition is made in `connection`.

/// The browser's readyState, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// The opening handshake goes on, or plain HTTP does.
    Connecting = 0,
    /// Messages may flow.
    Open = 1,
    /// A Close frame is sent, the peer's is awaited.
    Closing = 2,
    /// Nothing more goes either way.
    Closed = 3,
}
