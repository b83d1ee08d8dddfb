// A box on a picture that is moved and drawn by pointer or keys.  Pure; sides in 0..1 of the picture.

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export const LEAST = 0.04; // of a side: less shows nothing to search by

const clamp = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high);

/** The box between two corners, cut off at the picture, of at least the least size. */
export function boxBetween(ax: number, ay: number, bx: number, by: number): Box {
  const [left, right] = [clamp(Math.min(ax, bx), 0, 1), clamp(Math.max(ax, bx), 0, 1)];
  const [top, bottom] = [clamp(Math.min(ay, by), 0, 1), clamp(Math.max(ay, by), 0, 1)];
  const width = Math.max(right - left, LEAST);
  const height = Math.max(bottom - top, LEAST);
  return { x: Math.min(left, 1 - width), y: Math.min(top, 1 - height), width, height };
}

/** The box moved, as far as the picture goes. */
export const shifted = (box: Box, dx: number, dy: number): Box => ({
  ...box,
  x: clamp(box.x + dx, 0, 1 - box.width),
  y: clamp(box.y + dy, 0, 1 - box.height),
});

/** The box with its right and lower side moved, as far as the picture goes. */
export const stretched = (box: Box, dx: number, dy: number): Box => ({
  ...box,
  width: clamp(box.width + dx, LEAST, 1 - box.x),
  height: clamp(box.height + dy, LEAST, 1 - box.y),
});

export const holds = (box: Box, x: number, y: number): boolean =>
  x >= box.x && x <= box.x + box.width && y >= box.y && y <= box.y + box.height;

/** Whole pixels of a picture of this size. */
export function pixelsOf(box: Box, width: number, height: number): Box {
  const x = Math.min(Math.round(box.x * width), width - 1);
  const y = Math.min(Math.round(box.y * height), height - 1);
  return {
    x,
    y,
    width: clamp(Math.round(box.width * width), 1, width - x),
    height: clamp(Math.round(box.height * height), 1, height - y),
  };
}
