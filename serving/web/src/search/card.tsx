// One result: its picture and facts, and what can be done with it.

import { useComputed, type ReadonlySignal } from "@preact/signals";
import { date, fullTitle, subtitle, title } from "../format";
import { Icon } from "../shell/icons";
import { mark, searchBy } from "../state/examples";
import { isHit } from "../state/searching";
import { selected, toggleSelected } from "../state/selection";
import { hasQuery, inspected, negativeIds, pointed, positiveIds } from "../state/store";
import type { Hit, TileOut } from "../wire";
import { Picture } from "./picture";

interface CardProps {
  tile: TileOut | Hit;
  index: number;
  /** Which card the Tab key reaches. */
  active: ReadonlySignal<number>;
}

/** What a click on a card does: begins a search on the start page, tells of the tile after that. */
export function openTile(tile: TileOut): void {
  if (hasQuery.peek()) inspected.value = tile;
  else searchBy(tile);
}

export function Card({ tile, index, active }: CardProps) {
  const id = tile.tile_id;
  const side = useComputed(() =>
    positiveIds.value.has(id) ? "positive" : negativeIds.value.has(id) ? "negative" : undefined,
  ).value;
  const chosen = useComputed(() => selected.value.has(id)).value;
  const shown = useComputed(() => inspected.value?.tile_id === id).value;
  const reached = useComputed(() => active.value === index).value ? 0 : -1;
  return (
    <li
      class="card"
      data-tile={id}
      data-index={index}
      data-side={side}
      data-selected={chosen || undefined}
      data-shown={shown || undefined}
      onPointerEnter={() => (pointed.value = id)}
      onPointerLeave={() => (pointed.value = null)}
    >
      <button
        class="card-main"
        type="button"
        tabIndex={reached}
        aria-keyshortcuts="p n x s i Space"
        onClick={(event) => {
          if (event.shiftKey || event.ctrlKey || event.metaKey)
            toggleSelected(tile, event.shiftKey);
          else openTile(tile);
        }}
      >
        <span class="picture">
          <Picture src={tile.thumbnail_url} alt="" />
          {side && <span class="side">{side === "positive" ? "like" : "unlike"}</span>}
        </span>
        <Caption tile={tile} verb={hasQuery.value ? "Details of" : "Search by"} />
      </button>
      <label class="card-check">
        <input
          type="checkbox"
          tabIndex={reached}
          checked={chosen}
          aria-label={`Select ${fullTitle(tile)}`}
          onClick={(event) => toggleSelected(tile, event.shiftKey)}
        />
      </label>
      <Actions tile={tile} side={side} reached={reached} />
    </li>
  );
}

/** What is known of the tile; read aloud, it says what a click does. */
function Caption({ tile, verb }: { tile: TileOut | Hit; verb: string }) {
  return (
    <span class="caption">
      <span class="visually-hidden">{verb} </span>
      <span class="caption-top">
        <span class="name" title={title(tile)}>
          {title(tile)}
        </span>
        {isHit(tile) && <span class="visually-hidden"> score </span>}
        {isHit(tile) && (
          <span class="score" title={`Score; distance ${tile.distance.toFixed(3)}`}>
            {tile.score.toFixed(3)}
          </span>
        )}
      </span>
      <span class="line"> {subtitle(tile) || "\u00a0"} </span>
      <span class="line">
        {date(tile.datetime) || "\u00a0"}
        {isHit(tile) && tile.folded.length > 0 && (
          <span class="folded" title="Others like it or over it that were grouped into this one">
            +{tile.folded.length}
          </span>
        )}
      </span>
    </span>
  );
}

function Actions({
  tile,
  side,
  reached,
}: {
  tile: TileOut;
  side: string | undefined;
  reached: number;
}) {
  const name = fullTitle(tile);
  return (
    <span class="card-actions">
      <button
        class="like"
        type="button"
        tabIndex={reached}
        aria-pressed={side === "positive"}
        aria-label={`Like: ${name}`}
        title="Like this (p)"
        onClick={() => mark(tile, "positive")}
      >
        <Icon name="plus" />
      </button>
      {hasQuery.value && (
        <button
          class="unlike"
          type="button"
          tabIndex={reached}
          aria-pressed={side === "negative"}
          aria-label={`Unlike: ${name}`}
          title="Not like this (n)"
          onClick={() => mark(tile, "negative")}
        >
          <Icon name="minus" />
        </button>
      )}
      {hasQuery.value ? (
        <button
          type="button"
          tabIndex={reached}
          aria-label={`Search by ${name} alone`}
          title="Search by this alone (s)"
          onClick={() => searchBy(tile)}
        >
          <Icon name="search" />
        </button>
      ) : (
        <button
          type="button"
          tabIndex={reached}
          aria-label={`Details of ${name}`}
          title="Details (i)"
          onClick={() => (inspected.value = tile)}
        >
          <Icon name="info" />
        </button>
      )}
    </span>
  );
}
