"""Lines across a picture: tracks, meanders, branching channels."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from pipeline.synthetic.paint import Points


def _along(headings: Points, start: tuple[float, float], length: float) -> Points:
    """The polyline that leaves ``start`` and follows these headings (n,), radians."""
    pace = length / len(headings)
    moves = np.stack([np.cos(headings), np.sin(headings)], axis=1) * pace
    return np.concatenate([[start], np.asarray(start) + np.cumsum(moves, axis=0)])


def _smooth(rng: Generator, count: int, waves: int) -> Points:
    """A smooth random series (count,) of about unit deviation: a few sines of random phase."""
    s = np.linspace(0, 1, count)
    total = np.zeros(count)
    for k in range(1, waves + 1):
        total += rng.normal(0, 1) * np.sin(2 * np.pi * (k * s + rng.random())) / np.sqrt(waves / 2)
    return total


def wander(rng: Generator, angle: float, bend: float) -> Points:
    """A line through the picture from edge to edge that swings ``bend`` radians about ``angle``."""
    headings = angle + bend * _smooth(rng, 60, 4)
    path = _along(headings, (0.0, 0.0), 1.9)
    offset = rng.uniform(-0.2, 0.2, 2)
    centred: Points = path - path[len(path) // 2] + offset
    return centred


def meander(rng: Generator, angle: float, swing: float, bends: float) -> Points:
    """A river's line by the sine-generated curve of Langbein and Leopold (1966), made uneven.

    The heading is ``swing`` * sin(arc length), at most 1.85 radians, above which loops would cross.
    """
    count = 260
    s = np.linspace(0, 1, count)
    phase = 2 * np.pi * bends * s + 1.1 * _smooth(rng, count, 5)
    size = np.clip(swing * (1 + 0.2 * _smooth(rng, count, 6)), 0.4, 1.85)
    headings = angle + size * np.sin(phase) + 0.15 * _smooth(rng, count, 3)
    path = _along(headings, (0.0, 0.0), 1.0)
    reach = path[-1] - path[0]
    path *= 1.7 / float(np.hypot(*reach))
    centred: Points = path - path[count // 2] + rng.uniform(-0.12, 0.12, 2)
    return centred


def inside_of_bends(path: Points, reach: float) -> Points:
    """The path moved towards the centre of each bend, by at most ``reach``: where sand settles."""
    step = np.gradient(path, axis=0)
    turn = np.gradient(np.unwrap(np.arctan2(step[:, 1], step[:, 0])))
    turn = np.convolve(turn, np.hanning(31) / np.hanning(31).sum(), mode="same")
    share = np.tanh(1.2 * turn / (float(np.std(turn)) + 1e-9))
    normal = np.stack([-step[:, 1], step[:, 0]], axis=1) / np.hypot(*step.T)[:, None]
    moved: Points = path + normal * (share * reach)[:, None]
    return moved


def branches(
    rng: Generator, start: tuple[float, float], angle: float, width: float
) -> list[tuple[Points, float]]:
    """A delta's distributaries: channels that fork and thin from ``start`` on, with their widths.

    Widths fall by 0.72 at a fork, about as 2 ** -0.5 keeps the cross-section; six forks at most.
    """
    channels: list[tuple[Points, float]] = []
    heads = [(start, angle, width, 0)]
    while heads:
        origin, heading, wide, depth = heads.pop()
        length = rng.uniform(0.14, 0.26) * (1 - 0.08 * depth)
        line = _along(heading + 0.3 * _smooth(rng, 14, 3), origin, length)
        channels.append((line, wide))
        if depth == 6:
            continue
        end = (float(line[-1][0]), float(line[-1][1]))
        fork = rng.uniform(0.25, 0.6)
        turns = (fork, -fork) if depth == 0 or rng.random() < 0.72 else (rng.normal(0, 0.3),)
        for turn in turns:
            # Channels turn back towards the delta's axis, or the outer ones would flow inland.
            onward = heading + turn - 0.25 * (heading + turn - angle)
            heads.append((end, onward, wide * (0.72 if len(turns) == 2 else 0.95), depth + 1))
    return channels
