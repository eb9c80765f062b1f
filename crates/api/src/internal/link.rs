//! The link: one connection of the gateway to a replica that carries many requests at once, as [frames](super::frame).
//!
//! A replica that speaks it says so in the `upgrade` header of its plain answers; `GET /_greenroom/link` with the same header
//! makes a connection one. The gateway sends [`Kind::Request`] with meta `:method`, `:path` and headers, and the whole body;
//! the replica answers with [`Kind::Response`] (all of it), or [`Kind::Head`], chunks and [`Kind::End`]; [`Kind::Abort`] is an
//! answer that broke, [`Kind::NotTaken`] a request that another replica may have. `detail` is the status, meta the headers. [`Kind::Cancel`] ends a request that nobody waits for; it is
//! answered with [`Kind::Abort`] unless its answer has just gone out. [`Kind::Pause`] and [`Kind::Resume`] hold one stream back.
//! Bodies that are longer than [`LONGEST_BODY`], and connections that become something else, stay on plain HTTP/1.1.
//!
//! [`Kind::Request`]: super::frame::Kind::Request
//! [`Kind::Response`]: super::frame::Kind::Response
//! [`Kind::Head`]: super::frame::Kind::Head
//! [`Kind::End`]: super::frame::Kind::End
//! [`Kind::Abort`]: super::frame::Kind::Abort
//! [`Kind::Cancel`]: super::frame::Kind::Cancel
//! [`Kind::NotTaken`]: super::frame::Kind::NotTaken
//! [`Kind::Pause`]: super::frame::Kind::Pause
//! [`Kind::Resume`]: super::frame::Kind::Resume

/// Its name in `upgrade` headers.
pub const PROTOCOL: &str = "greenroom-link";
/// Where it is asked for.
pub const PATH: &str = "/_greenroom/link";
/// On an answer over plain HTTP: the request has not been looked at, and another replica may have it.
pub const NOT_TAKEN: &str = "x-greenroom-not-taken";
/// The longest body in one frame, in bytes.
pub const LONGEST_BODY: usize = 64 << 10;
/// The longest frame, in bytes: a body and all headers.
pub const LONGEST_FRAME: usize = 1 << 20;
/// The longest meta, in bytes; an answer with a longer head is broken off.
pub const LONGEST_META: usize = LONGEST_FRAME - LONGEST_BODY - super::frame::HEADER_LENGTH;
