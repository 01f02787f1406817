"""The description of a pipeline, as the engine takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from DeepPipeline._stage import Options, Overflow

if TYPE_CHECKING:
    from DeepPipeline._worker import SourceStage


Join = Literal["all", "latest"]


@dataclass(frozen=True)
class Block:
    """Branches that work on the same samples, as places in the list of stages."""

    branches: list[tuple[int, int]]
    """Of each branch the first stage, and the one behind it."""
    join: Join | Literal["parts"] | None
    """The way the results are joined, for the stage behind; None if each branch ends in an end stage, and "parts" if
    parts of each sample go through the one branch."""
    routed: bool = False
    """True if each sample goes to one of the branches."""
    name: str = "parallel"


@dataclass(frozen=True)
class EntranceDescription:
    """An entrance that has a name."""

    name: str
    source: SourceStage | None
    overflow: Overflow | None
    max_age: float | None
    stall_timeout: float | None


@dataclass(frozen=True)
class PipelineDescription:
    """A pipeline as plain data."""

    stages: list[Options]
    blocks: list[Block]
    buffer_size: int | list[int]
    buffer_bytes: int | None
    overflow: Overflow | None
    source: SourceStage | None
    entrances: list[EntranceDescription]
    answers: bool
    """True if samples may be submitted: what the last stage gives is their answer."""
    fates: bool
    """True if the fate of every sample is told."""
    max_age: float | None
    stall_timeout: float | None
    record: int
    """The samples of each stage, the last, of which the timeline knows."""
