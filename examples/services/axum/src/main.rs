//! A web service that answers each request with what the pipeline gives for it.
//!
//! `cargo run -p service -- 8000`, then `curl 127.0.0.1:8000/square/12`. With the port 0 the system chooses one.
//!
//! - A request that finds no room is told so (503, with Retry-After) instead of waiting in a line that grows.
//! - One that takes too long is answered by 504, and one whose client has gone is not waited for any longer.
//! - A worker process that dies is started again, and the request that it worked on is tried once more.
//! - SIGTERM lets the requests inside be answered before the service ends.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use deeppipeline::error::PutError;
use deeppipeline::processes::OnCrash;
use deeppipeline::{BoxError, Give, Isolated, OnError, Overflow, Pipeline, Stage, isolated};
use serde::{Deserialize, Serialize};
use std::future::IntoFuture;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The time that a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The model, in a process of its own.
struct Square;

#[derive(Serialize, Deserialize)]
struct Squared {
    x: i32,
    square: i64,
    worker: u32,
}

impl Stage for Square {
    type Input = i32;
    type Output = Squared;

    fn stage_run(&mut self, x: i32) -> Result<Give<Squared>, BoxError> {
        Ok(Give::One(Squared { x, square: i64::from(x) * i64::from(x), worker: std::process::id() }))
    }
}

impl Isolated for Square {
    const NAME: &str = "square";
    type Settings = ();

    fn make((): ()) -> Result<Self, BoxError> {
        Ok(Square)
    }
}

/// Answers a request. When its client goes away, axum drops this future. A sample that has not entered by then never
/// does; of one that has, only the answer is dropped: it is run all the same, and what comes of it goes nowhere.
async fn square(State(pipeline): State<Arc<Pipeline<i32, Squared>>>, Path(x): Path<i32>) -> Result<Response, Response> {
    // No time to wait for room: whoever finds none is told so, instead of standing in a line.
    let answer = match timeout(Duration::ZERO, pipeline.submit_async(x)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(stopped)) => return Err(detail(StatusCode::SERVICE_UNAVAILABLE, stopped)),
        Err(_) => {
            let busy = detail(StatusCode::SERVICE_UNAVAILABLE, PutError::Timeout(x));
            return Err(([(header::RETRY_AFTER, "1")], busy).into_response());
        }
    };
    match timeout(PATIENCE, answer).await {
        Ok(Ok(squared)) => Ok(Json(squared).into_response()),
        Ok(Err(fate)) => Err(detail(StatusCode::INTERNAL_SERVER_ERROR, fate)),
        Err(_) => Err(detail(StatusCode::GATEWAY_TIMEOUT, "the request took too long")),
    }
}

fn detail(status: StatusCode, what: impl ToString) -> Response {
    #[derive(Serialize)]
    struct Told {
        detail: String,
    }

    (status, Json(Told { detail: what.to_string() })).into_response()
}

/// Serves until a signal comes and the requests inside have been answered.
async fn serve(port: u16, pipeline: Arc<Pipeline<i32, Squared>>) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stop, stopped) = oneshot::channel::<()>();
    let routes = Router::new().route("/square/{x}", get(square)).with_state(pipeline);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    let serving = axum::serve(listener, routes).with_graceful_shutdown(async { _ = stopped.await });
    let mut serving = pin!(serving.into_future());

    tokio::select! {
        served = &mut serving => return served,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    println!("stopping");
    _ = stop.send(());
    // By then each request has its answer, or its 504. A client that has sent half a request is not waited for.
    timeout(PATIENCE + Duration::from_secs(1), serving).await.unwrap_or(Ok(()))
}

fn main() -> Result<(), BoxError> {
    // The process of the stage is this program, started again: there it works from here on.
    deeppipeline::worker().stage::<Square>().run();

    let port = std::env::args().nth(1).ok_or("usage: service PORT")?.parse()?;
    let model = isolated::<Square>(())
        .workers(2)
        .ordered(false) // no request waits for one before it
        .on_error(OnError::Skip) // one that fails costs no other
        .on_crash(OnCrash::Retry)
        .max_restarts(1_000_000);
    let pipeline =
        Arc::new(Pipeline::builder().buffer_size(16).overflow(Overflow::Block).stage(model).start_answering()?);
    // Starting and stopping wait, so they are done outside the event loop. One thread is enough for that.
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    event_loop.block_on(serve(port, Arc::clone(&pipeline)))?;
    pipeline.setstop()?;
    Ok(())
}
