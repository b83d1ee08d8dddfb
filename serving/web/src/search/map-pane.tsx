// The map beside the grid.  OpenLayers is large, so it comes once a map is to be seen.

import { effect, signal, untracked } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { WorldMap } from "../map/world-map";
import { Icon } from "../shell/icons";
import { spread } from "../projection/groups";
import { tileExample } from "../state/examples";
import { idsMatching, report, results, searches } from "../state/searching";
import { selectedIds } from "../state/selection";
import {
  address,
  filterBy,
  go,
  inspected,
  negativeIds,
  pointed,
  positiveIds,
  tell,
} from "../state/store";
import { NO_FILTERS } from "../state/address";

const SNIPPED = 8; // tiles of a region to search by,
const LOOKED_AT = 400; // spread evenly over so many of those that touch it

/** The map on the page, for what wants to draw in it. */
export const worldMap = signal<WorldMap | null>(null);
const failed = signal("");

export function MapPane() {
  const target = useRef<HTMLDivElement>(null);
  useEffect(() => {
    let ends: (() => void) | null = null;
    let gone = false;
    import("../map/world-map").then(
      (module) => {
        if (!gone && target.current) ends = show(module.WorldMap, target.current);
      },
      () => {
        failed.value = "The map could not be loaded. Load this page again to try once more.";
      },
    );
    return () => {
      gone = true;
      ends?.();
    };
  }, []);
  return (
    <section class="map-pane" id="map-pane" aria-label="Map">
      <div class="map" ref={target} />
      {failed.value && <p class="notice">{failed.value}</p>}
      {address.value.filters.region && (
        <div class="region-bar">
          <span>In this region</span>
          <button class="button small primary" type="button" onClick={() => void searchByRegion()}>
            <Icon name="search" /> Search by what is in it
          </button>
          <button class="button small" type="button" onClick={() => filterBy({ region: null })}>
            Clear
          </button>
        </div>
      )}
    </section>
  );
}

function show(Made: typeof WorldMap, target: HTMLElement): () => void {
  const map = new Made(target, {
    hover: (id) => (pointed.value = id),
    pick,
    region: (region) => filterBy({ region }),
  });
  const ends = [
    effect(() =>
      map.setTiles(
        (results.value?.tiles ?? []).map(({ tile_id, bounds }) => ({ tile_id, bounds })),
      ),
    ),
    effect(() => map.setRegion(address.value.filters.region)),
    effect(() => {
      if (searches.value && untracked(() => results.value?.tiles.length)) map.fit();
    }),
    effect(() => map.setMarked(positiveIds.value, negativeIds.value, new Set(selectedIds.value))),
    effect(() => map.highlight(pointed.value ?? inspected.value?.tile_id ?? null)),
    effect(() => map.reveal(inspected.value?.bounds ?? null)),
    effect(() => map.setDay(inspected.value?.datetime?.slice(0, 10) ?? null)),
  ];
  worldMap.value = map;
  return () => {
    worldMap.value = null;
    for (const end of ends) end();
    map.destroy();
  };
}

function pick(id: string): void {
  const tile = results.peek()?.tiles.find((one) => one.tile_id === id);
  if (!tile) return;
  inspected.value = tile;
  const card = document.querySelector(`.card[data-tile="${CSS.escape(id)}"]`);
  card?.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

/** Snips the region out of the map: what lies in it is searched by, everywhere. */
async function searchByRegion(): Promise<void> {
  const { region } = address.peek().filters;
  try {
    const ids = await idsMatching({ ...NO_FILTERS, region }, LOOKED_AT);
    if (!ids.length) return tell("No picture of the archive touches this region: draw another.");
    const { filters } = address.peek();
    const chosen = spread(ids, SNIPPED);
    go({ positive: chosen.map(tileExample), negative: [], filters: { ...filters, region: null } });
    if (chosen.length < ids.length)
      tell(`Searching the whole archive by ${chosen.length} of the pictures in the region.`);
  } catch (error) {
    report(error, () => void searchByRegion());
  }
}
