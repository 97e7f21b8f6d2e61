//! Stand-ins for the world, for the tests of this and of other crates.

mod clock;
mod http;
mod rest_server;

pub use clock::ManualClock;
pub use rest_server::{Misbehaviour, RestServer, SeenRequest};
