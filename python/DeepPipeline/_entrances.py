"""The entrances of a pipeline that have names: where samples are put, and the sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from DeepPipeline._checks import checked_seconds, one_of, what
from DeepPipeline._description import EntranceDescription
from DeepPipeline._restart import source_stage
from DeepPipeline._sources import Source
from DeepPipeline._stage import OVERFLOWS, Overflow
from DeepPipeline.errors import GraphError


@dataclass(frozen=True)
class Entrance:
    """An entrance with options of its own: `sources={"north": Entrance(camera, overflow="block")}`.

    - `source`: what samples come from; None where they are put, by the name of the entrance.
    - `overflow`: what happens when as many of its samples wait as the first stage's `buffer_size` says. Otherwise what
      the first stage or the pipeline says; a source that is not live waits, and the oldest is dropped elsewhere.
    - `max_age`: how many seconds old its samples may be when the first stage takes them; an older one is dropped.
    - `stall_timeout`: how many seconds the source may give nothing before it is stalled.
    """

    source: Source | None = None
    overflow: Overflow | None = None
    max_age: float | None = None
    stall_timeout: float | None = None


def checked_sources(sources: Mapping[str, Source | Entrance] | None) -> list[EntranceDescription]:
    """The sources that were given by name."""
    if sources is None:
        return []
    if not isinstance(sources, Mapping):
        raise GraphError(f"sources is {what(sources)}, but must be a dict of names and sources")
    if not sources:
        raise GraphError("sources is empty: give at least one source, by its name, or leave it out")
    described = [checked_named_source(f"sources[{name!r}]", name, source) for name, source in sources.items()]
    given: dict[int, str] = {}
    for entrance in described:
        source = entrance.source
        before = None if source is None else given.setdefault(id(source.given), entrance.name)
        if before is not None and before != entrance.name and source is not None and source.is_used_up_by_one:
            raise GraphError(
                f"sources[{before!r}] and sources[{entrance.name!r}] are the same {what(source.given)}, of which each "
                "would get a part: give each one of its own"
            )
    return described


def checked_named_source(place: str, name: object, source: Source | Entrance) -> EntranceDescription:
    """One source that was given by name."""
    entrance = source if isinstance(source, Entrance) else Entrance(source)
    if entrance.source is None:
        raise GraphError(f"{place} has no source: name it among the entrances, to put into it")
    return _described(place, name, entrance)


def checked_entrances(entrances: Iterable[str] | Mapping[str, Entrance] | None) -> list[EntranceDescription]:
    """The entrances to put into."""
    if entrances is None:
        return []
    if isinstance(entrances, (str, bytes)) or not isinstance(entrances, Iterable):
        raise GraphError(
            f"entrances is {what(entrances)}, but must be a list of names, or a dict of names and Entrance(...)"
        )
    named = entrances.items() if isinstance(entrances, Mapping) else [(name, Entrance()) for name in entrances]
    described: list[EntranceDescription] = []
    for name, entrance in named:
        place = f"entrances[{name!r}]"
        if not isinstance(entrance, Entrance):
            raise GraphError(
                f"{place} is {what(entrance)}, but must be an Entrance(...); what has a source is one of sources"
            )
        if entrance.source is not None:
            raise GraphError(f"{place} has a source: give it as one of sources, whose samples are not put")
        described.append(_described(place, name, entrance))
    if not described:
        raise GraphError("entrances is empty: give at least one name, or leave it out")
    return described


def _described(place: str, name: object, entrance: Entrance) -> EntranceDescription:
    if not isinstance(name, str):
        raise GraphError(f"{place}: the name is {what(name)}, but must be a str")
    source = None if entrance.source is None else source_stage(entrance.source, place)
    overflow: Overflow | None = None
    if entrance.overflow is not None:
        overflow = one_of(f"overflow of {place}", entrance.overflow, OVERFLOWS)
    max_age = None if entrance.max_age is None else checked_seconds(f"max_age of {place}", entrance.max_age)
    stall_timeout = entrance.stall_timeout
    if stall_timeout is not None:
        stall_timeout = checked_seconds(f"stall_timeout of {place}", stall_timeout)
    return EntranceDescription(name, source, overflow, max_age, stall_timeout)


Sources = Mapping[str, Source | Entrance]
"""Sources by name."""

Entrances = Iterable[str] | Mapping[str, Entrance]
"""Entrances to put into, by name."""
