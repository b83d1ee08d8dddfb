import { describe, expect, it } from "vitest";
import { likeTiles, NO_FILTERS, START } from "./address";
import { askOf, countFilters, dayAfter, filterOf, OVERLAP_KEPT } from "./request";

describe("a request", () => {
  it("says nothing that is as usual", () => {
    expect(askOf(likeTiles(["a"]))).toEqual({ positive: [{ tile_id: "a" }] });
    expect(filterOf(NO_FILTERS)).toBeUndefined();
  });

  it("says all that is not", () => {
    const asked = askOf({
      ...START,
      positive: [
        { kind: "upload", id: "e1.x", weight: 1, name: "x.jpg" },
        { kind: "tile", id: "a", weight: 2, name: "" },
      ],
      negative: [{ kind: "tile", id: "b", weight: 1, name: "" }],
      strategy: "best",
      negativeWeight: 0.8,
      minScore: 0,
      quality: "exact",
      ownHits: false,
      filters: { ...NO_FILTERS, labels: ["coast", null], minValid: 0.5 },
      shaping: { overlap: "place", duplicates: 0.03, diversity: 0.4 },
    });
    expect(asked).toEqual({
      positive: [{ embedding: "e1.x" }, { tile_id: "a", weight: 2 }],
      negative: [{ tile_id: "b" }],
      strategy: "best",
      negative_weight: 0.8,
      min_score: 0,
      exact: true,
      include_examples: false,
      filter: { labels: ["coast", null], min_valid_fraction: 0.5 },
      shape: {
        max_overlap: OVERLAP_KEPT,
        overlap_by: "place",
        duplicate_distance: 0.03,
        diversity: 0.4,
      },
    });
    expect(askOf({ ...likeTiles(["a"]), quality: "fast" }).quality).toBe("fast");
  });

  it("ends after the last day, whose end the API leaves out", () => {
    expect(filterOf({ ...NO_FILTERS, start: "2021-06-01", end: "2021-06-30" })).toEqual({
      start: "2021-06-01T00:00:00Z",
      end: "2021-07-01T00:00:00Z",
    });
    expect(dayAfter("2023-12-31")).toBe("2024-01-01");
    expect(dayAfter("2024-02-28")).toBe("2024-02-29");
    expect(dayAfter("2023-02-28")).toBe("2023-03-01");
  });

  it("counts the kinds of filter", () => {
    expect(countFilters(NO_FILTERS)).toBe(0);
    expect(countFilters({ ...NO_FILTERS, start: "2021-01-01", end: "2021-02-01" })).toBe(1);
    expect(
      countFilters({
        ...NO_FILTERS,
        labels: [null],
        uriPrefix: "a",
        season: { start: "01-01", end: "01-31" },
      }),
    ).toBe(3);
  });
});
