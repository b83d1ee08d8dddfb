// What is selected: how many of which label, their pictures, and what can be done with them.

import { useRef, useState } from "preact/hooks";

import { isAbort, Problem, type ExportFormat } from "../api";
import { bytes, count, plural, sentence } from "../format";
import { Picture } from "../search/picture";
import { Icon } from "../shell/icons";
import { encode, likeTiles } from "../state/address";
import { FORMATS, saveTiles } from "./download";
import { spread } from "./groups";
import { grouped, pinned, projection, select, selected, selectedCounts, selectedIds, toggleTile } from "./state";
import { thumbnailOf, titleOf } from "./tiles";

/** More examples than this blur a search, and make an address that is too long to share. */
const MOST_EXAMPLES = 20;
const PICTURES_SHOWN = 60;

export function Selection() {
  const ids = selectedIds.value;
  if (ids.length === 0) {
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
        <h2 id="selection-title">{plural(ids.length, "picture")} selected</h2>
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
  const ids = selectedIds.value;
  const examples = spread(ids, MOST_EXAMPLES);
  return (
    <div class="act">
      <a class="button primary" href={encode(likeTiles(examples))}>
        <Icon name="search" />
        Search by these
      </a>
      {examples.length < ids.length && (
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
      await saveTiles(selectedIds.value, format, (received) => setSaving({ bytes: received }), running.current.signal);
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
          <b>{saving.problem.title}.</b> {sentence(saving.problem.message)}
        </p>
      )}
    </div>
  );
}

function Thumbnails() {
  const positions = [...selected.value];
  const more = positions.length - PICTURES_SHOWN;
  return (
    <>
      <ul class="thumbnails" aria-label="Selected pictures">
        {positions.slice(0, PICTURES_SHOWN).map((position) => (
          <Thumbnail key={position} position={position} />
        ))}
      </ul>
      {more > 0 && <p class="meta">and {count(more)} more, all in the export</p>}
    </>
  );
}

function Thumbnail({ position }: { position: number }) {
  const id = projection.value?.tileIds[position] ?? "";
  const name = titleOf(id, projection.value?.labels[position] ?? null);
  return (
    <li>
      <button
        class="picture"
        type="button"
        title={name}
        aria-label={`Show on the map: ${name}`}
        aria-pressed={pinned.value === position}
        onClick={() => (pinned.value = position)}
      >
        <Picture src={thumbnailOf(id)} alt="" instead="unreadable" />
      </button>
      <button
        class="drop-one"
        type="button"
        aria-label={`Remove from the selection: ${name}`}
        onClick={() => toggleTile(position)}
      >
        <Icon name="close" />
      </button>
    </li>
  );
}
