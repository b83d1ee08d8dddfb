import { expect, it } from "vitest";
import { tileExample, withExamples, withoutExample } from "./sides";

const [a, b, c] = ["a", "b", "c"].map(tileExample) as [never, never, never];
const heavy = { ...tileExample("a"), weight: 3 };

it("moves examples from one side to the other", () => {
  const lists = { positive: [a, b], negative: [c] };
  expect(withExamples([b], "negative", lists)).toEqual({ positive: [a], negative: [c, b] });
  expect(withExamples([c], "positive", lists)).toEqual({ positive: [a, b, c], negative: [] });
});

it("leaves the weight of one that is there already", () => {
  expect(withExamples([a], "positive", { positive: [heavy], negative: [] }).positive).toEqual([
    heavy,
  ]);
});

it("takes an example away, wherever it is", () => {
  expect(withoutExample("c", { positive: [a], negative: [c] })).toEqual({
    positive: [a],
    negative: [],
  });
});
