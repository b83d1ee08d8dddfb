"""The same contract on ``gs://``: gcsfs against an emulated Google Cloud Storage."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import numpy as np
import pytest

from featurizer import manifest, shards, storage
from featurizer.errors import ContractError, GenerationError
from tests.emulator import emulated_bucket
from tests.featurizer.test_manifest import a_generation
from tests.featurizer.test_shards import NAME, content, record
from tests.featurizer.test_storage import StorageContract

BUCKET = "archive"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with emulated_bucket(BUCKET) as url:
        yield url


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
