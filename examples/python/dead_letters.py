"""What a stage fails on is kept in a folder, and put in again once the stage is mended."""

import logging
import tempfile

from DeepPipeline import Pipeline, Stage, replay

# A skipped failure is logged with its traceback; here the folder tells.
logging.getLogger("DeepPipeline").setLevel(logging.ERROR)


class Parse(Stage):
    def __init__(self, decimal_comma: bool) -> None:
        self.decimal_comma = decimal_comma

    def stage_run(self, text: str) -> float:
        if "," in text and not self.decimal_comma:
            raise ValueError(f"{text} is no number")
        return float(text.replace(",", "."))


class Show(Stage):
    def stage_run(self, number: float) -> None:
        print(f"{number:.1f}")


def stages(decimal_comma: bool) -> list[Stage]:
    return [Parse(decimal_comma).options(on_error="skip"), Show()]


with tempfile.TemporaryDirectory() as folder:
    Pipeline(source=["1.5", "2,5", "3.5"], stages=stages(decimal_comma=False), dead_letters=folder).run()
    with Pipeline(stages=stages(decimal_comma=True)) as mended:
        for letter in replay(folder, trusted=True, remove=True):
            print(f"sample {letter.number} {letter.fate} in {letter.stage}: {letter.error}")
            mended.put(letter.value)
    print(f"letters left: {len(list(replay(folder, trusted=True)))}")
