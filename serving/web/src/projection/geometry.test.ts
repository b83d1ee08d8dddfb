import { describe, expect, it } from "vitest";

import { colourOf, groupedBy, spread } from "./groups";
import { drawnOn, enclosed, isInside } from "./lasso";
import { Neighbourhood } from "./nearest";
import { around, magnification, panned, toData, toScreen, wholeOf, zoomed, type Point, type Viewport } from "./viewport";

function seeded(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
}

const SIZE = { width: 900, height: 600 };
const all = () => true;

describe("the viewport", () => {
  const random = seeded(1);
  const some = (): Viewport => ({ x: random() - 0.5, y: random() - 0.5, scale: 150 + 2000 * random() });

  it("goes from data to pixels and back", () => {
    for (let i = 0; i < 300; i++) {
      const [view, point] = [some(), [random() * 2 - 1, random() * 2 - 1] as Point];
      const back = toData(view, SIZE, toScreen(view, SIZE, point));
      expect(back[0]).toBeCloseTo(point[0], 9);
      expect(back[1]).toBeCloseTo(point[1], 9);
    }
  });

  it("has y upwards and the whole in sight", () => {
    const whole = wholeOf(SIZE);
    expect(toScreen(whole, SIZE, [0, 0])).toEqual([450, 300]);
    expect(toScreen(whole, SIZE, [0, 1])[1]).toBeLessThan(300);
    for (const corner of [[-1, -1], [1, 1], [-1, 1], [1, -1]] as Point[]) {
      const [x, y] = toScreen(whole, SIZE, corner);
      expect(x >= 0 && x <= 900 && y >= 0 && y <= 600).toBe(true);
    }
  });

  it("keeps what is under the pointer there when it zooms", () => {
    for (let i = 0; i < 300; i++) {
      const [view, anchor] = [some(), [random() * 900, random() * 600] as Point];
      const under = toData(view, SIZE, anchor);
      const after = toData(zoomed(view, SIZE, anchor, 0.3 + 3 * random()), SIZE, anchor);
      expect(after[0]).toBeCloseTo(under[0], 9);
      expect(after[1]).toBeCloseTo(under[1], 9);
    }
  });

  it("zooms within limits", () => {
    expect(magnification(zoomed(wholeOf(SIZE), SIZE, [0, 0], 1e9), SIZE)).toBeCloseTo(400);
    expect(magnification(zoomed(wholeOf(SIZE), SIZE, [0, 0], 1e-9), SIZE)).toBeCloseTo(0.5);
  });

  it("follows the pointer when it pans, and does not lose the data", () => {
    const view = { x: 0, y: 0, scale: 300 };
    expect(toScreen(panned(view, 30, -12), SIZE, [0, 0])).toEqual([480, 288]);
    expect(panned(view, 1e6, 1e6)).toEqual({ x: -1.2, y: 1.2, scale: 300 });
  });

  it("shows given points, all of them, and the whole for none", () => {
    const points: Point[] = [[0.1, 0.2], [0.3, 0.25]];
    const view = around(points, SIZE);
    for (const point of points) {
      const [x, y] = toScreen(view, SIZE, point);
      expect(x >= 39 && x <= 861 && y >= 39 && y <= 561).toBe(true);
    }
    expect(around([], SIZE)).toEqual(wholeOf(SIZE));
    expect(around([[0.5, 0.5]], SIZE).scale).toBeLessThanOrEqual(wholeOf(SIZE).scale * 40);
  });
});

describe("the lasso", () => {
  it("holds what a circle drawn by hand holds", () => {
    const random = seeded(3);
    const circle = Array.from({ length: 400 }, (_, i): Point => {
      const angle = (i / 400) * 2 * Math.PI;
      return [0.2 + 0.5 * Math.cos(angle), -0.1 + 0.5 * Math.sin(angle)];
    });
    const xs = Float32Array.from({ length: 3000 }, () => random() * 2 - 1);
    const ys = Float32Array.from({ length: 3000 }, () => random() * 2 - 1);
    const distance = (i: number) => Math.hypot((xs[i] ?? 0) - 0.2, (ys[i] ?? 0) + 0.1);
    const found = new Set(enclosed(circle, xs, ys, all));
    for (let i = 0; i < xs.length; i++) {
      if (Math.abs(distance(i) - 0.5) > 1e-3) expect(found.has(i)).toBe(distance(i) < 0.5);
    }
    expect(found.size).toBeGreaterThan(500);
  });

  it("leaves out what does not count, and is empty for a stroke", () => {
    const square: Point[] = [[0, 0], [1, 0], [1, 1], [0, 1]];
    const [xs, ys] = [Float32Array.of(0.5, 0.6, 2), Float32Array.of(0.5, 0.6, 0.5)];
    expect(enclosed(square, xs, ys, all)).toEqual([0, 1]);
    expect(enclosed(square, xs, ys, (i) => i !== 0)).toEqual([1]);
    expect(enclosed(square.slice(0, 2), xs, ys, all)).toEqual([]);
  });

  it("knows the hollow of a U from its arms", () => {
    const u: Point[] = [[0, 0], [3, 0], [3, 3], [2, 3], [2, 1], [1, 1], [1, 3], [0, 3]];
    expect(isInside(u, 1.5, 2)).toBe(false);
    expect(isInside(u, 0.5, 2)).toBe(true);
    expect(isInside(u, 2.5, 2)).toBe(true);
  });

  it("passes over small moves of the hand", () => {
    let loop: Point[] = [];
    for (let x = 0; x <= 30; x++) loop = drawnOn(loop, [x, 0]);
    expect(loop).toHaveLength(11);
  });
});

describe("the neighbourhood", () => {
  it("agrees with brute force", () => {
    const random = seeded(9);
    const xs = Float32Array.from({ length: 2000 }, () => random() * 2 - 1);
    const ys = Float32Array.from({ length: 2000 }, () => random() * 2 - 1);
    const places = new Neighbourhood(xs, ys);
    const even = (i: number) => i % 2 === 0;
    for (let n = 0; n < 500; n++) {
      const [x, y, reach] = [random() * 2.4 - 1.2, random() * 2.4 - 1.2, random() * 0.1];
      let [best, least] = [-1, reach];
      for (let i = 0; i < xs.length; i += 2) {
        const distance = Math.hypot((xs[i] ?? 0) - x, (ys[i] ?? 0) - y);
        if (distance <= least) [best, least] = [i, distance];
      }
      expect(places.nearest(x, y, reach, even)).toBe(best);
    }
  });
});

describe("groups", () => {
  it("are ordered by count, the unlabelled last, and every tile is in its own", () => {
    const labels = ["b", null, "a_c", "a_c", null, null, "b", "a_c"];
    const { groups, membership } = groupedBy(labels, "light");
    expect(groups.map(({ label, name, count }) => [label, name, count])).toEqual([
      ["a_c", "a c", 3],
      ["b", "b", 2],
      [null, "Without a label", 3],
    ]);
    expect([...membership].map((i) => groups[i]?.label)).toEqual(labels);
  });

  it("have different colours, 36 of them in each theme", () => {
    for (const theme of ["light", "dark"] as const) {
      expect(new Set(Array.from({ length: 36 }, (_, i) => colourOf(i, theme))).size).toBe(36);
    }
  });

  it("are thinned evenly", () => {
    expect(spread([1, 2, 3], 5)).toEqual([1, 2, 3]);
    expect(spread([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 4)).toEqual([0, 2, 5, 7]);
  });
});
