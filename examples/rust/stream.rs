//! What the last stage gives, asked for one by one; whoever does not ask makes the source wait.

use deeppipeline::Pipeline;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for square in Pipeline::builder().source(1..=5).stage(|x: u32| x * x).stream()? {
        println!("{}", square?);
    }

    // Stopping early ends the pipeline, also where the source never would.
    let mut squares = Pipeline::builder().source(std::iter::repeat(3)).stage(|x: u32| x * x).stream()?;
    if let Some(first) = squares.next() {
        println!("first: {}", first?);
    }
    Ok(())
}
