"""The service that answers now, and the ones before it until their last request has ended."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from serving.failures import NotReadyError

if TYPE_CHECKING:
    from serving.service import SearchService

logger = logging.getLogger(__name__)
_BEFORE_COLLECTING_S = 0.5


class _Held:
    """A service, until it is closed, and how many leases of it are out."""

    __slots__ = ("leases", "service")

    def __init__(self, service: SearchService) -> None:
        self.service, self.leases = service, 0


class Lease:
    """One service for the whole of a request, whatever is swapped in meanwhile.

    A context manager; where the end of the request lies elsewhere (a streamed answer), ``take``
    it and ``release`` it there.  Releasing twice does nothing.
    """

    __slots__ = ("_held", "_live")

    def __init__(self, live: Live) -> None:
        self._live = live
        self._held: _Held | None = None

    def take(self) -> SearchService:
        """The service that is live now; NotReadyError before there is one."""
        self._held = held = self._live.take()
        return held.service

    def release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._live.give(held)

    def __enter__(self) -> SearchService:
        return self.take()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Live:
    """The live service.  A service that was replaced is closed once nothing leases it.

    ``settle`` is called in the closing thread before that: it waits for work that goes on for
    requests which have been given up.
    """

    def __init__(self, settle: Callable[[], None]) -> None:
        self._settle = settle
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._retired: set[_Held] = set()
        self.failed = False

    @property
    def service(self) -> SearchService | None:
        """What serves now, for a look at it; requests take a lease."""
        held = self._held
        return None if held is None else held.service

    def require(self) -> SearchService:
        """The same, or NotReadyError before there is one."""
        service = self.service
        if service is None:
            raise self._not_ready()
        return service

    def _not_ready(self) -> NotReadyError:
        return NotReadyError(
            "the archive could not be loaded: the server's log says why"
            if self.failed
            else "the archive is being loaded: ask again in a moment"
        )

    @property
    def retired(self) -> int:
        """Replaced services that are not closed yet."""
        return len(self._retired)

    def take(self) -> _Held:
        with self._lock:
            held = self._held
            if held is None:
                raise self._not_ready()
            held.leases += 1
            return held

    def give(self, held: _Held) -> None:
        with self._lock:
            held.leases -= 1
            last = not held.leases and held in self._retired
        if last:
            self._close(held)

    def swap(self, service: SearchService | None) -> None:
        """Lets ``service`` (none: at the end) answer from now on."""
        with self._lock:
            old, self._held = self._held, None if service is None else _Held(service)
            if old is None:
                return
            self._retired.add(old)
            idle = not old.leases
        if idle:
            self._close(old)

    def _close(self, held: _Held) -> None:
        """Closes in a thread: unmapping files takes its time, and leases end on the event loop."""

        def close() -> None:
            self._settle()
            try:
                held.service.close()
            except Exception:
                logger.exception("a replaced generation could not be closed")
            finally:
                with self._lock:
                    self._retired.discard(held)
            del held.service
            # Caches of bound methods make cycles, which would keep files mapped; whoever gave up
            # the last lease may be about to return from where it had the service at hand.
            time.sleep(_BEFORE_COLLECTING_S)
            gc.collect()

        threading.Thread(target=close, name="close-generation", daemon=True).start()
