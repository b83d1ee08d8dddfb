// The panel with everything that is known of one tile, and what lies near it.

import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "../api";
import { date, extent, fileName, fullTitle, percent, place, title } from "../format";
import { Icon } from "../shell/icons";
import { mark, searchBy } from "../state/examples";
import { isHit, results } from "../state/searching";
import { hasQuery, inspected, negativeIds, positiveIds, said } from "../state/store";
import type { Hit, NearbyOut, TileOut } from "../wire";
import { act } from "./acting";
import { footprint, save, safeName } from "./files";
import { Picture } from "./picture";
import { snipTile } from "./snip-dialog";
import { remember } from "./tile-cache";

const NEAR = 12;

export function Details() {
  const tile = inspected.value;
  const panel = useRef<HTMLElement>(null);
  const id = tile?.tile_id;
  useEffect(() => {
    if (!id) return;
    const before = document.activeElement;
    panel.current?.focus({ preventScroll: true });
    return () => {
      // The panel had the focus: back to where it came from, or to the results.
      if (document.activeElement !== document.body) return;
      const inGrid = document.querySelector<HTMLElement>(".card-main[tabindex='0']");
      if (before instanceof HTMLElement && before.isConnected) before.focus();
      else inGrid?.focus();
    };
  }, [id === undefined]);
  if (!tile) return null;
  return (
    <aside
      class="details"
      id="details"
      ref={panel}
      tabIndex={-1}
      aria-label={`Details of ${fullTitle(tile)}`}
      onKeyDown={(event) => onKey(event, tile)}
    >
      <Head tile={tile} />
      <span class="picture large">
        <Picture
          key={tile.tile_id}
          src={api.pictureUrl(tile, 768)}
          alt={`Picture of ${fullTitle(tile)}`}
          lazy={false}
        />
      </span>
      <Uses tile={tile} />
      <Facts tile={tile} />
      <Files tile={tile} />
      <Near tile={tile} />
    </aside>
  );
}

/** The result so many places after this one; undefined beyond the ends. */
function neighbour(tile: TileOut, by: number): TileOut | undefined {
  const shown = results.value?.tiles ?? [];
  const at = shown.findIndex((one) => one.tile_id === tile.tile_id);
  return at < 0 ? undefined : shown[at + by];
}

function onKey(event: KeyboardEvent, tile: TileOut): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1 };
  if (event.key === "Escape") inspected.value = null;
  else if (event.key in steps) inspected.value = neighbour(tile, steps[event.key] ?? 0) ?? tile;
  // The space bar presses the button that has the focus.
  else if (event.key === " " || !act(event, tile)) return;
  event.preventDefault();
}

function Head({ tile }: { tile: TileOut }) {
  const step = (by: number, name: string, turn: string) => {
    const next = neighbour(tile, by);
    return (
      <button
        class={`icon-button ${turn}`}
        type="button"
        aria-label={name}
        title={name}
        disabled={!next}
        onClick={() => next && (inspected.value = next)}
      >
        <Icon name="chevron" />
      </button>
    );
  };
  return (
    <div class="details-head">
      <h2 id="details-title">{title(tile)}</h2>
      {step(-1, "The one before", "turn-left")}
      {step(1, "The next one", "turn-right")}
      <button
        class="icon-button"
        type="button"
        aria-label="Close the details"
        onClick={() => (inspected.value = null)}
      >
        <Icon name="close" />
      </button>
    </div>
  );
}

function Uses({ tile }: { tile: TileOut }) {
  const id = tile.tile_id;
  return (
    <div class="buttons">
      <button
        class="button small"
        type="button"
        aria-pressed={positiveIds.value.has(id)}
        onClick={() => mark(tile, "positive")}
      >
        <Icon name="plus" /> Like
      </button>
      {hasQuery.value && (
        <button
          class="button small"
          type="button"
          aria-pressed={negativeIds.value.has(id)}
          onClick={() => mark(tile, "negative")}
        >
          <Icon name="minus" /> Unlike
        </button>
      )}
      <button class="button small" type="button" id="details-search" onClick={() => searchBy(tile)}>
        <Icon name="search" /> Search by this
      </button>
      <button class="button small" type="button" onClick={() => void snipTile(tile)}>
        <Icon name="crop" /> Cut out
      </button>
    </div>
  );
}

function Facts({ tile }: { tile: TileOut | Hit }) {
  const { window } = tile;
  const rows: [string, string, boolean?][] = [
    ["Score", isHit(tile) ? `${tile.score.toFixed(4)}, rank ${tile.rank}` : ""],
    ["Distance", isHit(tile) ? tile.distance.toFixed(4) : ""],
    ["Label", tile.label ?? ""],
    ["Taken", date(tile.datetime)],
    ["Centre", place(tile.bounds)],
    ["Bounds", tile.bounds ? extent(tile.bounds) : ""],
    [
      "Window",
      window
        ? `${window.width} × ${window.height} px at x ${window.x}, y ${window.y}`
        : "the whole picture",
    ],
    ["Valid", tile.valid_fraction === null ? "" : `${percent(tile.valid_fraction)} of its pixels`],
    ["Source", tile.uri, true],
    ["Tile id", tile.tile_id, true],
  ];
  return (
    <dl class="details-facts">
      {rows
        .filter(([, value]) => value !== "")
        .map(([name, value, code]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd class={code ? "code" : undefined}>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

function Files({ tile }: { tile: TileOut }) {
  const [copied, setCopied] = useState("");
  const name = safeName(fileName(tile.tile_id));
  const copy = async () => {
    await navigator.clipboard.writeText(tile.tile_id);
    setCopied(tile.tile_id);
    said.value = "The tile's id was copied.";
  };
  return (
    <p class="downloads">
      {tile.worldview_url && (
        <a href={tile.worldview_url} target="_blank" rel="noreferrer noopener">
          NASA Worldview <Icon name="external" />
        </a>
      )}
      <a href={api.pictureUrl(tile)} download={`${name}.jpg`}>
        JPEG
      </a>
      <a href={api.pictureUrl(tile, undefined, "png")} download={`${name}.png`}>
        PNG
      </a>
      {tile.bounds && (
        <button class="link" type="button" onClick={() => save(footprint(tile), `${name}.geojson`)}>
          Footprint (GeoJSON)
        </button>
      )}
      {/* Browsers offer the clipboard to https and localhost only. */}
      {navigator.clipboard && (
        <button class="link" type="button" onClick={() => void copy()}>
          {copied === tile.tile_id ? "Copied" : "Copy id"}
        </button>
      )}
    </p>
  );
}

function Near({ tile }: { tile: TileOut | Hit }) {
  const [near, setNear] = useState<NearbyOut | null>(null);
  const [folded, setFolded] = useState<TileOut[]>([]);
  const id = tile.tile_id;
  useEffect(() => {
    const ends = new AbortController();
    setNear(null);
    setFolded([]);
    api.nearby(id, NEAR, ends.signal).then(
      (found) => {
        remember([...found.same_place, ...found.adjacent]);
        setNear(found);
      },
      // The panel stands without it; a search would say what is wrong with the server.
      () => undefined,
    );
    const hidden = isHit(tile) ? tile.folded.slice(0, NEAR) : [];
    Promise.all(hidden.map((one) => api.tile(one, ends.signal))).then(setFolded, () => undefined);
    return () => ends.abort();
  }, [id]);
  return (
    <>
      <Strip name="Grouped into this one" tiles={folded} />
      <Strip name="Other dates of this place" tiles={near?.same_place ?? []} />
      <Strip name="Beside it" tiles={near?.adjacent ?? []} />
    </>
  );
}

function Strip({ name, tiles }: { name: string; tiles: TileOut[] }) {
  if (!tiles.length) return null;
  return (
    <section class="strip" aria-label={name}>
      <h3>{name}</h3>
      <ul>
        {tiles.map((tile) => (
          <li key={tile.tile_id}>
            <button
              type="button"
              aria-label={`Details of ${fullTitle(tile)}`}
              title={fullTitle(tile)}
              onClick={() => (inspected.value = tile)}
            >
              <span class="picture">
                <Picture src={tile.thumbnail_url} alt="" />
              </span>
              <span class="line">{date(tile.datetime) || title(tile)}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
