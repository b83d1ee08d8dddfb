"""Which images are held out."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from featurizer.training.split import held_out


@given(st.text(min_size=1))
def test_the_path_alone_decides(path: str) -> None:
    assert held_out(path) is held_out(path)


def test_it_never_changes() -> None:
    """Written down: were it to change, published figures would be measured on trained images."""
    paths = [f"eurosat_rgb/Forest/Forest_{number}.jpg" for number in range(1, 13)]
    held = [number for number, path in enumerate(paths, 1) if held_out(path)]
    assert held == [8, 10]


def test_about_a_quarter_of_every_class_is_held_out() -> None:
    for label in ("Forest", "River", "SeaLake"):
        share = sum(held_out(f"eurosat_rgb/{label}/{label}_{n}.jpg") for n in range(3000)) / 3000
        assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 3000) ** 0.5  # four standard deviations


def test_importing_it_loads_no_torch() -> None:
    code = "import sys, featurizer.training.split; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
