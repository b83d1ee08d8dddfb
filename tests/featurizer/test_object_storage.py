"""The same contract on ``gs://``: gcsfs against an emulated Google Cloud Storage."""

from __future__ import annotations

import http.server
import json
import os
import socket
import urllib.request
import uuid
from collections.abc import Iterator

import numpy as np
import pytest

from featurizer import manifest, shards, storage
from featurizer.errors import ContractError, GenerationError
from tests.featurizer.test_manifest import a_generation
from tests.featurizer.test_shards import NAME, content, record
from tests.featurizer.test_storage import StorageContract

BUCKET = "archive"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket on a real server; the settings are those that gcsfs needs for an emulator."""
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
    # Its server answers one request at a time; with the default of 5 waiting, others are dropped
    # and come again after seconds.
    patch.setattr(http.server.HTTPServer, "request_queue_size", 128)
    # gcsfs asks for an object and a folder at once, and hangs up on the slower answer.
    patch.setattr(http.server.HTTPServer, "handle_error", lambda *_: None)
    storage._filesystem.cache_clear()
    server.start()
    body = json.dumps({"name": BUCKET}).encode()
    request = urllib.request.Request(
        f"{os.environ['STORAGE_EMULATOR_HOST']}/storage/v1/b?project=p",
        body,
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=20).close()
    yield f"gs://{BUCKET}"
    server.stop()
    patch.undo()
    storage._filesystem.cache_clear()


@pytest.fixture
def root(bucket: str) -> str:
    url = f"{bucket}/{uuid.uuid4().hex}"
    storage.write_bytes(f"{url}/.keep", b"")
    return url


class TestGoogleCloudStorage(StorageContract):
    def test_many_objects_come_at_once_and_in_order(self, root: str) -> None:
        urls = [f"{root}/{i:03d}" for i in range(60)]
        for url in urls:
            storage.write_bytes(url, url.encode())
        assert storage.read_many(urls[::-1]) == [url.encode() for url in urls[::-1]]

    # aiohttp's advice to gcsfs, which sends 50 MB at a time
    @pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
    def test_a_larger_object(self, root: str) -> None:
        data = np.random.default_rng(0).bytes(6 * 2**20)  # more than one request of gcsfs holds
        storage.write_bytes(f"{root}/large", data)
        assert storage.sha256(storage.read_bytes(f"{root}/large")) == storage.sha256(data)

    def test_shards(self, root: str) -> None:
        assert not shards.complete(root, NAME)
        done = shards.write(root, record(), content())
        assert shards.complete(root, NAME)
        assert shards.read_record(root, NAME) == done
        np.testing.assert_array_equal(shards.read_vectors(root, done), content().vectors)
        assert shards.read_rows(root, done).num_rows == 7
        fs, path = storage.filesystem(shards.directory(root, NAME))
        fs.rm(f"{path}/{shards.VECTORS}")
        with pytest.raises(ContractError, match=r"gs://.*vectors.npy: is missing"):
            shards.read_vectors(root, done)

    def test_generations(self, root: str) -> None:
        with pytest.raises(GenerationError, match="nothing is published"):
            manifest.current_generation(root)
        first = manifest.write_generation(root, a_generation(1))
        assert manifest.write_generation(root, a_generation(1)) == first
        second = manifest.write_generation(root, a_generation(2))
        for name in (first, second):
            manifest.set_current(root, name)
            assert manifest.current_generation(root) == name
        assert manifest.read_generation(root, second) == a_generation(2)
