//! What a stage fails on is kept in a folder, and put in again once the stage is mended.

use deeppipeline::report::replay;
use deeppipeline::{BoxError, Give, OnError, Pipeline, Stage, stage};

struct Parse {
    decimal_comma: bool,
}

impl Stage for Parse {
    type Input = String;
    type Output = f64;

    fn stage_run(&mut self, text: String) -> Result<Give<f64>, BoxError> {
        if text.contains(',') && !self.decimal_comma {
            return Err(format!("{text} is no number").into());
        }
        Ok(Give::One(text.replace(',', ".").parse()?))
    }
}

fn show(number: f64) {
    println!("{number:.1}");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("dead letters {}", std::process::id()));
    Pipeline::builder()
        .source(["1.5", "2,5", "3.5"].map(str::to_owned).into_iter())
        .stage(stage(Parse { decimal_comma: false }).on_error(OnError::Skip).keep_failed())
        .end_stage(show)
        .dead_letters(&folder)
        .run()?;

    let mended = Pipeline::builder().stage(Parse { decimal_comma: true }).end_stage(show).start()?;
    for letter in replay(&folder)? {
        let letter = letter?;
        let error = letter.error.as_deref().unwrap_or_default();
        println!("sample {} {} in {}: {error}", letter.sample, letter.fate, letter.stage);
        mended.put(letter.value()?)?;
        letter.remove()?;
    }
    mended.setstop()?;
    println!("letters left: {}", replay(&folder)?.count());
    std::fs::remove_dir(&folder)?;
    Ok(())
}
