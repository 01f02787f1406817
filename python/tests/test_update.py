"""Updates: every worker of a stage is told values between two samples, and the stage goes on."""

import itertools
import os
import sys
import threading
from functools import partial
from typing import Any

import pytest
from process_stages import DiesOn, Factor
from support import Collect, Gate, wait_until

from DeepPipeline import (
    SKIP,
    Batch,
    GraphError,
    Pipeline,
    PipelineError,
    Stage,
    StartError,
    UpdateError,
    UpdateTimeout,
    Window,
    retry,
    stage,
)


def called_by(thread: threading.Thread) -> str | None:
    """Returns the name of the function in Python that the thread is in, and that may have called the engine."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame and frame.f_code.co_name


CHANGES: list[Any] = [
    lambda pipeline: pipeline.update("gate", a=1),
    lambda pipeline: pipeline.replace("gate", Factor(2)),
    lambda pipeline: pipeline.scale("gate", workers=1),
]


@pytest.mark.parametrize("change", CHANGES, ids=["update", "replace", "scale"])
def test_a_change_is_not_waited_for_on_a_worker_that_an_abort_has_left_behind(change: Any) -> None:
    gate = Gate()
    told: list[PipelineError] = []

    def ask() -> None:
        try:
            change(pipeline)
        except PipelineError as error:
            told.append(error)

    pipeline = Pipeline([stage(gate, name="gate", workers=2)], overflow="block").start()
    pipeline.put(1)
    pipeline.put(2)
    # Both workers have one: none of them can leave before the abort.
    assert {gate.in_flight(), gate.in_flight()} == {1, 2}
    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: called_by(asking) in ("update", "replace", "scale"))
    pipeline.abort()
    asking.join(60)
    assert [type(error) for error in told] and "the pipeline does not run any longer" in str(told[0])
    gate.let_go(2)
    pipeline.setstop()


def has_got(end: Collect, samples: int) -> bool:
    return len(end.got) == samples


@pytest.mark.parametrize("multiprocess", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_all_workers_have_the_values_once_update_returns(multiprocess: bool, workers: int) -> None:
    end = Collect()
    stages = [Factor(1).options(workers=workers), end.options(executor="thread")]
    with Pipeline(stages, multiprocess=multiprocess, overflow="block") as p:
        for factor in range(1, 21):
            p.update("Factor", factor=factor)
            for x in range(3):
                p.put(100 * x)
            # What still waits would be taken with the next values.
            wait_until(partial(has_got, end, 3 * factor))
        report = p.setstop()
    assert end.got == [100 * x * factor for factor in range(1, 21) for x in range(3)]
    assert report.balances()


class DiesOfFactor(Stage):
    """Multiplies by its factor, and dies of the factor 13."""

    factor = 1

    def update(self, factor: int) -> None:
        if factor == 13:
            os._exit(3)
        self.factor = factor

    def stage_run(self, x: int) -> int:
        return x * self.factor


def test_values_of_which_a_process_dies_are_not_told_to_the_next() -> None:
    end = Collect()
    stages = [DiesOfFactor().options(executor="process", max_restarts=1), end]
    with Pipeline(stages, overflow="block") as p:
        p.update("DiesOfFactor", factor=5)
        with pytest.raises(UpdateError, match=r"failed in update: its worker ended with exit code 3"):
            p.update("DiesOfFactor", factor=13)
        p.put(2)
        report = p.setstop()
    assert end.got == [10]
    assert (report.stages[0].restarts, report.stages[0].counts.lost) == (1, 0)


class Told(Gate):
    """Says when it is told something, too."""

    def update(self, **values: Any) -> None:
        self._in_flight.put(values)


def test_an_update_comes_between_two_samples() -> None:
    gate, end = Told(), Collect()
    with Pipeline([gate, end], buffer_size=4, overflow="block") as p:
        p.put(1)
        p.put(2)
        assert gate.in_flight() == 1
        with pytest.raises(UpdateTimeout, match=r"workers \[0\] are still at work") as late:
            p.update("Told", timeout=0.01, factor=3)
        assert isinstance(late.value, TimeoutError) and late.value.stage == "Told"
        gate.let_go(2)
        assert [gate.in_flight(), gate.in_flight()] == [{"factor": 3}, 2]
    assert end.got == [1, 2]


class Refuses(Stage):
    """Takes an even threshold only."""

    def __init__(self) -> None:
        self.threshold = 0

    def stage_run(self, x: int) -> Any:
        return x if x >= self.threshold else SKIP

    def update(self, **values: Any) -> None:
        if values["threshold"] % 2:
            raise ValueError(f"{values['threshold']} is odd")
        self.threshold = values["threshold"]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_the_stage_raises_is_told_and_the_stage_goes_on(executor: Any) -> None:
    end = Collect()
    with Pipeline([Refuses().options(executor=executor, workers=2), end], overflow="block") as p:
        with pytest.raises(UpdateError, match=r'worker 0 of stage "Refuses" failed in update: .*3 is odd') as caught:
            p.update("Refuses", threshold=3)
        assert (caught.value.stage, caught.value.worker) == ("Refuses", 0)
        assert type(caught.value.__cause__) is ValueError
        assert isinstance(caught.value, PipelineError)
        p.update("Refuses", threshold=4)
        for x in range(6):
            p.put(x)
    assert end.got == [4, 5]


def test_an_attribute_that_does_not_exist_is_named_with_those_that_do() -> None:
    class Call:
        factor = 2

        def __call__(self, x: int) -> int:
            return x * self.factor

    end = Collect()
    with Pipeline([stage(Factor(1), name="scale"), stage(Call(), name="call"), end], overflow="block") as p:
        with pytest.raises(UpdateError, match="Factor has no attribute 'faktor' to update: there are factor"):
            p.update("scale", factor=3, faktor=2)
        p.update("call", factor=10)
        p.put(1)
    assert end.got == [10], "none was set where one does not exist"


class Scales(Stage):
    factor = 1
    _hidden = 0
    __slots__ = ("slot",)

    @property
    def twice(self) -> int:
        return 2 * self.factor

    def stage_run(self, x: int) -> int:
        return x * self.factor


CALLED = ["stage_run", "setup", "update", "finish", "teardown"]


@pytest.mark.parametrize("name", [*CALLED, "_deeppipeline_options", "_deeppipeline_run_again", "__class__"])
def test_what_the_worker_calls_is_no_attribute_to_update(name: str) -> None:
    end = Collect()
    with Pipeline([Scales(), end], overflow="block") as p:
        with pytest.raises(UpdateError, match=f"Scales has {name!r} for its worker, not to update: there are factor"):
            p.update("Scales", **{name: 1, "factor": 2})
        p.put(1)
    assert end.got == [1]


def test_what_only_stages_have_is_no_attribute_to_update() -> None:
    with Pipeline([Scales(), Collect()]) as p:
        for name in ("options", "sample", "set_get_latest", "factro"):
            with pytest.raises(UpdateError, match=f"Scales has no attribute {name!r} to update: there are factor"):
                p.update("Scales", **{name: 1})


def test_attributes_of_the_class_and_those_that_have_names_of_methods_are_updated() -> None:
    class Own(Scales):
        sample: Any = 0

        def __init__(self) -> None:
            self.finish, self.slot = 1, 2  # type: ignore[method-assign,assignment]

        def stage_run(self, x: int) -> Any:
            return self.factor, self._hidden, self.sample, self.finish, self.slot

    end = Collect()
    with Pipeline([Own(), end], overflow="block") as p:
        with pytest.raises(UpdateError, match=r"there are finish, sample, factor, slot$"):
            p.update("Own", nothing=1)
        p.update("Own", factor=3, _hidden=4, sample=5, finish=6, slot=7)
        p.put(1)
    assert end.got == [(3, 4, 5, 6, 7)]


def test_the_call_of_an_object_is_no_attribute_to_update() -> None:
    class Call:
        setup = 1

        def __call__(self, x: int) -> int:
            return x * self.setup

    end = Collect()
    with Pipeline([stage(Call(), name="call"), end], overflow="block") as p:
        with pytest.raises(UpdateError, match="Call has '__call__' for its worker, not to update: there are setup"):
            p.update("call", __call__=1)
        p.update("call", setup=2)
        p.put(1)
    assert end.got == [2]


@pytest.mark.parametrize("intake", [Batch(2, max_wait=3600), Window(2)])
def test_a_stage_that_takes_lists_is_updated(intake: Any) -> None:
    class Sum(Stage):
        factor = 1

        def stage_run(self, list: list[int]) -> Any:
            return [x * self.factor for x in list] if isinstance(intake, Batch) else sum(list) * self.factor

    end = Collect()
    stages = [Sum().options(intake=intake, on_error=retry(1)), end]
    with Pipeline(stages, overflow="block", buffer_size=4) as p:
        p.put(1)
        p.update("Sum", factor=10)
        p.put(2)
    assert end.got == ([10, 20] if isinstance(intake, Batch) else [30])


def test_a_process_that_is_started_again_has_the_values() -> None:
    end = Collect()
    stages = [DiesOn(3).options(workers=1), end.options(executor="thread")]
    with Pipeline(stages, multiprocess=True, overflow="block", buffer_size=8) as p:
        p.update("DiesOn", factor=5)
        p.update("DiesOn", factor=7)
        for x in range(1, 6):
            p.put(x)
        report = p.setstop()
    assert end.got == [7, 14, 28, 35]
    assert (report.stages[0].restarts, report.stages[0].counts.lost) == (1, 1)


def test_a_paused_stage_is_updated() -> None:
    end = Collect()
    with Pipeline([Factor(1), end], overflow="block", buffer_size=4) as p:
        p.pause()
        p.put(1)
        p.update("Factor", factor=2)
        assert end.got == []
        p.resume()
    assert end.got == [2]


def test_what_cannot_be_updated_is_refused() -> None:
    p = Pipeline([Factor(1), Collect().options(executor="process")])
    with pytest.raises(StartError, match="update before start"):
        p.update("Factor", factor=2)
    with p:
        with pytest.raises(GraphError, match=r'no stage is named "Nobody"; there are \["Factor", "Collect"\]'):
            p.update("Nobody", factor=2)
        with pytest.raises(UpdateError, match="'Collect' cannot be sent to its process"):
            p.update("Collect", got=threading.Lock())
        with pytest.raises(UpdateError, match=r"'Collect' are .* bytes, but must be at most 16777216"):
            p.update("Collect", got=bytes(17 << 20))
    with pytest.raises(UpdateError, match="does not run any longer"):
        p.update("Factor", factor=2)


def test_a_stage_cannot_update_another_and_wait_for_itself() -> None:
    told: list[str] = []

    class Asks(Stage):
        def stage_run(self, x: int) -> int:
            try:
                p.update("Factor", factor=2)
            except UpdateError as error:
                told.append(str(error))
            return x

    p = Pipeline([Asks(), Factor(1), Collect()])
    with p:
        p.put(1)
        wait_until(lambda: bool(told))
    assert "from one of the pipeline's own stages" in told[0]


def test_updates_under_load_lose_nothing() -> None:
    end = Collect()
    with Pipeline([Factor(1).options(workers=2), end], source=itertools.count(), overflow="block") as p:
        for _ in range(100):
            p.update("Factor", factor=1)
        report = p.setstop()
    assert end.got == list(range(len(end.got)))
    assert report.balances()
