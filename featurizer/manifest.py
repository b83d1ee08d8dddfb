"""Inventories, generations and CURRENT: which shards make an archive, and which one is served.

``inventories/<i>.json`` is what one embed job covered, in order.  ``generations/<g>.json`` binds an
inventory to a quantizer and the code file of each shard.  Both names begin with a number that
grows, so that the newest is the last; the rest of the name is a hash of the content, so that the
same job run again finds its own file and writes nothing.  ``CURRENT`` names the generation that is
served; it is the only file that is ever replaced.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from featurizer import storage
from featurizer.errors import ContractError, GenerationError, StorageError
from featurizer.spec import FeaturizerSpec

FORMAT = 1
INVENTORIES, GENERATIONS, CURRENT = "inventories", "generations", "CURRENT"
EVALUATION_SUFFIX = ".evaluation.json"
_NUMBERED = re.compile(r"([0-9]{6,}-[0-9a-f]{12})\.json")


@dataclass(frozen=True, slots=True)
class InventoryShard:
    name: str
    rows: int
    marker_sha256: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """The shards of one embed job, in order, and its totals."""

    source: str
    featurizer: str
    shards: tuple[InventoryShard, ...]
    rejects: dict[str, int]
    dropped_null: int
    source_bytes: int

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)


@dataclass(frozen=True, slots=True)
class GenerationShard:
    """One shard in a generation; ``vectors`` and ``rows_file`` are sha256 sums, as is ``codes``."""

    name: str
    rows: int
    vectors: str
    rows_file: str
    codes: str


@dataclass(frozen=True, slots=True)
class IndexParameters:
    """How vectors become codes, and the defaults that a search uses."""

    factory: str
    nlist: int
    nprobe: int
    rerank_factor: int
    training_rows: int
    sample_seed: int


@dataclass(frozen=True, slots=True)
class Generation:
    """A searchable archive.  A row's id is its shard's base (rows before it) plus its row there."""

    inventory: str
    quantizer: str
    quantizer_sha256: str
    featurizer: FeaturizerSpec
    index: IndexParameters
    shards: tuple[GenerationShard, ...]
    parent: str | None = None
    tombstones: tuple[int, ...] = field(default=())

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)


def _encode(record: Inventory | Generation) -> bytes:
    return json.dumps({"format": FORMAT, **asdict(record)}, sort_keys=True, indent=1).encode()


def _read_json(place: str) -> dict[str, Any]:
    try:
        record = json.loads(storage.read_bytes(place))
        version = record.pop("format")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ContractError(f"{place}: not one of ours ({error}); make it again") from error
    if version != FORMAT:
        raise ContractError(
            f"{place}: format {version}, but this version reads {FORMAT}; make it again, or use "
            "the version that wrote it"
        )
    return dict(record)


Record = TypeVar("Record", Inventory, Generation)


def _build(kind: type[Record], fields: dict[str, Any], place: str) -> Record:
    try:
        return kind(**fields)
    except TypeError as error:
        raise ContractError(f"{place}: {error}; it was written by another version") from error


def _numbered(root: str, folder: str) -> list[str]:
    """Names (without .json) in ``folder``, oldest first; other files are not among them."""
    matches = map(_NUMBERED.fullmatch, storage.names(storage.join(root, folder)))
    return sorted((match[1] for match in matches if match), key=lambda n: int(n.split("-")[0]))


def _write_numbered(root: str, folder: str, data: bytes) -> str:
    """Writes ``data`` as the newest file of ``folder``, unless it is that already; its name."""
    digest = storage.sha256(data)[:12]
    existing = _numbered(root, folder)
    if existing and existing[-1].endswith(f"-{digest}"):
        return existing[-1]
    number = int(existing[-1].split("-")[0]) + 1 if existing else 1
    name = f"{number:06d}-{digest}"
    storage.write_bytes(storage.join(root, folder, f"{name}.json"), data)
    return name


def write_inventory(root: str, inventory: Inventory) -> str:
    return _write_numbered(root, INVENTORIES, _encode(inventory))


def read_inventory(root: str, name: str) -> Inventory:
    place = storage.join(root, INVENTORIES, f"{name}.json")
    fields = _read_json(place)
    try:
        fields["shards"] = tuple(InventoryShard(**shard) for shard in fields["shards"])
    except (TypeError, KeyError) as error:
        raise ContractError(f"{place}: {error}; it was written by another version") from error
    return _build(Inventory, fields, place)


def latest_inventory(root: str) -> str:
    found = _numbered(root, INVENTORIES)
    if not found:
        raise GenerationError(
            f"{root}: nothing has been embedded here yet: run `python -m pipeline embed SOURCE "
            f"{root}` first (an interrupted embed continues where it stopped)"
        )
    return found[-1]


def write_generation(root: str, generation: Generation) -> str:
    return _write_numbered(root, GENERATIONS, _encode(generation))


def read_generation(root: str, name: str) -> Generation:
    """GenerationError when there is none of that name, ContractError when it is not readable."""
    place = storage.join(root, GENERATIONS, f"{name}.json")
    try:
        fields = _read_json(place)
    except StorageError as error:
        if not storage.is_missing(error):
            raise
        there = ", ".join(_numbered(root, GENERATIONS)[-5:]) or "none"
        raise GenerationError(f"{place}: no such generation; there: {there}") from error
    try:
        fields["featurizer"] = FeaturizerSpec.from_json(fields["featurizer"], place)
        fields["index"] = IndexParameters(**fields["index"])
        fields["shards"] = tuple(GenerationShard(**shard) for shard in fields["shards"])
        fields["tombstones"] = tuple(fields["tombstones"])
    except (TypeError, KeyError) as error:
        raise ContractError(f"{place}: {error}; it was written by another version") from error
    return _build(Generation, fields, place)


def latest_generation(root: str) -> str:
    found = _numbered(root, GENERATIONS)
    if not found:
        raise GenerationError(
            f"{root}: no generation here yet: run `python -m pipeline train {root}` and "
            f"`python -m pipeline encode {root}` first"
        )
    return found[-1]


def current_generation(root: str) -> str:
    """The published generation's name; GenerationError when nothing is published."""
    place = storage.join(root, CURRENT)
    if not storage.exists(place):
        raise GenerationError(
            f"{root}: nothing is published here: run `python -m pipeline index SOURCE {root}`, or "
            f"`python -m pipeline publish {root}` after embed, train and encode"
        )
    name = storage.read_bytes(place).decode("utf-8", "replace").strip()
    if name not in _numbered(root, GENERATIONS):
        raise GenerationError(
            f"{place}: names generation {name!r}, which is not in {root}/{GENERATIONS}: "
            f"run `python -m pipeline publish {root}`"
        )
    return name


def set_current(root: str, name: str) -> None:
    storage.write_bytes(storage.join(root, CURRENT), f"{name}\n".encode())


def evaluation_path(root: str, generation: str) -> str:
    return storage.join(root, GENERATIONS, f"{generation}{EVALUATION_SUFFIX}")
