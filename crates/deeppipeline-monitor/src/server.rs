//! The server, on a thread of its own.

use crate::connection::Limited;
use crate::error::OpenError;
use crate::guard::{self, Guard, SHORTEST_TOKEN};
use crate::metrics;
use crate::watched::{Entry, Snapshot, Watched};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, serve};
use deeppipeline::pipeline::Reporter;
use deeppipeline::report::Timeline;
use futures_util::stream::{Stream, unfold};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The port on which a dashboard listens unless it is told another.
pub const DEFAULT_PORT: u16 = 8910;

/// The time between two looks of a page.
const EVERY: Duration = Duration::from_secs(1);

/// The number of connections at once: those that come then wait. Each takes one of the files that the program may have
/// open.
const CONNECTIONS: usize = 128;

/// The way a dashboard is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    address: Option<SocketAddr>,
    token: Option<String>,
}

impl Options {
    /// Makes the default: on 127.0.0.1, at [`DEFAULT_PORT`] or, if that is taken, any that is free.
    pub fn new() -> Self {
        Options::default()
    }

    /// Listens at that address, and at no other port than this; 0 is any that is free.
    #[must_use]
    pub fn address(self, address: SocketAddr) -> Self {
        Options { address: Some(address), ..self }
    }

    /// Wants that token of everybody who looks. Without one, a random token is made where the address is not a loopback
    /// address. It has at least 16 bytes.
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Self {
        Options { token: Some(token.into()), ..self }
    }

    /// Opens the dashboard.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(self) -> Result<Dashboard, OpenError> {
        let listener = self.listen()?;
        let address = listener.local_addr()?;
        let token = match self.token {
            Some(token) if token.len() < SHORTEST_TOKEN => {
                return Err(OpenError::ShortToken { got: token.len(), least: SHORTEST_TOKEN });
            }
            None if !address.ip().is_loopback() => Some(random_token()?),
            token => token,
        };
        let guard = Arc::new(Guard { address, token });
        let watched = Arc::<Watched>::default();
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let routes = routes(&watched, &guard);
        let server = move || runtime.block_on(run(listener, routes, stopped));
        let thread = Builder::new().name("dashboard".to_owned()).spawn(server)?;
        let open = Dashboard { guard, watched, running: Some((stop, thread)) };
        tracing::info!("the dashboard is at {}", open.url());
        Ok(open)
    }

    fn listen(&self) -> Result<StdListener, OpenError> {
        let localhost = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (address, other) = match self.address {
            Some(address) => (address, None),
            None => (localhost(DEFAULT_PORT), Some(localhost(0))),
        };
        let listener = StdListener::bind(address).or_else(|source| match other {
            Some(other) if source.kind() == io::ErrorKind::AddrInUse => {
                tracing::warn!("port {DEFAULT_PORT} is taken: the dashboard takes another");
                StdListener::bind(other)
            }
            _ => Err(source),
        });
        let listener = listener.map_err(|source| OpenError::Listen { address, source })?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

/// A dashboard that is open; dropping it closes it.
#[derive(Debug)]
pub struct Dashboard {
    guard: Arc<Guard>,
    watched: Arc<Watched>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Dashboard {
    /// Opens a dashboard for this machine alone: on 127.0.0.1, at [`DEFAULT_PORT`] or, if that is taken, any port that is
    /// free.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open() -> Result<Self, OpenError> {
        Options::new().open()
    }

    /// Shows a pipeline under that name, and returns the name that it has got: `name 2` where another has it already. One
    /// that has ended stays to be seen as it was at its end.
    pub fn watch(&self, name: &str, reporter: Reporter) -> String {
        self.watched.add(name, reporter)
    }

    /// Returns the address of the page, with the token if it wants one.
    pub fn url(&self) -> String {
        let address = self.guard.address;
        match &self.guard.token {
            Some(token) => format!("http://{address}/?token={token}"),
            None => format!("http://{address}/"),
        }
    }

    /// Returns the address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.guard.address
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            // Either may be gone already.
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

/// A token that nobody guesses.
fn random_token() -> Result<String, io::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn run(listener: StdListener, routes: Router, stopped: oneshot::Receiver<()>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the dashboard cannot listen: {error}"),
    };
    let limited = Limited::new(listener, CONNECTIONS);
    // Those who still look are not waited for.
    tokio::select! {
        biased;
        _ = stopped => {}
        served = serve(limited, routes) => {
            if let Err(error) = served {
                tracing::error!("the dashboard has ended: {error}");
            }
        }
    }
}

fn routes(watched: &Arc<Watched>, guard: &Arc<Guard>) -> Router {
    let asset =
        |kind: &'static str, text: &'static str| get(move || async move { ([(header::CONTENT_TYPE, kind)], text) });
    Router::new()
        .route("/", asset("text/html; charset=utf-8", include_str!("page/index.html")))
        .route("/page.css", asset("text/css; charset=utf-8", include_str!("page/page.css")))
        .route("/page.js", asset("text/javascript; charset=utf-8", include_str!("page/page.js")))
        .route("/api/pipelines", get(pipelines))
        .route("/api/report", get(report))
        .route("/api/events", get(events))
        .route("/api/timeline", get(timeline_as_json))
        .route("/api/timeline.svg", get(timeline_as_picture))
        .route("/metrics", get(prometheus))
        .with_state(Arc::clone(watched))
        .layer(from_fn_with_state(Arc::clone(guard), guard::check))
}

/// The pipeline that a request is about.
#[derive(Deserialize)]
struct Which {
    pipeline: Option<String>,
}

async fn pipelines(State(watched): State<Arc<Watched>>) -> Response {
    json(&watched.entries())
}

async fn report(State(watched): State<Arc<Watched>>, Query(which): Query<Which>) -> Response {
    match watched.one(which.pipeline.as_deref()) {
        Some(snapshot) => json(&*snapshot),
        None => (StatusCode::NOT_FOUND, "no pipeline of that name is watched\n").into_response(),
    }
}

/// The part of a timeline that a request is about.
#[derive(Deserialize)]
struct Part {
    pipeline: Option<String>,
    /// The last seconds of it.
    last: Option<f64>,
    /// The number of a sample whose way is drawn.
    follow: Option<u64>,
}

impl Part {
    /// Makes something of it, not on the thread of the server, which others wait for.
    async fn made(
        self,
        watched: Arc<Watched>,
        kind: &'static str,
        make: impl FnOnce(Timeline, Option<u64>) -> String + Send + 'static,
    ) -> Response {
        let made = spawn_blocking(move || {
            // One after the other: many who look cost the pipelines no more than one.
            let _turn = watched.turn();
            let mut timeline = watched.timeline(self.pipeline.as_deref())?;
            // What is no time is all of it.
            if let Some(last) = self.last.and_then(|last| Duration::try_from_secs_f64(last).ok()) {
                timeline = timeline.last(last);
            }
            Some(make(timeline, self.follow))
        });
        match made.await.ok().flatten() {
            Some(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
            None => (StatusCode::NOT_FOUND, "no pipeline of that name is there\n").into_response(),
        }
    }
}

async fn timeline_as_json(State(watched): State<Arc<Watched>>, Query(part): Query<Part>) -> Response {
    part.made(watched, "application/json", |timeline, _| timeline.to_json()).await
}

async fn timeline_as_picture(State(watched): State<Arc<Watched>>, Query(part): Query<Part>) -> Response {
    part.made(watched, "image/svg+xml", |timeline, follow| timeline.to_svg(follow)).await
}

async fn prometheus(State(watched): State<Arc<Watched>>) -> Response {
    match metrics::encode(&watched.all()) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn events(
    State(watched): State<Arc<Watched>>,
    Query(which): Query<Which>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut ticks = interval(EVERY);
    // Whoever is slow gets what is there when it has time, not all that it has missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Sse::new(unfold((watched, which, ticks), next_event))
}

type Looker = (Arc<Watched>, Which, Interval);

async fn next_event((watched, which, mut ticks): Looker) -> Option<(Result<Event, Infallible>, Looker)> {
    ticks.tick().await;
    let seen = Seen { pipelines: watched.entries(), shown: watched.one(which.pipeline.as_deref()) };
    // JSON has no line of its own, which an event could not have.
    let event = Event::default().data(serde_json::to_string(&seen).unwrap_or_default());
    Some((Ok(event), (watched, which, ticks)))
}

/// What the page gets each time.
#[derive(Serialize)]
struct Seen {
    pipelines: Vec<Entry>,
    #[serde(serialize_with = "inner")]
    shown: Option<Arc<Snapshot>>,
}

fn inner<S: serde::Serializer>(shown: &Option<Arc<Snapshot>>, serializer: S) -> Result<S::Ok, S::Error> {
    shown.as_deref().serialize(serializer)
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
