import type { Polygon } from "geojson";
import { describe, expect, it } from "vitest";

import { copiesOf } from "./dots";
import {
  boxFromText,
  boxOfExtent,
  centreOf,
  extentAround,
  isWithin,
  outlineOf,
  piecesOf,
  recentred,
  ringOfBox,
  widthOf,
  wrapLongitude,
  type Bounds,
  type Ring,
} from "./geometry";

/** Numbers in 0..1 that are the same in every run (a linear congruential generator). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
}

const area = (ring: Ring): number =>
  Math.abs(
    ring.slice(1).reduce((sum, [x = 0, y = 0], i) => {
      const [px = 0, py = 0] = ring[i] ?? [];
      return sum + px * y - x * py;
    }, 0) / 2,
  );

/** Whether a box holds a place, by the definition of west > east. */
const holds = ([west, south, east, north]: Bounds, x: number, y: number): boolean =>
  y >= south && y <= north && (west <= east ? x >= west && x <= east : x >= west || x <= east);

describe("wrapLongitude", () => {
  it("gives the same meridian in -180..180", () => {
    const random = seeded(1);
    for (let i = 0; i < 500; i++) {
      const longitude = (random() - 0.5) * 4000;
      const wrapped = wrapLongitude(longitude);
      expect(wrapped).toBeGreaterThanOrEqual(-180);
      expect(wrapped).toBeLessThan(180);
      expect(Math.cos((wrapped * Math.PI) / 180)).toBeCloseTo(Math.cos((longitude * Math.PI) / 180), 9);
      expect(Math.sin((wrapped * Math.PI) / 180)).toBeCloseTo(Math.sin((longitude * Math.PI) / 180), 9);
    }
  });
});

describe("boxOfExtent", () => {
  it.each<[Bounds, Bounds]>([
    [[10, 20, 30, 40], [10, 20, 30, 40]],
    [[170, -20, 190, -10], [170, -20, -170, -10]],
    [[-190, -20, -170, -10], [170, -20, -170, -10]],
    [[530, 0, 545, 5], [170, 0, -175, 5]],
    [[170, 0, 180, 5], [170, 0, 180, 5]],
    [[-180, 0, -170, 5], [-180, 0, -170, 5]],
    [[180, 0, 190, 5], [-180, 0, -170, 5]],
    [[-300, -100, 100, 95], [-180, -90, 180, 90]],
  ])("%j is %j", (extent, box) => expect(boxOfExtent(extent)).toEqual(box));

  it("holds the places that the extent covers, and no others", () => {
    const random = seeded(7);
    for (let i = 0; i < 400; i++) {
      const west = (random() - 0.5) * 1000;
      const extent: Bounds = [west, -30, west + random() * 350, 60];
      const box = boxOfExtent(extent);
      const x = random() * 360 - 180;
      const covered = [-3, -2, -1, 0, 1, 2, 3].some((turn) => {
        const moved = x + turn * 360;
        return moved >= extent[0] && moved <= extent[2];
      });
      expect(holds(box, x, 0)).toBe(covered);
      expect(widthOf(box)).toBeCloseTo(extent[2] - extent[0], 6);
    }
  });
});

describe("centreOf", () => {
  it("is on the antimeridian's right side", () => {
    expect(centreOf([170, 0, -160, 10])).toEqual([-175, 5]);
    expect(centreOf([160, 0, -170, 10])).toEqual([175, 5]);
    expect(centreOf([10, 0, 20, 10])).toEqual([15, 5]);
  });
});

describe("isWithin", () => {
  it("agrees with the definition of west > east, in every world", () => {
    const random = seeded(5);
    for (let i = 0; i < 500; i++) {
      const box: Bounds = [random() * 360 - 180, -10, random() * 360 - 180, 10];
      const [x, y] = [random() * 360 - 180, random() * 40 - 20];
      expect(isWithin(box, x + 360 * Math.floor(random() * 5 - 2), y, 0)).toBe(holds(box, x, y));
    }
  });

  it("reaches around the box, over 180 as well", () => {
    expect(isWithin([170, 0, 179, 1], -180, 0.5, 2)).toBe(true);
    expect(isWithin([170, 0, 179, 1], -178, 0.5, 2)).toBe(false);
    expect(isWithin([0, 0, 1, 1], 0.5, 1.5, 0.6)).toBe(true);
  });
});

describe("piecesOf", () => {
  it("cuts a box at 180 degrees into pieces of the same area, inside the world", () => {
    const random = seeded(3);
    for (let i = 0; i < 300; i++) {
      const box: Bounds = [random() * 360 - 180, -10, random() * 360 - 180, 10];
      const pieces = piecesOf(ringOfBox(box));
      expect(pieces.length).toBe(box[0] <= box[2] ? 1 : 2);
      const total = pieces.reduce((sum, piece) => sum + area(piece), 0);
      expect(total).toBeCloseTo(widthOf(box) * 20, 6);
      for (const [x = 0] of pieces.flat()) expect(Math.abs(x)).toBeLessThanOrEqual(180);
    }
  });

  it("cuts a triangle where its sides cross", () => {
    const pieces = piecesOf([[170, 0], [190, 0], [180, 10], [170, 0]]);
    expect(pieces).toHaveLength(2);
    expect(pieces.map(area)).toEqual([50, 50]);
  });

  it("moves what lies wholly in another world", () => {
    expect(piecesOf([[370, 0], [380, 0], [380, 5], [370, 0]])).toEqual([[[10, 0], [20, 0], [20, 5], [10, 0]]]);
  });

  it("keeps a ring that ends on 180 whole", () => {
    expect(piecesOf(ringOfBox([170, 0, 180, 5]))).toEqual([ringOfBox([170, 0, 180, 5])]);
    expect(piecesOf(ringOfBox([-180, -90, 180, 90]))).toHaveLength(1);
  });
});

describe("outlineOf", () => {
  it("leaves the seam out", () => {
    const lines = outlineOf(piecesOf(ringOfBox([170, 0, -170, 10])));
    const length = lines.reduce(
      (sum, line) =>
        sum +
        line.slice(1).reduce((part, [x = 0, y = 0], i) => {
          const [px = 0, py = 0] = line[i] ?? [];
          return part + Math.hypot(x - px, y - py);
        }, 0),
      0,
    );
    expect(length).toBeCloseTo(2 * 20 + 2 * 10, 9);
  });

  it("keeps an edge on 180 that is the box's own", () => {
    expect(outlineOf(piecesOf(ringOfBox([170, 0, 180, 10])))[0]).toHaveLength(5);
  });
});

describe("extentAround", () => {
  it.each<[Bounds[], Bounds | null]>([
    [[], null],
    [[[10, 0, 20, 5]], [10, 0, 20, 5]],
    [[[170, -20, -170, -10]], [170, -20, 190, -10]],
    [[[175, -20, 178, -10], [-179, -15, -178, -5]], [175, -20, 182, -5]],
    [[[-10, 0, 10, 5], [100, -5, 110, 1]], [-10, -5, 110, 5]],
    [[[-180, -90, 180, 90]], [-180, -90, 180, 90]],
  ])("around %j is %j", (boxes, extent) => expect(extentAround(boxes)).toEqual(extent));

  it("covers every box, with the least width that does", () => {
    const random = seeded(11);
    for (let i = 0; i < 300; i++) {
      const boxes = Array.from({ length: 1 + Math.floor(random() * 6) }, (): Bounds => {
        const west = Math.floor(random() * 360) - 180;
        return boxOfExtent([west, 0, west + 1 + Math.floor(random() * 90), 5]);
      });
      const extent = extentAround(boxes);
      // Brute force: the longest run of whole degrees that no box covers is what is left out.
      const free = Array.from({ length: 360 }, (_, degree) => {
        const x = degree - 180 + 0.5;
        return !boxes.some((box) => holds(box, x, 2));
      });
      let [run, longest] = [0, 0];
      for (const empty of [...free, ...free]) {
        run = empty ? run + 1 : 0;
        longest = Math.min(360, Math.max(longest, run));
      }
      expect((extent?.[2] ?? 0) - (extent?.[0] ?? 0)).toBeCloseTo(360 - longest, 6);
      const around = boxOfExtent(extent ?? [0, 0, 0, 0]);
      for (let degree = 0; degree < 360; degree++) {
        if (!free[degree]) expect(holds(around, degree - 179.5, 2)).toBe(true);
      }
    }
  });
});

describe("recentred", () => {
  it("brings a polygon drawn two worlds away home, its shape unchanged", () => {
    const polygon: Polygon = { type: "Polygon", coordinates: [[[890, 0], [905, 0], [905, 8], [890, 0]]] };
    expect(recentred(polygon).coordinates).toEqual([[[170, 0], [185, 0], [185, 8], [170, 0]]]);
  });
});

describe("boxFromText", () => {
  it("takes numbers, with a comma as well", () => {
    expect(boxFromText(["170", "-20,5", " -170 ", "10"])).toEqual([170, -20.5, -170, 10]);
  });

  it.each([
    [["", "0", "1", "1"], /West/],
    [["0", "0", "1", "x"], /North/],
    [["190", "0", "1", "1"], /180/],
    [["0", "-91", "1", "1"], /90/],
    [["0", "5", "1", "1"], /South/],
  ])("says what is wrong with %j", (texts, message) =>
    expect(boxFromText(texts as [string, string, string, string])).toMatch(message as RegExp),
  );
});

describe("copiesOf", () => {
  it("places a longitude in every world in sight, as stepping through worlds one by one does", () => {
    const random = seeded(13);
    for (let i = 0; i < 300; i++) {
      const [x, centre] = [random() * 360 - 180, (random() - 0.5) * 2000];
      const [resolution, width] = [0.01 + random() * 2, 300 + random() * 1000];
      const expected: number[] = [];
      for (let world = -12; world <= 12; world++) {
        const place = (x + 360 * world - centre) / resolution + width / 2;
        if (place >= -10 && place <= width + 10) expected.push(place);
      }
      const places = copiesOf(x, centre, resolution, width, 10);
      expect(places).toHaveLength(expected.length);
      places.forEach((place, n) => expect(place).toBeCloseTo(expected[n] ?? NaN, 6));
    }
  });
});
