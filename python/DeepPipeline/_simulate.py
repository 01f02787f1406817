"""What a pipeline would do, on a virtual clock: how long samples take, and when they arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import SupportsIndex

from DeepPipeline import _engine
from DeepPipeline._checks import checked_count, checked_seconds, what
from DeepPipeline._description import PipelineDescription
from DeepPipeline._engine import Report
from DeepPipeline.errors import GraphError

Durations = Mapping[str, float | Callable[[int], float]]
"""For stages by name: the seconds that each sample takes there, or a function from its number to them."""

Arrivals = Iterable[float] | Mapping[str, Iterable[float]]
"""The times at which samples arrive, by the name of the entrance where entrances have names."""

Flushes = Iterable[float] | Mapping[str, Iterable[float]]
"""The times at which all is flushed, or what has entered by a source or entrance, by its name."""

Pauses = Iterable[tuple[float, float]] | Mapping[str, Iterable[tuple[float, float]]]
"""The times from when and until when the first stage is paused, or a stage by its name."""

Scalings = Mapping[str, Iterable[tuple[float, SupportsIndex]]]
"""For stages by name: times, each with the number of workers from then on."""

LONGEST = 1e8
"""Seconds that a time in a simulation may be at most, some three years: its clock does not go on for ever."""


def every(interval: float, samples: SupportsIndex) -> list[float]:
    """The arrivals of so many samples, one every `interval` seconds from 0 on: those of a camera."""
    seconds = checked_seconds("interval", interval, zero=True)
    return [number * seconds for number in range(checked_count("samples", samples))]


def simulate(
    description: PipelineDescription,
    durations: Durations,
    arrivals: Arrivals,
    flushes: Flushes,
    pauses: Pauses,
    scalings: Scalings,
) -> Report:
    """Runs the simulation, and returns its report."""
    if not isinstance(durations, Mapping):
        raise GraphError(f"durations is {what(durations)}, but must be a dict of the names of stages and seconds")
    takes = [(name, _taking(f"durations[{name!r}]", duration)) for name, duration in durations.items()]
    entrances = [entrance.name for entrance in description.entrances]
    flushed, paused, scaled = _flushing(flushes), _pausing(pauses), _scaling(scalings)
    return _engine.simulate(description, takes, _arriving(arrivals, entrances), flushed, paused, scaled)


def _arriving(arrivals: Arrivals, entrances: list[str]) -> list[tuple[str | None, list[float]]]:
    if not entrances:
        return [(None, _times("arrivals", arrivals))]
    if not isinstance(arrivals, Mapping):
        wants = (
            f"must be a dict of the names of entrances and lists of times: there are {', '.join(map(repr, entrances))}"
        )
        raise GraphError(f"arrivals is {what(arrivals)}, but {wants}")
    return [(str(name), _times(f"arrivals[{name!r}]", times)) for name, times in arrivals.items()]


def _flushing(flushes: Flushes) -> list[tuple[str | None, float]]:
    if isinstance(flushes, Mapping):
        return [(str(name), time) for name, times in flushes.items() for time in _times(f"flushes[{name!r}]", times)]
    return [(None, time) for time in _times("flushes", flushes)]


def _scaling(scalings: Scalings) -> list[tuple[str, float, int]]:
    wants = "of pairs of a time, in seconds, and the number of workers from then on"
    if not isinstance(scalings, Mapping):
        raise GraphError(f"scalings is {what(scalings)}, but must be a dict of the names of stages and lists {wants}")
    checked = []
    for stage, steps in scalings.items():
        place = f"scalings[{stage!r}]"
        if not isinstance(steps, Iterable) or isinstance(steps, (str, Mapping)):
            raise GraphError(f"{place} is {what(steps)}, but must be a list {wants}")
        for index, step in enumerate(steps):
            if not isinstance(step, (tuple, list)) or len(step) != 2:
                raise GraphError(f"{place}[{index}] is {what(step)}, but the list must be {wants}")
            at, workers = step
            counted = checked_count(f"{place}[{index}][1]", workers, "workers")
            checked.append((str(stage), _checked(f"{place}[{index}][0]", at), counted))
    return checked


def _pausing(pauses: Pauses) -> list[tuple[str | None, float, float]]:
    if isinstance(pauses, Mapping):
        return [
            (str(stage), *pause) for stage, times in pauses.items() for pause in _spans(f"pauses[{stage!r}]", times)
        ]
    return [(None, *pause) for pause in _spans("pauses", pauses)]


def _spans(place: str, spans: object) -> list[tuple[float, float]]:
    wants = "must be a list of pairs of times, from when and until when, in seconds"
    if not isinstance(spans, Iterable) or isinstance(spans, Mapping):
        raise GraphError(f"{place} is {what(spans)}, but {wants}")
    checked = []
    for index, span in enumerate(spans):
        times = _times(f"{place}[{index}]", span)
        if len(times) != 2 or times[0] > times[1]:
            raise GraphError(f"{place}[{index}] is {span!r}, but {wants}")
        checked.append((times[0], times[1]))
    return checked


def _times(place: str, times: object) -> list[float]:
    if not isinstance(times, Iterable) or isinstance(times, Mapping):
        raise GraphError(f"{place} is {what(times)}, but must be a list of times, in seconds")
    return [_checked(f"{place}[{index}]", time) for index, time in enumerate(times)]


def _taking(place: str, duration: float | Callable[[int], float]) -> float | Callable[[int], float]:
    if callable(duration):
        ask = duration
        return lambda number: _checked(f"{place}({number})", ask(number))
    return _checked(place, duration)


def _checked(place: str, got: object) -> float:
    seconds = checked_seconds(place, got, zero=True)
    if seconds > LONGEST:
        raise GraphError(f"{place} is {got!r}, but must be a number of seconds, at most {LONGEST:g}")
    return seconds
