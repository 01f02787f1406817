//! Windows: lists of the last samples, one for each key. The stage's own worker keeps them.

use crate::cuts::SourceCut;
use crate::error::GraphError;
use crate::gives::Flows;
use crate::intake::Takes;
use crate::job::current_sample;
use crate::policies::Intake;
use crate::typed::{OfKey, OfKeys};
use crate::worker::Windowed;
#[cfg(processes)]
use crate::{
    intake::{TakesIsolated, takes_as_on_a_thread},
    isolated::{IsolatedWindows, WorkerTakes},
};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::ops::Deref;

/// The number of keys for which a stage keeps windows, by default.
pub const DEFAULT_MAX_KEYS: usize = 1024;

/// A list of the last `size` samples, that moves by `stride`.
///
/// The first list comes with the `size`th sample, or with the first one where lists are [`partial`](Window::partial),
/// and another with every `stride`th after that. With keys there is a window for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(processes, derive(serde::Serialize, serde::Deserialize))]
pub struct Window {
    pub(crate) size: usize,
    pub(crate) stride: usize,
    pub(crate) partial: bool,
    pub(crate) max_keys: usize,
    pub(crate) idle: Option<u64>,
}

impl Window {
    /// Makes a window that gives a list of the last `size` samples with every sample, once there are that many.
    pub fn new(size: usize) -> Self {
        Window { size, stride: 1, partial: false, max_keys: DEFAULT_MAX_KEYS, idle: None }
    }

    /// Sets the number of samples that one list is behind the next: 1 by default. Beyond `size`, the samples between
    /// two lists are skipped.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Window { stride, ..self }
    }

    /// Lets the first list come with the first sample: lists of what is there, until there are `size`.
    ///
    /// ```
    /// use deeppipeline::{Pipeline, Window, stage};
    ///
    /// // The mean of the last three, or of what is there.
    /// let mean = |last: Vec<f64>| last.iter().sum::<f64>() / last.len() as f64;
    /// let means = Pipeline::builder()
    ///     .source([2.0, 4.0, 6.0, 8.0].into_iter())
    ///     .stage(stage(mean).intake(Window::new(3).partial()))
    ///     .stream()?;
    /// assert_eq!(means.collect::<Result<Vec<f64>, _>>()?, [2.0, 3.0, 4.0, 6.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn partial(self) -> Self {
        Window { partial: true, ..self }
    }

    /// Sets the number of keys for which windows are kept: 1,024 by default. With one more, the one that was silent
    /// longest is forgotten.
    #[must_use]
    pub fn max_keys(self, max_keys: usize) -> Self {
        Window { max_keys, ..self }
    }

    /// Sets the number of samples without a key after which it is forgotten, so that its next window starts empty:
    /// never by default.
    #[must_use]
    pub fn idle(self, idle: u64) -> Self {
        Window { idle: Some(idle), ..self }
    }

    /// Keeps a window for each key: a list has the last samples of one key.
    ///
    /// ```
    /// use deeppipeline::{Pipeline, Window, stage};
    ///
    /// // How much each place has changed since the sample before.
    /// let changes = Pipeline::builder()
    ///     .source([("hall", 1), ("yard", 7), ("yard", 9), ("hall", 2)].into_iter())
    ///     .stage(
    ///         stage(|last: Vec<(&'static str, i32)>| (last[1].0, last[1].1 - last[0].1))
    ///             .intake(Window::new(2).by_key(|x: &(&'static str, i32)| x.0)),
    ///     )
    ///     .stream()?;
    /// assert_eq!(changes.collect::<Result<Vec<_>, _>>()?, [("yard", 2), ("hall", 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn by_key<T, K, F>(self, key: F) -> ByKey<T, F>
    where
        F: Fn(&T) -> K,
    {
        ByKey { window: self, key, samples: PhantomData }
    }

    /// Keeps a window for each of many keys in one sample, as for the people in a picture: `keys` gives keys with an
    /// item for each. The stage runs once for every sample, and gets it with the [`Windows`] that are due.
    ///
    /// ```
    /// use deeppipeline::intake::Windows;
    /// use deeppipeline::{Pipeline, Window, stage};
    ///
    /// // Where each person is in a picture.
    /// type People = Vec<(u32, f64)>;
    ///
    /// let moved = |seen: Windows<People, u32, f64>| {
    ///     seen.iter().map(|(person, last)| (*person, last[1] - last[0])).collect::<Vec<_>>()
    /// };
    /// let pipeline = Pipeline::builder()
    ///     .stage(stage(moved).intake(Window::new(2).idle(30).by_keys(|people: &People| people.clone())))
    ///     .end_stage(|moved: Vec<(u32, f64)>| println!("{moved:?}"))
    ///     .start()?;
    /// pipeline.put(vec![(1, 0.5), (2, 7.0)])?;
    /// pipeline.put(vec![(2, 7.5)])?;
    /// assert_eq!(pipeline.setstop()?.stages[1].counts.used, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn by_keys<T, L, F>(self, keys: F) -> ByKeys<T, F>
    where
        F: Fn(&T) -> L,
    {
        ByKeys { window: self, keys, samples: PhantomData }
    }

    /// Returns as much of it as the engine knows.
    pub(crate) fn in_engine(self) -> Intake {
        Intake::Window { size: self.size, stride: self.stride }
    }

    /// Returns what is wrong with it, if anything, that the engine does not see.
    pub(crate) fn wrong(self) -> Option<GraphError> {
        if self.max_keys == 0 {
            return Some(GraphError::MaxKeysZero);
        }
        (self.idle == Some(0)).then_some(GraphError::IdleZero)
    }
}

/// A [`Window`] for each key, where a sample has one; see [`Window::by_key`].
pub struct ByKey<T, F> {
    window: Window,
    key: F,
    samples: PhantomData<fn(&T)>,
}

/// A [`Window`] for each of the many keys of a sample; see [`Window::by_keys`].
pub struct ByKeys<T, F> {
    window: Window,
    keys: F,
    samples: PhantomData<fn(&T)>,
}

impl<T, F> fmt::Debug for ByKey<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey").field("window", &self.window).finish_non_exhaustive()
    }
}

impl<T, F> fmt::Debug for ByKeys<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKeys").field("window", &self.window).finish_non_exhaustive()
    }
}

impl<T: Flows + Clone> Takes<T, Vec<T>> for Window {
    type Unpack = OfKey<fn(&T), (), T>;

    fn intake(&self) -> Intake {
        self.in_engine()
    }

    fn problem(&self) -> Option<GraphError> {
        self.wrong()
    }

    fn unpacker(&self) -> Self::Unpack {
        OfKey::new(*self, |_| ())
    }
}

#[cfg(processes)]
takes_as_on_a_thread! {
    Window Vec<T>: |window| WorkerTakes::Window(*window);
}

#[cfg(processes)]
impl<S: IsolatedWindows> TakesIsolated<S, S::Sample, Windows<S::Sample, S::Key, S::Item>> for Window {
    type Unpack = OfKeys<fn(&S::Sample) -> Vec<(S::Key, S::Item)>, S::Key, S::Item>;

    fn intake(&self) -> Intake {
        self.in_engine()
    }

    fn problem(&self) -> Option<GraphError> {
        self.wrong()
    }

    fn of_worker(&self) -> WorkerTakes {
        WorkerTakes::Windows(*self)
    }

    fn unpacker(&self) -> Self::Unpack {
        OfKeys::new(*self, S::keys)
    }
}

impl<T, K, F> Takes<T, Vec<T>> for ByKey<T, F>
where
    T: Flows + Clone,
    K: Hash + Eq + Clone + 'static,
    F: Fn(&T) -> K + Clone + Send + Sync + 'static,
{
    type Unpack = OfKey<F, K, T>;

    fn intake(&self) -> Intake {
        self.window.in_engine()
    }

    fn problem(&self) -> Option<GraphError> {
        self.window.wrong()
    }

    fn unpacker(&self) -> Self::Unpack {
        OfKey::new(self.window, self.key.clone())
    }
}

impl<T, K, P, L, F> Takes<T, Windows<T, K, P>> for ByKeys<T, F>
where
    T: Flows,
    K: Hash + Eq + Clone + 'static,
    P: Clone + 'static,
    L: IntoIterator<Item = (K, P)> + 'static,
    F: Fn(&T) -> L + Clone + Send + Sync + 'static,
{
    type Unpack = OfKeys<F, K, P>;

    fn intake(&self) -> Intake {
        self.window.in_engine()
    }

    fn problem(&self) -> Option<GraphError> {
        self.window.wrong()
    }

    fn unpacker(&self) -> Self::Unpack {
        OfKeys::new(self.window, self.keys.clone())
    }
}

/// One sample, and the windows that are due with it: what a stage gets that keeps a window for each of many keys in a
/// sample. See [`Window::by_keys`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows<S, K, T> {
    /// The sample itself.
    pub sample: S,
    pub(crate) by_key: Vec<(K, Vec<T>)>,
}

impl<S, K, T> Windows<S, K, T> {
    /// Makes a sample with the windows that are due, each a key and its list, oldest first: what a stage gets, for one
    /// that is called without a pipeline, as in a test.
    ///
    /// ```
    /// use deeppipeline::intake::Windows;
    ///
    /// let seen = Windows::new("a picture", [("ann", vec![1.0, 2.0]), ("bob", vec![7.0, 7.5])]);
    /// assert_eq!((seen.sample, seen.get(&"bob")), ("a picture", Some(&[7.0, 7.5][..])));
    /// ```
    pub fn new(sample: S, by_key: impl IntoIterator<Item = (K, Vec<T>)>) -> Self {
        Windows { sample, by_key: by_key.into_iter().collect() }
    }
}

impl<S, K: PartialEq, T> Windows<S, K, T> {
    /// Returns the window of that key, if one is due.
    pub fn get(&self, key: &K) -> Option<&[T]> {
        self.by_key.iter().find(|(known, _)| known == key).map(|(_, list)| list.as_slice())
    }
}

/// The windows that are due, in the order in which the keys were named.
impl<S, K, T> Deref for Windows<S, K, T> {
    type Target = [(K, Vec<T>)];

    fn deref(&self) -> &[(K, Vec<T>)] {
        &self.by_key
    }
}

/// The outcome for an item that was put into the window of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It will be in a later list.
    Windowed,
    /// It is between two lists.
    Skipped,
    /// A list is due, and `fresh` items in it are in no list before.
    Due {
        /// This one among them.
        fresh: u64,
    },
}

/// The windows of all keys.
#[derive(Debug)]
pub struct WindowStore<K, T> {
    window: Window,
    keys: HashMap<K, One<T>>,
    /// Keys by when they were seen; an entry that was followed by another of the same key means nothing.
    seen: VecDeque<(u64, K)>,
    samples: u64,
    present: Origin,
}

/// The number and the source of the sample that an item came with.
#[derive(Debug, Clone, Copy, Default)]
struct Origin {
    number: u64,
    source: u64,
}

#[derive(Debug)]
struct One<T> {
    items: VecDeque<(Origin, T)>,
    /// Items that have been in no list.
    fresh: u64,
    /// Items to come until a list is due.
    until_due: usize,
    seen: u64,
}

impl<T> One<T> {
    fn put(&mut self, item: (Origin, T), window: Window) -> Put {
        self.until_due -= 1;
        // With a stride beyond the size there are items that no list will have.
        if self.until_due >= window.size {
            return Put::Skipped;
        }
        if self.items.len() == window.size {
            self.items.pop_front();
        }
        self.items.push_back(item);
        self.fresh += 1;
        if self.until_due > 0 {
            return Put::Windowed;
        }
        self.until_due = window.stride;
        Put::Due { fresh: std::mem::take(&mut self.fresh) }
    }

    /// Forgets the items that were flushed with their source, and returns how many of them have been in no list.
    fn forget_sources(&mut self, cuts: &[SourceCut], window: Window) -> u64 {
        let used = self.items.len() as u64 - self.fresh;
        let (mut place, mut forgotten_used) = (0, 0);
        let before = self.items.len() as u64;
        self.items.retain(|(origin, _)| {
            let is_flushed = cuts.iter().any(|cut| cut.cuts_off(origin.number, origin.source));
            forgotten_used += u64::from(is_flushed && place < used);
            place += 1;
            !is_flushed
        });
        let fresh = before - self.items.len() as u64 - forgotten_used;
        self.fresh -= fresh;
        if !window.partial && before > self.items.len() as u64 {
            self.until_due = self.until_due.max(window.size - self.items.len());
        }
        fresh
    }
}

impl<K: Hash + Eq + Clone, T> WindowStore<K, T> {
    /// Makes empty windows.
    pub fn new(window: Window) -> Self {
        WindowStore { window, keys: HashMap::new(), seen: VecDeque::new(), samples: 0, present: Origin::default() }
    }

    /// Forgets all that is in the windows, as if no sample had come.
    pub fn forget(&mut self) {
        *self = WindowStore::new(self.window);
    }

    /// Forgets what came with samples that were flushed with their source, and returns how many items of it have been in no
    /// list. A list that was to have one of them comes later, once it has as many samples as it is to have.
    pub fn forget_sources(&mut self, cuts: &[SourceCut]) -> u64 {
        let window = self.window;
        self.keys.values_mut().map(|one| one.forget_sources(cuts, window)).sum()
    }

    /// Begins another sample. Forgets the keys that have been silent too long, and says how many of their items have
    /// been in no list.
    pub fn begin(&mut self) -> u64 {
        self.samples += 1;
        self.present = current_sample().map_or_else(Origin::default, |sample| Origin {
            number: sample.id.number,
            source: sample.source.to_word(),
        });
        let mut left_out = 0;
        let Some(idle) = self.window.idle else { return left_out };
        while let Some((seen, key)) = self.seen.front()
            && (self.samples - *seen > idle || !self.is_seen_last(*seen, key))
        {
            left_out += self.forget_oldest();
        }
        left_out
    }

    fn is_seen_last(&self, seen: u64, key: &K) -> bool {
        self.keys.get(key).is_some_and(|one| one.seen == seen)
    }

    /// Forgets the key at the front, if it has not been seen since.
    fn forget_oldest(&mut self) -> u64 {
        let Some((seen, key)) = self.seen.pop_front() else { return 0 };
        if !self.is_seen_last(seen, &key) {
            return 0;
        }
        self.keys.remove(&key).map_or(0, |one| one.fresh)
    }

    /// Puts an item of the present sample into the window of its key. How many items of a key that was forgotten for it
    /// have been in no list comes beside what became of it.
    pub fn put(&mut self, key: K, item: T) -> (Put, u64) {
        let mut left_out = 0;
        if !self.keys.contains_key(&key) {
            while self.keys.len() >= self.window.max_keys.max(1) {
                left_out += self.forget_oldest();
            }
        }

        let until_due = if self.window.partial { 1 } else { self.window.size };
        let samples = self.samples;
        let new = || One { items: VecDeque::new(), fresh: 0, until_due, seen: samples };
        let one = self.keys.entry(key.clone()).or_insert_with(new);
        one.seen = samples;
        let put = one.put((self.present, item), self.window);

        self.seen.push_back((samples, key));
        // What means nothing is thrown away before it fills the memory.
        if self.seen.len() > 2 * self.keys.len() + 64 {
            let seen = std::mem::take(&mut self.seen);
            self.seen = seen.into_iter().filter(|(seen, key)| self.is_seen_last(*seen, key)).collect();
        }
        (put, left_out)
    }

    /// Returns the window of a key, oldest first.
    pub fn list(&self, key: &K) -> impl Iterator<Item = &T> {
        self.keys.get(key).into_iter().flat_map(|one| one.items.iter().map(|(_, item)| item))
    }

    /// Returns true if a list is due with the present sample, whose items have been put.
    fn is_due(&self, key: &K) -> bool {
        let is_due = |one: &One<T>| one.seen == self.samples && one.until_due == self.window.stride && one.fresh == 0;
        self.keys.get(key).is_some_and(is_due)
    }

    /// Puts the items of another sample, one for each of many keys, and gives the sample with the windows that are due.
    /// This is what a stage with the intake [`Window::by_keys`] gets, for one that runs without a pipeline.
    pub fn windows<S>(&mut self, sample: S, items: impl IntoIterator<Item = (K, T)>) -> Windows<S, K, T>
    where
        T: Clone,
    {
        self.begin();
        let mut by_key = Vec::new();
        for (key, item) in items {
            if let (Put::Due { .. }, _) = self.put(key.clone(), item) {
                let list = self.list(&key).cloned().collect();
                by_key.push((key, list));
            }
        }
        Windows { sample, by_key }
    }

    /// Gives the same once more for a sample that has been put before.
    pub(crate) fn windows_again<S>(&self, sample: S, items: impl IntoIterator<Item = (K, T)>) -> Windows<S, K, T>
    where
        T: Clone,
    {
        let due = items.into_iter().map(|(key, _)| key).filter(|key| self.is_due(key));
        let by_key = due.map(|key| (key.clone(), self.list(&key).cloned().collect())).collect();
        Windows { sample, by_key }
    }

    /// Returns the number of keys that have windows.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }
}

/// Returns what the ledger is to count for a sample that was put into its one window.
pub fn account(put: Put, left_out: u64) -> Windowed {
    match put {
        Put::Due { fresh } => Windowed { used: fresh - 1, skipped: left_out, flushed: 0 },
        Put::Windowed | Put::Skipped => Windowed { skipped: left_out, ..Windowed::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::{Put, Window, WindowStore};

    /// The lists that come of samples with these keys, and what is left out.
    fn lists(window: Window, keys: &str) -> (Vec<String>, u64) {
        let mut store = WindowStore::new(window);
        let mut lists = Vec::new();
        let mut left_out = 0;
        for (number, key) in keys.chars().enumerate() {
            left_out += store.begin();
            let (put, forgotten) = store.put(key, number.to_string());
            left_out += forgotten + u64::from(put == Put::Skipped);
            if let Put::Due { .. } = put {
                lists.push(store.list(&key).cloned().collect::<Vec<_>>().concat());
            }
        }
        (lists, left_out)
    }

    #[test]
    fn a_window_is_complete_before_its_first_list_and_moves_by_its_stride() {
        assert_eq!(lists(Window::new(3), "aaaaa").0, ["012", "123", "234"]);
        assert_eq!(lists(Window::new(3).stride(2), "aaaaaaa").0, ["012", "234", "456"]);
        assert_eq!(lists(Window::new(2).stride(2), "aaaaa").0, ["01", "23"]);
        assert_eq!(lists(Window::new(1), "aaa").0, ["0", "1", "2"]);
    }

    #[test]
    fn a_partial_window_has_what_is_there_from_the_first_sample_on() {
        assert_eq!(lists(Window::new(3).partial(), "aaaaa").0, ["0", "01", "012", "123", "234"]);
        assert_eq!(lists(Window::new(3).partial().stride(2), "aaaaaa").0, ["0", "012", "234"]);
        assert_eq!(lists(Window::new(2).partial().stride(3), "aaaaa"), (vec!["0".into(), "23".into()], 2));
        assert_eq!(lists(Window::new(2).partial().idle(2), "aabba").0, ["0", "01", "2", "23", "4"]);
    }

    #[test]
    fn the_windows_that_are_due_come_with_their_sample() {
        let mut store = WindowStore::new(Window::new(2));
        let mut seen = |sample: &'static str| store.windows(sample, sample.chars().map(|key| (key, sample)));
        assert!(seen("ab").is_empty());
        let due = seen("bc");
        assert_eq!((due.sample, due.get(&'b'), due.get(&'c')), ("bc", Some(&["ab", "bc"][..]), None));
        assert_eq!(*seen("ca"), [('c', vec!["bc", "ca"]), ('a', vec!["ab", "ca"])]);
    }

    #[test]
    fn what_was_due_is_due_again_until_the_next_sample() {
        for stride in [1, 2, 3] {
            let mut store = WindowStore::new(Window::new(2).stride(stride));
            for sample in ["a", "ab", "ab", "b", "a", "b", "ab"] {
                let items = || sample.chars().map(|key| (key, sample));
                let due = store.windows(sample, items());
                assert_eq!(store.windows_again(sample, items()), due);
                assert_eq!(store.windows_again(sample, items()), due);
            }
        }
    }

    #[test]
    fn what_is_between_two_lists_is_left_out() {
        assert_eq!(lists(Window::new(2).stride(3), "aaaaaaaa"), (vec!["01".into(), "34".into(), "67".into()], 2));
        assert_eq!(lists(Window::new(1).stride(3), "aaaaa"), (vec!["0".into(), "3".into()], 3));
    }

    #[test]
    fn each_key_has_a_window_of_its_own() {
        assert_eq!(lists(Window::new(2), "abaabb").0, ["02", "23", "14", "45"]);
    }

    #[test]
    fn a_key_that_was_silent_too_long_starts_again() {
        assert_eq!(lists(Window::new(2).idle(3), "abbba"), (vec!["12".into(), "23".into()], 1));
        assert_eq!(lists(Window::new(2).idle(4), "abbba"), (vec!["12".into(), "23".into(), "04".into()], 0));
    }

    #[test]
    fn with_too_many_keys_the_one_that_was_silent_longest_is_forgotten() {
        assert_eq!(lists(Window::new(2).max_keys(2), "abcab"), (vec![], 3));
        assert_eq!(lists(Window::new(2).max_keys(2), "abaca").0, ["02", "24"]);
    }

    #[test]
    fn what_is_kept_is_bounded_however_long_it_runs() {
        let mut store = WindowStore::new(Window::new(4).max_keys(3));
        for number in 0..100_000_u64 {
            store.begin();
            store.put(if number == 0 { 9 } else { number % 2 }, ());
        }
        assert_eq!(store.keys(), 3);
        assert!(store.seen.len() <= 70, "{}", store.seen.len());
    }
}
