//! What an operator may tune. Limits of single deployments are not here: they arrive with the routes.

use std::time::Duration;

use http::HeaderName;

use crate::AccessLog;

/// How a gateway treats its connections. Every value bounds what a stranger can hold on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The largest head of a request, in bytes; a larger one is answered 431.
    pub max_header_bytes: usize,
    /// How long a new connection may take to send its first whole request head.
    pub header_timeout: Duration,
    /// How long a connection may stay open without a request under way, slow request heads included.
    pub idle_timeout: Duration,
    /// The longest silence while a request body is being read; then 408.
    pub body_timeout: Duration,
    /// How long a client may take nothing of an answer that is there for it; then its connection is closed.
    pub write_timeout: Duration,
    /// How many bytes of request bodies are held for requests that wait for a replica, all of them together. Beyond it clients
    /// wait with their bytes.
    pub read_ahead_bytes: u64,
    /// How long connecting to a replica may take before another one is tried.
    pub connect_timeout: Duration,
    /// How long an unused connection to a replica is kept; at most twice as long.
    pub replica_idle_timeout: Duration,
    /// The longest silence, in both directions together, on an upgraded connection (websocket).
    pub tunnel_idle_timeout: Duration,
    /// How many requests one HTTP/2 connection may have open.
    pub max_streams: u32,
    /// The header whose value keeps a caller on one side of an environment whose traffic is divided.
    pub sticky_header: HeaderName,
    /// Which requests are written down.
    pub access_log: AccessLog,
    /// How long a shutdown waits for requests under way; then they are cut.
    pub drain_limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_header_bytes: 64 * 1024,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(120),
            read_ahead_bytes: 128 << 20,
            connect_timeout: Duration::from_secs(5),
            replica_idle_timeout: Duration::from_secs(60),
            tunnel_idle_timeout: Duration::from_secs(3600),
            max_streams: 256,
            sticky_header: HeaderName::from_static("x-greenroom-sticky"),
            access_log: AccessLog::default(),
            drain_limit: Duration::from_secs(1200),
        }
    }
}
