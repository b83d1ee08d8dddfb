"""Arguments become records; what cannot be meant is refused with a word on what can."""

from __future__ import annotations

import pytest

from featurizer.errors import UsageError
from pipeline.options import parse


def test_the_defaults_are_those_of_the_records():
    command = parse(["index", "photos", "archive"])
    assert command.verb == "index"
    assert (command.source.uri, command.args.root) == ("photos", "archive")
    assert (command.source.tile, command.source.labels) == ("auto", "parent")
    assert (command.source.tiling.tile_px, command.source.tiling.stride_px) == (256, 128)
    assert command.source.tiling.max_null == 0.5
    assert (command.source.raster.bands, command.source.raster.scale) == (None, "auto")
    assert command.runner.workers == 1
    assert command.runner.progress
    assert command.index.nlist is None


def test_every_source_option_arrives():
    argv = "embed s r --tile always --tile-px 64 --stride-px 32 --max-null 0.2 --bands 4,3,2"
    source = parse([*argv.split(), "--scale", "0,3000", "--labels", "top"]).source
    assert (source.tile, source.labels) == ("always", "top")
    assert (source.tiling.tile_px, source.tiling.stride_px, source.tiling.max_null) == (64, 32, 0.2)
    assert (source.raster.bands, source.raster.scale) == ((4, 3, 2), (0.0, 3000.0))


def test_what_follows_a_bare_dash_is_beams():
    command = parse(["embed", "s", "r", "--workers", "2", "--", "--runner=X", "--", "-y"])
    assert command.beam_flags == ("--runner=X", "--", "-y")
    assert command.runner.beam_flags == command.beam_flags
    assert command.runner.workers == 2


@pytest.mark.parametrize("text", ["4", "4,3,2"])
def test_bands(text):
    bands = parse(["embed", "s", "r", "--bands", text]).source.raster.bands
    assert ",".join(map(str, bands)) == text


@pytest.mark.parametrize(
    ("option", "text", "says"),
    [
        ("--bands", "1,2", "one band or three"),
        ("--bands", "0", "one band or three"),
        ("--bands", "red", "one band or three"),
        ("--bands", "1,,3", "one band or three"),
        ("--scale", "9", "two numbers"),
        ("--scale", "a,b", "two numbers"),
        ("--scale", "1,2,3", "two numbers"),
        ("--scale", "3,2", "lower number"),
        ("--scale", "nan,2", "lower number"),
        ("--tile", "sometimes", "invalid choice"),
        ("--batch", "many", "invalid int"),
        ("--tile-p", "64", "unrecognized"),
    ],
)
def test_bad_arguments_exit_with_2_and_say_what_is_wanted(option, text, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(["embed", "s", "r", option, text])
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err


def test_a_negative_scale():
    assert parse(["embed", "s", "r", "--scale=-20,30"]).source.raster.scale == (-20.0, 30.0)


@pytest.mark.parametrize(
    ("argv", "part", "says"),
    [
        (["--tile-px", "0"], "source", "--tile-px"),
        (["--stride-px", "300"], "source", "--stride-px"),
        (["--scale", "0,inf"], "source", "scale"),
        (["--workers", "0"], "runner", "--workers"),
        (["--nlist", "0"], "index", "--nlist"),
        (["--training-rows", "-1"], "index", "--training-rows"),
    ],
)
def test_impossible_values_are_usage_errors(argv, part, says):
    command = parse(["index", "s", "r", *argv])
    with pytest.raises(UsageError, match=says):
        getattr(command, part)


@pytest.mark.parametrize("verb", ["embed", "index", "train", "encode", "publish", "verify"])
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse([verb, "--help"])
    assert stopped.value.code == 0
    assert "ROOT" in capsys.readouterr().out.upper()
