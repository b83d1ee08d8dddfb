// The examples of a search: which there are, and how they move between like and unlike.

import type { TileOut } from "../wire";
import { fullTitle } from "../format";
import type { Address, Example } from "./address";
import { address, go, said } from "./store";

export type Side = "positive" | "negative";

const other = (side: Side): Side => (side === "positive" ? "negative" : "positive");

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

/** Asks by these examples too. */
export function addExamples(examples: Example[], side: Side): void {
  go(withExamples(examples, side, address.value));
}

/** Makes a tile an example of one side; where it is that already, it is one no more. */
export function mark(tile: TileOut, side: Side): void {
  const held = address.value[side].some((one) => one.id === tile.tile_id);
  if (held) return unmark(tile.tile_id, fullTitle(tile));
  addExamples([tileExample(tile.tile_id)], side);
  const word = side === "positive" ? "an example to be like" : "an example to be unlike";
  said.value = `${fullTitle(tile)} is now ${word}.`;
}

export const markAll = (ids: string[], side: Side): void => addExamples(ids.map(tileExample), side);

export function unmark(id: string, name = "The picture"): void {
  const lists = withoutExample(id, address.value);
  const held = address.value.positive.length + address.value.negative.length;
  if (lists.positive.length + lists.negative.length === held) return;
  // Negatives alone ask nothing: the last positive takes them with it.
  go(lists.positive.length ? lists : { positive: [], negative: [] });
  said.value = `${name} is no example any more.`;
}

export function swap(example: Example, from: Side): void {
  if (from === "positive" && address.value.positive.length === 1) {
    said.value = "A search needs one picture to be like: add another first.";
    return;
  }
  addExamples([example], other(from));
}

export function weigh(example: Example, side: Side, weight: number): void {
  const list = address.value[side].map((one) => (one.id === example.id ? { ...one, weight } : one));
  go({ [side]: list }, `weight ${example.id}`);
}

/** Asks by this tile alone; filters and the rest stay. */
export function searchBy(tile: Pick<TileOut, "tile_id">): void {
  go({ positive: [tileExample(tile.tile_id)], negative: [] });
}

export function replaceExample(id: string, by: Example): void {
  const swapped = (list: Example[]) => list.map((one) => (one.id === id ? { ...by, weight: one.weight } : one));
  const { positive, negative } = address.value;
  go({ positive: swapped(positive), negative: swapped(negative) });
}
