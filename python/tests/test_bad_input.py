"""Bad input gets a clear error before anything starts."""

import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from support import Collect, Pass

from DeepPipeline import (
    Batch,
    GraphError,
    Latest,
    Many,
    Pipeline,
    PipelineError,
    PutError,
    Restart,
    Route,
    Stage,
    StartError,
    Window,
    retry,
)


class Forgot(Stage):
    """A stage without stage_run."""


class Duck:
    """Looks like a stage."""

    def stage_run(self, x: Any) -> Any:
        return x


class Mute:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class NotSure(list[int]):
    """A source that may be live."""

    is_live = "maybe"


twin = Pass()


async def soon(*_: Any) -> Any:
    """Must be awaited."""


REFUSED: list[tuple[str, Callable[[], object], str]] = [
    (
        "an async key",
        lambda: Window(2, key=soon),  # type: ignore[arg-type]
        "key is soon, which is async, but must be a function that returns the key: await in a stage before",
    ),
    (
        "an async way",
        lambda: Route(soon, {1: Pass()}),  # type: ignore[arg-type]
        "by is soon, which is async, but must be a function that returns the key: await in a stage before",
    ),
    (
        "an async opening",
        lambda: Restart(soon),
        "open is soon, which is async, but must be a function that returns the source",
    ),
    ("no stages", lambda: Pipeline([]), "stages is empty: a pipeline needs at least one stage"),
    (
        "one size too many",
        lambda: Pipeline([Pass(), Pass()], buffer_size=[2, 2, 2]),
        "buffer_size has 3 sizes, but the pipeline has 2 stages (the end stage counts): "
        "give one size per stage, or a single number for all",
    ),
    (
        "the end stage counts",
        lambda: Pipeline([Pass()], end_stage=Pass(), buffer_size=[2]),
        "buffer_size has 1 sizes, but the pipeline has 2 stages (the end stage counts): "
        "give one size per stage, or a single number for all",
    ),
    (
        "size 0",
        lambda: Pipeline([Pass()], buffer_size=0),
        "buffer_size is 0, but must be a whole number of samples, at least 1",
    ),
    (
        "size 0 in a list",
        lambda: Pipeline([Pass(), Pass()], buffer_size=[1, 0]),
        "buffer_size[1] is 0, but must be a whole number of samples, at least 1",
    ),
    (
        "negative",
        lambda: Pipeline([Pass()], buffer_size=-2),
        "buffer_size is -2, but must be a whole number of samples, at least 1",
    ),
    (
        "boolean",
        lambda: Pipeline([Pass()], buffer_size=True),
        "buffer_size is True (bool), but must be a whole number of samples, at least 1",
    ),
    (
        "float",
        lambda: Pipeline([Pass()], buffer_size=2.0),  # type: ignore[arg-type]
        "buffer_size is 2.0 (float), but must be a whole number of samples, at least 1",
    ),
    (
        "text",
        lambda: Pipeline([Pass()], buffer_size="2"),  # type: ignore[arg-type]
        "buffer_size is '2' (str), but must be a whole number of samples, at least 1",
    ),
    (
        "None",
        lambda: Pipeline([Pass()], buffer_size=None),  # type: ignore[arg-type]
        "buffer_size is None, but must be a whole number of samples, at least 1",
    ),
    (
        "numpy's bool",
        lambda: Pipeline([Pass()], buffer_size=[np.bool_(True)]),  # type: ignore[list-item]
        "but must be a whole number of samples, at least 1",
    ),
    (
        "more than the machine can count",
        lambda: Pipeline([Pass()], buffer_size=2**64),
        "buffer_size is 18446744073709551616, but must be a whole number of samples, at least 1 and at most",
    ),
    (
        "a number",
        lambda: Pipeline([Pass(), 3]),  # type: ignore[list-item]
        "stages[1] is 3 (int), but must be a stage: a function, or an object of a subclass of Stage",
    ),
    (
        "a duck",
        lambda: Pipeline([Duck()]),  # type: ignore[list-item]
        "but must be a stage: a function, or an object of a subclass of Stage",
    ),
    (
        "something that cannot be shown",
        lambda: Pipeline([Mute()]),  # type: ignore[list-item]
        "stages[0] is an object of type Mute, but must be a stage",
    ),
    (
        "a class",
        lambda: Pipeline([Pass(), Collect]),  # type: ignore[list-item]
        "stages[1] is the class Collect, but must be an instance: write Collect()",
    ),
    (
        "a class as end stage",
        lambda: Pipeline([Pass()], end_stage=Collect),  # type: ignore[arg-type]
        "end_stage is the class Collect, but must be an instance: write Collect()",
    ),
    (
        "a stage instead of a list",
        lambda: Pipeline(Pass()),  # type: ignore[arg-type]
        "stages is a single Pass, but must be a list of stages: [Pass()]",
    ),
    (
        "a class instead of a list",
        lambda: Pipeline(Pass),  # type: ignore[arg-type]
        "but must be a list of stages",
    ),
    (
        "None instead of a list",
        lambda: Pipeline(None),  # type: ignore[arg-type]
        "stages is None, but must be a list of stages",
    ),
    (
        "the same twice",
        lambda: Pipeline([twin, Pass(), twin]),
        "stages[2] is the same object as stages[0] (Pass): every stage needs an object of its own",
    ),
    (
        "the end stage again",
        lambda: Pipeline([twin], end_stage=twin),
        "end_stage is the same object as stages[0] (Pass)",
    ),
    (
        "no stage_run",
        lambda: Pipeline([Pass(), Forgot()]),
        "stages[1], of class Forgot, has no stage_run: write stage_run(self, x)",
    ),
    (
        "the base class",
        lambda: Pipeline([Stage()]),
        "stages[0], of class Stage, has no stage_run: write stage_run(self, x)",
    ),
    (
        "stage_run is no method",
        lambda: Pipeline([type("Odd", (Stage,), {"stage_run": 5})()]),
        "stages[0] has a stage_run that cannot be called: 5 (int)",
    ),
    (
        "unknown policy",
        lambda: Pipeline([Pass()], overflow="drop"),  # type: ignore[arg-type]
        "overflow is 'drop', but must be one of 'drop_oldest', 'drop_newest', 'block'",
    ),
    (
        "unknown policy of a stage",
        lambda: Pass().options(overflow="wait"),  # type: ignore[arg-type]
        "overflow is 'wait', but must be one of 'drop_oldest', 'drop_newest', 'block'",
    ),
    (
        "unknown on_error",
        lambda: Pass().options(on_error="retry"),  # type: ignore[arg-type]
        "on_error is 'retry', but must be one of 'stop', 'skip' or retry(times)",
    ),
    ("no workers", lambda: Pass().options(workers=0), "workers is 0, but must be a whole number, 1 to 1024"),
    (
        "too many workers",
        lambda: Pass().options(workers=1025),
        "workers is 1025, but must be a whole number, 1 to 1024",
    ),
    ("workers by flag", lambda: Pass().options(workers=True), "workers is True, but must be a whole number, 1 to 1024"),
    (
        "half a worker",
        lambda: Pass().options(workers=1.5),  # type: ignore[arg-type]
        "workers is 1.5, but must be a whole number, 1 to 1024",
    ),
    (
        "ordered by number",
        lambda: Pass().options(ordered=1),  # type: ignore[arg-type]
        "ordered is 1 (int), but must be True or False",
    ),
    (
        "numpy's bool for a number",
        lambda: Pass().options(workers=np.bool_(True)),  # type: ignore[arg-type]
        "workers is np.True_, but must be a whole number, 1 to 1024",
    ),
    (
        "many numbers for one",
        lambda: Pass().options(max_restarts=np.array([1, 2])),
        "max_restarts is array([1, 2]), but must be a whole number, at least 0",
    ),
    (
        "numpy's bool for seconds",
        lambda: Pass().options(time_limit=np.bool_(True)),  # type: ignore[arg-type]
        "time_limit is np.True_, but must be a number of seconds, more than 0",
    ),
    (
        "less time than a float can tell",
        lambda: Pass().options(time_limit=-(10**400)),
        "0, but must be a number of seconds, more than 0",
    ),
    ("no age", lambda: Pass().options(max_age=0), "max_age is 0, but must be a number of seconds, more than 0"),
    (
        "an age in words",
        lambda: Pass().options(max_age="1"),  # type: ignore[arg-type]
        "max_age is '1', but must be a number of seconds, more than 0",
    ),
    ("no age at all", lambda: Pipeline([Pass()], max_age=-1), "max_age is -1, but must be a number of seconds, more"),
    (
        "an age that is no number",
        lambda: Pipeline([Pass()], max_age=float("nan")),
        "max_age is nan, but must be a number of seconds, more than 0",
    ),
    (
        "an age that the clock does not tell",
        lambda: Pipeline([Pass()], max_age=1e-300),
        'max_age of stage "Pass" is 0, but must be more',
    ),
    (
        "an empty batch",
        lambda: Pass().set_get_batch(0, 1),
        "max_size is 0, but must be a whole number of samples, at least 1",
    ),
    (
        "a batch that waits less than nothing",
        lambda: Pass().set_get_batch(2, -1),
        "timeout is -1, but must be a number of seconds, at least 0",
    ),
    (
        "an intake by name",
        lambda: Pass().options(intake="latest"),  # type: ignore[arg-type]
        "intake is 'latest' (str), but must be Single(), Latest(), All(), Batch(...) or Window(...)",
    ),
    (
        "the class of an intake",
        lambda: Pass().options(intake=Latest),  # type: ignore[arg-type]
        "intake is the class Latest, but must be an instance: write Latest()",
    ),
    (
        "the class of a batch",
        lambda: Pass().options(intake=Batch),  # type: ignore[arg-type]
        "intake is the class Batch, but must be an instance: write Batch(...)",
    ),
    (
        "a batch by value that waits less than nothing",
        lambda: Batch(2, max_wait=-1),
        "max_wait is -1, but must be a number of seconds, at least 0",
    ),
    (
        "a batch that folds by a word",
        lambda: Batch(2, fold="yes"),  # type: ignore[arg-type]
        "fold is 'yes' (str), but must be True or False",
    ),
    (
        "no buffer of its own",
        lambda: Pass().options(buffer_size=0),
        "buffer_size is 0, but must be a whole number of samples, at least 1",
    ),
    (
        "bytes between threads",
        lambda: Pipeline([Pass().options(buffer_bytes=1)]),
        'buffer_bytes of stage "Pass" is set, but neither it nor the stage before it runs in a process',
    ),
    (
        "a batch beyond its buffer",
        lambda: Pipeline([Pass().set_get_batch(3, 1)], buffer_size=2),
        'stage "Pass" takes batches of up to 3, but its buffer_size is 2: give it a buffer_size of 3 or more',
    ),
    ("an empty window", lambda: Pass().set_get_window(0), "size is 0, but must be a whole number of samples, at least"),
    ("no stride", lambda: Pass().set_get_window(2, 0), "stride is 0, but must be a whole number of samples, at least"),
    (
        "half a stride",
        lambda: Pass().set_get_window(2, 0.5),  # type: ignore[arg-type]
        "stride is 0.5 (float), but must be a whole number of samples, at least 1",
    ),
    (
        "a key by name",
        lambda: Pass().set_get_window(2, key="track"),  # type: ignore[arg-type]
        "key is 'track' (str), but must be None or a function from a sample to its key",
    ),
    (
        "no keys",
        lambda: Pass().set_get_window(2, key=id, max_keys=0),
        "max_keys is 0, but must be a whole number of keys, at least 1",
    ),
    (
        "idle at once",
        lambda: Pass().set_get_window(2, key=id, idle=0),
        "idle is 0, but must be a whole number of samples, at least 1",
    ),
    (
        "a window for several workers",
        lambda: Pipeline([Pass().set_get_window(2).options(workers=2)]),
        'stage "Pass" takes windows and has 2 workers, each of which would see some of the samples: '
        "leave workers and max_workers out",
    ),
    ("empty name", lambda: Pass().options(name=""), "name is '', but must be a string that is not empty"),
    (
        "half a surrogate pair",
        lambda: Pass().options(name="caf\udce9"),
        "name is 'caf\\udce9', but must be text that UTF-8 can write",
    ),
    (
        "latest beside block",
        lambda: Pipeline([Pass().set_get_latest().options(overflow="block")]),
        'stage "Pass" takes latest, which implies overflow "drop_oldest", but its overflow is set to "block"',
    ),
    (
        "a source that cannot say whether it is live",
        lambda: Pipeline([Pass()], source=NotSure()),
        "source.is_live is 'maybe' (str), but must be True or False",
    ),
    ("run without a source", lambda: Pipeline([Pass()]).run(), "run needs a source: run(source), or Pipeline(source="),
    (
        "two sources",
        lambda: Pipeline([Pass()], source=[1]).run([2]),
        "run got a source, but the pipeline has one already",
    ),
    ("Many of one", lambda: Many(5), "Many wants an iterable of values, but got int"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("refused", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(refused: Callable[[], object], message: str) -> None:
    threads = threading.enumerate()
    with pytest.raises((GraphError, TypeError)) as caught:
        refused()
    assert message in str(caught.value)
    assert threading.enumerate() == threads


@pytest.mark.parametrize("timeout", [-1, -0.5, float("nan"), True, "1", [1], np.float32("nan")])
def test_a_timeout_that_is_none(timeout: Any) -> None:
    with pytest.raises(GraphError, match=r"timeout is .*, but must be None or a number of seconds, at least 0"):
        Pipeline([Pass()]).start(timeout=timeout)
    with Pipeline([Pass()]) as p:
        with pytest.raises(GraphError, match="timeout is"):
            p.put(1, timeout=timeout)
        with pytest.raises(GraphError, match=r"abort_after is .*, but must be None or a number of seconds, at least 0"):
            p.setstop(abort_after=timeout)


@pytest.mark.parametrize("timeout", [float("inf"), 1e300, 1e18, 10**400, 2**63, 30, np.float32(30), np.int64(30)])
def test_a_timeout_beyond_the_clock_is_one(timeout: Any) -> None:
    end = Collect()
    p = Pipeline([end], overflow="block").start(timeout=timeout)
    assert p.put(1, timeout=timeout)
    assert p.setstop(abort_after=timeout).outcome == "finished"
    assert end.got == [1]


def test_sizes_of_all_kinds() -> None:
    for size in (3, np.int64(3), np.uint8(3), [3], (3,), iter([3]), np.array([3])):
        with Pipeline([Pass()], buffer_size=size) as p:
            assert [stage.buffer_size for stage in p.report().stages] == [3]


def test_options_of_all_kinds() -> None:
    one, second, yes = np.int64(1), np.float32(1.5), np.bool_(True)
    stages = [
        Pass()
        .options(workers=one, time_limit=second, max_age=Fraction(3, 2), ordered=yes)  # type: ignore[arg-type]
        .options(on_error=retry(one), time_limit=10**400),
        Pass().set_get_batch(one, second).options(max_age=one),  # type: ignore[arg-type]
        Pass().set_get_window(one, one, key=id, max_keys=one, idle=one, partial=yes),  # type: ignore[arg-type]
    ]
    with Pipeline(stages, max_age=second, multiprocess=np.bool_(False)) as p:  # type: ignore[arg-type]
        assert [stage.workers for stage in p.report().stages] == [1, 1, 1]
    Pipeline([Pass().options(max_restarts=np.uint8(0))], multiprocess=True, buffer_bytes=one)


def test_stages_of_all_kinds() -> None:
    for stages in ((Pass(), Pass()), (Pass() for _ in range(2)), iter([Pass(), Pass()])):
        with Pipeline(stages) as p:
            assert len(p.report().stages) == 2


def test_options_said_after_the_pipeline_was_made() -> None:
    stage = Pass()
    p = Pipeline([stage])
    stage.set_get_latest().options(overflow="block")
    with pytest.raises(GraphError, match="takes latest"):
        p.start()
    stage.set_get_single().options(name="late")
    with p:
        assert p.report().stages[0].name == "late"


def test_put_before_start() -> None:
    p = Pipeline([Pass()])
    with pytest.raises(PutError, match="put before start: call start") as caught:
        p.put("kept")
    assert caught.value.value == "kept"


@pytest.mark.parametrize("method", ["setstop", "join", "abort", "report"])
def test_before_start(method: str) -> None:
    with pytest.raises(StartError, match=f"{method} before start: call start"):
        getattr(Pipeline([Pass()]), method)()


def test_put_after_setstop() -> None:
    p = Pipeline([Pass()]).start()
    p.setstop()
    with pytest.raises(PutError, match="put after setstop: the pipeline takes no more samples") as caught:
        p.put("kept")
    assert caught.value.value == "kept"


def test_start_twice() -> None:
    with Pipeline([Pass()]) as p:
        with pytest.raises(StartError, match="start was called twice: a pipeline runs once"):
            p.start()
        with pytest.raises(StartError, match="start was called twice"):
            p.run([1])
        assert p.put(1)
    with pytest.raises(StartError, match="start was called twice"):
        p.start()


def test_put_on_a_pipeline_with_a_source() -> None:
    with (
        Pipeline([Pass()], source=iter([1, 2])) as p,
        pytest.raises(PutError, match="its samples come from the source alone"),
    ):
        p.put("kept")


def test_put_from_an_own_stage() -> None:
    errors: list[PutError] = []

    class Putter(Stage):
        def stage_run(self, x: int) -> None:
            with pytest.raises(PutError, match="put from one of the pipeline's own stages: return the value") as caught:
                p.put(x + 1)
            errors.append(caught.value)

    p = Pipeline([Putter()]).start()
    p.put(1)
    p.setstop()
    assert [error.value for error in errors] == [2]


def test_every_error_is_a_pipeline_error() -> None:
    for kind in (GraphError, PutError, StartError):
        assert issubclass(kind, PipelineError)
    assert issubclass(GraphError, ValueError)
