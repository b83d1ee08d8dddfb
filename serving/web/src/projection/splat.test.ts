import { describe, expect, it } from "vitest";

import { alphaOf, mixedOrder, radiusOf } from "./scatter";
import { maskOf, pixelOf, splat, type Pixels } from "./splat";

function sheet(width: number, height: number, colour: number): Pixels {
  return { data: new Uint32Array(width * height).fill(colour), width, height };
}

const channels = (pixel: number) => [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255, pixel >>> 24];

describe("splat", () => {
  it("mixes as arithmetic on each channel does, to a step of 255", () => {
    let state = 5;
    const random = () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
    const byte = () => Math.floor(random() * 256);
    for (let n = 0; n < 400; n++) {
      const [under, over] = [[byte(), byte(), byte()], [byte(), byte(), byte()]] as const;
      const alpha = random();
      const pixels = sheet(9, 9, pixelOf(...(under as [number, number, number])));
      splat(pixels, maskOf(2, alpha), 4, 4, pixelOf(...(over as [number, number, number])));
      const mixed = channels(pixels.data[4 * 9 + 4] ?? 0);
      under.forEach((value, channel) => {
        const exact = value + ((over[channel] ?? 0) - value) * alpha;
        expect(Math.abs((mixed[channel] ?? 0) - exact)).toBeLessThanOrEqual(1.6);
      });
      expect(mixed[3]).toBe(255);
    }
  });

  it("covers the area of a disc, wherever its middle lies in a pixel", () => {
    for (const radius of [1.5, 3, 6.25]) {
      for (const [x, y] of [[20, 20], [20.26, 20.74], [20.99, 20.5]] as const) {
        const pixels = sheet(40, 40, pixelOf(0, 0, 0));
        splat(pixels, maskOf(radius, 1), x, y, pixelOf(255, 255, 255));
        const covered = pixels.data.reduce((sum, pixel) => sum + (pixel & 255) / 255, 0);
        expect(covered / (Math.PI * radius ** 2)).toBeGreaterThan(0.93);
        expect(covered / (Math.PI * radius ** 2)).toBeLessThan(1.08);
      }
    }
  });

  it("takes the place of empty pixels, as opaque as it covers them", () => {
    const pixels = sheet(11, 11, 0);
    splat(pixels, maskOf(3, 1), 5, 5, pixelOf(10, 20, 30));
    expect(channels(pixels.data[5 * 11 + 5] ?? 0)).toEqual([10, 20, 30, 255]);
    expect(channels(pixels.data[5 * 11 + 8] ?? 0)).toEqual([10, 20, 30, 128]);
    expect(pixels.data[0]).toBe(0);
    splat(pixels, maskOf(1, 0.5), 5, 5, pixelOf(110, 120, 130));
    expect(channels(pixels.data[5 * 11 + 5] ?? 0)).toEqual([60, 70, 80, 255]);
  });

  it("is cut off at the edges and touches nothing beyond", () => {
    const mask = maskOf(3, 1);
    const whole = sheet(60, 60, pixelOf(9, 9, 9));
    for (const [x, y] of [[0, 0], [19.5, 0], [0, 19.9], [19, 19], [-2, 10], [22, 10], [-50, 5], [5, 90]] as const) {
      const small = sheet(20, 20, pixelOf(9, 9, 9));
      splat(small, mask, x, y, pixelOf(200, 100, 50));
      whole.data.fill(pixelOf(9, 9, 9));
      splat(whole, mask, x + 20, y + 20, pixelOf(200, 100, 50));
      for (let p = 0; p < 400; p++) {
        expect(small.data[p]).toBe(whole.data[(Math.floor(p / 20) + 20) * 60 + (p % 20) + 20]);
      }
    }
  });
});

describe("the look of the points", () => {
  it("is drawn in an order that has every point once", () => {
    for (const points of [0, 1, 2, 5000, 7919, 15838]) {
      expect([...mixedOrder(points)].sort((a, b) => a - b)).toEqual(Array.from({ length: points }, (_, i) => i));
    }
  });

  it("is smaller and fainter the more there are, larger and fuller the nearer", () => {
    const counts = [50, 500, 5000, 50_000];
    const falls = (values: number[]) => values.slice(1).every((value, i) => value < (values[i] ?? 0));
    expect(falls(counts.map((points) => radiusOf(points, 1)))).toBe(true);
    expect(falls(counts.map((points) => alphaOf(points, 1)))).toBe(true);
    expect(radiusOf(5000, 8)).toBeGreaterThan(radiusOf(5000, 1));
    expect(alphaOf(5000, 8)).toBeGreaterThan(alphaOf(5000, 1));
    expect(radiusOf(10, 400)).toBeLessThanOrEqual(9);
  });
});
