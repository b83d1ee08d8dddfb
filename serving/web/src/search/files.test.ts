import { expect, it } from "vitest";
import { geometryOf, nameIn, safeName } from "./files";

it("names files by letters, digits, points and dashes only", () => {
  expect(safeName("50 % off #1/naïve?.png")).toBe("50_off_1_na_ve_.png");
  expect(safeName("")).toBe("tile");
});

it("reads the name that the server gives", () => {
  expect(nameIn('attachment; filename="a b.csv"', "x.csv")).toBe("a_b.csv");
  expect(nameIn("attachment; filename*=UTF-8''na%C3%AFve.zip", "x.zip")).toBe("na_ve.zip");
  expect(nameIn("attachment; filename*=UTF-8''%E0%A4%A", "x.zip")).toBe("x.zip");
  expect(nameIn(null, "worldsift-a.csv")).toBe("worldsift-a.csv");
});

it("cuts a footprint at the antimeridian", () => {
  expect(geometryOf([10, 0, 12, 1]).type).toBe("Polygon");
  const cut = geometryOf([179, 60, -179, 61]);
  expect(cut.type).toBe("MultiPolygon");
  const longitudes = (cut.coordinates as number[][][][]).map((part) =>
    part[0]?.map((point) => point[0]),
  );
  expect(longitudes).toEqual([
    [179, 180, 180, 179, 179],
    [-180, -179, -179, -180, -180],
  ]);
});
