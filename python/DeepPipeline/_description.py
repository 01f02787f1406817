"""The description of a pipeline, as the engine takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from DeepPipeline._stage import Options, Overflow

if TYPE_CHECKING:
    from DeepPipeline._worker import SourceStage

Blocks = list[tuple[int, list[tuple[int, int]], bool]]
"""The blocks: of each its fork, the first and the last node of each branch, and whether they are joined."""


@dataclass(frozen=True)
class PipelineDescription:
    """A pipeline as plain data."""

    stages: list[Options]
    blocks: Blocks
    buffer_size: int | list[int]
    buffer_bytes: int | None
    overflow: Overflow | None
    source: SourceStage | None
    max_age: float | None
