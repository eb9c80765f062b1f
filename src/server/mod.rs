//! The composition root: makes every room from the configuration, ties them together, and takes them apart in order.

mod collector;
mod dispatch;
mod first_start;
mod front;
mod gateways;
mod housekeeping;
mod places;
mod rooms;
mod secret_command;
mod server_secret;
mod signals;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use control_plane::ControlPlane;
use controller::Controller;
use gateway::Gateway;
use planner::time::Clock;
use serde::Serialize;
use store::{Blobs, Store};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use self::{dispatch::Dispatch, gateways::OwnGateway, places::Places, server_secret::ServerSecret, signals::Signals};
pub use self::{
    front::certificate_file,
    server_secret::{Rotated, rotate as rotate_secret},
};
use crate::{
    clock, config,
    failure::{Failure, Kind, Result, while_doing},
    printer::Printer,
};

/// What a server says of itself when it is ready.
#[derive(Serialize)]
struct Ready {
    url: String,
    /// The port, where it is open on every address of this machine and clients elsewhere have to know by which to come.
    #[serde(skip)]
    open_port: Option<u16>,
    data_dir: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
}

/// Runs until a signal, then lets requests under way finish, ends the replicas, and returns.
pub async fn run(settings: config::Server, printer: Printer) -> Result {
    let signals = Signals::listen()?;
    let clock: Clock = Arc::new(clock::now);

    first_start::data_dir(&settings.data_dir)?;
    let mut secret = ServerSecret::read_or_draw(&settings.secrets, &settings.data_dir).await?;
    let url = settings.database_url.clone();
    let url = url.unwrap_or_else(|| store::sqlite_url(&settings.data_dir.join("greenroom.db")));
    let store = Store::open(&store::Options { url, secret_key: secret.key.clone() }).await.map_err(unusable)?;
    secret.keep(&store).await?;
    secret.reseal(&store).await.map_err(unusable)?;
    let blobs = Blobs::open_checked(&rooms::location(&settings)).await.map_err(|error| {
        unusable(error).hint(
            "look at `blobs` in the configuration; a bucket has to exist, and its key may write, read, list and delete",
        )
    })?;
    let listener = bind(&settings.listen).await?;
    let address = listener.local_addr().map_err(while_doing("cannot listen"))?;
    let new_key = first_start::admin_key(&store, &settings.data_dir, settings.api_key.as_deref(), clock()).await?;

    let places = Places::open(&settings, rooms::backend(&settings, clock.clone())?).map_err(unusable)?;
    let exports = collector::exports(settings.otlp.as_ref())?;
    let gateway = Gateway::traced(rooms::gateway(&settings), clock.clone(), exports.traces);
    let front = front::open(&settings)?;
    let issuer = uploads::Issuer::new(&secret.key);
    let limits = uploads::Limits { max_object_bytes: settings.max_archive, ..Default::default() };
    let streams = CancellationToken::new();
    let fallback = Dispatch {
        management: control_plane::router(ControlPlane::new(
            rooms::management(&settings, &places)?,
            store.clone(),
            blobs.clone(),
            issuer.clone(),
            clock.clone(),
            streams.clone(),
        )),
        uploads: uploads::Service::new(blobs.clone(), issuer, limits, clock.clone()),
        pages: dashboard::pages(),
    };
    let controller = Controller::start(
        rooms::controller(&settings, &places)?,
        controller::Parts {
            store,
            blobs: blobs.clone(),
            builder: places.builder,
            sites: places.sites,
            gateways: Arc::new(OwnGateway(gateway.clone())),
            clock: clock.clone(),
            entropy: Arc::new(rand::random),
            log_export: exports.logs,
        },
    )
    .map_err(unusable)?;

    let ready = Ready {
        open_port: (settings.public_url.is_none() && address.ip().is_unspecified()).then_some(address.port()),
        url: settings.public_url.unwrap_or_else(|| local_url(address)),
        data_dir: settings.data_dir,
        api_key: new_key,
    };

    let (stopping, stop) = watch::channel(false);
    let housekeeping = tokio::spawn(housekeeping::run(blobs, clock));
    let serve = async {
        tokio::select! {
            // With several servers on one database this one may have to wait until it leads.
            () = controller.ready() => printer.answer(&ready, announcement)?,
            () = told_to_stop(stop.clone()) => {}
        }
        let shutdown = async {
            told_to_stop(stop).await;
            // They would hold up the end for as long as it may take at most.
            streams.cancel();
        };
        gateway::serve(listener, gateway, front, fallback, shutdown).await;
        housekeeping.abort();
        let stopped = controller.shutdown(controller::Shutdown::StopReplicas).await.map_err(unusable);
        tracing::info!("stopped");
        stopped
    };
    tokio::select! {
        result = serve => result,
        () = signals.watch(stopping) => Err(Failure::new(Kind::Interrupted, "stopped at once; replicas may go on")
            .hint("the next start takes them back or ends them")),
    }
}

async fn told_to_stop(mut stop: watch::Receiver<bool>) {
    // Without a sender nobody can ask any more, and the process is ending.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Takes the port. An address in use is the usual trouble.
async fn bind(listen: &str) -> Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| {
        let failure = Failure::new(Kind::Failed, format!("cannot listen on {listen}: {error}"));
        match error.kind() {
            std::io::ErrorKind::AddrInUse => failure.hint(
                "something else listens there, perhaps another greenroom; stop it, or choose another port with --listen",
            ),
            _ => failure.hint("--listen takes ADDRESS:PORT, such as 127.0.0.1:8000"),
        }
    })
}

/// The URL of this server for clients on its own machine.
fn local_url(listening: SocketAddr) -> String {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listening.port()))
}

fn announcement(ready: &Ready) -> String {
    let Ready { url, open_port, data_dir, api_key } = ready;
    let mut text = format!(
        "Greenroom {} is ready at {url}\n  data       {}\n  endpoints  {url}/models/MODEL_ID/production/predict",
        env!("CARGO_PKG_VERSION"),
        data_dir.display(),
    );
    if let Some(port) = open_port {
        text.push_str(&format!(
            "\n  network    from other machines at http://ADDRESS:{port}, with any address of this one"
        ));
    }
    if let Some(key) = api_key {
        let file = first_start::key_file(data_dir);
        text.push_str(&format!("\n  admin key  {key} (shown this once; kept in {})", file.display()));
    }
    text
}

fn unusable(error: impl std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text.push_str(&format!(": {deeper}"));
        cause = deeper.source();
    }
    Failure::new(Kind::Failed, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_address_is_reached_on_its_own_machine() {
        let url = |listening: &str| local_url(listening.parse().expect("an address"));
        assert_eq!(url("0.0.0.0:8000"), "http://127.0.0.1:8000");
        assert_eq!(url("[::]:8000"), "http://[::1]:8000");
        assert_eq!(url("10.0.0.5:8000"), "http://10.0.0.5:8000");
        assert_eq!(url("[fd00::5]:80"), "http://[fd00::5]:80");
    }

    #[test]
    fn clients_on_other_machines_hear_how_to_come() {
        let ready =
            |open_port| Ready { url: "http://127.0.0.1:8000".into(), open_port, data_dir: "/d".into(), api_key: None };
        let open = announcement(&ready(Some(8000)));
        assert!(open.contains("from other machines at http://ADDRESS:8000"), "{open}");
        assert!(!announcement(&ready(None)).contains("other machines"));
    }
}
