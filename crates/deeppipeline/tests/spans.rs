//! What a stage logs stands in a span that says which stage, worker and sample it is about.

use deeppipeline::{BoxError, Give, Pipeline, Stage, entrance, stage};
use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static SPANS: Mutex<Vec<(u64, String)>> = Mutex::new(Vec::new());
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what is logged by these tests, with the span that it stands in.
struct Keeper(AtomicU64);

#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let mut fields = Fields::default();
        span.record(&mut fields);
        SPANS.lock().unwrap().push((id, format!("{}{}", span.metadata().name(), fields.0)));
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() != "the stage" {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let inside = INSIDE.with_borrow(|inside| inside.last().copied());
        let spans = SPANS.lock().unwrap();
        let span = spans.iter().find(|(id, _)| Some(*id) == inside).map_or("", |(_, span)| span);
        LOGGED.lock().unwrap().push(format!("{}:{}", span, fields.0));
    }

    fn enter(&self, span: &Id) {
        INSIDE.with_borrow_mut(|inside| inside.push(span.into_u64()));
    }

    fn exit(&self, _: &Id) {
        INSIDE.with_borrow_mut(|inside| inside.pop());
    }
}

struct Detect;

impl Stage for Detect {
    type Input = u32;
    type Output = u32;

    fn setup(&mut self) -> Result<(), BoxError> {
        tracing::info!(target: "the stage", "sets up");
        Ok(())
    }

    fn stage_run(&mut self, x: u32) -> Result<Give<u32>, BoxError> {
        tracing::info!(target: "the stage", "looks at {x}");
        Ok(Give::One(x))
    }

    fn finish(&mut self) -> Result<Give<u32>, BoxError> {
        tracing::info!(target: "the stage", "finishes");
        Ok(Give::Skip)
    }
}

#[test]
fn what_a_stage_logs_knows_its_stage_its_worker_and_its_sample() {
    tracing::subscriber::set_global_default(Keeper(AtomicU64::new(0))).unwrap();
    let pipeline = Pipeline::builder()
        .entrance(entrance("north"))
        .stage(stage(Detect).name("detect"))
        .end_stage(|_: u32| {})
        .start()
        .unwrap();
    pipeline.put_into("north", 7).unwrap();
    pipeline.setstop().unwrap();
    assert_eq!(
        *LOGGED.lock().unwrap(),
        [
            "setup stage=\"detect\" worker=0: message=sets up",
            "stage_run stage=\"detect\" worker=0 sample=1 source=\"north\": message=looks at 7",
            "finish stage=\"detect\" worker=0: message=finishes",
        ]
    );
}
