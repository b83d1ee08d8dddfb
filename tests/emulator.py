"""A Cloud Storage bucket on a real server in this process, for whatever speaks ``gs://``."""

from __future__ import annotations

import http.server
import json
import os
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from featurizer import storage


@contextmanager
def emulated_bucket(name: str) -> Iterator[str]:
    """Its URL; the settings are those that gcsfs needs.  Skips where the emulator is missing."""
    server_module = pytest.importorskip(
        "gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed"
    )
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    server = server_module.create_server("localhost", port, in_memory=True)
    patch = pytest.MonkeyPatch()
    patch.setenv("STORAGE_EMULATOR_HOST", f"http://localhost:{port}")
    patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    # It answers one request at a time; with the default of 5 waiting, others are dropped and come
    # again after seconds.
    patch.setattr(http.server.HTTPServer, "request_queue_size", 128)
    # gcsfs asks for an object and a folder at once, and hangs up on the slower answer.
    patch.setattr(http.server.HTTPServer, "handle_error", lambda *_: None)
    storage._filesystem.cache_clear()
    server.start()
    request = urllib.request.Request(
        f"{os.environ['STORAGE_EMULATOR_HOST']}/storage/v1/b?project=p",
        json.dumps({"name": name}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=20).close()
        yield f"gs://{name}"
    finally:
        server.stop()
        patch.undo()
        storage._filesystem.cache_clear()
