"""A log record knows the stage, the worker and the sample that it is about."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from DeepPipeline import LogContext, Many, Pipeline, Stage

logger = logging.getLogger("tests.of.log.context")


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.addFilter(LogContext())
        self.records: list[tuple[object, ...]] = []

    def emit(self, record: logging.LogRecord) -> None:
        context = vars(record)
        self.records.append(tuple(context[name] for name in ("stage", "worker", "source", "sample")))


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)


class Split(Stage):
    def setup(self) -> None:
        logger.info("sets up")

    def stage_run(self, x: int) -> Many:
        logger.info("splits")
        return Many([x, x])


class End(Stage):
    def stage_run(self, x: int) -> None:
        logger.info("ends")


@pytest.mark.parametrize("multiprocess", [False, True])
def test_what_a_stage_logs_says_where_it_comes_from(kept: Kept, multiprocess: bool) -> None:
    logger.info("outside")
    with Pipeline([Split(), End()], entrances=["north"], overflow="block", multiprocess=multiprocess) as p:
        p.put(1, entrance="north")
    assert sorted(kept.records, key=str) == sorted(
        [
            (None, None, None, None),
            ("Split", 0, None, None),
            ("Split", 0, "north", 1),
            ("End", 0, "north", "1.1"),
            ("End", 0, "north", "1.2"),
        ],
        key=str,
    )


async def looks(x: int) -> int:
    await asyncio.sleep(0)
    logger.info("looks")
    return x


def test_a_coroutine_knows_its_own_sample(kept: Kept) -> None:
    with Pipeline([looks, lambda x: None], overflow="block") as p:
        p.put(1)
        p.put(2)
    assert [record[1:] for record in kept.records] == [(0, None, 1), (0, None, 2)]
    assert all(isinstance(record[0], str) and "looks" in record[0] for record in kept.records)


def test_what_a_record_has_already_stays(kept: Kept) -> None:
    logger.info("as it is", extra={"sample": "mine", "stage": "of mine"})
    assert kept.records == [("of mine", None, None, "mine")]
