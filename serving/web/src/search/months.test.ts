import { expect, it } from "vitest";
import { bins, dayRange, monthsBetween, position } from "./months";

const months = monthsBetween("2019-11", "2020-03");

it("lists every month between two", () => {
  expect(months).toEqual(["2019-11", "2019-12", "2020-01", "2020-02", "2020-03"]);
  expect(monthsBetween("2021-05", "2021-05")).toEqual(["2021-05"]);
});

it("finds a day's place and stays on the slider", () => {
  expect(position("2020-02-17", months, 0)).toBe(3);
  expect(position("1999-01-01", months, 0)).toBe(0);
  expect(position("2030-01-01", months, 0)).toBe(4);
  expect(position("", months, 4)).toBe(4);
});

it("makes whole months of days, and none at the ends", () => {
  expect(dayRange(months, [1, 3])).toEqual({ start: "2019-12-01", end: "2020-02-29" });
  expect(dayRange(months, [0, 4])).toEqual({ start: "", end: "" });
});

it("keeps a range through its days", () => {
  for (let low = 0; low < months.length; low += 1) {
    for (let high = low; high < months.length; high += 1) {
      const { start, end } = dayRange(months, [low, high]);
      expect([position(start, months, 0), position(end, months, 4)]).toEqual([low, high]);
    }
  }
});

it("puts every picture into one bar, however long the time", () => {
  const long = monthsBetween("1984-03", "2026-10");
  const all = long.map((month, i) => ({ month, count: i % 7 }));
  const left = all.filter((_, i) => i % 2);
  const made = bins(long, all, left);
  expect(made.length).toBeLessThanOrEqual(60);
  const sum = (counts: { count: number }[]) => counts.reduce((total, one) => total + one.count, 0);
  expect(made.reduce((total, bin) => total + bin.all, 0)).toBe(sum(all));
  expect(made.reduce((total, bin) => total + bin.left, 0)).toBe(sum(left));
  expect(made.at(-1)?.last).toBe(long.length - 1);
  for (const [i, bin] of made.slice(1).entries()) expect(bin.first).toBe((made[i]?.last ?? 0) + 1);
});
