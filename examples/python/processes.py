"""A stage in a process of its own: `multiprocess=True` for all of them, `executor=` for one."""

from DeepPipeline import Pipeline, Stage


class Square(Stage):
    def stage_run(self, x: int) -> int:
        return x * x  # held up by no other stage's Python code, and gone alone if it crashes


class Show(Stage):
    def stage_run(self, x: int) -> None:
        print(x)


if __name__ == "__main__":  # a worker process imports this file, to find its stage
    stages = [Square(), Show().options(executor="thread")]
    with Pipeline(stages, multiprocess=True, overflow="block") as p:
        for x in range(1, 6):
            p.put(x)
    print("restarts:", p.report().stages[0].restarts)
