// Results that a person has ticked, kept from one search to the next until they are cleared.

import { computed, signal } from "@preact/signals";
import type { TileOut } from "../wire";
import { plural } from "../format";
import { results } from "./searching";
import { said } from "./store";

export const selected = signal<ReadonlyMap<string, TileOut>>(new Map());
export const selectedIds = computed(() => new Set(selected.value.keys()));

let anchor: string | null = null;

function set(tiles: Iterable<TileOut>): void {
  selected.value = new Map([...tiles].map((tile) => [tile.tile_id, tile]));
  said.value = `${plural(selected.value.size, "picture")} selected.`;
}

/** Ticks or unticks one; with ``range``, ticks all from the one before to it. */
export function toggleSelected(tile: TileOut, range = false): void {
  const shown = results.peek()?.tiles ?? [];
  const from = range ? shown.findIndex((one) => one.tile_id === anchor) : -1;
  const to = shown.findIndex((one) => one.tile_id === tile.tile_id);
  const chosen = new Map(selected.peek());
  if (from >= 0 && to >= 0) {
    for (const one of shown.slice(Math.min(from, to), Math.max(from, to) + 1))
      chosen.set(one.tile_id, one);
  } else if (!chosen.delete(tile.tile_id)) {
    chosen.set(tile.tile_id, tile);
  }
  anchor = tile.tile_id;
  set(chosen.values());
}

export const selectAll = (): void =>
  set([...selected.peek().values(), ...(results.peek()?.tiles ?? [])]);

export function clearSelection(): void {
  anchor = null;
  set([]);
}
