//! What measures dari: a load that is cheaper than any server, and a runner that sets servers beside each other.
//!
//! ```text
//!  bench: scenario x round x server -> start the server on core 0 -> load on core 1 -> Figures -> report
//! ```
//!
//! No code of dari is in the load's way: what is measured must not measure itself.

pub mod frames;
pub mod load;
pub mod meter;
pub mod micro;
pub mod report;
pub mod scenarios;
pub mod server;
pub mod sys;
pub mod target;
pub mod walker;

/// Why something could not be measured, in a line.
pub type Failure = Box<dyn std::error::Error>;
