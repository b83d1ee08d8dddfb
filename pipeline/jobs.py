"""Runs the Beam jobs and says what came of them.  Parsing is elsewhere; so is the work."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.local_job_service import SubprocessSdkWorker
from apache_beam.runners.runner import PipelineResult

from featurizer import errors, manifest, shards, storage
from featurizer.errors import UsageError, WorldsiftError
from featurizer.manifest import Inventory
from featurizer.stored import read_spec
from pipeline import transforms
from pipeline.config import EmbedJob, RunnerOptions
from pipeline.index.parameters import IndexOptions, choose
from pipeline.index.train import FOLDER as QUANTIZERS
from pipeline.index.train import QuantizerRecord, quantizer_name, read_record, train
from pipeline.progress import ProgressBar

# Beam's `DirectRunner` first tries to download another engine, and behaves otherwise when it can.
_LOCAL_RUNNER = "FnApiRunner"


@dataclass(frozen=True, slots=True)
class EmbedSummary:
    """One embed run: what the archive is now, and what this run added to it."""

    inventory: str
    content: Inventory
    embedded: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        content = self.content
        return {
            "verb": "embed",
            "inventory": self.inventory,
            "featurizer": content.featurizer,
            "shards": len(content.shards),
            "rows": content.rows,
            "embedded_now": self.embedded,
            "rejected": sum(content.rejects.values()),
            "rejects": content.rejects,
            "dropped_null": content.dropped_null,
            "source_bytes": content.source_bytes,
            "seconds": round(self.seconds, 2),
            "images_per_s": round(self.embedded / self.seconds, 1),
            "bytes_per_s": round(_share(self, content) * content.source_bytes / self.seconds),
        }


def _share(summary: EmbedSummary, content: Inventory) -> float:
    return summary.embedded / max(1, content.rows)


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


def _run(build: Callable[[beam.Pipeline], Any], runner: RunnerOptions) -> PipelineResult:
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


def run_embed(job: EmbedJob, runner: RunnerOptions) -> EmbedSummary:
    """Source -> shards and inventory; the featurizer must be saved under the root already."""
    begin = time.perf_counter()
    with ProgressBar("embedding", " img", runner.progress) as bar:
        told = replace(job, progress_port=bar.port)

        def build(pipeline: beam.Pipeline) -> None:
            plans = pipeline | transforms.PlanShards(told)
            plans | transforms.EmbedShards(told) | transforms.WriteInventory(told)

        result = _run(build, runner)
    name = manifest.latest_inventory(job.root)
    content = manifest.read_inventory(job.root, name)
    return EmbedSummary(name, content, _counter(result, "images"), time.perf_counter() - begin)


def _counter(result: PipelineResult, name: str) -> int:
    found = result.metrics().query(beam.metrics.MetricsFilter().with_name(name))["counters"]
    return sum(int(metric.result) for metric in found)


def run_train(root: str, options: IndexOptions, progress: bool) -> QuantizerRecord:
    """A quantizer for the newest inventory."""
    inventory = manifest.read_inventory(root, manifest.latest_inventory(root))
    dim = shards.read_record(root, inventory.shards[0].name).dim
    parameters = choose(inventory.rows, dim, options)
    return train(root, inventory, dim, parameters, progress)


def find_quantizer(root: str, inventory: Inventory, name: str | None) -> QuantizerRecord:
    """The quantizer called ``name``, or the one trained on this inventory."""
    if name is not None:
        return read_record(root, name)
    found = []
    for candidate in storage.names(storage.join(root, QUANTIZERS)):
        if storage.exists(storage.join(root, QUANTIZERS, candidate, "quantizer.json")):
            record = read_record(root, candidate)
            if candidate == quantizer_name(inventory, record.index):
                found.append(record)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"{root}: no quantizer was trained on the newest inventory: run `python -m pipeline "
            f"train {root}`, or name an older one with --quantizer"
        )
    names = ", ".join(record.name for record in found)
    raise UsageError(f"{root}: several quantizers fit ({names}): name one with --quantizer")


def run_encode(root: str, quantizer: str | None, runner: RunnerOptions) -> str:
    """Codes of every shard of the newest inventory, and the manifest; the generation's name."""
    inventory_name = manifest.latest_inventory(root)
    inventory = manifest.read_inventory(root, inventory_name)
    record = find_quantizer(root, inventory, quantizer)
    read_spec(root, inventory.featurizer)  # fail before the work, not after it
    names = [shard.name for shard in inventory.shards]
    with ProgressBar("encoding", " rows", runner.progress) as bar:
        bar.expect(inventory.rows)

        def build(pipeline: beam.Pipeline) -> None:
            codes = pipeline | "Shards" >> beam.Create(names)
            codes = codes | transforms.EncodeShards(root, record.name, bar.port)
            codes | transforms.WriteGeneration(root, inventory_name, record)

        _run(build, runner)
    return manifest.latest_generation(root)
