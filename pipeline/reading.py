"""A shard's inputs as batches of encoded images or of raster tiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from featurizer import storage
from featurizer.decode import DEFAULT_LIMITS
from featurizer.errors import PixelError, StorageError
from featurizer.pixels import Rgb, Stretch
from featurizer.rasters import Scene, SceneInfo, open_scene
from featurizer.schema import Reject, Row
from featurizer.tiles import Bounds, Window
from pipeline.config import EmbedJob
from pipeline.faults import reason_of
from pipeline.plan import Item, ShardPlan
from pipeline.tiling import iter_tiles, tile_windows

# Encoded bytes or bytes of pixels in one batch, which bounds it for photographs and large tiles.
_BATCH_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class Batch:
    """Inputs that go through the model together; rows and pixels never come apart."""

    images: list[tuple[Row, bytes]] = field(default_factory=list)
    tiles: list[tuple[Row, Rgb]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    stretches: dict[str, Stretch] = field(default_factory=dict)
    source_bytes: int = 0

    def __len__(self) -> int:
        return len(self.images) + len(self.tiles)


@dataclass(slots=True)
class Found:
    """What reading learnt on the way; complete once the batches are used up."""

    stretches: dict[str, Stretch] = field(default_factory=dict)
    kept: Counter[str] = field(default_factory=Counter)  # windows kept, by uri
    dropped_null: int = 0
    bytes_read: int = 0


class read_batches(Iterator[Batch]):
    """The plan's inputs in batches of ``job.batch``; ``found`` is complete at the end.

    A run of whole images is fetched together; a raster is read window by window.  What cannot be
    read becomes a reject of the batch it would have been in.
    """

    def __init__(self, plan: ShardPlan, job: EmbedJob) -> None:
        self.found = Found()
        self._batches = self._read(plan, job)

    def __next__(self) -> Batch:
        return next(self._batches)

    def _read(self, plan: ShardPlan, job: EmbedJob) -> Iterator[Batch]:
        for run in _runs(plan.items, job.batch):
            if run[0].kind == "image":
                yield self._fetched(run)
            else:
                yield from self._cut(run[0], job)

    def _fetched(self, items: list[Item]) -> Batch:
        batch = Batch()
        wanted = []
        for item in items:
            if item.size > DEFAULT_LIMITS.max_bytes:
                detail = f"{item.size} bytes, more than {DEFAULT_LIMITS.max_bytes}"
                batch.rejects.append(Reject(item.uri, "read", "too-large", detail))
            else:
                wanted.append(item)
        for item, data in zip(wanted, storage.read_many([i.uri for i in wanted]), strict=True):
            if isinstance(data, StorageError):
                batch.rejects.append(Reject(item.uri, "read", reason_of(data), str(data)))
                continue
            batch.images.append((_row(item), data))
            batch.source_bytes += len(data)
        self.found.bytes_read += batch.source_bytes
        return batch

    def _cut(self, item: Item, job: EmbedJob) -> Iterator[Batch]:
        batch = Batch()
        most = min(job.batch, max(1, _BATCH_BYTES // (3 * job.source.tiling.tile_px**2)))
        try:
            with open_scene(item.uri, job.source.raster) as scene:
                if scene.info.stretch is not None:
                    self.found.stretches[item.uri] = scene.info.stretch
                for row, pixels in self._tiles(item, scene, job):
                    batch.tiles.append((row, pixels))
                    if len(batch) == most:
                        yield batch
                        batch = Batch()
        except PixelError as error:
            # What was cut before the fault stands; the rest of this slice is rejected as one.
            batch.rejects.append(Reject(item.uri, "tile", error.reason, error.detail))
        except StorageError as error:
            batch.rejects.append(Reject(item.uri, "read", reason_of(error), str(error)))
        batch.source_bytes += item.size if item.start == 0 else 0
        self.found.bytes_read += batch.source_bytes
        yield batch

    def _tiles(self, item: Item, scene: Scene, job: EmbedJob) -> Iterator[tuple[Row, Rgb]]:
        if item.kind == "scene":
            whole = Window(0, 0, scene.info.width, scene.info.height)
            if whole.width * whole.height > DEFAULT_LIMITS.max_pixels:
                size = f"{whole.width} x {whole.height} pixels"
                raise PixelError("too-large", f"{size} in one picture: cut it with --tile auto")
            grid = windows = [whole]
        else:
            tiling = job.source.tiling
            grid = tile_windows(
                scene.info.width, scene.info.height, tiling.tile_px, tiling.stride_px
            )
            windows = grid[item.start : item.stop]
        for tile in iter_tiles(scene, windows):
            null = 1.0 - tile.valid_fraction
            if null > job.source.tiling.max_null:
                if item.kind == "scene":
                    raise PixelError("null", f"{null:.0%} of it is null (--max-null)")
                self.found.dropped_null += 1
                continue
            self.found.kept[item.uri] += 1
            row = replace(
                _row(item),
                window=tile.window if item.kind == "windows" else None,
                bounds=tile.bounds or _bounds_within(item.bounds, tile.window, scene.info),
                valid_fraction=tile.valid_fraction,
            )
            yield row, tile.pixels
        if item.kind == "windows" and len(windows) == len(grid) and not self.found.kept[item.uri]:
            least = f"{job.source.tiling.max_null:.0%}"
            raise PixelError("null", f"all {len(grid)} windows are more than {least} null")


def _bounds_within(bounds: Bounds | None, window: Window, info: SceneInfo) -> Bounds | None:
    """Of the window, when ``bounds`` are the picture's, known from its name or a table.

    Degrees are taken to be even over the pixels, as in the EPSG:4326 pictures that GIBS serves.
    """
    if bounds is None:
        return None
    west, south, east, north = bounds
    wide, high = (east - west) % 360.0 or 360.0, north - south
    left, right = (min(x, info.width) / info.width for x in (window.x, window.x + window.width))
    top, bottom = (min(y, info.height) / info.height for y in (window.y, window.y + window.height))
    # rounded to a tenth of a millimetre, or 180 and 90 degrees might be passed by a last bit
    first, last = (round(west + wide * edge, 9) for edge in (left, right))
    lowest, highest = (round(north - high * edge, 9) for edge in (bottom, top))
    return (first - 360 * (first > 180), lowest, last - 360 * (last > 180), highest)


def _row(item: Item) -> Row:
    return Row(uri=item.uri, etag=item.etag, label=item.label, taken=item.taken, bounds=item.bounds)


def _runs(items: tuple[Item, ...], batch: int) -> Iterator[list[Item]]:
    """Consecutive images, up to ``batch`` or the byte limit; every raster by itself."""
    run: list[Item] = []
    size = 0
    for item in items:
        if item.kind != "image":
            if run:
                yield run
            run, size = [], 0
            yield [item]
            continue
        if run and (len(run) == batch or size + item.size > _BATCH_BYTES):
            yield run
            run, size = [], 0
        run.append(item)
        size += item.size
    if run:
        yield run
