"""Rows of cells as aligned text, and the machine that they were measured on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.runner import cores


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, columns aligned: the first to the left, the others to the right."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        padded[0] = row[0].ljust(widths[0])
        lines.append("| " + " | ".join(padded) + " |")
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(lines)


def machine() -> str:
    """Processor, cores and load: a loaded machine gives no figures worth keeping."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "?")
    load = os.getloadavg()[0]
    warning = " - LOADED: figures will be low and uneven" if load > 0.5 * cores() else ""
    return f"{model}, {cores()} cores, load {load:.1f} at the start{warning}"


def verdict(value: float, least: float) -> str:
    return f"{value:.2f} (wanted {least:g}: {'met' if value >= least else 'NOT MET'})"
