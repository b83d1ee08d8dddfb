// A loop drawn by hand, and which points it holds.

import type { Point } from "./viewport";

/** Corners nearer to the last kept one than this many pixels add nothing to a loop. */
const LEAST_STEP_PX = 3;

/** The loop with a corner more, unless the hand has hardly moved. */
export function drawnOn(loop: Point[], [x, y]: Point): Point[] {
  const last = loop.at(-1);
  if (last && Math.hypot(x - last[0], y - last[1]) < LEAST_STEP_PX) return loop;
  return [...loop, [x, y]];
}

/** Whether a loop, closed from its last corner to its first, holds a point (even-odd rule). */
export function isInside(loop: Point[], x: number, y: number): boolean {
  let inside = false;
  let [px, py] = loop.at(-1) ?? [0, 0];
  for (const [qx, qy] of loop) {
    if (qy > y !== py > y && x < qx + ((y - qy) / (py - qy)) * (px - qx)) inside = !inside;
    [px, py] = [qx, qy];
  }
  return inside;
}

/** The positions of the points in a loop, in their order, of those that `counts` lets through. */
export function enclosed(
  loop: Point[],
  xs: Float32Array,
  ys: Float32Array,
  counts: (i: number) => boolean,
): number[] {
  if (loop.length < 3) return [];
  const [west, east] = span(loop.map(([x]) => x));
  const [south, north] = span(loop.map(([, y]) => y));
  const found: number[] = [];
  for (let i = 0; i < xs.length; i++) {
    const x = xs[i] ?? NaN;
    const y = ys[i] ?? NaN;
    if (x < west || x > east || y < south || y > north || !counts(i)) continue;
    if (isInside(loop, x, y)) found.push(i);
  }
  return found;
}

function span(values: number[]): [number, number] {
  return [
    values.reduce((least, value) => Math.min(least, value), Infinity),
    values.reduce((most, value) => Math.max(most, value), -Infinity),
  ];
}
