"""Branches that work on the same samples at the same time, and how a pipeline with branches is described in a row."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from DeepPipeline._called import check_not_awaited
from DeepPipeline._checks import one_of, what
from DeepPipeline._description import Block, Join
from DeepPipeline._function import StageLike, as_stage, what_it_is
from DeepPipeline._stage import CALLED, Stage
from DeepPipeline.errors import GraphError
from DeepPipeline.for_each import ForEach

JOINS: tuple[Join, ...] = get_args(Join)


class Parallel:
    """Branches that all get the same samples at the same time: an element of a pipeline's `stages`.

    A branch is a stage or a function, or a list of them and of further blocks; there are at least two. The stage after
    the block gets the results of all branches as a tuple, in their order. A sample that one branch drops, skips, fails
    on or loses is counted as unjoined, and holds up nothing. At the end of a pipeline the branches end in end stages:
    to show and to save.

    With `join="latest"` each result of the first branch goes on at once, with the newest result of each of the others
    beside it: None before there is one. So a detector may be slow, and every frame is drawn all the same. A branch
    behind the first begins by dropping the oldest where it cannot keep up, unless its first stage has an `overflow` of
    its own.

    Branches on threads get the same object, and so does what gets one newest result several times: a stage that changes
    what it gets makes a copy first.
    """

    def __init__(
        self,
        branches: Iterable[Element | Iterable[Element]],
        *,
        join: Join = "all",
    ) -> None:
        if isinstance(branches, (Stage, Parallel, Route, ForEach, str, bytes, dict)) or not isinstance(
            branches, Iterable
        ):
            raise GraphError(f"Parallel got {what(branches)}, but wants a list of branches: stages, or lists of stages")
        self._branches = [_branch(branch) for branch in branches]
        self._join: Join = one_of("join", join, JOINS)

    def __repr__(self) -> str:
        join = "" if self._join == "all" else f", join={self._join!r}"
        return f"Parallel({self._branches!r}{join})"


def _branch(branch: Any) -> Any:
    # A model that can be called may be a list of its layers too.
    if isinstance(branch, Iterable) and not callable(branch) and not isinstance(branch, (Stage, str, bytes, dict)):
        return [*branch]
    return branch  # a stage, a block, or what is refused once its place is known


class Route:
    """Ways of which each sample goes one: an element of a pipeline's `stages`.

    `by(x)` gives a key for each sample, which goes the way that `ways` has for it: a stage, a function, or a list of
    them and of further blocks. A key that `ways` does not have goes the way `otherwise`; without one it is an error,
    which stops the pipeline. The stage behind gets the results of all ways, in the order in which the samples came in.
    A sample that ends on its way, since it is dropped or skipped, say, holds up nothing. At the end of a pipeline each
    way ends in an end stage.

    `by` runs in the pipeline's own process, on a thread of its own.
    """

    def __init__(
        self,
        by: Callable[[Any], Hashable],
        ways: Mapping[Any, Element | Iterable[Element]],
        *,
        otherwise: Element | Iterable[Element] | None = None,
    ) -> None:
        if not callable(by):
            raise GraphError(f"by is {what(by)}, but must be a function from a sample to its key")
        check_not_awaited("by", by, "a function that returns the key: await in a stage before")
        if not isinstance(ways, Mapping):
            raise GraphError(f"ways is {what(ways)}, but must be a dict from keys to stages, or lists of stages")
        if not ways and otherwise is None:
            raise GraphError("ways is empty: give a stage for a key, or an otherwise")
        self._by = by
        self._ways = {key: _branch(way) for key, way in ways.items()}
        self._otherwise = None if otherwise is None else _branch(otherwise)

    def __repr__(self) -> str:
        otherwise = "" if self._otherwise is None else f", otherwise={self._otherwise!r}"
        return f"Route({self._by!r}, {self._ways!r}{otherwise})"


class Way:
    """A sample, and the way that it goes."""

    __slots__ = ("branch", "value")

    def __init__(self, branch: int, value: Any) -> None:
        self.branch = branch
        self.value = value


class Router(Stage):
    """What runs in front of a route: it chooses a way."""

    def __init__(self, route: Route) -> None:
        self._by = route._by
        self._branches = {key: branch for branch, key in enumerate(route._ways)}
        self._otherwise = None if route._otherwise is None else len(self._branches)

    def stage_run(self, x: Any) -> Way:
        key = self._by(x)
        branch = self._branches.get(key, self._otherwise)
        if branch is None:
            raise LookupError(f"no way is for the key {key!r}: there are {[*self._branches]!r}, and no otherwise")
        return Way(branch, x)


Element = StageLike | Parallel | Route | ForEach
"""What may stand in a chain: a stage, a function, or a block."""

EXAMPLES = [
    (Parallel, "Parallel([one, another])"),
    (Route, "Route(by, {key: stage})"),
    (ForEach, "ForEach(split, [stage], join)"),
]

Chain = Sequence["Stage | Branches"]


@dataclass(frozen=True)
class Branches:
    """A block that has been checked."""

    branches: list[Chain]
    join: Join
    router: Router | None = None
    """What chooses a branch, where each sample goes to one."""
    split: Stage | None = None
    """What splits samples, where their parts go through the one branch."""
    put_together: Stage | None = None
    """What gets a sample with the results of its parts, if it is not the stage behind."""


def checked_chain(stages: Iterable[Element], end_stage: Element | None) -> tuple[list[Stage | Branches], int]:
    """The stages as they were given, and how many there are, if each of them can be one."""
    if isinstance(stages, Stage):
        name = type(stages).__name__
        raise GraphError(f"stages is a single {name}, but must be a list of stages: [{name}()]")
    if isinstance(stages, (Parallel, Route, ForEach)):
        name = type(stages).__name__
        raise GraphError(f"stages is a single {name}, but must be a list of stages: [{name}(...)]")
    if not isinstance(stages, Iterable) or isinstance(stages, (str, bytes, dict)):
        raise GraphError(f"stages is {what(stages)}, but must be a list of stages")
    seen: list[tuple[str, object]] = []
    chain = [_checked(f"stages[{index}]", stage, seen) for index, stage in enumerate(stages)]
    if end_stage is not None:
        chain.append(_checked("end_stage", end_stage, seen))
    for index, (place, stage) in enumerate(seen):
        for earlier_place, earlier in seen[:index]:
            if earlier is stage:
                raise GraphError(
                    f"{place} is the same object as {earlier_place} ({type(stage).__name__}): "
                    "every stage needs an object of its own"
                )
    return chain, len(seen)


def checked_stage(place: str, got: object) -> Stage:
    """Returns what was given, or a stage made of it, if it can be one."""
    stage = _checked(place, got, [])
    if not isinstance(stage, Stage):
        raise GraphError(f"{place} is a {type(got).__name__}, but must be one stage")
    return stage


def _checked(place: str, got: object, seen: list[tuple[str, object]]) -> Stage | Branches:
    if isinstance(got, Parallel):
        if len(got._branches) < 2:
            raise GraphError(
                f"{place} is a Parallel of {len(got._branches)} branches, but must have at least 2: "
                "Parallel([one, another])"
            )
        branches = [_checked_branch(f"{place}[{index}]", branch, seen) for index, branch in enumerate(got._branches)]
        return Branches(branches, got._join)
    if isinstance(got, Route):
        named = [*((f"{place}[{key!r}]", way) for key, way in got._ways.items())]
        if got._otherwise is not None:
            named.append((f"{place}'s otherwise", got._otherwise))
        return Branches([_checked_branch(way_place, way, seen) for way_place, way in named], "all", Router(got))
    if isinstance(got, ForEach):
        seen.append((f"{place}'s split", got._split))
        stages = _checked_branch(f"{place}[0]", _branch(got._stages), seen)
        if got._join is not None:
            seen.append((f"{place}'s join", got._join))
        return Branches([stages], "all", split=got._split, put_together=got._join)
    for block, example in EXAMPLES:
        if got is block:
            raise GraphError(f"{place} is the class {block.__name__}, but must be an instance: write {example}")
    stage = as_stage(place, got)
    if type(stage).stage_run is Stage.stage_run and not callable(vars(stage).get("stage_run")):
        raise GraphError(f"{place}, of class {type(stage).__name__}, has no stage_run: write stage_run(self, x)")
    for method in CALLED:
        found = getattr(type(stage), method)
        if not callable(found):
            raise GraphError(
                f"{place} has a {method} that cannot be called: {what(found)}. A worker calls it: "
                f"give that attribute of {type(stage).__name__} another name"
            )
    seen.append((place, what_it_is(stage)))
    return stage


def _checked_branch(place: str, branch: object, seen: list[tuple[str, object]]) -> Chain:
    if not isinstance(branch, list):
        return [_checked(place, branch, seen)]
    if not branch:
        raise GraphError(f"{place} is an empty branch: add a stage to it")
    return [_checked(f"{place}[{index}]", stage, seen) for index, stage in enumerate(branch)]


class Relay(Stage):
    """What a relay runs, which the engine adds in front of a block or behind a branch: it gives what it gets."""

    def stage_run(self, x: Any) -> Any:
        return x


@dataclass
class Row:
    """A pipeline as the engine is told: its stages in reading order, and what of it runs in parallel."""

    stages: list[Stage] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    routers: dict[int, Router] = field(default_factory=dict)
    """What chooses the way, by the index of the block."""


def in_a_row(chain: Chain) -> Row:
    """All stages of a pipeline in reading order."""
    row = Row()
    _add(chain, row, is_end=True)
    return row


def _add(chain: Chain, row: Row, *, is_end: bool) -> None:
    for index, stage in enumerate(chain):
        if isinstance(stage, Stage):
            row.stages.append(stage)
            continue
        if stage.split is not None:
            _add_for_each(stage, stage.split, row)
            continue
        is_joined = not is_end or index + 1 < len(chain)
        router = stage.router
        block = Block(
            [], stage.join if is_joined else None, router is not None, "parallel" if router is None else "route"
        )
        if router is not None:
            row.routers[len(row.blocks)] = router
        row.blocks.append(block)
        for branch in stage.branches:
            first = len(row.stages)
            _add(branch, row, is_end=not is_joined)
            block.branches.append((first, len(row.stages)))


def _add_for_each(block: Branches, split: Stage, row: Row) -> None:
    row.stages.append(split)
    described = Block([], "parts", name="for each")
    row.blocks.append(described)
    first = len(row.stages)
    _add(block.branches[0], row, is_end=False)
    described.branches.append((first, len(row.stages)))
    if block.put_together is not None:
        row.stages.append(block.put_together)
