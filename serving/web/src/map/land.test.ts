import { describe, expect, it } from "vitest";
import coarse from "world-atlas/land-110m.json?raw";
import fine from "world-atlas/land-50m.json?raw";

import type { Ring } from "./geometry";
import { flattened, landOf, type LandTopology } from "./land";

/** Even-odd rule over all rings of all polygons: holes take away what is around them. */
function isLand(polygons: Ring[][], x: number, y: number): boolean {
  let inside = false;
  for (const ring of polygons.flat()) {
    for (let i = 0; i + 1 < ring.length; i++) {
      const [ax = 0, ay = 0] = ring[i] ?? [];
      const [bx = 0, by = 0] = ring[i + 1] ?? [];
      if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) inside = !inside;
    }
  }
  return inside;
}

describe.each([["1:110 million", coarse], ["1:50 million", fine]])("land at %s", (_, text) => {
  const polygons = landOf(JSON.parse(text) as LandTopology).coordinates;

  it.each([
    ["Moscow", 37.6, 55.7, true],
    ["Vanua Levu, Fiji", 179.0, -16.7, true],
    ["Chukotka, west of 180", 179.0, 67.0, true],
    ["Chukotka, east of 180", -176.0, 67.5, true],
    ["the South Pole", 10, -89.5, true],
    ["Antarctica at 180", -179.5, -86, true],
    ["the Caspian Sea", 51, 42, false],
    ["the Gulf of Guinea", 0, 0, false],
    ["the Chukchi Sea", -171, 69.9, false],
    ["the Atlantic at Fiji's height", -20, -16.7, false],
    ["the Arctic Ocean at Wrangel Island's height", -20, 86, false],
    ["the North Pole", 0, 89.5, false],
  ])("%s", (_, x, y, land) => expect(isLand(polygons, x, y)).toBe(land));

  it("stays in the world", () => {
    for (const [x = 0, y = 0] of polygons.flat(2)) {
      expect(Math.abs(x)).toBeLessThanOrEqual(180);
      expect(Math.abs(y)).toBeLessThanOrEqual(90);
    }
  });
});

describe("flattened", () => {
  it("gives each piece its own holes", () => {
    const outer: Ring = [[160, 0], [-160, 0], [-160, 10], [160, 10], [160, 0]];
    const hole: Ring = [[170, 4], [170, 6], [172, 6], [172, 4], [170, 4]];
    const pieces = flattened([outer, hole]);
    expect(pieces.map((rings) => rings.length).sort()).toEqual([1, 2]);
  });
});
