//! A pipeline in a program of tasks: they wait for room, for answers and for results, and their thread never does.

use deeppipeline::pipeline::Put;
use deeppipeline::{Overflow, Pipeline};
use futures::executor::block_on;
use futures::future::try_join_all;
use futures::{StreamExt, pin_mut};

type Failed = Box<dyn std::error::Error>;

async fn program() -> Result<(), Failed> {
    let pipeline: Pipeline<u64, u64> =
        Pipeline::builder().buffer_size(2).overflow(Overflow::Block).stage(|x: u64| x * x).start_answering()?;

    // A hundred tasks wait for room, and for their answers, on one thread.
    let ask = async |x| {
        let answer = pipeline.submit_async(x).await?;
        Ok::<u64, Failed>(answer.await?)
    };
    println!("{}", try_join_all((1..=100).map(ask)).await?.into_iter().sum::<u64>());
    if let Put::Accepted { number } = pipeline.put_async(0).await? {
        println!("sample {number}");
    }
    println!("{} samples were used", pipeline.setstop()?.stages[0].counts.used);

    let results = Pipeline::builder().source(1..=3).stage(|x: u64| x * x).stream()?.in_task();
    pin_mut!(results);
    while let Some(result) = results.next().await {
        println!("{}", result?);
    }
    Ok(())
}

fn main() -> Result<(), Failed> {
    block_on(program())
}
