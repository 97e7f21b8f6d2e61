//! Stand-ins for the world, for the tests of this and of other crates.

mod clock;
mod http;
mod rest_server;
mod s3_server;
mod s3_state;
mod scripted;

pub use clock::ManualClock;
pub use http::SeenRequest;
pub use rest_server::RestServer;
pub use s3_server::S3Server;
pub use scripted::Misbehaviour;
