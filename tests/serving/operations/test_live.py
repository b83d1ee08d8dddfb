"""Leases: one service for a request, closed after its last one."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from serving.failures import NotReadyError
from serving.operations.live import Lease, Live
from tests.serving.server import wait_for


@dataclass(eq=False)
class Service:
    """Counts how often it is closed."""

    name: str
    closed: int = 0
    fails: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        with self.lock:
            self.closed += 1
        if self.fails:
            raise OSError("busy")


@pytest.fixture
def live() -> Live:
    return Live(lambda: None)


def gone(live: Live) -> None:
    wait_for(lambda: live.retired == 0, "nothing was closed")


def test_before_anything_is_loaded(live):
    with pytest.raises(NotReadyError, match="being loaded"), Lease(live):
        pass
    live.failed = True
    with pytest.raises(NotReadyError, match="could not be loaded"):
        live.require()
    assert live.service is None


def test_a_request_keeps_its_service_over_a_swap(live):
    old, new = Service("old"), Service("new")
    live.swap(old)
    with Lease(live) as held:
        live.swap(new)
        assert held is old and old.closed == 0 and live.retired == 1
        with Lease(live) as later:
            assert later is new
    gone(live)
    assert (old.closed, new.closed) == (1, 0)
    assert live.require() is new


def test_an_idle_service_is_closed_at_once_and_a_streamed_answer_keeps_it(live):
    first, second, third = Service("1"), Service("2"), Service("3")
    live.swap(first)
    live.swap(second)
    gone(live)
    assert first.closed == 1
    lease = Lease(live)
    assert lease.take() is second
    live.swap(third)
    assert second.closed == 0
    lease.release()
    lease.release()
    gone(live)
    assert (second.closed, third.closed) == (1, 0)


def test_closing_waits_for_work_under_way():
    gate = threading.Event()
    live = Live(lambda: gate.wait(10))
    old = Service("old")
    live.swap(old)
    live.swap(None)
    assert old.closed == 0 and live.retired == 1
    gate.set()
    gone(live)
    assert old.closed == 1


def test_a_service_that_cannot_be_closed_does_not_stay_on_the_list(live, caplog):
    live.swap(Service("bad", fails=True))
    live.swap(None)
    gone(live)
    assert "could not be closed" in caplog.text


def test_threads_that_come_and_go_over_many_swaps(live):
    services = [Service(str(i)) for i in range(50)]
    live.swap(services[0])
    stop = threading.Event()
    faults: list[str] = []

    def ask() -> None:
        while not stop.is_set():
            with Lease(live) as held:
                if held.closed:
                    faults.append(held.name)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for service in services[1:]:
        live.swap(service)
    stop.set()
    for thread in threads:
        thread.join()
    gone(live)
    assert not faults
    assert [service.closed for service in services] == [1] * 49 + [0]
