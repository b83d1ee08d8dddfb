// What is selected: how many of which label, their pictures, and what can be done with them.

import { useRef, useState } from "preact/hooks";

import { isAbort, Problem, type ExportFormat } from "../api";
import { bytes, count, fullTitle, plural } from "../format";
import { Picture } from "../search/picture";
import { Icon } from "../shell/icons";
import { encode, likeTiles } from "../state/address";
import { FORMATS, saveTiles } from "./download";
import { spread } from "./groups";
import { grouped, pinned, select, selected, selectedCounts, selectedTiles, toggleTile } from "./state";

/** More examples than this blur a search, and make an address that is too long to share. */
const MOST_EXAMPLES = 20;
const PICTURES_SHOWN = 60;

export function Selection() {
  const tiles = selectedTiles.value;
  if (tiles.length === 0) {
    return (
      <section class="selection" aria-labelledby="selection-title">
        <h2 id="selection-title">Selection</h2>
        <p class="meta">
          Choose <b>Lasso</b> and draw a loop around points, or hold Shift and drag. Or select a label
          in the list.
        </p>
      </section>
    );
  }
  return (
    <section class="selection" aria-labelledby="selection-title">
      <div class="panel-head">
        <h2 id="selection-title">{plural(tiles.length, "picture")} selected</h2>
        <button class="button quiet small" type="button" onClick={() => select([], false)}>
          Clear
        </button>
      </div>
      <Counts />
      <SearchByThese />
      <Export />
      <Thumbnails />
    </section>
  );
}

function Counts() {
  const counts = selectedCounts.value;
  const most = Math.max(...counts, 1);
  const rows = grouped.value.groups
    .map((group, i) => ({ group, count: counts[i] ?? 0 }))
    .filter((row) => row.count > 0)
    .sort((a, b) => b.count - a.count);
  return (
    <ul class="counts" aria-label="Selected by label">
      {rows.map(({ group, count: chosen }) => (
        <li key={group.name}>
          <span class="legend-name">{group.name}</span>
          <span class="bar" aria-hidden="true">
            <span style={{ width: `${(100 * chosen) / most}%`, background: group.colour }} />
          </span>
          <span class="legend-count">{count(chosen)}</span>
        </li>
      ))}
    </ul>
  );
}

function SearchByThese() {
  const tiles = selectedTiles.value;
  const examples = spread(tiles, MOST_EXAMPLES);
  return (
    <div class="act">
      <a class="button primary" href={encode(likeTiles(examples.map((tile) => tile.tile_id)))}>
        <Icon name="search" />
        Search by these
      </a>
      {examples.length < tiles.length && (
        <p class="meta">
          By {MOST_EXAMPLES} of them, spread evenly over the selection.
        </p>
      )}
    </div>
  );
}

type Saving = { bytes: number } | { problem: Problem } | null;

function Export() {
  const [format, setFormat] = useState<ExportFormat>("csv");
  const [saving, setSaving] = useState<Saving>(null);
  const running = useRef<AbortController | null>(null);
  const busy = saving !== null && "bytes" in saving;
  const start = async () => {
    running.current = new AbortController();
    setSaving({ bytes: 0 });
    try {
      const ids = selectedTiles.value.map((tile) => tile.tile_id);
      await saveTiles(ids, format, (received) => setSaving({ bytes: received }), running.current.signal);
      setSaving(null);
    } catch (error) {
      if (isAbort(error)) setSaving(null);
      else if (error instanceof Problem) setSaving({ problem: error });
      else throw error;
    }
  };
  return (
    <div class="act">
      <div class="export">
        <select
          aria-label="Format"
          value={format}
          onChange={(event) => setFormat(event.currentTarget.value as ExportFormat)}
        >
          {FORMATS.map((known) => (
            <option key={known.format} value={known.format}>
              {known.name}
            </option>
          ))}
        </select>
        {busy ? (
          <button class="button" type="button" onClick={() => running.current?.abort()}>
            Stop
          </button>
        ) : (
          <button class="button" type="button" onClick={() => void start()}>
            <Icon name="download" />
            Export
          </button>
        )}
      </div>
      <p class="meta" role="status">
        {busy && `${bytes(saving.bytes)} so far…`}
      </p>
      {saving && "problem" in saving && (
        <p class="trouble" role="alert">
          <b>{saving.problem.title}.</b> {saving.problem.message}
        </p>
      )}
    </div>
  );
}

function Thumbnails() {
  const positions = [...selected.value];
  const tiles = selectedTiles.value;
  const more = tiles.length - PICTURES_SHOWN;
  return (
    <>
      <ul class="thumbnails" aria-label="Selected pictures">
        {tiles.slice(0, PICTURES_SHOWN).map((tile, n) => (
          <li key={tile.tile_id}>
            <button
              class="picture"
              type="button"
              title={fullTitle(tile)}
              aria-label={`Show ${fullTitle(tile)} on the map`}
              aria-pressed={pinned.value === positions[n]}
              onClick={() => (pinned.value = positions[n] ?? -1)}
            >
              <Picture src={tile.thumbnail_url} alt="" instead="unreadable" />
            </button>
            <button
              class="drop-one"
              type="button"
              aria-label={`Remove ${fullTitle(tile)} from the selection`}
              onClick={() => toggleTile(positions[n] ?? -1)}
            >
              <Icon name="close" />
            </button>
          </li>
        ))}
      </ul>
      {more > 0 && <p class="meta">and {count(more)} more, all in the export</p>}
    </>
  );
}
