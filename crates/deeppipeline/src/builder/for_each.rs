//! Samples of which each is split, and whose parts go through stages of their own.

use super::{Builder, Parts};
use crate::error::NoAnswer;
use crate::gives::{Flows, Onward};
use crate::into_stage::IntoStage;
use crate::parallel::{Gatherer, Splitter};
use crate::typed::{Value, unbox};

/// Makes the block of a stage that gives a sample with its parts, and of the stages through which these go.
pub(super) fn for_each<S, B, M, N, T, K, P, R>(split: S, stages: B) -> Parts
where
    S: IntoStage<T, M, Onward<(K, Vec<P>)>>,
    B: IntoStage<P, N, Onward<R>>,
    K: Flows,
    P: Flows,
    R: Flows,
{
    let splitter: Splitter<Value> = Box::new(|value| {
        let (whole, parts) = unbox::<(K, Vec<P>)>(value);
        Ok((Box::new(whole), parts.into_iter().map(|part| Box::new(part) as Value).collect()))
    });
    let gatherer: Gatherer<Value> = Box::new(|whole, results| {
        let results = results.into_iter().map(|result| result.map(unbox::<R>));
        Box::new((unbox::<K>(whole), results.collect::<Vec<Result<R, NoAnswer>>>()))
    });
    Parts::for_each(split.into_parts(), stages.into_parts(), (splitter, gatherer))
}

impl<I, T> Builder<I, T> {
    /// Adds a stage that splits each sample: it gives what is to be kept of it, and a list of parts, which may be empty.
    /// Each part goes through the stages, one or a [`chain`](crate::chain()), beside those of other samples, so that a
    /// batch fills across them. Behind them comes what was kept, with the results of its parts in their order; a part
    /// without a result stands there as its [fate](crate::error::NoAnswer).
    ///
    /// What was kept stays in this process, and samples go on in the order in which they came: as many are inside at a
    /// time as the stages and their buffers have room for, at most 128. A stage inside gives one result for each part, or
    /// none.
    ///
    /// ```
    /// use deeppipeline::Pipeline;
    ///
    /// let pipeline = Pipeline::builder()
    ///     .for_each(|text: String| { let words = text.split(' ').map(str::len).collect(); (text, words) }, |n: usize| n * n)
    ///     .end_stage(|(text, squares): (String, Vec<_>)| {
    ///         let squares: Vec<usize> = squares.into_iter().flatten().collect();
    ///         println!("{text}: {squares:?}")
    ///     })
    ///     .start()?;
    /// pipeline.put("two words".to_owned())?;
    /// assert_eq!(pipeline.setstop()?.joins[0].counts.joined, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_each<S, B, M, N, K, P, R>(self, split: S, stages: B) -> Builder<I, (K, Vec<Result<R, NoAnswer>>)>
    where
        S: IntoStage<T, M, Onward<(K, Vec<P>)>>,
        B: IntoStage<P, N, Onward<R>>,
        T: Flows,
        K: Flows,
        P: Flows,
        R: Flows,
    {
        self.add(for_each::<_, _, _, _, T, K, P, R>(split, stages))
    }
}
