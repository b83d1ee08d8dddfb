// Tiles that have been on the page: what an example shows does not wait for the server again.

import { effect } from "@preact/signals";
import { results } from "../state/searching";
import type { TileOut } from "../wire";

const MOST_KEPT = 4000;
const seen = new Map<string, TileOut>();

export const knownTile = (id: string): TileOut | null => seen.get(id) ?? null;

export function remember(tiles: TileOut[]): void {
  for (const tile of tiles) {
    seen.delete(tile.tile_id);
    seen.set(tile.tile_id, tile);
  }
  for (const id of seen.keys()) {
    if (seen.size <= MOST_KEPT) break;
    seen.delete(id);
  }
}

effect(() => remember(results.value?.tiles ?? []));
