import { expect, it } from "vitest";
import {
  bytes,
  centre,
  date,
  extent,
  month,
  place,
  plural,
  sentence,
  subtitle,
  title,
  where,
} from "./format";

it("says places as people do", () => {
  expect(place([129.5, -13.25, 130, -12.75])).toBe("13.00°S 129.75°E");
  expect(place(null)).toBe("");
  expect(centre([179, 60, -179, 61])).toEqual([60.5, 180]);
  expect(centre([170, 0, -178, 2])).toEqual([1, 176]);
  expect(extent([179, 60, -179, 61], 1)).toBe("60.0°N to 61.0°N, 179.0°E to 179.0°W");
  expect(where({ bounds: null, window: { x: 1024, y: 0, width: 9, height: 9 } })).toBe(
    "x 1,024, y 0",
  );
  expect(where({ bounds: null, window: null })).toBe("");
});

it("says days and months in UTC", () => {
  expect(date("2021-07-14T23:59:59Z")).toBe("14 Jul 2021");
  expect(date(null)).toBe("");
  expect(month("2021-01")).toBe("Jan 2021");
});

it("says sizes and counts", () => {
  expect(bytes(999)).toBe("999 B");
  expect(bytes(1536)).toBe("1.5 KB");
  expect(bytes(33_554_432)).toBe("32 MB");
  expect(plural(1, "picture")).toBe("1 picture");
  expect(plural(1200, "picture")).toBe("1,200 pictures");
});

it("makes sentences of what a server says, and leaves names as they are", () => {
  expect(sentence("this server is busy")).toBe("This server is busy.");
  expect(sentence("letter.jpg: no image.")).toBe("letter.jpg: no image.");
  expect(sentence("Try again!")).toBe("Try again!");
});

it("calls a tile by its label, its place or its file", () => {
  const bounds: [number, number, number, number] = [129.5, -13.25, 130, -12.75];
  const window = { x: 512, y: 0, width: 256, height: 256 };
  const unlabelled = { label: null, uri: "gs://a/b.png", bounds, window };
  expect(title({ ...unlabelled, label: "sea_ice" })).toBe("sea ice");
  expect(title(unlabelled)).toBe("13.00°S 129.75°E");
  expect(subtitle(unlabelled)).toBe("b.png");
  expect(title({ ...unlabelled, bounds: null })).toBe("b.png");
  expect(subtitle({ ...unlabelled, bounds: null })).toBe("x 512, y 0");
});
