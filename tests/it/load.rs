//! Constant load, as many callers make it: each has one connection that it keeps, and one request at a time on it. Every request has
//! a number; the model writes each number that it executes into a ledger, so that nothing done twice stays hidden.

use std::{
    collections::BTreeMap,
    io::Read as _,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::harness::API_KEY;

/// Callers under way, from [`Load::start`] to [`Load::stop`].
pub struct Load {
    shared: Arc<Shared>,
    callers: JoinHandle<()>,
}

/// What callers share. They run on one thread of their own.
struct Shared {
    path: String,
    address: Mutex<String>,
    next: AtomicU64,
    is_stopping: AtomicBool,
    /// Odd while the server may be away; see [`Load::outage`].
    outage: AtomicU64,
    tally: Mutex<Tally>,
}

/// What was seen so far.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Answered well.
    pub answered: Vec<u64>,
    /// Failed, with the reason; those that an outage met excepted.
    pub failures: Vec<String>,
    /// Failed while the server was away.
    pub interrupted: usize,
    /// The longest that a request took which no outage met.
    pub longest: Duration,
    /// The same, since the last [`Load::mark`].
    pub longest_since_mark: Duration,
    /// When each version answered for the first and the last time, since the last [`Load::mark`].
    pub versions: BTreeMap<String, (Instant, Instant)>,
}

/// What the model answers.
#[derive(Deserialize)]
struct Answer {
    id: u64,
    version: String,
}

impl Load {
    /// So many callers begin to POST to `path` of the server at `url`.
    pub fn start(url: &str, path: &str, callers: usize) -> Self {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            address: Mutex::new(address(url)),
            next: AtomicU64::new(0),
            is_stopping: AtomicBool::new(false),
            outage: AtomicU64::new(0),
            tally: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let of_thread = shared.clone();
        let callers = std::thread::spawn(move || {
            runtime.block_on(async {
                let calling = (0..callers).map(|_| call(of_thread.clone()));
                futures::future::join_all(calling).await;
            });
        });
        Self { shared, callers }
    }

    /// The server may be away until `restore` returns its new URL. Requests in flight at some moment of that are not held against it.
    pub fn outage(&self, restore: impl FnOnce() -> String) {
        self.shared.outage.fetch_add(1, Ordering::SeqCst);
        let url = restore();
        *self.shared.address.lock() = address(&url);
        self.shared.outage.fetch_add(1, Ordering::SeqCst);
    }

    /// Forgets which versions answered and how long it took, to see what does from now on.
    pub fn mark(&self) {
        let mut tally = self.shared.tally.lock();
        tally.versions.clear();
        tally.longest_since_mark = Duration::ZERO;
    }

    /// What was seen so far.
    pub fn tally(&self) -> Tally {
        self.shared.tally.lock().clone()
    }

    /// How many requests were answered well so far.
    pub fn answered(&self) -> usize {
        self.shared.tally.lock().answered.len()
    }

    /// When each version answered for the first and the last time, since the last mark.
    pub fn versions(&self) -> BTreeMap<String, (Instant, Instant)> {
        self.shared.tally.lock().versions.clone()
    }

    /// Lets each caller finish its request, and says what was seen.
    pub fn stop(self) -> Tally {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        self.callers.join().expect("callers do not panic");
        self.shared.tally.lock().clone()
    }
}

/// One caller.
async fn call(shared: Arc<Shared>) {
    let mut connection = None;
    while !shared.is_stopping.load(Ordering::SeqCst) {
        let outage = shared.outage.load(Ordering::SeqCst);
        let id = shared.next.fetch_add(1, Ordering::SeqCst);
        let sent = Instant::now();
        let outcome = exchange(&shared, &mut connection, id).await;
        let was_met = outage % 2 == 1 || outage != shared.outage.load(Ordering::SeqCst);
        if outcome.is_err() {
            connection = None;
        }
        shared.tally.lock().count(id, sent, outcome, was_met);
        if connection.is_none() {
            // polls for a condition: the server is back
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Tally {
    /// Counts a request that was sent at this moment and has come to this, and may have been met by an outage.
    fn count(&mut self, id: u64, sent: Instant, outcome: Result<String, String>, was_met: bool) {
        let now = Instant::now();
        match outcome {
            Ok(version) => {
                self.answered.push(id);
                self.versions.entry(version).or_insert((now, now)).1 = now;
            }
            Err(_) if was_met => self.interrupted += 1,
            Err(problem) => self.failures.push(format!("request {id}: {problem}")),
        }
        if !was_met {
            self.longest = self.longest.max(now - sent);
            self.longest_since_mark = self.longest_since_mark.max(now - sent);
        }
    }
}

/// One request and its answer; the version that answered.
async fn exchange(
    shared: &Shared,
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    id: u64,
) -> Result<String, String> {
    let address = shared.address.lock().clone();
    let sender = match connection {
        Some(sender) => sender,
        None => connection.insert(connect(&address).await.map_err(|error| error.to_string())?),
    };
    sender.ready().await.map_err(|error| format!("the connection was closed: {error}"))?;
    let request = Request::post(&shared.path)
        .header("host", "load")
        .header("authorization", format!("Api-Key {API_KEY}"))
        .body(Full::from(format!("{{\"id\":{id}}}")))
        .expect("a request");
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body =
        response.into_body().collect().await.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes();
    if status != 200 {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
    }
    let answer: Answer = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    if answer.id == id { Ok(answer.version) } else { Err(format!("got the answer to request {}", answer.id)) }
}

async fn connect(address: &str) -> Result<SendRequest<Full<Bytes>>, Box<dyn std::error::Error>> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn address(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}

/// How often each number was executed, as models report it over a connection of their own.
pub struct Ledger {
    port: u16,
    times: Arc<Mutex<Vec<u32>>>,
}

impl Ledger {
    /// Opens the ledger.
    pub fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let times = Arc::new(Mutex::new(Vec::new()));
        let of_thread = times.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let times = of_thread.clone();
                std::thread::spawn(move || record(stream, &times));
            }
        });
        Self { port, times }
    }

    /// Where models report.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How often a request was executed, as far as is known.
    pub fn times(&self, id: u64) -> u32 {
        usize::try_from(id).ok().and_then(|id| self.times.lock().get(id).copied()).unwrap_or(0)
    }

    /// Requests that were executed more than once.
    pub fn twice(&self) -> Vec<u64> {
        let times = self.times.lock();
        (0..).zip(times.iter()).filter(|(_, times)| **times > 1).map(|(id, _)| id).collect()
    }
}

/// Reads numbers of eight bytes until the model ends.
fn record(mut stream: std::net::TcpStream, times: &Mutex<Vec<u32>>) {
    let mut number = [0; 8];
    while stream.read_exact(&mut number).is_ok() {
        let index = usize::try_from(u64::from_be_bytes(number)).expect("numbers are small");
        let mut times = times.lock();
        if times.len() <= index {
            times.resize(index + 1, 0);
        }
        times[index] += 1;
    }
}
