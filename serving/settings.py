"""What an operator can set, by environment (``WORLDSIFT_ROOT``, ...) or on the command line."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from featurizer import storage
from serving.engine.progress import cores


def default_cache_dir(root: str) -> Path:
    """A folder of this root's own below ``~/.cache/worldsift/serving``."""
    digest = hashlib.sha256(storage.normalise(root).encode()).hexdigest()[:16]
    return Path("~/.cache/worldsift/serving").expanduser() / digest


def _cache_dir(fields: dict[str, Any]) -> Path:
    return default_cache_dir(str(fields.get("root", "")))


class Settings(BaseSettings):
    """One serving process; every field is read from ``WORLDSIFT_<FIELD>`` unless given."""

    model_config = SettingsConfigDict(env_prefix="WORLDSIFT_", frozen=True)

    root: str = Field(description="folder or URL of the archive: /data/archive, gs://bucket/path")
    cache_dir: Path = Field(
        default_factory=_cache_dir,
        description="local folder for the merged index and fetched files",
    )
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all")
    port: int = Field(8000, ge=0, le=65_535, description="port to listen on; 0 for any free one")
    max_upload_bytes: int = Field(32 << 20, ge=1, description="largest image that may be uploaded")
    max_upload_pixels: int = Field(100_000_000, ge=1, description="most pixels of such an image")
    max_images: int = Field(16, ge=1, description="most queries in one request")
    max_k: int = Field(10_000, ge=1, description="most neighbours a query may ask for")
    query_threads: int = Field(
        default_factory=cores, ge=1, description="searches computed at one time; more only wait"
    )

    @field_validator("root")
    @classmethod
    def _normalise_root(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("give the archive's folder or URL")
        return storage.normalise(value)

    @field_validator("cache_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()
