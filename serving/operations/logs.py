"""Logs on stderr, as text or as JSON lines: ours, uvicorn's and the libraries', in one form."""

from __future__ import annotations

import logging
import os
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from serving.operations.request_id import request_id

# What these tell at INFO is of no use here.
_QUIET = ("faiss", "uvicorn", "httpx", "httpcore", "asyncio")


def configure(form: Literal["text", "json"], level: int = logging.INFO) -> None:
    """Sends all logging through one handler on stderr; for a process's start, once."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _add_request,
        structlog.processors.TimeStamper("iso", utc=True),
    ]
    final: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if form == "json":
        shared.append(_add_process)
        final += [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    else:
        final.append(
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,
                pad_event_to=0,
            )
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _add_request(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    known = request_id.get()
    if known is not None:
        event["request_id"] = known
    return event


def _add_process(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["pid"] = os.getpid()  # which of several workers says it
    return event
