import { describe, expect, it } from "vitest";
import { boxBetween, holds, LEAST, pixelsOf, shifted, stretched, type Box } from "./crop";

const inside = (box: Box) =>
  box.x >= 0 && box.y >= 0 && box.x + box.width <= 1 + 1e-12 && box.y + box.height <= 1 + 1e-12;

describe("a box on a picture", () => {
  it("is the same from whichever corner it is drawn", () => {
    expect(boxBetween(0.7, 0.8, 0.2, 0.1)).toEqual(boxBetween(0.2, 0.1, 0.7, 0.8));
  });

  it("never leaves the picture and never vanishes", () => {
    for (const [ax, ay, bx, by] of [
      [1, 1, 1, 1],
      [0, 0, 0, 0],
      [-3, 0.5, 2, 0.5],
      [0.99, 0.99, 5, 5],
    ] as const) {
      for (const box of [
        boxBetween(ax, ay, bx, by),
        shifted(boxBetween(ax, ay, bx, by), 7, -7),
        stretched(boxBetween(ax, ay, bx, by), 7, -7),
      ]) {
        expect(inside(box)).toBe(true);
        expect(Math.min(box.width, box.height)).toBeGreaterThanOrEqual(LEAST - 1e-12);
      }
    }
  });

  it("keeps its size when moved", () => {
    const box = { x: 0.1, y: 0.2, width: 0.3, height: 0.4 };
    expect(shifted(box, 0.9, 0.1)).toMatchObject({ width: 0.3, height: 0.4 });
    expect(holds(box, 0.1, 0.6)).toBe(true);
    expect(holds(box, 0.05, 0.3)).toBe(false);
  });

  it("is whole pixels of the picture, at least one", () => {
    expect(pixelsOf({ x: 0.25, y: 0.5, width: 0.5, height: 0.5 }, 100, 64)).toEqual({
      x: 25,
      y: 32,
      width: 50,
      height: 32,
    });
    expect(pixelsOf({ x: 0.96, y: 0.96, width: 0.04, height: 0.04 }, 1, 1)).toEqual({
      x: 0,
      y: 0,
      width: 1,
      height: 1,
    });
  });
});
