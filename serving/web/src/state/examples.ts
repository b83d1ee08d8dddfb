// The examples of a search: which there are, and how they move between like and unlike.

import type { TileOut } from "../wire";
import { fullTitle } from "../format";
import type { Example } from "./address";
import { other, tileExample, withExamples, withoutExample, type Side } from "./sides";
import { address, go, said, tell } from "./store";

export { tileExample, type Side } from "./sides";

/** Asks by these examples too. */
export function addExamples(examples: Example[], side: Side): void {
  const lists = withExamples(examples, side, address.value);
  if (lists.positive.length) go(lists);
  else tell("A search needs one picture to be like: add another first.");
}

/** Makes a tile an example of one side; where it is that already, it is one no more. */
export function mark(tile: TileOut, side: Side): void {
  const held = address.value[side].some((one) => one.id === tile.tile_id);
  if (held) return unmark(tile.tile_id, fullTitle(tile));
  addExamples([tileExample(tile.tile_id)], side);
  if (!address.value[side].some((one) => one.id === tile.tile_id)) return;
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
  const swapped = (list: Example[]) =>
    list.map((one) => (one.id === id ? { ...by, weight: one.weight } : one));
  const { positive, negative } = address.value;
  go({ positive: swapped(positive), negative: swapped(negative) });
}
