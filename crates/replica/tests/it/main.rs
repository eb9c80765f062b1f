//! The built binary, from outside: HTTP in, status and log files out.

mod contract;
mod life;
mod model;
mod server;
mod support;
mod websocket;
