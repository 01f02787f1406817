use deeppipeline::Pipeline;
use std::num::ParseIntError;

fn parse(text: String) -> Result<u32, ParseIntError> {
    text.parse()
}

fn at_the_end() {
    Pipeline::builder().stage(parse).start().unwrap();
}

fn hidden_in_another_value() {
    let _ = Pipeline::builder().end_stage(|text: String| vec![parse(text)]);
}

fn main() {}
