"""One Beam pipeline run to its end: on which runner, and its failures as errors of ours."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, cast

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.local_job_service import SubprocessSdkWorker
from apache_beam.runners.runner import PipelineResult

from featurizer import errors
from featurizer.errors import UsageError, WorldsiftError
from pipeline.config import RunnerOptions

# Beam's `DirectRunner` first tries to download another engine, and behaves otherwise when it can.
_LOCAL_RUNNER = "FnApiRunner"


def cores() -> int:
    """Processors that this process may use (containers give fewer than the machine has)."""
    return len(os.sched_getaffinity(0))


def beam_options(runner: RunnerOptions) -> PipelineOptions:
    """Beam's options, its own local runner by default; UsageError for a flag that Beam has not.

    (Beam itself drops unknown flags with a warning, so that a misspelt one silently does nothing.)
    """
    flags = list(runner.beam_flags)
    parser = _BeamArgumentParser(allow_abbrev=False)
    for group in PipelineOptions.__subclasses__():
        group._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(flags)
    if unknown:
        raise UsageError(f"Beam knows no option {' '.join(unknown)} (after --)")
    if not any(flag.startswith("--runner") for flag in flags):
        flags.append(f"--runner={_LOCAL_RUNNER}")
        if runner.workers > 1:
            flags += [
                "--direct_running_mode=multi_processing",
                f"--direct_num_workers={runner.workers}",
            ]
    elif runner.workers > 1:
        raise UsageError("--workers is for this machine; other runners have flags of their own")
    return PipelineOptions(flags)


class _WatchedWorkerHandler(worker_handlers.SubprocessSdkWorkerHandler):  # type: ignore[misc]
    """A worker process whose end fails what it was asked to do; Beam may wait for it for ever.

    What it prints on stderr is kept aside: Beam prints each failure there besides reporting it.
    """

    lost: ClassVar[list[str]] = []  # how worker processes ended that were not told to

    def start_worker(self) -> None:
        self._said = tempfile.NamedTemporaryFile(prefix="worldsift-worker-")  # noqa: SIM115
        command = self._worker_command_line + f" 2>{shlex.quote(self._said.name)}".encode()
        self.worker = SubprocessSdkWorker(
            command, self.control_address, self.provision_info, self.worker_id
        )
        self._closed = threading.Event()
        self.worker_thread = threading.Thread(target=self._watch, name="run_worker")
        self.worker_thread.start()

    def close(self) -> None:
        self._closed.set()
        super().close()
        self._said.close()

    def _watch(self) -> None:
        try:
            self.worker.run()
        except RuntimeError as error:  # it ended with a status other than 0
            if self._closed.is_set():
                return
            said = self._said.read().decode("utf-8", "replace").splitlines()
            self.lost.append(": ".join([str(error), *said[-1:]]))
            # Again and again: the runner may be about to ask the dead worker for more.
            while not self._closed.wait(0.2):
                asked = self.control_conn._futures_by_id
                for name in list(asked):
                    answer = beam_fn_api_pb2.InstructionResponse(
                        instruction_id=name, error=str(error)
                    )
                    asked.pop(name).set(answer)


@contextlib.contextmanager
def _watched_workers() -> Iterator[None]:
    """Worker processes started in this block are watched: one that dies raises WorldsiftError."""
    register = worker_handlers.WorkerHandler.register_environment
    register(python_urns.SUBPROCESS_SDK, bytes)(_WatchedWorkerHandler)
    lost, usual = _WatchedWorkerHandler.lost, threading.excepthook
    lost.clear()

    def hook(failure: threading.ExceptHookArgs) -> None:
        # Beam's own readers of a dead worker's streams; what they say is said below.
        name = "" if failure.thread is None else failure.thread.name
        if name not in ("beam_control_read", "read_grpc_client_inputs"):
            usual(failure)

    threading.excepthook = hook
    try:
        yield
    except RuntimeError as error:
        if not lost:
            raise
        raise WorldsiftError(
            f"a worker process is gone ({lost[0]}; -9 and 137 mean that it was killed, perhaps for "
            "memory: use fewer --workers or a smaller --batch): the same command continues where "
            "this stopped"
        ) from error
    finally:
        threading.excepthook = usual


def run(build: Callable[[beam.Pipeline], Any], runner: RunnerOptions) -> PipelineResult:
    """Runs to the end; a WorldsiftError raised by a worker comes out as itself."""
    pipeline = beam.Pipeline(options=beam_options(runner))
    build(pipeline)
    try:
        with _watched_workers():
            result = pipeline.run()
            result.wait_until_finish()
    except WorldsiftError as error:
        raise _plain(error) from error
    except RuntimeError as error:
        if str(error).startswith("KeyboardInterrupt"):  # Beam takes it for a failure of the step
            raise KeyboardInterrupt from error
        found = _reported(str(error))
        if found is None:
            raise
        raise found from error
    return result


def _plain(error: WorldsiftError) -> WorldsiftError:
    """Without the ``[while running ...]`` that Beam adds to what a worker raised."""
    return _named(type(error).__name__, str(error))


def _named(name: str, text: str) -> WorldsiftError:
    """An error of this class of ``featurizer.errors``; those of a text alone, which cross jobs."""
    kind = WorldsiftError if name == "PixelError" else getattr(errors, name, WorldsiftError)
    return cast(WorldsiftError, kind(text.partition(" [while running ")[0]))


def _reported(text: str) -> WorldsiftError | None:
    """The WorldsiftError in the traceback text that a worker process sent, if it is one."""
    for line in reversed(text.splitlines()):
        name, colon, message = line.partition(": ")
        if colon and name.startswith("featurizer.errors."):
            return _named(name.rpartition(".")[2], message)
    return None


def counter(result: PipelineResult, name: str) -> int:
    """What the workers counted under this name, all steps together."""
    found = result.metrics().query(beam.metrics.MetricsFilter().with_name(name))["counters"]
    return sum(int(metric.result) for metric in found)
