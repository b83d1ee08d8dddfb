"""Sources of imagery: a folder or bucket, a raster, a table of uris.  Each yields plan items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from featurizer import storage
from featurizer.errors import SourceError
from pipeline.config import SourceOptions
from pipeline.plan import Item
from pipeline.sources import folder, scenes, table


def list_items(options: SourceOptions) -> Iterator[Item]:
    """Every input of the source, rasters with their number of windows, in a fixed order.

    SourceError when there is nothing at ``options.uri``, or no picture in it.
    """
    found = False
    for item in scenes.tiled(_listed(options), _for_single(options)):
        found = True
        yield item
    if not found:
        raise SourceError(
            f"{options.uri}: no pictures here; give a folder of them "
            f"({', '.join(sorted(folder.IMAGE_SUFFIXES))}), a raster, or a .csv or .parquet list "
            "of uris"
        )


def _is_single(uri: str) -> bool:
    return folder.suffix(uri) in folder.IMAGE_SUFFIXES and not storage.is_directory(uri)


def _for_single(options: SourceOptions) -> SourceOptions:
    # Whoever names one picture as a whole archive means its inside.
    if options.tile == "auto" and _is_single(options.uri):
        return replace(options, tile="always")
    return options


def _listed(options: SourceOptions) -> Iterator[Item]:
    uri = options.uri
    if not storage.exists(uri):
        raise SourceError(f"{uri}: nothing is there; check the path or URL and the rights to it")
    if storage.is_directory(uri):
        yield from folder.list_folder(uri, options.labels)
    elif folder.suffix(uri) in table.SUFFIXES:
        yield from table.list_table(uri)
    elif _is_single(uri):
        yield folder.item_of(storage.stat(uri))
    else:
        raise SourceError(
            f"{uri}: neither a folder, nor a picture, nor a .csv or .parquet list of uris"
        )
