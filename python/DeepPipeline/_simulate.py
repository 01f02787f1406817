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

LONGEST = 1e8
"""Seconds that a time in a simulation may be at most, some three years: its clock does not go on for ever."""


def every(interval: float, samples: SupportsIndex) -> list[float]:
    """The arrivals of so many samples, one every `interval` seconds from 0 on: those of a camera."""
    seconds = checked_seconds("interval", interval, zero=True)
    return [number * seconds for number in range(checked_count("samples", samples))]


def simulate(
    description: PipelineDescription, durations: Durations, arrivals: Iterable[float], flushes: Iterable[float]
) -> Report:
    """Runs the simulation, and returns its report."""
    if not isinstance(durations, Mapping):
        raise GraphError(f"durations is {what(durations)}, but must be a dict of the names of stages and seconds")
    takes = [(name, _taking(f"durations[{name!r}]", duration)) for name, duration in durations.items()]
    return _engine.simulate(description, takes, _times("arrivals", arrivals), _times("flushes", flushes))


def _times(argument: str, times: Iterable[float]) -> list[float]:
    if not isinstance(times, Iterable):
        raise GraphError(f"{argument} is {what(times)}, but must be a list of times, in seconds")
    return [_checked(f"{argument}[{index}]", time) for index, time in enumerate(times)]


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
