"""What an operator can set, by environment (``WORLDSIFT_ROOT``, ...) or on the command line."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from featurizer import storage
from serving.engine.progress import cores

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/,*]+")


def default_cache_dir(root: str) -> Path:
    """A folder of this root's own below ``~/.cache/worldsift/serving``."""
    digest = hashlib.sha256(storage.normalise(root).encode()).hexdigest()[:16]
    return Path("~/.cache/worldsift/serving").expanduser() / digest


def _cache_dir(fields: dict[str, Any]) -> Path:
    return default_cache_dir(str(fields.get("root", "")))


def origins_of(text: str) -> tuple[str, ...]:
    """The origins of ``cors_origins``."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


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
    workers: int = Field(1, ge=1, le=64, description="processes that share the mapped index")

    max_upload_bytes: int = Field(32 << 20, ge=1, description="largest image that may be uploaded")
    max_upload_pixels: int = Field(100_000_000, ge=1, description="most pixels of such an image")
    max_json_bytes: int = Field(
        64 << 20, ge=1024, description="largest body other than a form, images in base64 included"
    )
    max_bodies_bytes: int = Field(
        1 << 30,
        ge=1,
        description="bodies of all requests together; more are told to come back (503)",
    )
    max_images: int = Field(16, ge=1, description="most uploaded images in one request")
    max_examples: int = Field(256, ge=1, description="most examples of one search")
    max_k: int = Field(10_000, ge=1, description="most hits on a page")
    max_results: int = Field(
        100_000, ge=1, description="most hits of a search over all its pages, and rows of an export"
    )
    max_batch: int = Field(64, ge=1, description="most searches in one call")

    query_threads: int = Field(
        default_factory=cores, ge=1, description="searches computed at one time; more only wait"
    )
    max_queue: int = Field(
        256, ge=1, description="requests that may wait; more are told to come back (503)"
    )
    max_embed_batch: int = Field(
        32, ge=1, description="uploaded images that one pass of the model takes together"
    )
    header_timeout_s: float = Field(
        15, gt=0, description="a connection must have sent a request's headers within"
    )
    body_timeout_s: float = Field(
        30, gt=0, description="longest silence while a request's body is being sent"
    )
    request_timeout_s: float = Field(60, gt=0, description="longest that one answer may take")
    drain_s: int = Field(20, ge=0, description="time that open requests get at shutdown")
    notice_s: float = Field(
        0, ge=0, description="time before that in which only /readyz says that the end is near"
    )

    watch_s: float = Field(
        10, ge=0, description="how often CURRENT is looked at for a new generation; 0: never"
    )
    recall_sample_s: float = Field(
        30, ge=0, description="how often one answer is compared with exact search; 0: never"
    )
    map_sample: int = Field(5_000, ge=10, le=50_000, description="tiles on the embedding map")

    api_keys_file: Path | None = Field(
        None, description="file of hashed API keys, made by `python -m serving key`"
    )
    api_keys: str = Field(
        "", description="hashed API keys as name:scope:sha256 with commas between, beside the file"
    )
    allow_anonymous: bool = Field(
        False, description="serve other machines, or under other names, without any API key"
    )
    rate_limit: str = Field(
        "", description="requests for each key or address, such as 600/minute; empty: no limit"
    )
    cors_origins: str = Field(
        "", description="origins whose pages may call the API, with commas between"
    )
    log_format: Literal["text", "json"] = Field("text", description="text or json lines on stderr")
    access_log: bool = Field(False, description="one line a request in the log")

    @field_validator("root")
    @classmethod
    def _normalise_root(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("give the archive's folder or URL")
        return storage.normalise(value)

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: str) -> str:
        for origin in origins_of(value):
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is not an origin: write scheme://host or scheme://host:port "
                    "without a path, or * for all"
                )
        return value

    @field_validator("cache_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()
