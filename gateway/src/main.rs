//! The development gateway: it serves a page, speaks the server side of the Nexus world protocol, and breaks
//! on request. Here it is put together, started and stopped; every part has a module of its own.

mod agents;
mod allowance;
mod answers;
mod boundary;
mod cable;
mod config;
mod control;
mod delivery;
mod faults;
mod files;
mod frames;
mod hermes;
mod hub;
mod journal;
mod listener;
mod memory;
mod model;
mod numbered;
mod observation;
mod openclaw;
mod options;
mod outlet;
mod query;
mod sessions;
mod socket;
mod store;
mod world;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::faults::Faults;
use crate::hub::{Clock, Hub};
use crate::listener::{Bounded, Peer};
use crate::options::{Options, Request};
use crate::sessions::Sessions;
use crate::store::Store;
use crate::world::World;

const WORLD_PATH: &str = "/api/world/ws";

/// How long clients may take to answer the close frame of a gateway that stops.
const FAREWELL: Duration = Duration::from_millis(1_500);

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Request::Run(options)) => options,
        Ok(Request::Help) => {
            println!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => return failed(&format!("{error}; --help lists the options")),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start: {error}")),
    };
    let outcome = runtime.block_on(run(*options));
    // Sockets that linger are cut off: whatever had to be said was said.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(message: &str) -> ExitCode {
    eprintln!("moorline-gateway: {message}");
    ExitCode::FAILURE
}

async fn run(options: Options) -> io::Result<()> {
    let mut signals = Signals::listen()?;
    let listener = listen(options.bind, options.port).await?;
    let proxy = listen(IpAddr::V4(Ipv4Addr::LOCALHOST), options.proxy_port).await?;
    let address = reachable(listener.local_addr()?);
    let proxy_address = proxy.local_addr()?;

    let store = options.sessions.map(Store::new);
    let memory = store.as_ref().map(Store::load).unwrap_or_default();
    let epoch = memory.epoch.clone();
    let (kept, journal) = memory.recall(options.config.delivery_keep);
    let clock = Clock::start();
    let sessions = Sessions::new(Box::new(entropy), kept).in_epoch(epoch);
    let mut world = World::new(clock.now(), options.config, sessions);
    if store.is_some() {
        world.remember(journal);
    }
    let hub = Arc::new(Hub::new(clock, world, store));
    hub.step(|_, _| ());
    let faults = Arc::new(Faults::new(proxy_address));
    let openclaw = openclaw::Gateway::new(clock);
    let hermes = hermes::Gateway::new(clock);

    let csp = options.csp.map(HeaderValue::try_from).transpose().map_err(io::Error::other)?;
    let files = files::router(options.www.as_deref(), &options.mounts, csp);
    let app = Router::new()
        .route(WORLD_PATH, any(upgrade))
        .with_state(Arc::clone(&hub))
        .nest("/control", control::router(Arc::clone(&hub), Arc::clone(&faults)))
        .merge(openclaw.router())
        .merge(hermes.router())
        .merge(cable::router(clock, Box::new(entropy)))
        .merge(observation::router())
        .merge(files)
        .into_make_service_with_connect_info::<Peer>();

    let serving = tokio::spawn(axum::serve(Bounded::new(listener), app).into_future());
    let relaying = tokio::spawn(Arc::clone(&faults).relay(proxy, address));
    let timing = tokio::spawn({
        let hub = Arc::clone(&hub);
        async move { hub.keep_time().await }
    });
    announce(address, proxy_address)?;

    signals.next().await;
    tokio::select! {
        () = farewell(&hub, &openclaw, &hermes) => {}
        () = signals.next() => {}
    }
    serving.abort();
    relaying.abort();
    timing.abort();
    hub.settle();
    Ok(())
}

/// Says goodbye to everyone, and waits until they are gone.
async fn farewell(hub: &Hub, openclaw: &Arc<openclaw::Gateway>, hermes: &hermes::Gateway) {
    openclaw.farewell();
    hermes.farewell();
    hub.go_down(None, None).await;
    let gone = async {
        while hub.open() + openclaw.open() + hermes.open() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(FAREWELL, gone).await;
}

async fn upgrade(State(hub): State<Arc<Hub>>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    if !control::may_join(&headers) {
        return (StatusCode::FORBIDDEN, "pages of other sites may not join\n").into_response();
    }
    let Some(slot) = hub.reserve() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "down, or full\n").into_response();
    };
    upgrade
        .read_buffer_size(16 * 1024)
        .max_message_size(socket::MAX_CLIENT_FRAME)
        .max_frame_size(socket::MAX_CLIENT_FRAME)
        .on_upgrade(async move |socket| {
            socket::serve(socket, hub).await;
            drop(slot);
        })
}

async fn listen(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

/// Where a client on this machine finds it: an unspecified address is not one to connect to.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

#[derive(Serialize)]
struct Announcement {
    url: String,
    ws: String,
    proxy: String,
}

fn announce(address: SocketAddr, proxy: SocketAddr) -> io::Result<()> {
    let announcement = Announcement {
        url: format!("http://{address}/"),
        ws: format!("ws://{address}{WORLD_PATH}"),
        proxy: format!("ws://{proxy}{WORLD_PATH}"),
    };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(&announcement)?)?;
    stdout.flush()
}

fn entropy() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

/// What the system sends to stop a process.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        // Without a way to hear it, the process ends at the system's word.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
