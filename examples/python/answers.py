"""The answer to each sample, for whoever submits it: what the last stage gave for it, or the sample's fate."""

from typing import Any

from DeepPipeline import SKIP, Many, NoAnswer, Pipeline, SampleFailed, Skipped, stage


def words(text: str) -> Any:
    """Gives each word of a text; a text of one word gives that alone."""
    found = text.split()
    if not found:
        return SKIP
    if len(found) == 1:
        return text
    if "?" in text:
        raise ValueError("questions are not answered")
    return Many(found)


with Pipeline(stages=[stage(words, on_error="skip"), str.upper], overflow="block") as pipeline:
    print(pipeline.submit("hello").result())
    print(" ".join(pipeline.submit("so long").result()))
    for text in ["", "who are you?"]:
        try:
            print(pipeline.submit(text).result())
        except Skipped as skipped:
            print("skipped by", skipped.stage)
        except SampleFailed as failed:
            print(failed.stage, "failed:", failed.__cause__)
        except NoAnswer as other:
            print(repr(other))
print(pipeline.report().stages[0].counts.used, "of 4 samples were used")

# Or all results in order, while others put.
pipeline = Pipeline(stages=[lambda x: x * x])
with pipeline.results() as results:
    for x in range(1, 4):
        pipeline.put(x)
        print(next(results))
