"""The house rules that imports can show: direction between rooms, one door a heavy library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("featurizer", "pipeline", "serving")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))

ALLOWED = {
    "featurizer": {"featurizer"},
    "pipeline": {"featurizer", "pipeline"},
    "serving": {"featurizer", "serving"},
}

# A library -> where it may be imported: files, or folders with a trailing slash.
DOORS = {
    "apache_beam": (
        "pipeline/transforms.py",
        "pipeline/jobs.py",
        "pipeline/runner.py",
        "pipeline/sources/",
    ),
    "nvidia": ("featurizer/decode.py",),
    "torch": (
        "featurizer/backbones.py",
        "featurizer/checkpoint.py",
        "featurizer/embed.py",
        "featurizer/terra.py",
        "featurizer/training/",
    ),
    "torchvision": ("featurizer/backbones.py", "featurizer/embed.py", "featurizer/training/"),
    "lightly": ("featurizer/training/",),
    "faiss": ("pipeline/index/", "serving/engine/"),
    "rasterio": ("featurizer/rasters.py", "pipeline/tiling.py", "pipeline/synthetic/mosaic.py"),
    "fastapi": ("serving/app.py", "serving/errors.py", "serving/routes/"),
    "sqlalchemy": ("serving/labeling/store.py",),
    "umap": ("serving/embedding_map/",),
    "sklearn": ("serving/embedding_map/",),
    "numba": ("serving/embedding_map/",),
    "structlog": ("serving/operations/",),
    "prometheus_client": ("serving/operations/",),
    "limits": ("serving/operations/",),
    "httpx": ("serving/client.py",),
}

# A part of serving -> the parts and libraries that it does without, so that each can be read,
# tested and used apart from what lies above it.
BENEATH = {
    "serving/engine/": {
        *("fastapi", "starlette", "pydantic"),
        *("serving.query", "serving.export", "serving.operations", "serving.models"),
        *("serving.service", "serving.routes", "serving.app"),
    },
    "serving/query/": {
        *("fastapi", "starlette", "pydantic"),
        *("serving.export", "serving.operations", "serving.models"),
        *("serving.service", "serving.routes", "serving.app"),
    },
    "serving/export/": {"fastapi", "pydantic", "serving.routes", "serving.app"},
    "serving/models/": {"fastapi", "starlette", "serving.service", "serving.routes", "serving.app"},
    "serving/client.py": {"fastapi", "starlette", "serving.service", "serving.engine"},
}

WEB = ROOT / "serving" / "web"
PAGE_SOURCES = sorted(
    path
    for kind in ("*.ts", "*.tsx", "*.css", "*.html")
    for path in WEB.rglob(kind)
    if not {"node_modules", "dist", "dist.part"} & set(path.relative_to(WEB).parts)
)


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            found.add(path.relative_to(ROOT).parts[0])
    return found


def dotted(path: Path) -> set[str]:
    """Full names of all that a module imports by them, each with the packages that hold it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            words = name.split(".")
            found |= {".".join(words[: n + 1]) for n in range(len(words))}
    return found


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_rooms_import_in_one_direction(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    strangers = imported(path) & {*ROOMS, "tests", "infra"} - ALLOWED[room]
    assert not strangers, f"{relative(path)} imports {strangers}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_heavy_libraries_come_through_their_door(path: Path) -> None:
    name = relative(path)
    for library in imported(path) & DOORS.keys():
        doors = DOORS[library]
        assert any(name == door or (door.endswith("/") and name.startswith(door)) for door in doors)


@pytest.mark.parametrize(("part", "above"), BENEATH.items(), ids=BENEATH.keys())
def test_parts_of_serving_do_without_what_lies_above_them(part: str, above: set[str]) -> None:
    inside = [path for path in MODULES if relative(path).startswith(part)]
    assert inside, f"{part} is gone: see where it went, and say so in BENEATH"
    found = {relative(path): dotted(path) & above for path in inside}
    assert not {name: those for name, those in found.items() if those}


def test_imports_are_read_in_full() -> None:
    """This module's own imports, so that a reader of imports that finds none is noticed."""
    assert {"ast", "pathlib", "pathlib.Path", "pytest"} <= dotted(Path(__file__))


def test_page_sources_stay_small() -> None:
    assert PAGE_SOURCES
    lines = {relative(p): len(p.read_text(encoding="utf-8").splitlines()) for p in PAGE_SOURCES}
    assert not {name: count for name, count in lines.items() if count > 350}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_functions_stay_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.body[0].lineno + 1 <= 60, f"{relative(path)}:{node.name}"


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("featurizer.manifest", "torch"),
        ("featurizer.shards", "torch"),
        ("pipeline.options", "apache_beam"),
        ("serving.app", "apache_beam"),
        ("serving.cli", "faiss"),
        ("serving.cli", "torch"),
        ("serving.client", "faiss"),
        ("serving.client", "torch"),
        ("serving.client", "fastapi"),
        ("serving.models.requests", "faiss"),
        ("serving.models.answers", "faiss"),
        ("serving.app", "umap"),
        ("serving.app", "sklearn"),
    ],
)
def test_light_imports_stay_light(module: str, library: str) -> None:
    code = f"import {module}, sys; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_every_folder_of_tests_is_a_package() -> None:
    """Without ``tests/__init__.py``, ``tests/pipeline`` would shadow ``pipeline``."""
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert all((folder / "__init__.py").exists() for folder in folders)
