//! The composition root: makes every room from the configuration, ties them together, and takes them apart in order.

mod dispatch;
mod first_start;
mod gateways;
mod housekeeping;
mod rooms;
mod signals;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use backends::local;
use control_plane::ControlPlane;
use controller::Controller;
use gateway::Gateway;
use planner::time::Clock;
use serde::Serialize;
use store::{Blobs, Store};
use tokio::{net::TcpListener, sync::watch};

use self::{dispatch::Dispatch, gateways::OwnGateway, signals::Signals};
use crate::{
    clock, config,
    failure::{Failure, Kind, Result, while_doing},
    printer::Printer,
};

/// What a server says of itself when it is ready.
#[derive(Serialize)]
struct Ready {
    url: String,
    data_dir: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
}

/// Runs until a signal, then lets requests under way finish, ends the replicas, and returns.
pub async fn run(settings: config::Server, printer: Printer) -> Result {
    let signals = Signals::listen()?;
    let clock: Clock = Arc::new(clock::now);

    first_start::data_dir(&settings.data_dir)?;
    let secret = first_start::server_secret(&settings.data_dir)?;
    let url = settings.database_url.clone();
    let url = url.unwrap_or_else(|| store::sqlite_url(&settings.data_dir.join("greenroom.db")));
    let store = Store::open(&store::Options { url, secret_key: secret.clone() }).await.map_err(unusable)?;
    let blobs = Blobs::open(&rooms::location(&settings)).map_err(unusable)?;
    let listener = bind(&settings.listen).await?;
    let address = listener.local_addr().map_err(while_doing("cannot listen"))?;
    let public_url = settings.public_url.clone().unwrap_or_else(|| own_url(address));
    let new_key = first_start::admin_key(&store, &settings.data_dir, settings.api_key.as_deref(), clock()).await?;

    let gateway = Gateway::new(gateway::Settings { drain_limit: settings.shutdown_grace, ..Default::default() });
    let issuer = uploads::Issuer::new(&secret);
    let limits = uploads::Limits { max_object_bytes: settings.max_archive, ..Default::default() };
    let fallback = Dispatch {
        management: control_plane::router(ControlPlane::new(
            rooms::management(&settings),
            store.clone(),
            blobs.clone(),
            issuer.clone(),
            clock.clone(),
        )),
        uploads: uploads::Service::new(blobs.clone(), issuer, limits, clock.clone()),
    };
    let controller = Controller::start(
        rooms::controller(&settings)?,
        controller::Parts {
            store,
            blobs: blobs.clone(),
            backend: local::Local::open(rooms::backend(&settings, clock.clone())?).map_err(unusable)?,
            gateways: Arc::new(OwnGateway(gateway.clone())),
            clock: clock.clone(),
            entropy: Arc::new(rand::random),
        },
    )
    .map_err(unusable)?;

    let ready = Ready { url: public_url, data_dir: settings.data_dir, api_key: new_key };

    let (stopping, stop) = watch::channel(false);
    let housekeeping = tokio::spawn(housekeeping::run(blobs, clock));
    let serve = async {
        tokio::select! {
            // With several servers on one database this one may have to wait until it leads.
            () = controller.ready() => printer.answer(&ready, announcement)?,
            () = told_to_stop(stop.clone()) => {}
        }
        gateway::serve(listener, gateway, fallback, told_to_stop(stop)).await;
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

/// The URL of this server for clients on this machine.
fn own_url(address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("http://127.0.0.1:{}", address.port()),
        false => format!("http://{address}"),
    }
}

fn announcement(ready: &Ready) -> String {
    let Ready { url, data_dir, api_key } = ready;
    let mut text = format!(
        "Greenroom {} is ready at {url}\n  data       {}\n  endpoints  {url}/models/MODEL_ID/production/predict",
        env!("CARGO_PKG_VERSION"),
        data_dir.display(),
    );
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
