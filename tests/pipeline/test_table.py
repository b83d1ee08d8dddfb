"""Lists of uris with what is known of each, as CSV and as Parquet."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from featurizer.errors import SourceError, StorageError
from pipeline.config import SourceOptions
from pipeline.sources import list_items
from pipeline.sources.table import list_table
from tests.pipeline.imagery import a_job, embed_all, picture, save


def csv(folder, text, name="list.csv"):
    return save(folder / name, text.encode() if isinstance(text, str) else text)


def parquet(folder, **columns):
    place = str(folder / "list.parquet")
    pq.write_table(pa.table(columns), place)
    return place


def both(folder, **columns):
    """The same table in both forms."""
    place = str(folder / "same.csv")
    pyarrow.csv.write_csv(pa.table(columns), place)
    return [place, parquet(folder, **columns)]


def items(place):
    return list(list_table(place))


def test_every_column_in_both_forms(tmp_path):
    save(tmp_path / "in/a.png", b"abc")
    for place in both(
        tmp_path,
        uri=["in/a.png", "/far/b.png"],
        label=["007", None],
        datetime=["2024-05-31T12:00:00+02:00", "2024-05-31"],
        west=[179.5, None],
        south=[-1.0, None],
        east=[-179.5, None],
        north=[1.0, None],
        note=["passed", "over"],
    ):
        first, second = items(place)
        assert (first.uri, first.size) == (f"{tmp_path}/in/a.png", 3)
        assert first.label == "007"
        assert first.taken == datetime(2024, 5, 31, 10, tzinfo=UTC)
        assert first.bounds == (179.5, -1.0, -179.5, 1.0)
        assert (second.uri, second.size, second.etag) == ("/far/b.png", 0, "missing")
        assert (second.label, second.bounds) == (None, None)
        assert second.taken == datetime(2024, 5, 31, tzinfo=UTC)


def test_order_is_that_of_the_table(tmp_path):
    uris = [f"{(i * 7919) % 2500:05d}.png" for i in range(2500)]
    place = parquet(tmp_path, uri=uris, size=[1] * 2500, etag=["e"] * 2500)
    assert [item.uri.rsplit("/", 1)[1] for item in items(place)] == uris


def test_a_given_size_and_etag_are_believed_and_nothing_is_looked_up(tmp_path):
    place = csv(tmp_path, "uri,size,etag\ngs://none/a.png,12,0012\n")
    (item,) = items(place)
    assert (item.uri, item.size, item.etag) == ("gs://none/a.png", 12, "0012")


def test_an_empty_size_is_looked_up(tmp_path):
    save(tmp_path / "a.png", b"abc")
    (item,) = items(csv(tmp_path, "uri,size,etag\na.png,,x\n"))
    assert item.size == 3


def test_labels_may_be_numbers_and_categories(tmp_path):
    assert items(parquet(tmp_path, uri=["a.png"], label=[7]))[0].label == "7"
    kinds = pa.array(["forest"]).dictionary_encode()
    assert items(parquet(tmp_path, uri=["a.png"], label=kinds))[0].label == "forest"


EAST = timezone(timedelta(hours=5))


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        (pa.array([date(2024, 5, 31)]), datetime(2024, 5, 31, tzinfo=UTC)),
        (pa.array([datetime(2024, 5, 31, 7)]), datetime(2024, 5, 31, 7, tzinfo=UTC)),
        (
            pa.array([datetime(2024, 5, 31, 7, tzinfo=EAST)], pa.timestamp("us", "+05:00")),
            datetime(2024, 5, 31, 2, tzinfo=UTC),
        ),
        (
            pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", "UTC")),
            datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC),
        ),
        (pa.array(["2024-05-31T07:00:00Z"]), datetime(2024, 5, 31, 7, tzinfo=UTC)),
    ],
)
def test_times_of_every_type_are_utc(tmp_path, value, taken):
    (item,) = items(parquet(tmp_path, uri=["a.png"], datetime=value))
    assert item.taken == taken
    assert item.taken.utcoffset() == timedelta(0)


def test_a_name_tells_what_the_table_does_not(tmp_path):
    text = "uri,datetime\n2024-05-31_0,0,1,1.jpg,\n".replace("2024-05-31_0,0,1,1.jpg", '"{}"')
    (item,) = items(csv(tmp_path, text.format("2024-05-31_0,0,1,2.jpg")))
    assert item.taken == datetime(2024, 5, 31, tzinfo=UTC)
    assert item.bounds == (0.0, 0.0, 2.0, 1.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("uri,datetime\na.png,\nb.png,yesterday\n", r"row 2: datetime 'yesterday'"),
        ("uri,datetime\na.png,0001-01-01T00:00:00+05:00\n", r"row 1: datetime .* years"),
        ("uri,west,south,east,north\na.png,1,2,3,4\nb.png,1,2,3,\n", r"row 2: west, south"),
        ("uri,west,south,east,north\na.png,1,2,3,x\n", r"row 1: west, south"),
        ("uri,west,south,east,north\na.png,1,5,3,4\n", r"row 1: .* in degrees"),
        ("uri,west,south,east,north\na.png,181,2,3,4\n", r"row 1: .* in degrees"),
        ("uri,west,south,east,north\na.png,nan,2,3,4\n", r"row 1: .* in degrees"),
        ("uri,west\na.png,1\n", r"row 1: west, south"),
        ("uri,label\na.png,x\n,y\n", r"row 2: uri is None"),
        ("uri,size,etag\na.png,big,e\n", r"row 1: size 'big'"),
        ("uri,size,etag\na.png,-1,e\n", r"row 1: size -1"),
        ("uri\nodd://a/b.png\n", r"row 1: odd://a/b.png: no driver"),
        ("uri\na.png\nb.png\na.png\n", r"rows 1 and 3: the same uri"),
        ("path,label\na.png,x\n", r"no column `uri` \(columns: path, label\)"),
        ("uri,uri\na.png,b.png\n", r"more than one column `uri`"),
        ("", "not a readable table"),
        ("uri,label\na.png\n", "not a readable table"),
        (b"uri\n\xff\xfe.png\n", "not a readable table"),
    ],
)
def test_bad_values_name_their_row(tmp_path, text, says):
    with pytest.raises(SourceError, match=says) as caught:
        items(csv(tmp_path, text))
    assert "list.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", [[5], [b"a.png"], [["a.png"]]])
def test_a_uri_is_text(tmp_path, column):
    with pytest.raises(SourceError, match="row 1: uri is"):
        items(parquet(tmp_path, uri=column))


def test_what_is_no_parquet(tmp_path):
    place = save(tmp_path / "list.parquet", b"PAR1 or so")
    with pytest.raises(SourceError, match="not a readable table"):
        items(place)


def test_a_table_without_rows_is_an_empty_source(tmp_path):
    with pytest.raises(SourceError, match="no pictures here"):
        list(list_items(SourceOptions(csv(tmp_path, "uri,label\n"))))


def test_windows_line_ends_and_a_byte_order_mark(tmp_path):
    (item,) = items(csv(tmp_path, b"\xef\xbb\xbfuri,label\r\na.png,x\r\n"))
    assert (item.uri, item.label) == (f"{tmp_path}/a.png", "x")


def test_a_uri_that_leads_nowhere_becomes_a_reject(tmp_path):
    good = [save(tmp_path / f"{i}.png", picture(i)) for i in range(3)]
    rows = [good[0], "nowhere.png", good[1], "nowhere.tif", str(tmp_path), good[2]]
    place = csv(tmp_path, "uri\n" + "\n".join(rows) + "\n")
    told = []
    (record,) = embed_all(a_job(place, tmp_path / "root"), told=told)
    assert record.rows == 3
    (batch,) = told
    assert [row.uri for row in batch.rows] == good
    assert [(reject.uri, reject.stage, reject.reason) for reject in batch.rejects] == [
        (f"{tmp_path}/nowhere.png", "read", "missing"),
        (f"{tmp_path}/nowhere.tif", "read", "missing"),
        (str(tmp_path), "read", "unreadable"),
    ]


def test_a_fault_that_may_pass_stops_the_listing(tmp_path, monkeypatch):
    def fail(uri):
        error = StorageError(f"{uri}: could not look it up: busy")
        error.__cause__ = TimeoutError()
        raise error

    monkeypatch.setattr("featurizer.storage.stat", fail)
    with pytest.raises(StorageError, match="busy"):
        items(csv(tmp_path, "uri\na.png\n"))
