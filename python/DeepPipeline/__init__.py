"""Run a chain of stages with every stage busy at the same time on a different sample.

>>> from DeepPipeline import Pipeline, Stage
>>> class Double(Stage):
...     def stage_run(self, x):
...         return 2 * x
>>> class Show(Stage):
...     def stage_run(self, x):
...         print(x)
>>> with Pipeline(stages=[Double(), Show()], buffer_size=2, overflow="block") as p:
...     for i in range(3):
...         _ = p.put(i)
0
2
4
"""

from DeepPipeline._answers import Answer
from DeepPipeline._dashboard import Dashboard
from DeepPipeline._dead_letters import DeadLetter, DeadLetters, replay
from DeepPipeline._engine import (
    BufferCounts,
    Explanation,
    JoinCounts,
    JoinReport,
    Mark,
    Prediction,
    Recent,
    Report,
    SampleId,
    Shares,
    SourceReport,
    Spread,
    StageCounts,
    StageReport,
    Ticket,
    Timeline,
    TimelineStage,
    Tuned,
    Visit,
    WorkerReport,
)
from DeepPipeline._entrances import Entrance
from DeepPipeline._fates import FateEvent
from DeepPipeline._function import stage
from DeepPipeline._give import SKIP, Failed, Many
from DeepPipeline._intake import All, Batch, Latest, Single, Window
from DeepPipeline._log_context import LogContext
from DeepPipeline._simulate import every
from DeepPipeline._sources import Restart
from DeepPipeline._stage import Retry, Sample, Stage, retry
from DeepPipeline._windows import Windows
from DeepPipeline.errors import (
    DeadLetterError,
    Discarded,
    Dropped,
    Flushed,
    FlushTimeout,
    GraphError,
    Lost,
    NoAnswer,
    PipelineError,
    PutAfterFailure,
    PutError,
    PutTimeout,
    RemoteError,
    ResultTimeout,
    SampleFailed,
    ScaleError,
    ScaleTimeout,
    SendError,
    Skipped,
    StageError,
    StartError,
    StartTimeout,
    UpdateError,
    UpdateTimeout,
    WorkerDied,
)
from DeepPipeline.for_each import ForEach, Missing
from DeepPipeline.parallel import Parallel, Route
from DeepPipeline.pipeline import Pipeline
from DeepPipeline.signals import StopSignals, drain_on_signals
from DeepPipeline.stream import Results, Stream

__all__ = [
    "SKIP",
    "All",
    "Answer",
    "Batch",
    "BufferCounts",
    "Dashboard",
    "DeadLetter",
    "DeadLetterError",
    "DeadLetters",
    "Discarded",
    "Dropped",
    "Entrance",
    "Explanation",
    "Failed",
    "FateEvent",
    "FlushTimeout",
    "Flushed",
    "ForEach",
    "GraphError",
    "JoinCounts",
    "JoinReport",
    "Latest",
    "LogContext",
    "Lost",
    "Many",
    "Mark",
    "Missing",
    "NoAnswer",
    "Parallel",
    "Pipeline",
    "PipelineError",
    "Prediction",
    "PutAfterFailure",
    "PutError",
    "PutTimeout",
    "Recent",
    "RemoteError",
    "Report",
    "Restart",
    "ResultTimeout",
    "Results",
    "Retry",
    "Route",
    "Sample",
    "SampleFailed",
    "SampleId",
    "ScaleError",
    "ScaleTimeout",
    "SendError",
    "Shares",
    "Single",
    "Skipped",
    "SourceReport",
    "Spread",
    "Stage",
    "StageCounts",
    "StageError",
    "StageReport",
    "StartError",
    "StartTimeout",
    "StopSignals",
    "Stream",
    "Ticket",
    "Timeline",
    "TimelineStage",
    "Tuned",
    "UpdateError",
    "UpdateTimeout",
    "Visit",
    "Window",
    "Windows",
    "WorkerDied",
    "WorkerReport",
    "drain_on_signals",
    "every",
    "replay",
    "retry",
    "stage",
]
