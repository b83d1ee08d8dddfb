"""What one row of the archive is: a tile, its id, and what its file name may tell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from featurizer.errors import QueryError

Bounds = tuple[float, float, float, float]  # west, south, east, north in EPSG:4326 degrees


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rectangle of source pixels; x and y may run past the raster's edge, where it is null."""

    x: int
    y: int
    width: int
    height: int


_COUNT = r"(?:0|[1-9][0-9]{0,9})"  # as ``tile_id`` writes it: any other form is part of the uri
_TILE_ID = re.compile(rf"(?s)(?P<uri>.+?)(?:#(?P<window>{_COUNT}(?:,{_COUNT}){{3}}))?")


def tile_id(uri: str, window: Window | None = None) -> str:
    """The id that users keep: ``<uri>`` for a whole image, ``<uri>#x,y,w,h`` for a window."""
    if window is None:
        return uri
    return f"{uri}#{window.x},{window.y},{window.width},{window.height}"


def parse_tile_id(text: str) -> tuple[str, Window | None]:
    """The inverse of ``tile_id``; QueryError for an empty id.

    A uri may itself hold ``#``; one that ends as a window does is taken for that window's source.
    """
    match = _TILE_ID.fullmatch(text)
    if match is None:
        raise QueryError("an empty tile id: give <uri> or <uri>#x,y,w,h")
    if match["window"] is None:
        return text, None
    return match["uri"], Window(*map(int, match["window"].split(",")))


_NUMBER = r"-?\d+(?:\.\d+)?"
_GEOLOCATED = re.compile(
    rf"(?P<date>\d{{4}}-\d{{2}}-\d{{2}})_(?P<south>{_NUMBER}),(?P<west>{_NUMBER}),"
    rf"(?P<north>{_NUMBER}),(?P<east>{_NUMBER})\.[A-Za-z0-9]+"
)


@dataclass(frozen=True, slots=True)
class Place:
    """When and where a picture was taken; None where unknown."""

    taken: datetime | None = None
    bounds: Bounds | None = None


def place_of_name(uri: str) -> Place:
    """Date (UTC midnight) and bounds out of a name ``DATE_S,W,N,E.ext``, as GIBS-Downloader writes.

    A name of another form, or one with impossible values, tells nothing: ``Place()``.
    """
    match = _GEOLOCATED.fullmatch(uri.rsplit("/", 1)[-1])
    if match is None:
        return Place()
    south, west, north, east = (float(match[k]) for k in ("south", "west", "north", "east"))
    if not (-90 <= south < north <= 90 and -180 <= west <= 180 and -180 <= east <= 180):
        return Place()
    if west == east:
        return Place()
    try:
        taken = datetime.strptime(match["date"], "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return Place()
    return Place(taken, (west, south, east, north))
