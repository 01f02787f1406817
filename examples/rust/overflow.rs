//! What happens when a buffer of two is full: five samples arrive while the stage is busy with the first.

use deeppipeline::error::PutError;
use deeppipeline::pipeline::Put;
use deeppipeline::{Overflow, Pipeline};
use std::sync::mpsc::channel;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for overflow in Overflow::ALL {
        let (busy, is_busy) = channel();
        let (go_on, may_go_on) = channel::<()>();
        let (result, results) = channel();
        let pipeline = Pipeline::builder()
            .buffer_size(2)
            .overflow(overflow)
            .end_stage(move |x: u32| {
                if x == 1 {
                    busy.send(()).expect("the main thread waits for this");
                    let _ = may_go_on.recv();
                }
                result.send(x).expect("the main thread collects the results");
            })
            .start()?;
        pipeline.put(1)?;
        is_busy.recv()?;
        for x in 2..=5 {
            match pipeline.put_timeout(x, Duration::ZERO) {
                Ok(Put::Accepted { .. }) => {}
                Ok(Put::Dropped) => println!("{overflow}: {x} was dropped on arrival"),
                Err(PutError::Timeout(x)) => println!("{overflow}: no room for {x} yet"),
                Err(error) => return Err(error.into()),
            }
        }
        drop(go_on);
        pipeline.setstop()?;
        println!("{overflow}: {:?}", results.try_iter().collect::<Vec<_>>());
    }
    Ok(())
}
