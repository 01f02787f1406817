"""What the last stage gives, asked for one by one; whoever does not ask makes the source wait."""

from DeepPipeline import Pipeline, Stage


class Square(Stage):
    def stage_run(self, x: int) -> int:
        return x * x


for square in Pipeline(stages=[Square()]).stream(range(1, 6)):
    print(square)

# Stopping early ends the pipeline, also where the source never would.
with Pipeline(source=iter(lambda: 3, None), stages=[Square()]).stream() as squares:
    print("first:", next(squares))
