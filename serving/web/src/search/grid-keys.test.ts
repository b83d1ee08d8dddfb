import { expect, it } from "vitest";
import { actionOf, columnsOf, moved } from "./grid-keys";

it("counts the columns of the first row", () => {
  expect(columnsOf([10, 10, 10, 210, 210])).toBe(3);
  expect(columnsOf([10, 10])).toBe(2);
  expect(columnsOf([10, 210, 410])).toBe(1);
  expect(columnsOf([])).toBe(1);
});

it("moves by arrows and stays inside", () => {
  // 0 1 2
  // 3 4 5
  // 6
  expect(moved("ArrowRight", 2, 3, 7)).toBe(3);
  expect(moved("ArrowLeft", 0, 3, 7)).toBe(0);
  expect(moved("ArrowDown", 1, 3, 7)).toBe(4);
  expect(moved("ArrowDown", 5, 3, 7)).toBe(6);
  expect(moved("ArrowUp", 1, 3, 7)).toBe(1);
  expect(moved("ArrowUp", 6, 3, 7)).toBe(3);
  expect(moved("Home", 5, 3, 7)).toBe(0);
  expect(moved("End", 0, 3, 7)).toBe(6);
  expect(moved("PageDown", 0, 3, 30)).toBe(9);
  expect(moved("a", 0, 3, 7)).toBeNull();
  expect(moved("End", 0, 3, 0)).toBeNull();
});

it("knows what keys do", () => {
  expect(actionOf("p", false)).toBe("positive");
  expect(actionOf("N", true)).toBe("negative");
  expect(actionOf(" ", true)).toBe("range");
  expect(actionOf(" ", false)).toBe("select");
  expect(actionOf("q", false)).toBeNull();
});
