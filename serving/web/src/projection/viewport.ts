// What of the plane is seen: data coordinates (x right, y up) <-> pixels (y down).

/** The data coordinates in the middle of the picture, and how many pixels one unit of them takes. */
export interface Viewport {
  x: number;
  y: number;
  scale: number;
}

export interface Size {
  width: number;
  height: number;
}

export type Point = [x: number, y: number];

/** All of -1..1 in both directions, with a margin. */
export function wholeOf({ width, height }: Size, margin = 28): Viewport {
  return { x: 0, y: 0, scale: Math.max(1, (Math.min(width, height) - 2 * margin) / 2) };
}

export function toScreen(view: Viewport, size: Size, [x, y]: Point): Point {
  return [size.width / 2 + (x - view.x) * view.scale, size.height / 2 - (y - view.y) * view.scale];
}

export function toData(view: Viewport, size: Size, [px, py]: Point): Point {
  return [view.x + (px - size.width / 2) / view.scale, view.y - (py - size.height / 2) / view.scale];
}

/** Moved with a pointer by so many pixels; the middle stays over the data. */
export function panned(view: Viewport, dx: number, dy: number): Viewport {
  return { ...view, x: held(view.x - dx / view.scale), y: held(view.y + dy / view.scale) };
}

const held = (value: number): number => Math.max(-1.2, Math.min(1.2, value));

/** Nearer by `factor`, with what is at pixel `anchor` staying there; from half the whole to 400 times. */
export function zoomed(view: Viewport, size: Size, anchor: Point, factor: number): Viewport {
  const whole = wholeOf(size).scale;
  const scale = Math.max(whole / 2, Math.min(whole * 400, view.scale * factor));
  const [x, y] = toData(view, size, anchor);
  return {
    x: x - (anchor[0] - size.width / 2) / scale,
    y: y + (anchor[1] - size.height / 2) / scale,
    scale,
  };
}

/** The view that shows these points and little more. */
export function around(points: Iterable<Point>, size: Size, margin = 40): Viewport {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    [west, east] = [Math.min(west, x), Math.max(east, x)];
    [south, north] = [Math.min(south, y), Math.max(north, y)];
  }
  if (west > east) return wholeOf(size);
  const whole = wholeOf(size).scale;
  const fitting = Math.min(
    (size.width - 2 * margin) / Math.max(east - west, 1e-6),
    (size.height - 2 * margin) / Math.max(north - south, 1e-6),
  );
  const scale = Math.max(whole / 2, Math.min(whole * 40, fitting));
  return { x: (west + east) / 2, y: (south + north) / 2, scale };
}

/** How many times nearer than the whole a view is. */
export const magnification = (view: Viewport, size: Size): number => view.scale / wholeOf(size).scale;
