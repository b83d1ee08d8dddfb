"""How routes reach the live service, and leave the event loop for it."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from serving import deadline
from serving.operations.batching import Batcher
from serving.operations.keys import Keyring
from serving.operations.live import Lease, Live
from serving.operations.recall import RecallSampler
from serving.operations.together import Pictures, PlainSearch, answer_together, embed_together
from serving.settings import Settings

if TYPE_CHECKING:
    from serving.embedding import Upload
    from serving.operations.takeover import Takeover
    from serving.service import SearchService

Answer = TypeVar("Answer")

_DECODED_ASIDE_BYTES = 256 << 10  # of pictures that would hold up those of other requests
_MAX_SEARCHES = 32  # of one batch: more answers at once only make the first of them wait


class Access:
    """What the app holds while it runs: the live service, and the queues before its threads.

    ``searcher`` answers plain searches, many at once; ``embedder`` embeds the pictures of all
    waiting requests in one pass; ``computer`` runs what computes and ``reader`` what waits for
    storage, one request a thread.  Each has threads of its own, so that a page of slow pictures
    or an exact search over everything does not keep plain searches waiting.
    """

    def __init__(self, settings: Settings, keyring: Keyring) -> None:
        self.settings, self.keyring = settings, keyring
        self.live = Live(self._settle)
        self.recall = RecallSampler(self.live, settings.recall_sample_s)
        self.takeover: Takeover | None = None
        self.draining = False
        self.outside = anyio.CapacityLimiter(1)
        self._pools: list[ThreadPoolExecutor] = []
        threads = settings.query_threads
        answer = partial(answer_together, recall=self.recall)
        self.searcher: Batcher[PlainSearch, Any] = self._queue(
            "search", answer, _MAX_SEARCHES, threads
        )
        self.embedder: Batcher[Pictures, NDArray[np.float32]] = self._queue(
            "embed",
            embed_together,
            settings.max_embed_batch,
            threads,
            _one_torch_thread,
            balanced=True,
        )
        self.computer: Batcher[Callable[[], Any], Any] = self._queue("compute", _run, 1, threads)
        self.reader: Batcher[Callable[[], Any], Any] = self._queue("read", _run, 1, 2 * threads)

    def _queue(
        self,
        name: str,
        work: Callable[[list[Any]], Sequence[Any]],
        max_batch: int,
        threads: int,
        prepare: Callable[[], None] | None = None,
        balanced: bool = False,
    ) -> Batcher[Any, Any]:
        pool = ThreadPoolExecutor(threads, name, prepare)
        self._pools.append(pool)
        return Batcher(work, pool, max_batch, threads, self.settings.max_queue, name, balanced)

    @property
    def queues(self) -> tuple[Batcher[Any, Any], ...]:
        return self.searcher, self.embedder, self.computer, self.reader

    def _settle(self) -> None:
        for queue in self.queues:
            queue.settle()

    def close(self) -> None:
        """Stops the threads once what they work on has ended."""
        self.recall.stop()
        if self.takeover is not None:
            self.takeover.stop()
        self.live.swap(None)
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)

    async def search(self, search: PlainSearch) -> Any:
        """What ``search.finish`` made of the rows found; BusyError where too many wait."""
        return await self.searcher.submit(search, search.key)

    async def embed(
        self, service: SearchService, pixels: Callable[[], Sequence[Any]], count: int
    ) -> NDArray[np.float32]:
        """(n, d) vectors of what ``pixels`` gives, in a pass shared with other requests.

        ``pixels`` is called in the thread of the pass and gives what ``service.prepare`` does.
        """
        featurizer = service.featurizer
        # Passes of a CPU share its cores, each on one; a GPU does one after the other anyway.
        gpu = featurizer.device.type == "cuda"
        self.embedder.slots = 1 if gpu else self.settings.query_threads
        pictures = Pictures(featurizer, pixels)
        return await self.embedder.submit(pictures, id(featurizer), count)


def _one_torch_thread() -> None:
    from featurizer.embed import use_one_torch_thread

    use_one_torch_thread()


def _run(work: list[Callable[[], Any]]) -> list[Any]:
    return [each() for each in work]


def access_of(request: Request) -> Access:
    access = request.app.state.access
    if not isinstance(access, Access):
        raise TypeError(f"app.state.access is {access!r}")
    return access


def lease(request: Request) -> Lease:
    """``with lease(request) as service``: one generation to the end; NotReadyError without one."""
    return Lease(access_of(request).live)


async def compute(request: Request, work: Callable[[], Answer]) -> Answer:
    """``work()`` in a thread, ``query_threads`` of them at a time; BusyError where many wait."""
    access = access_of(request)
    with deadline.within(access.settings.request_timeout_s):  # beyond it the answer is given up
        answer: Answer = await access.computer.submit(_in_context(work))
    return answer


async def embed_pictures(
    request: Request, service: SearchService, uploads: Sequence[Upload]
) -> NDArray[np.float32]:
    """(n, d) what the model makes of uploads, in a pass shared with other requests.

    Small ones are decoded in the thread of that pass: what comes meanwhile then waits together,
    and a pass over eight pictures costs each of them half of what one over each would.
    """
    access = access_of(request)
    if sum(len(upload.data) for upload in uploads) > _DECODED_ASIDE_BYTES:
        ready = await compute(request, lambda: service.prepare(uploads))
        return await access.embed(service, lambda: ready, len(ready))
    with deadline.within(access.settings.request_timeout_s):
        prepare = _in_context(lambda: service.prepare(uploads))
    return await access.embed(service, prepare, len(uploads))


async def read(request: Request, work: Callable[[], Answer]) -> Answer:
    """``work()`` in a thread of those that may wait for storage; BusyError where many wait."""
    answer: Answer = await access_of(request).reader.submit(_in_context(work))
    return answer


async def outside(request: Request, work: Callable[[], Answer]) -> Answer:
    """``work()`` in a thread of its own, one after the other: what is rare and takes minutes."""
    return await anyio.to_thread.run_sync(work, limiter=access_of(request).outside)


def _in_context(work: Callable[[], Answer]) -> Callable[[], Answer]:
    """``work`` with the request's own context, so that what it logs names the request."""
    return partial(contextvars.copy_context().run, work)
