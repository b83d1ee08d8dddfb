"""Which faults of storage become rejects, and which must stop the job.

A reject stands for good: its shard is complete and is never made again.  So only an answer that
would be the same tomorrow may become one; a lost connection or a busy server stops the job, which
continues when the same command is run again.
"""

from __future__ import annotations

import errno

from featurizer import storage
from featurizer.errors import StorageError

_OF_THE_FILE = {
    errno.EIO,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EINVAL,
}
_LATER = (408, 429)  # HTTP: too slow, too many requests


def is_final(error: StorageError) -> bool:
    """Whether asking again would get the same answer: no such object, no right to it, not read."""
    cause = error.__cause__
    status = getattr(cause, "status", None)
    if isinstance(status, int):
        return 400 <= status < 500 and status not in _LATER
    if isinstance(cause, FileNotFoundError | PermissionError):
        return True
    return getattr(cause, "errno", None) in _OF_THE_FILE


def reason_of(error: StorageError) -> str:
    """``missing`` or ``unreadable``; raises the error itself where it may pass."""
    if not is_final(error):
        raise error
    return "missing" if storage.is_missing(error) else "unreadable"
