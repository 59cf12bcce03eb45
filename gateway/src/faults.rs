//! The fault proxy: a TCP relay in front of the gateway that misbehaves on request.
//! It knows bytes and, to end a connection with a close frame, where a WebSocket frame ends (boundary.rs);
//! it does not know what the frames say.

use std::collections::VecDeque;
use std::future::{self, Future};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, broadcast, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::boundary::Boundary;

/// What the proxy does to every byte, until the next plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    /// How long a byte is on its way, in each direction.
    delay_ms: u64,
    /// Nothing is forwarded, nothing is closed; what comes in is kept for later.
    stall: Stall,
    /// New connections are reset at once.
    refuse: bool,
    /// New connections are reset when this many bytes went towards the client.
    drop_after_bytes: Option<u64>,
}

/// In which directions nothing is forwarded: said as a truth value, or as the one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Said", into = "Said")]
enum Stall {
    #[default]
    None,
    Both,
    One(Way),
}

/// Towards the gateway, or towards the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Up,
    Down,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged, expecting = "stall wants true, false, \"up\" or \"down\"")]
enum Said {
    Truth(bool),
    Way(Way),
}

impl From<Said> for Stall {
    fn from(said: Said) -> Self {
        match said {
            Said::Truth(false) => Self::None,
            Said::Truth(true) => Self::Both,
            Said::Way(way) => Self::One(way),
        }
    }
}

impl From<Stall> for Said {
    fn from(stall: Stall) -> Self {
        match stall {
            Stall::None => Self::Truth(false),
            Stall::Both => Self::Truth(true),
            Stall::One(way) => Self::Way(way),
        }
    }
}

impl Stall {
    fn holds(self, way: Way) -> bool {
        match self {
            Self::None => false,
            Self::Both => true,
            Self::One(one) => one == way,
        }
    }
}

/// What happens once, to the connections that are there.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Reset,
    HalfOpen,
    CloseCode(u16),
}

/// A request to misbehave: a new plan, and at most one blow, which lands before the plan changes.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    delay_ms: Option<u64>,
    stall: Option<Stall>,
    refuse: Option<bool>,
    drop_after_bytes: Option<u64>,
    reset: Option<bool>,
    half_open: Option<bool>,
    close_code: Option<u16>,
}

/// Where the proxy listens, the plan in force, and what went through.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    proxy: SocketAddr,
    #[serde(flatten)]
    plan: Plan,
    /// How many connections were ever accepted, and how many are there.
    connections: u64,
    open: u64,
    bytes_up: u64,
    bytes_down: u64,
}

/// The proxy, as far as its controls go.
pub struct Faults {
    address: SocketAddr,
    plan: watch::Sender<Plan>,
    blows: broadcast::Sender<Blow>,
    counters: Mutex<Arc<Counters>>,
    open: AtomicU64,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

const MAX_CONNECTIONS: usize = 512;
/// What one direction may hold back before the proxy reads no more.
const MAX_HELD: usize = 4 * 1024 * 1024;
const CHUNK: usize = 16 * 1024;
/// How long an ended connection may take to be over.
const LINGER: Duration = Duration::from_secs(1);

impl Faults {
    /// `address` is where its listener is.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            plan: watch::Sender::new(Plan::default()),
            blows: broadcast::Sender::new(64),
            counters: Mutex::default(),
            open: AtomicU64::new(0),
        }
    }

    pub fn apply(&self, request: &Request) {
        let on = |wish: Option<bool>| wish == Some(true);
        let blow = if on(request.reset) {
            Some(Blow::Reset)
        } else if on(request.half_open) {
            Some(Blow::HalfOpen)
        } else {
            request.close_code.map(Blow::CloseCode)
        };
        if let Some(blow) = blow {
            // Without a connection there is nobody to hit.
            let _ = self.blows.send(blow);
        }
        self.plan.send_replace(Plan {
            delay_ms: request.delay_ms.unwrap_or(0),
            stall: request.stall.unwrap_or_default(),
            refuse: on(request.refuse),
            drop_after_bytes: request.drop_after_bytes,
        });
    }

    /// Behaves, and counts from zero.
    pub fn reset(&self) {
        self.apply(&Request::default());
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }

    pub fn report(&self) -> Report {
        let counters = self.counters();
        Report {
            proxy: self.address,
            plan: self.plan.borrow().clone(),
            connections: counters.connections.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
            bytes_up: counters.up.load(Ordering::Relaxed),
            bytes_down: counters.down.load(Ordering::Relaxed),
        }
    }

    /// Relays between whoever connects and the gateway, for ever.
    pub async fn relay(self: Arc<Self>, listener: TcpListener, gateway: SocketAddr) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await;
            let Ok((client, _)) = listener.accept().await else {
                // Out of descriptors, most likely: others have to close first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let faults = Arc::clone(&self);
            // Subscribed before anything is awaited: a blow that comes after the accept is not missed.
            let blows = self.blows.subscribe();
            tokio::spawn(async move {
                faults.open.fetch_add(1, Ordering::Relaxed);
                faults.serve(client, gateway, blows).await;
                faults.open.fetch_sub(1, Ordering::Relaxed);
                drop(slot);
            });
        }
    }

    fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn serve(&self, mut client: TcpStream, gateway: SocketAddr, mut blows: broadcast::Receiver<Blow>) {
        let counters = self.counters();
        counters.connections.fetch_add(1, Ordering::Relaxed);
        let plan = self.plan.borrow().clone();
        if plan.refuse || plan.drop_after_bytes == Some(0) {
            return reset(client);
        }
        let Ok(mut server) = TcpStream::connect(gateway).await else {
            return reset(client);
        };
        // Only latency is lost when a socket refuses.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));

        let mut boundary = Boundary::default();
        let fate = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let up =
                Pump { way: Way::Up, plan: self.plan.subscribe(), counter: &counters.up, left: None, boundary: None };
            let down = Pump {
                way: Way::Down,
                plan: self.plan.subscribe(),
                counter: &counters.down,
                left: plan.drop_after_bytes,
                boundary: Some(&mut boundary),
            };
            let up = up.run(from_client, to_server, future::pending());
            let (close_now, closing) = oneshot::channel();
            let down = down.run(from_server, to_client, async { closing.await.unwrap_or(()) });
            converse(up, down, &mut blows, close_now).await
        };
        match fate {
            Fate::Over => {
                drop(server);
                let _ = timeout(LINGER, drain(client)).await;
            }
            Fate::Reset => {
                reset(client);
                reset(server);
            }
            Fate::HalfOpen => {
                drop(server);
                hold_open(client, blows).await;
            }
            Fate::CloseCode(code) => {
                drop(server);
                let [high, low] = code.to_be_bytes();
                if client.write_all(&[0x88, 2, high, low]).await.is_ok() {
                    let _ = timeout(LINGER, drain(client)).await;
                }
            }
        }
    }
}

/// How a connection ends.
enum Fate {
    Over,
    Reset,
    HalfOpen,
    CloseCode(u16),
}

/// What a pump ran into.
enum Stop {
    /// The reader's side ended, and everything was passed on.
    Ended,
    /// The reader's side failed, or enough bytes went through.
    Broken,
    /// The writer's side takes no more.
    Deaf,
    /// It was asked to stop, and did so between two frames.
    AtBoundary,
}

async fn converse(
    up: impl Future<Output = Stop>,
    down: impl Future<Output = Stop>,
    blows: &mut broadcast::Receiver<Blow>,
    close_now: oneshot::Sender<()>,
) -> Fate {
    let (mut up, mut down) = (pin!(up), pin!(down));
    let mut up_ended = false;
    // Set once the gateway has said its last.
    let mut over_by: Option<Instant> = None;
    let blow = loop {
        if up_ended && over_by.is_some() {
            return Fate::Over;
        }
        tokio::select! {
            // A blow lands before the bytes that a new plan would let go.
            biased;
            blow = strike(blows) => break blow,
            stop = &mut down, if over_by.is_none() => match stop {
                Stop::Ended => over_by = Some(Instant::now() + LINGER),
                Stop::Broken | Stop::Deaf | Stop::AtBoundary => return Fate::Reset,
            },
            stop = &mut up, if !up_ended => match stop {
                // What the gateway said before it turned deaf still has to arrive.
                Stop::Ended | Stop::Deaf => up_ended = true,
                Stop::Broken | Stop::AtBoundary => return Fate::Reset,
            },
            () = reached(over_by) => return Fate::Over,
        }
    };
    match blow {
        Blow::Reset => Fate::Reset,
        Blow::HalfOpen => Fate::HalfOpen,
        Blow::CloseCode(_) if over_by.is_some() => Fate::Over,
        Blow::CloseCode(code) => {
            let _ = close_now.send(());
            match timeout(LINGER, down).await {
                Ok(Stop::AtBoundary) => Fate::CloseCode(code),
                Ok(Stop::Ended | Stop::Broken | Stop::Deaf) | Err(_) => Fate::Reset,
            }
        }
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => future::pending().await,
    }
}

async fn strike(blows: &mut broadcast::Receiver<Blow>) -> Blow {
    loop {
        match blows.recv().await {
            Ok(blow) => return blow,
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return future::pending().await,
        }
    }
}

/// One direction of a connection.
struct Pump<'a> {
    way: Way,
    plan: watch::Receiver<Plan>,
    counter: &'a AtomicU64,
    /// How many bytes may go through before it breaks.
    left: Option<u64>,
    /// Present towards the client, where a close frame may have to be put between two frames.
    boundary: Option<&'a mut Boundary>,
}

/// Bytes on their way, or the end of them.
struct Held {
    due: Instant,
    bytes: Vec<u8>,
    written: usize,
}

impl Pump<'_> {
    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, stop: impl Future<Output = ()>) -> Stop {
        let mut stop = pin!(stop);
        let mut stopping = false;
        let mut held: VecDeque<Held> = VecDeque::new();
        let mut weight = 0;
        let mut ended = false;
        let mut chunk = vec![0; CHUNK];
        loop {
            if stopping && self.boundary.as_ref().is_none_or(|boundary| boundary.is_here()) {
                return Stop::AtBoundary;
            }
            let (delay, stalled) = {
                let plan = self.plan.borrow_and_update();
                (Duration::from_millis(plan.delay_ms), plan.stall.holds(self.way))
            };
            // Once it is to stop, the rest of a frame goes without ado.
            let due = match held.front() {
                Some(_) if stopping => Some(Instant::now()),
                Some(front) if !stalled => Some(front.due),
                _ => None,
            };
            let allowed = self.allowed(&held, stopping);
            tokio::select! {
                biased;
                () = &mut stop, if !stopping => stopping = true,
                // The sender outlives every connection.
                _ = self.plan.changed() => {}
                written = pass(&mut to, held.front(), due, allowed) => {
                    let Some(front) = held.front_mut() else { continue };
                    match written {
                        Ok(0) => return Stop::Ended,
                        Ok(count) => {
                            let passed = &front.bytes[front.written..front.written + count];
                            if let Some(boundary) = self.boundary.as_deref_mut() {
                                boundary.advance(passed);
                            }
                            self.counter.fetch_add(count as u64, Ordering::Relaxed);
                            front.written += count;
                            weight -= count;
                            if front.written == front.bytes.len() {
                                held.pop_front();
                            }
                            if let Some(left) = &mut self.left {
                                *left -= count as u64;
                                if *left == 0 {
                                    return Stop::Broken;
                                }
                            }
                        }
                        Err(_) => return Stop::Deaf,
                    }
                }
                read = from.read(&mut chunk), if !ended && weight < MAX_HELD => match read {
                    Ok(count) => {
                        // Nothing read is the end, and takes its turn like any bytes.
                        ended = count == 0;
                        weight += count;
                        let bytes = chunk[..count].to_vec();
                        held.push_back(Held { due: Instant::now() + delay, bytes, written: 0 });
                    }
                    Err(_) => return Stop::Broken,
                },
            }
        }
    }

    /// How many of the next bytes may be written at once.
    fn allowed(&self, held: &VecDeque<Held>, stopping: bool) -> usize {
        let Some(front) = held.front() else {
            return 0;
        };
        let next = &front.bytes[front.written..];
        let left = self.left.map_or(next.len(), |left| usize::try_from(left).unwrap_or(usize::MAX));
        let frame = match &self.boundary {
            Some(boundary) if stopping => boundary.next_in(next).unwrap_or(next.len()),
            _ => next.len(),
        };
        next.len().min(left).min(frame)
    }
}

/// Writes some of what is due, or the end. Never ready without.
async fn pass(to: &mut WriteHalf<'_>, front: Option<&Held>, due: Option<Instant>, allowed: usize) -> io::Result<usize> {
    let (Some(front), Some(due)) = (front, due) else {
        return future::pending().await;
    };
    if Instant::now() < due {
        sleep_until(due).await;
    }
    if front.bytes.is_empty() {
        to.shutdown().await?;
        return Ok(0);
    }
    to.write(&front.bytes[front.written..front.written + allowed]).await
}

/// Keeps the client's side open and swallows what comes, until the client goes or a blow resets it.
async fn hold_open(mut client: TcpStream, mut blows: broadcast::Receiver<Blow>) {
    let mut waste = vec![0; CHUNK];
    loop {
        tokio::select! {
            biased;
            blow = strike(&mut blows) => match blow {
                Blow::Reset => return reset(client),
                Blow::HalfOpen | Blow::CloseCode(_) => {}
            },
            read = client.read(&mut waste) => match read {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            },
        }
    }
}

/// Ends our side and swallows the rest of the other's, so that our last bytes are not overtaken by a reset.
async fn drain(mut stream: TcpStream) {
    let mut waste = vec![0; CHUNK];
    if stream.shutdown().await.is_ok() {
        while let Ok(1..) = stream.read(&mut waste).await {}
    }
}

/// Ends a connection with RST.
fn reset(stream: TcpStream) {
    // Where it cannot be set, the connection ends politely: still an end.
    let _ = stream.set_zero_linger();
}
