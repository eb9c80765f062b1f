//! A server that answers every request with the same short JSON, for measuring what stands in front of it. It costs as little as it
//! can: it looks for the end of each request and nothing more.

use std::convert::Infallible;

use anyhow::Context as _;
use bench::message::Reader;
use clap::Parser;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UnixListener},
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";
const ANSWER_WITH_TOKENS: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 64\r\n\r\n\
    {\"ok\":true,\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":345}}";

/// Where to listen: both, so that what is measured can choose.
#[derive(Debug, Parser)]
struct Options {
    /// `HOST:PORT`.
    #[arg(long)]
    tcp: String,
    /// A path for a Unix socket.
    #[arg(long)]
    unix: std::path::PathBuf,
    /// Tell of tokens, as a language model does.
    #[arg(long)]
    tokens: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let tcp = TcpListener::bind(&options.tcp).await.with_context(|| format!("listening at {}", options.tcp))?;
    let content = if options.tokens { ANSWER_WITH_TOKENS } else { ANSWER };
    let unix = UnixListener::bind(&options.unix).with_context(|| format!("listening at {}", options.unix.display()))?;
    loop {
        tokio::select! {
            accepted = tcp.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                tokio::spawn(answer(stream, content));
            }
            accepted = unix.accept() => drop(tokio::spawn(answer(accepted?.0, content))),
        }
    }
}

/// Answers on one connection until it ends.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, content: &[u8]) -> anyhow::Result<Infallible> {
    let mut reader = Reader::default();
    loop {
        reader.request(&mut stream).await?;
        stream.write_all(content).await?;
    }
}
