"""What a stage may know about the sample it works on."""

import time
from typing import Any

from support import Collect, Pass

from DeepPipeline import SKIP, Many, Pipeline, Sample, Stage


class Look(Stage):
    """Gives on what it sees, whatever it gets."""

    def __init__(self) -> None:
        self.outside: list[Sample | None] = []

    def setup(self) -> None:
        self.outside.append(self.sample)

    def stage_run(self, x: Any) -> Any:
        return self.sample

    def finish(self) -> None:
        self.outside.append(self.sample)

    def teardown(self) -> None:
        self.outside.append(self.sample)


def test_number_part_and_birth() -> None:
    look, end = Look(), Collect()
    before = time.monotonic()
    report = Pipeline([Pass(), look, end], overflow="block").run(list("abc"))
    after = time.monotonic()
    assert [(sample.number, sample.part) for sample in end.got] == [(1, 0), (2, 0), (3, 0)]
    births = [sample.birth for sample in end.got]
    assert births == sorted(births)
    assert before <= births[0] <= births[-1] <= after
    assert look.outside == [None, None, None]
    assert report.balances()


def test_it_stays_the_same_on_its_way() -> None:
    class Ask(Stage):
        def stage_run(self, seen: Any) -> Any:
            return [*(seen if isinstance(seen, list) else []), self.sample]

    end = Collect()
    Pipeline([Ask(), Ask(), Ask(), end], overflow="block").run(range(5))
    assert all(len(seen) == 3 and len(set(seen)) == 1 for seen in end.got)


def test_parts() -> None:
    class Split(Stage):
        def stage_run(self, x: Any) -> Many:
            return Many(x)

    end = Collect()
    Pipeline([Split(), Look(), end], overflow="block", buffer_size=8).run(["ab", "", "c"])
    assert [(sample.number, sample.part) for sample in end.got] == [(1, 1), (1, 2), (3, 1)]


def test_inside_the_generator_of_a_many() -> None:
    class Split(Stage):
        def stage_run(self, x: Any) -> Many:
            return Many(self.sample for _ in range(2))

    end = Collect()
    Pipeline([Split(), end], overflow="block").run([0])
    assert [sample.number for sample in end.got] == [1, 1]


def test_the_newest_of_a_list() -> None:
    end = Collect()
    Pipeline([Look().set_get_all(), end], overflow="block", buffer_size=2).run(range(4))
    assert [sample.number for sample in end.got] == [2, 4]


def test_what_finish_gives_is_a_part_of_the_last() -> None:
    class Hold(Stage):
        def stage_run(self, x: Any) -> Any:
            return SKIP

        def finish(self) -> Many:
            return Many([1, 2])

    end = Collect()
    Pipeline([Hold(), Look(), end], overflow="block").run(range(3))
    assert [(sample.number, sample.part) for sample in end.got] == [(3, 1), (3, 2)]


def test_outside_of_a_worker() -> None:
    assert Pass().sample is None


def test_an_init_without_super() -> None:
    class Own(Stage):
        def __init__(self, offset: int) -> None:
            self.offset = offset

        def stage_run(self, x: int) -> Any:
            assert self.sample is not None
            return x + self.offset, self.sample.number

    end = Collect()
    stage = Own(10).set_get_latest().set_get_single().options(name="own")
    report = Pipeline([stage, end], overflow="block").run([1])
    assert end.got == [(11, 1)]
    assert report.stages[0].name == "own"


def test_a_pipeline_inside_a_stage() -> None:
    class Inner(Stage):
        def setup(self) -> None:
            self.end = Collect()
            self.inner = Pipeline([Look(), self.end], overflow="block").start()

        def stage_run(self, x: Any) -> Any:
            self.inner.put(x)
            self.inner.put(x)
            return self.sample

        def finish(self) -> Any:
            self.inner.setstop()
            return [sample.number for sample in self.end.got]

    end = Collect()
    Pipeline([Inner(), end], overflow="block", buffer_size=8).run(list("ab"))
    assert [sample.number for sample in end.got[:2]] == [1, 2], "the outer sample, also after a put into the inner"
    assert end.got[2] == [1, 2, 3, 4]
