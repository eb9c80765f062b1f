//! A closed-loop HTTP/1.1 load generator: N connections, each with one request at a time, over TCP or a Unix socket.
//! It sends the same bytes again and again and only looks for the end of each answer, so that it costs less than what it measures.
//! Prints one JSON object: requests per second, latency percentiles in milliseconds, and how many answers were not 200.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bench::message::Reader;
use clap::Parser;
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    task::LocalSet,
};

/// What to send, where, and for how long.
#[derive(Debug, Clone, Parser)]
struct Options {
    /// `HOST:PORT`, or `unix:PATH`.
    target: String,
    /// The method. `GET` is sent without a body.
    #[arg(long, default_value = "POST")]
    method: String,
    /// The request path.
    #[arg(long, default_value = "/v1/models/model:predict")]
    path: String,
    /// More header lines, as `Name: value`.
    #[arg(long = "header")]
    headers: Vec<String>,
    /// A file with the request body; `{}` without it.
    #[arg(long)]
    body: Option<PathBuf>,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Seconds to measure.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds to run before measuring.
    #[arg(long, default_value_t = 1.0)]
    warm_up_seconds: f64,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Report {
    requests: usize,
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    not_ok: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let report = LocalSet::new().run_until(measure(options)).await?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &report)?;
    std::io::Write::write_all(&mut out, b"\n")?;
    Ok(())
}

async fn measure(options: Options) -> anyhow::Result<Report> {
    let request = std::rc::Rc::new(request_bytes(&options)?);
    let begin = Instant::now() + Duration::from_secs_f64(options.warm_up_seconds);
    let end = begin + Duration::from_secs_f64(options.seconds);
    let mut connections = Vec::new();
    for _ in 0..options.connections {
        let request = request.clone();
        let target = options.target.clone();
        connections.push(tokio::task::spawn_local(async move {
            match target.strip_prefix("unix:") {
                Some(path) => drive(UnixStream::connect(path).await?, &request, begin, end).await,
                None => {
                    let stream = TcpStream::connect(&target).await?;
                    stream.set_nodelay(true)?;
                    drive(stream, &request, begin, end).await
                }
            }
        }));
    }
    let mut micros = Vec::new();
    let mut not_ok = 0;
    for connection in connections {
        let seen = connection.await?.with_context(|| format!("talking to {}", options.target))?;
        micros.extend(seen.micros);
        not_ok += seen.not_ok;
    }
    if micros.is_empty() {
        bail!("no request was answered by {} within {} s", options.target, options.seconds);
    }
    micros.sort_unstable();
    let at = |share: f64| f64::from(micros[((micros.len() - 1) as f64 * share) as usize]) / 1000.0;
    Ok(Report {
        requests: micros.len(),
        requests_per_second: micros.len() as f64 / options.seconds,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        not_ok,
    })
}

fn request_bytes(options: &Options) -> anyhow::Result<Vec<u8>> {
    let body = match &options.body {
        Some(path) => std::fs::read(path).with_context(|| format!("reading {}", path.display()))?,
        None => b"{}".to_vec(),
    };
    let mut request = format!("{} {} HTTP/1.1\r\nhost: bench\r\n", options.method, options.path);
    for header in &options.headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    if options.method == "GET" {
        request.push_str("\r\n");
        return Ok(request.into_bytes());
    }
    request.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len()));
    let mut bytes = request.into_bytes();
    bytes.extend(body);
    Ok(bytes)
}

/// What one connection saw within the measured time.
struct Seen {
    micros: Vec<u32>,
    not_ok: usize,
}

async fn drive(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
    begin: Instant,
    end: Instant,
) -> anyhow::Result<Seen> {
    let mut seen = Seen { micros: Vec::new(), not_ok: 0 };
    let mut reader = Reader::default();
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(seen);
        }
        stream.write_all(request).await?;
        let status = reader.answer(&mut stream).await?;
        let done = Instant::now();
        if sent >= begin && done <= end {
            seen.micros.push(u32::try_from((done - sent).as_micros()).unwrap_or(u32::MAX));
            seen.not_ok += usize::from(status != 200);
        }
    }
}
