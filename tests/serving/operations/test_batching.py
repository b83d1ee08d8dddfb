"""The batcher: what goes together, what waits, what is refused, what is dropped."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.failures import BusyError
from serving.operations.batching import Batcher


@dataclass
class Work:
    """Doubles numbers; remembers its batches; waits at a gate until it is opened."""

    batches: list[list[int]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(self, items: list[int]) -> list[int | Exception]:
        self.batches.append(items)
        self.entered.release()
        assert self.gate.wait(10)
        return [2 * item for item in items]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def work() -> Work:
    return Work()


async def entered(work: Work, times: int = 1) -> None:
    for _ in range(times):
        assert await asyncio.to_thread(work.entered.acquire, timeout=10)


def test_an_idle_worker_takes_one_at_once_and_the_rest_together(pool, work):
    async def run():
        batcher = Batcher(work, pool, 8, 1, 100, "test")
        first = asyncio.create_task(batcher.submit(0))
        await entered(work)
        others = [asyncio.create_task(batcher.submit(i)) for i in range(1, 6)]
        await asyncio.sleep(0.01)
        assert batcher.waiting == 5
        work.gate.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(run()) == [0, 2, 4, 6, 8, 10]
    assert work.batches == [[0], [1, 2, 3, 4, 5]]


def test_slots_share_what_waits(pool, work):
    async def run():
        batcher = Batcher(work, pool, 32, 2, 100, "test")
        firsts = [asyncio.create_task(batcher.submit(i)) for i in range(2)]
        await entered(work, 2)
        others = [asyncio.create_task(batcher.submit(i)) for i in range(2, 10)]
        await asyncio.sleep(0.01)
        work.gate.set()
        return await asyncio.gather(*firsts, *others)

    assert asyncio.run(run()) == [2 * i for i in range(10)]
    assert max(map(len, work.batches)) == 4  # half of the eight that waited


def test_balanced_slots_share_all_there_is(pool, work):
    async def run():
        batcher = Batcher(work, pool, 32, 2, 100, "test", balanced=True)
        firsts = [asyncio.create_task(batcher.submit(i)) for i in range(2)]
        await entered(work, 2)
        others = [asyncio.create_task(batcher.submit(i)) for i in range(2, 11)]
        await asyncio.sleep(0.01)
        work.gate.set()
        return await asyncio.gather(*firsts, *others)

    assert asyncio.run(run()) == [2 * i for i in range(11)]
    assert max(map(len, work.batches)) == 5  # half of nine that waited and one under way


def test_more_than_may_wait_is_refused_at_once_with_a_time_to_come_back(pool, work):
    async def run():
        batcher = Batcher(work, pool, 8, 1, 3, "test")
        tasks = [asyncio.create_task(batcher.submit(0))]
        await entered(work)
        tasks += [asyncio.create_task(batcher.submit(i)) for i in range(1, 4)]
        await asyncio.sleep(0.01)
        started = time.monotonic()
        with pytest.raises(BusyError) as caught:
            await batcher.submit(99)
        assert time.monotonic() - started < 0.1
        assert 1 <= caught.value.retry_after_s <= 60
        work.gate.set()
        await asyncio.gather(*tasks)
        assert await batcher.submit(7) == 14  # there is room again

    asyncio.run(run())
    assert not any(99 in batch for batch in work.batches)


def test_what_was_given_up_costs_no_work_and_makes_room(pool, work):
    async def run():
        batcher = Batcher(work, pool, 8, 1, 2, "test")
        first = asyncio.create_task(batcher.submit(0))
        await entered(work)
        impatient = asyncio.create_task(batcher.submit(1))
        patient = asyncio.create_task(batcher.submit(2))
        await asyncio.sleep(0.01)
        impatient.cancel()
        await asyncio.sleep(0.01)
        assert batcher.waiting == 1
        late = asyncio.create_task(batcher.submit(3))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await asyncio.shield(late)
        first.cancel()  # at work already: its answer is thrown away, the others' is not
        await asyncio.sleep(0)
        work.gate.set()
        assert await asyncio.gather(patient, late) == [4, 6]

    asyncio.run(run())
    assert work.batches == [[0], [2, 3]]


def test_one_items_fault_is_its_own(pool):
    def fussy(items):
        if 13 in items:
            raise ValueError("unlucky")
        return [KeyError(item) if item == 4 else item for item in items]

    async def run():
        batcher = Batcher(fussy, pool, 32, 1, 100, "test")
        return await asyncio.gather(
            *(batcher.submit(i) for i in (1, 13, 4, 5)), return_exceptions=True
        )

    answers = asyncio.run(run())
    assert [answers[0], answers[3]] == [1, 5]
    assert isinstance(answers[1], ValueError) and isinstance(answers[2], KeyError)


def test_too_few_answers_fail_loudly(pool):
    async def run():
        with pytest.raises(RuntimeError, match="0 answers to 1"):
            await Batcher(lambda items: [], pool, 8, 1, 9, "test").submit(1)

    asyncio.run(run())


@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), min_size=1, max_size=40),
    slots=st.integers(1, 3),
    max_batch=st.integers(1, 6),
)
def test_every_item_gets_its_answer_out_of_a_batch_of_its_kind(items, slots, max_batch):
    batches = []

    def work(batch):
        batches.append(batch)
        return [place for place, _, _ in batch]

    async def run():
        with ThreadPoolExecutor(slots) as pool:
            batcher = Batcher(work, pool, max_batch, slots, len(items), "test")
            return await asyncio.gather(
                *(
                    batcher.submit((place, key, weight), key, weight)
                    for place, (key, weight) in enumerate(items)
                )
            )

    assert asyncio.run(run()) == list(range(len(items)))
    assert sorted(place for batch in batches for place, _, _ in batch) == list(range(len(items)))
    for batch in batches:
        assert len({key for _, key, _ in batch}) == 1
        assert len(batch) == 1 or sum(weight for _, _, weight in batch) <= max_batch
        places = [place for place, _, _ in batch]
        assert places == sorted(places)


def test_settling_waits_for_what_is_under_way_and_for_nothing_else(pool, work):
    async def run():
        batcher = Batcher(work, pool, 1, 1, 100, "test")
        batcher.settle()  # idle: at once
        task = asyncio.create_task(batcher.submit(1))
        await entered(work)
        settled = asyncio.create_task(asyncio.to_thread(batcher.settle))
        await asyncio.sleep(0.05)
        assert not settled.done()
        work.gate.set()
        await asyncio.wait_for(settled, 10)
        assert await task == 2

    asyncio.run(run())


def test_workers_survive_a_loop_that_is_gone(pool):
    gate = threading.Event()

    def slow(items):
        gate.wait(10)
        return items

    async def run():
        batcher = Batcher(slow, pool, 1, 1, 100, "test")
        task = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.02)
        task.cancel()
        return batcher

    batcher = asyncio.run(run())
    gate.set()
    batcher.settle()

    async def again():
        return await asyncio.wait_for(batcher.submit(5), 10)

    assert asyncio.run(again()) == 5
