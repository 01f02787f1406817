"""Each sample goes one of several ways, and all come out in the order in which they came in."""

from DeepPipeline import Pipeline, Route


def kind(x: int) -> str:
    return "odd" if x % 2 else "even"


def square(x: int) -> str:
    return f"{x} squared is {x * x}"


def halve(x: int) -> int:
    return x // 2


def say_half(half: int) -> str:
    return f"half of {2 * half} is {half}"


# A way is a stage, or a list of them; `otherwise=` is for any other key.
ways = Route(kind, {"odd": square, "even": [halve, say_half]})
report = Pipeline(source=range(1, 7), stages=[ways, print]).run()
for stage in report.stages[1:4]:
    print(f"{stage.name}: {stage.counts.used}")
