//! The conversion of stages of different types into workers that are all alike.

use crate::aside;
use crate::cuts::SourceCut;
use crate::executor::Body;
use crate::gives::Gives;
use crate::retry::{Alone, Copy, Keeping};
use crate::sample::Input;
use crate::seat::{FromBytes, Seat};
use crate::stage::{Give, Source, Stage};
use crate::unwind::{BoxError, catch_panic};
use crate::window::{Put, Window, WindowStore, Windows, account};
use crate::worker::{Call, Done, Values, Windowed};
use std::any::Any;
use std::hash::Hash;
use std::marker::PhantomData;
use std::ops::Range;

/// The value that flows inside a pipeline whose types were checked when it was built.
pub(crate) type Value = Box<dyn Any + Send>;

/// A conversion of what was taken into what the stage gets.
pub trait Unpack<T>: 'static {
    /// Returns what the stage gets, if it is its turn, and what becomes of samples that it kept before.
    fn unpack(&mut self, input: Input<Value>) -> (Unpacked<T>, Windowed);

    /// Gives the same once more for what the stage has failed on.
    fn again(&mut self, input: Input<Value>) -> (Unpacked<T>, Windowed) {
        self.unpack(input)
    }

    /// Forgets what it keeps for later lists.
    fn forget(&mut self) {}

    /// Forgets what it keeps of flushed sources, and returns how many samples that were.
    fn forget_sources(&mut self, _cuts: &[SourceCut]) -> u64 {
        0
    }
}

/// The result of a conversion.
#[derive(Debug)]
pub enum Unpacked<T> {
    /// `stage_run` gets this. Boxed, so that it is not copied from function to function: a large one would fill the
    /// stack.
    Run(Box<T>),
    /// A later list will have the sample.
    Keep,
    /// No list will.
    Skip,
    /// It is not of the type that the chain was built for.
    Wrong,
}

/// One sample as it was taken.
#[derive(Debug)]
pub struct OneOf<T>(PhantomData<fn() -> T>);

/// One list as it was taken.
#[derive(Debug)]
pub struct ListOf<T>(PhantomData<fn() -> T>);

impl<T> OneOf<T> {
    pub(crate) fn new() -> Self {
        OneOf(PhantomData)
    }
}

impl<T> ListOf<T> {
    pub(crate) fn new() -> Self {
        ListOf(PhantomData)
    }
}

impl<T: 'static> Unpack<T> for OneOf<T> {
    fn unpack(&mut self, input: Input<Value>) -> (Unpacked<T>, Windowed) {
        (one(input).map_or(Unpacked::Wrong, Unpacked::Run), Windowed::default())
    }
}

impl<T: 'static> Unpack<Vec<T>> for ListOf<T> {
    fn unpack(&mut self, input: Input<Value>) -> (Unpacked<Vec<T>>, Windowed) {
        (list(input).map_or(Unpacked::Wrong, Unpacked::Run), Windowed::default())
    }
}

/// The last samples of each key.
#[derive(Debug)]
pub struct OfKey<F, K, T> {
    key: F,
    store: WindowStore<K, T>,
    /// True if the last sample is in its window: not if `key` panicked.
    is_put: bool,
}

impl<F, K: Hash + Eq + Clone, T> OfKey<F, K, T> {
    pub(crate) fn new(window: Window, key: F) -> Self {
        OfKey { key, store: WindowStore::new(window), is_put: false }
    }
}

impl<F, K, T> Unpack<Vec<T>> for OfKey<F, K, T>
where
    F: Fn(&T) -> K + 'static,
    K: Hash + Eq + Clone + 'static,
    T: Clone + 'static,
{
    fn unpack(&mut self, input: Input<Value>) -> (Unpacked<Vec<T>>, Windowed) {
        let Some(sample) = one::<T>(input) else { return (Unpacked::Wrong, Windowed::default()) };
        self.is_put = false;
        let key = (self.key)(&sample);
        self.is_put = true;
        let silent = self.store.begin();
        let (put, forgotten) = self.store.put(key.clone(), *sample);
        let unpacked = match put {
            Put::Due { .. } => Unpacked::Run(Box::new(self.store.list(&key).cloned().collect())),
            Put::Windowed => Unpacked::Keep,
            Put::Skipped => Unpacked::Skip,
        };
        (unpacked, account(put, silent + forgotten))
    }

    fn again(&mut self, input: Input<Value>) -> (Unpacked<Vec<T>>, Windowed) {
        if !self.is_put {
            return self.unpack(input);
        }
        let Some(sample) = one::<T>(input) else { return (Unpacked::Wrong, Windowed::default()) };
        let key = (self.key)(&sample);
        (Unpacked::Run(Box::new(self.store.list(&key).cloned().collect())), Windowed::default())
    }

    fn forget(&mut self) {
        self.store.forget();
    }

    fn forget_sources(&mut self, cuts: &[SourceCut]) -> u64 {
        self.store.forget_sources(cuts)
    }
}

/// The last items of each of the keys in one sample.
#[derive(Debug)]
pub struct OfKeys<F, K, T> {
    keys: F,
    store: WindowStore<K, T>,
    /// True if the items of the last sample are in their windows: not if `keys` panicked.
    is_put: bool,
}

impl<F, K: Hash + Eq + Clone, T> OfKeys<F, K, T> {
    pub(crate) fn new(window: Window, keys: F) -> Self {
        OfKeys { keys, store: WindowStore::new(window), is_put: false }
    }
}

impl<F, S, I, K, T> Unpack<Windows<S, K, T>> for OfKeys<F, K, T>
where
    F: Fn(&S) -> I + 'static,
    S: 'static,
    I: IntoIterator<Item = (K, T)>,
    K: Hash + Eq + Clone + 'static,
    T: Clone + 'static,
{
    fn unpack(&mut self, input: Input<Value>) -> (Unpacked<Windows<S, K, T>>, Windowed) {
        let Some(sample) = one::<S>(input) else { return (Unpacked::Wrong, Windowed::default()) };
        self.is_put = false;
        let items = (self.keys)(&sample);
        self.is_put = true;
        // Items are no samples: each sample is used by the call that it came with.
        (Unpacked::Run(Box::new(self.store.windows(*sample, items))), Windowed::default())
    }

    fn again(&mut self, input: Input<Value>) -> (Unpacked<Windows<S, K, T>>, Windowed) {
        if !self.is_put {
            return self.unpack(input);
        }
        let Some(sample) = one::<S>(input) else { return (Unpacked::Wrong, Windowed::default()) };
        let items = (self.keys)(&sample);
        (Unpacked::Run(Box::new(self.store.windows_again(*sample, items))), Windowed::default())
    }

    fn forget(&mut self) {
        self.store.forget();
    }

    fn forget_sources(&mut self, cuts: &[SourceCut]) -> u64 {
        self.store.forget_sources(cuts);
        0
    }
}

/// The meaning of what a stage returns.
#[cfg_attr(not(processes), expect(unreachable_pub, reason = "bounds name it where there are processes"))]
pub trait Returns<G>: 'static {
    /// Returns what comes of a call of `stage_run`.
    fn of_run(give: Give<G>) -> Done<Value>;

    /// Returns what comes of `finish`.
    fn of_finish(give: Give<G>) -> Done<Value>;
}

/// A stage returns the result for what it got.
pub(crate) struct OneResult;

impl<G: Send + 'static> Returns<G> for OneResult {
    fn of_run(give: Give<G>) -> Done<Value> {
        Done::Gave(box_values(give))
    }

    fn of_finish(give: Give<G>) -> Done<Value> {
        Done::Gave(box_values(give))
    }
}

/// A stage returns a list with a result for each sample that it got; [`Gives`] says what may be one.
#[derive(Debug)]
#[cfg_attr(not(processes), expect(unreachable_pub, reason = "bounds name it where there are processes"))]
pub struct EachResult<To, M>(PhantomData<fn() -> (To, M)>);

impl<R, To, M> Returns<Vec<R>> for EachResult<To, M>
where
    R: Gives<To, M> + Send + 'static,
    To: 'static,
    M: 'static,
{
    fn of_run(give: Give<Vec<R>>) -> Done<Value> {
        match give {
            Give::One(results) => {
                Done::Each(results.into_iter().map(|result| Ok(box_values(result.into_give()?))).collect())
            }
            Give::Skip => Done::Gave(Give::Skip),
            Give::Many(_) => {
                Done::Failed("it gave many lists, but must give one, with a result for each sample".into())
            }
        }
    }

    /// There is no sample to which they belong: they go on in order, up to the first that failed.
    fn of_finish(give: Give<Vec<R>>) -> Done<Value> {
        let lists: Box<dyn Iterator<Item = Vec<R>> + Send> = match give {
            Give::Skip => return Done::Gave(Give::Skip),
            Give::One(results) => Box::new(std::iter::once(results)),
            Give::Many(lists) => lists,
        };
        let mut values: Vec<Value> = Vec::new();
        for result in lists.flatten() {
            match result.into_give() {
                Ok(Give::One(x)) => values.push(Box::new(x)),
                Ok(Give::Skip) => {}
                Ok(Give::Many(many)) => values.extend(many.map(|x| Box::new(x) as Value)),
                Err(cause) => return Done::Failed(cause),
            }
        }
        Done::Gave(Give::many(values))
    }
}

/// The way in which a stage on a thread can be run again on what it got.
pub(crate) struct Copying<T> {
    /// Makes the retry copy of all.
    pub(crate) all: Option<Copy<T>>,
    /// Makes the list of the one sample at that index.
    pub(crate) alone: Option<Alone<T>>,
    /// Keeps what it fails on, where that is wanted.
    pub(crate) keeps: Option<Keeping<T>>,
}

impl<T> Clone for Copying<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> std::marker::Copy for Copying<T> {}

impl<T> Copying<T> {
    /// The way the copy is made, where one is needed.
    fn copy(&self) -> Option<Copy<T>> {
        self.all.or(self.keeps.map(|keeps| keeps.copy))
    }
}

/// A stage on its worker.
pub(crate) struct StageBody<S: Stage, U, R = OneResult> {
    make: Option<Box<dyn FnOnce() -> Result<S, BoxError>>>,
    /// What it is made of instead.
    made_of: Option<Values>,
    stage: Option<Seat<S>>,
    /// The stage that is to take its place.
    prepared: Option<Seat<S>>,
    unpack: U,
    windowed: Windowed,
    /// The retry copy: how it is made of what the stage gets, and the last one.
    copying: Copying<S::Input>,
    last: Option<Box<S::Input>>,
    /// The samples of the copy that the present call runs on.
    runs_on: Range<usize>,
    from_bytes: Option<FromBytes<S>>,
    returns: PhantomData<fn() -> R>,
}

impl<S: Stage, U, R> StageBody<S, U, R> {
    pub(crate) fn new(make: impl FnOnce() -> Result<S, BoxError> + 'static, unpack: U) -> Self {
        StageBody {
            make: Some(Box::new(make)),
            made_of: None,
            stage: None,
            prepared: None,
            unpack,
            windowed: Windowed::default(),
            copying: Copying { all: None, alone: None, keeps: None },
            last: None,
            runs_on: 0..0,
            from_bytes: None,
            returns: PhantomData,
        }
    }

    /// Makes it possible to run the stage again on what it got.
    pub(crate) fn copying(self, copying: Copying<S::Input>) -> Self {
        StageBody { copying, ..self }
    }

    /// Lets the stage read updates that come from another process, and replacements.
    #[cfg(processes)]
    pub(crate) fn reading(self, from_bytes: FromBytes<S>) -> Self {
        StageBody { from_bytes: Some(from_bytes), ..self }
    }

    /// Makes the stage that is to take the place of the present one, and sets it up.
    fn prepare(&mut self, values: &Values) -> Result<(), BoxError> {
        let mut new = Seat::made_of(values, self.from_bytes)?;
        new.setup()?;
        self.prepared = Some(new);
        Ok(())
    }

    /// Ends the stage that was to take the place of the present one, or has let it.
    fn end(stage: Option<Seat<S>>) -> Result<(), BoxError> {
        stage.map_or(Ok(()), |mut stage| stage.teardown())
    }

    /// Returns what the stage got once more, all or the one at that index, if it was kept.
    fn again(&self, alone: Option<usize>) -> Option<Box<S::Input>> {
        let last = self.last.as_ref()?;
        match alone {
            Some(index) => Some(Box::new(self.copying.alone?(last, index))),
            None => Some(copied(self.copying.all?, last)),
        }
    }

    /// Returns the samples of the copy on which a call runs, alone or all.
    fn kept(&self, alone: Option<usize>) -> Range<usize> {
        match (&self.copying.keeps, &self.last) {
            (Some(keeps), Some(last)) => alone.map_or(0..(keeps.samples)(last), |index| index..index + 1),
            _ => 0..0,
        }
    }
}

impl<S, U, R> StageBody<S, U, R>
where
    S: Stage,
    U: Unpack<S::Input>,
    R: Returns<S::Output>,
{
    /// Runs the stage on what was unpacked for it.
    #[inline(always)]
    fn run_on(&mut self, (unpacked, windowed): (Unpacked<S::Input>, Windowed)) -> Done<Value> {
        self.windowed = windowed;
        self.runs_on = 0..0;
        let result = match unpacked {
            Unpacked::Run(x) => {
                if let Some(copy) = self.copying.copy() {
                    self.last = Some(copied(copy, &x));
                    self.runs_on = self.kept(None);
                }
                let Some(stage) = &mut self.stage else { return never_made() };
                run::<S, R>(stage, x)
            }
            Unpacked::Keep => Ok(Done::Windowed),
            Unpacked::Skip => Ok(Done::Gave(Give::Skip)),
            Unpacked::Wrong => Err("the sample is not of the type that the chain was built for".into()),
        };
        result.unwrap_or_else(Done::Failed)
    }

    /// Makes a call that does not come with every sample.
    #[inline(never)]
    fn make_other_call(&mut self, call: Call<Value>) -> Done<Value> {
        if let Some(make) = self.make.take() {
            let made = match self.made_of.take() {
                Some(values) => Seat::made_of(&values, self.from_bytes),
                None => make().map(Seat::Own),
            };
            match made {
                Ok(stage) => self.stage = Some(stage),
                Err(cause) => return Done::Failed(cause),
            }
        }
        let alone = if let Call::RunAlone(index, _) = call { Some(index) } else { None };
        let again = match call {
            Call::RunAgain(None) => self.again(None),
            Call::RunAlone(index, None) => self.again(Some(index)),
            _ => None,
        };
        self.runs_on = if again.is_some() { self.kept(alone) } else { 0..0 };
        let Some(stage) = &mut self.stage else { return never_made() };

        let nothing = |()| Done::Gave(Give::Skip);
        let result = match call {
            Call::Setup => stage.setup().map(nothing),
            Call::Teardown => {
                let new = self.prepared.take();
                if let Err(cause) = catch_panic(|| Self::end(new)) {
                    aside::log(move || {
                        tracing::warn!("a stage that was to replace another failed in teardown: {cause}")
                    });
                }
                stage.teardown().map(nothing)
            }
            Call::Update(values) => stage.update(&values, self.from_bytes).map(nothing),
            Call::Prepare(values) => self.prepare(&values).map(nothing),
            Call::Exchange => {
                let old = self.prepared.take().map(|new| std::mem::replace(stage, new));
                Self::end(old).map(nothing)
            }
            Call::Discard => Self::end(self.prepared.take()).map(nothing),
            Call::Finish => finish::<S, R>(stage),
            _ if let Some(x) = again => run::<S, R>(stage, x),
            Call::RunAgain(Some(input)) | Call::RunAlone(_, Some(input)) => {
                let unpacked = self.unpack.again(input);
                return self.run_on(unpacked);
            }
            Call::RunAgain(None) | Call::RunAlone(_, None) => Err("what it got was not kept for another try".into()),
            // The first of them is no other call.
            Call::StageRun(_) | Call::SourceOpen | Call::SourceNext => {
                Err("a stage was asked for what a source does".into())
            }
        };
        result.unwrap_or_else(Done::Failed)
    }
}

#[cold]
fn never_made() -> Done<Value> {
    Done::Failed("the stage was never made".into())
}

impl<S, U, R> Body<Value> for StageBody<S, U, R>
where
    S: Stage,
    U: Unpack<S::Input>,
    R: Returns<S::Output>,
{
    fn make_of(&mut self, values: Values) {
        self.made_of = Some(values);
    }

    fn call(&mut self, call: Call<Value>) -> Done<Value> {
        match call {
            // What is called for every sample comes first; by then the stage is made.
            Call::StageRun(input) => {
                let unpacked = self.unpack.unpack(input);
                self.run_on(unpacked)
            }
            call => self.make_other_call(call),
        }
    }

    fn windowed(&mut self) -> Windowed {
        std::mem::take(&mut self.windowed)
    }

    fn failed_values(&mut self, done: &Done<Value>) -> Vec<(usize, Value)> {
        let (Some(keeps), Some(last)) = (&self.copying.keeps, &self.last) else { return Vec::new() };
        let has_failed = |nth: usize| match done {
            Done::Failed(_) => true,
            Done::Each(results) => matches!(results.get(nth), Some(Err(_))),
            Done::Gave(_) | Done::Exhausted | Done::Windowed => false,
        };
        let failed = self.runs_on.clone().enumerate().filter(|(nth, _)| has_failed(*nth));
        failed.map(|(_, index)| (index, (keeps.value)(last, index))).collect()
    }

    fn forget_windows(&mut self) {
        self.unpack.forget();
    }

    fn forget_sources(&mut self, cuts: &[SourceCut]) -> u64 {
        self.unpack.forget_sources(cuts)
    }

    fn name(&self) -> Option<String> {
        match self.stage.as_ref()? {
            Seat::Own(stage) => Some(stage.name()),
            Seat::Other(_) => None,
        }
    }
}

/// Takes what was boxed a moment ago back out of its box.
pub(crate) fn unbox<T: 'static>(value: Value) -> T {
    match value.downcast() {
        Ok(x) => *x,
        Err(_) => unreachable!("the engine hands back the value it was given"),
    }
}

/// The one sample of the intakes single and latest.
fn one<T: 'static>(input: Input<Value>) -> Option<Box<T>> {
    match input {
        Input::One(sample) => sample.value.downcast().ok(),
        Input::List(_) => None,
    }
}

/// The list of the list intakes.
#[expect(clippy::box_collection, reason = "what a stage gets is boxed, whatever it is")]
fn list<T: 'static>(input: Input<Value>) -> Option<Box<Vec<T>>> {
    let Input::List(samples) = input else { return None };
    let list: Option<Vec<T>> = samples.into_iter().map(|sample| sample.value.downcast().ok().map(|x| *x)).collect();
    list.map(Box::new)
}

// Where the user's values lie on the stack, in functions of their own that name few: without optimisation a function
// has room for each value it names all the time it runs, and not many fit where values are large.

#[expect(clippy::boxed_local, reason = "by value it would be on the stack of every caller, too")]
fn run<S: Stage, R: Returns<S::Output>>(stage: &mut Seat<S>, x: Box<S::Input>) -> Result<Done<Value>, BoxError> {
    match stage.stage_run(*x) {
        Ok(give) => Ok(R::of_run(give)),
        Err(cause) => Err(cause),
    }
}

fn finish<S: Stage, R: Returns<S::Output>>(stage: &mut Seat<S>) -> Result<Done<Value>, BoxError> {
    match stage.finish() {
        Ok(give) => Ok(R::of_finish(give)),
        Err(cause) => Err(cause),
    }
}

fn copied<T>(copy: Copy<T>, x: &T) -> Box<T> {
    Box::new(copy(x))
}

fn box_values<T: Send + 'static>(give: Give<T>) -> Give<Value> {
    match give {
        Give::One(x) => Give::One(Box::new(x)),
        Give::Skip => Give::Skip,
        Give::Many(values) => Give::Many(Box::new(values.map(|x| Box::new(x) as Value))),
    }
}

/// A source on its worker.
pub(crate) struct SourceBody<S: Source>(pub(crate) S);

impl<S: Source> Body<Value> for SourceBody<S> {
    fn call(&mut self, call: Call<Value>) -> Done<Value> {
        match call {
            Call::SourceOpen => match self.0.source_open() {
                Ok(()) => Done::Gave(Give::Skip),
                Err(cause) => Done::Failed(cause),
            },
            Call::SourceNext => match self.0.source_next() {
                Ok(Some(x)) => Done::Gave(Give::One(Box::new(x))),
                Ok(None) => Done::Exhausted,
                Err(cause) => Done::Failed(cause),
            },
            Call::Setup
            | Call::StageRun(_)
            | Call::RunAgain(_)
            | Call::RunAlone(..)
            | Call::Update(_)
            | Call::Prepare(_)
            | Call::Exchange
            | Call::Discard
            | Call::Finish
            | Call::Teardown => Done::Gave(Give::Skip),
        }
    }
}

/// Makes a clone of a `T` for each of so many branches.
pub(crate) fn clones<T: Clone + Send + 'static>(value: Value, branches: usize) -> Vec<Value> {
    vec![unbox::<T>(value); branches].into_iter().map(|x| Box::new(x) as Value).collect()
}
