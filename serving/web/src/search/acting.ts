// What keys do on a picture, in the grid and in the details alike.

import { mark, searchBy, unmark } from "../state/examples";
import { toggleSelected } from "../state/selection";
import { hasQuery, inspected } from "../state/store";
import type { TileOut } from "../wire";
import { actionOf } from "./grid-keys";

/** Does what the key means on this tile; false where it means nothing. */
export function act(event: KeyboardEvent, tile: TileOut): boolean {
  const action = actionOf(event.key, event.shiftKey);
  // Negatives alone ask nothing: the first mark begins a search.
  if (action === "negative" && !hasQuery.peek()) return false;
  if (action === "positive" || action === "negative") mark(tile, action);
  else if (action === "unmark") unmark(tile.tile_id);
  else if (action === "only") searchBy(tile);
  else if (action === "details") inspected.value = tile;
  else if (action) toggleSelected(tile, action === "range");
  return action !== null;
}
