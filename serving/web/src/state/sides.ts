// Examples on two sides, like and unlike.  Pure.

import type { Address, Example } from "./address";

export type Side = "positive" | "negative";

export const other = (side: Side): Side => (side === "positive" ? "negative" : "positive");

/** ``address`` with ``examples`` on one side and nowhere else, those already there as they are. */
export function withExamples(
  examples: Example[],
  side: Side,
  { positive, negative }: Pick<Address, Side>,
): Pick<Address, Side> {
  const ids = new Set(examples.map((one) => one.id));
  const lists = { positive, negative };
  const held = new Set(lists[side].map((one) => one.id));
  return {
    ...lists,
    [side]: [...lists[side], ...examples.filter((one) => !held.has(one.id))],
    [other(side)]: lists[other(side)].filter((one) => !ids.has(one.id)),
  };
}

export function withoutExample(id: string, lists: Pick<Address, Side>): Pick<Address, Side> {
  return {
    positive: lists.positive.filter((one) => one.id !== id),
    negative: lists.negative.filter((one) => one.id !== id),
  };
}

export const tileExample = (id: string): Example => ({ kind: "tile", id, weight: 1, name: "" });
