"""Requests that wait for the same kind of work, answered together.

Natural batching, as group commit does it: an idle worker takes what there is at once, and what
arrives while all workers are busy is taken together by the first that is done.  Nobody ever waits
for a batch to fill.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from serving.failures import BusyError
from serving.operations import metrics

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_SMOOTHING = 0.2  # of the mean time that an item takes: how much the newest batch counts
_LONGEST_ADVICE_S = 60


@dataclass(slots=True, eq=False)
class _Entry:
    item: Any
    key: Hashable
    weight: int
    answer: asyncio.Future[Any]


class Batcher(Generic[Item, Answer]):
    """``slots`` workers over one queue of at most ``max_waiting`` items.

    ``work`` gets up to ``max_batch`` items of one key in the order of their arrival and returns
    an answer, or the exception that is the answer, for each.  Where it raises for several, each
    is tried alone, so that one item's fault is not the others'.  It runs in threads of
    ``executor``, which must have ``slots`` of them to spare.  Items whose request has been given
    up are dropped before they cost anything.  A slot takes its share of what waits, or with
    ``balanced`` of all there is: larger batches, where those cost less than their items alone.
    For one event loop; ``name`` stands in the metrics.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Sequence[Answer | Exception]],
        executor: Executor,
        max_batch: int,
        slots: int,
        max_waiting: int,
        name: str,
        balanced: bool = False,
    ) -> None:
        self._work, self._executor, self._balanced = work, executor, balanced
        self._max_batch, self.slots, self._max_waiting = max_batch, slots, max_waiting
        self.name = name
        self._waiting: deque[_Entry] = deque()
        self._changed = threading.Condition()  # guards all that follows, and tells of ends
        self._running = 0
        self._begun = 0
        self._under_way: set[int] = set()
        self._worked_on = 0
        self._item_s = 0.0
        self._sizes = metrics.BATCH_SIZE.labels(name)
        self._refused = metrics.BUSY.labels(name)

    @property
    def waiting(self) -> int:
        """Items that no worker has taken yet."""
        return len(self._waiting)

    async def submit(self, item: Item, key: Hashable = None, weight: int = 1) -> Answer:
        """The answer to ``item``; BusyError at once where ``max_waiting`` are waiting already.

        Only items of equal ``key`` go together; ``weight`` is what one counts of ``max_batch``.
        """
        loop = asyncio.get_running_loop()
        entry = _Entry(item, key, weight, loop.create_future())
        with self._changed:
            start = self._running < self.slots
            if not start and len(self._waiting) >= self._max_waiting:
                self._refused.inc()
                raise BusyError(self._advice())
            self._waiting.append(entry)
            self._running += start
        if start:
            self._executor.submit(self._serve, loop)
        try:
            answer: Answer = await entry.answer
        except asyncio.CancelledError:
            with self._changed, contextlib.suppress(ValueError):  # a worker has taken it
                self._waiting.remove(entry)
            raise
        return answer

    def _advice(self) -> int:
        """Seconds after which what waits now should be done."""
        expected = len(self._waiting) * self._item_s / self.slots
        return min(_LONGEST_ADVICE_S, max(1, math.ceil(expected)))

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """A worker: takes batch after batch, without a detour over the loop, until none is left."""
        while True:
            with self._changed:
                batch = self._take()
                if not batch:
                    self._running -= 1
                    return
                number = self._begun = self._begun + 1
                self._under_way.add(number)
                self._worked_on += len(batch)
            started = time.perf_counter()
            answers = self._answers(batch)
            spent = (time.perf_counter() - started) / len(batch)
            with self._changed:
                self._item_s += _SMOOTHING * (spent - self._item_s)
                self._under_way.discard(number)
                self._worked_on -= len(batch)
                self._changed.notify_all()
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody is waiting
                loop.call_soon_threadsafe(_deliver, batch, answers)

    def _take(self) -> list[_Entry]:
        """The oldest item and those that may go with it, each share of the slots its part."""
        among = len(self._waiting) + (self._worked_on if self._balanced else 0)
        share = math.ceil(among / self.slots)
        batch: list[_Entry] = []
        passed: list[_Entry] = []
        weight = 0
        while self._waiting and len(batch) < share and weight < self._max_batch:
            entry = self._waiting.popleft()
            if entry.answer.done():
                continue
            if batch and (entry.key != batch[0].key or weight + entry.weight > self._max_batch):
                passed.append(entry)
                continue
            batch.append(entry)
            weight += entry.weight
        self._waiting.extendleft(reversed(passed))
        if batch:
            self._sizes.observe(weight)
        return batch

    def _answers(self, batch: list[_Entry]) -> Sequence[Answer | Exception]:
        try:
            answers = self._work([entry.item for entry in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{self.name}: {len(answers)} answers to {len(batch)} items")
        except Exception as error:  # noqa: BLE001 - the edge: who waits must hear of it
            return [error] if len(batch) == 1 else [self._answers([e])[0] for e in batch]
        return answers

    def settle(self) -> None:
        """Returns when every batch that is being worked on now has ended.  Not for the loop."""
        with self._changed:
            begun = self._begun
            self._changed.wait_for(lambda: not any(n <= begun for n in self._under_way))


def _deliver(batch: list[_Entry], answers: Sequence[Any]) -> None:
    for entry, answer in zip(batch, answers, strict=True):
        if entry.answer.done():
            continue  # given up meanwhile
        if isinstance(answer, Exception):
            entry.answer.set_exception(answer)
        else:
            entry.answer.set_result(answer)
