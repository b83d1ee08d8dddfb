// Over the results: what they are, and how to look at them.

import { signal } from "@preact/signals";
import { count, milliseconds, plural } from "../format";
import { Icon } from "../shell/icons";
import type { View } from "../state/address";
import { matching } from "../state/facets";
import { phase, results, seed } from "../state/searching";
import { selectAll } from "../state/selection";
import { address, filterCount, go, narrow, stats } from "../state/store";
import { openExport } from "./export-dialog";

/** Whether the column of filters is open; on a phone it lies over the page. */
export const railOpen = signal(matchMedia("(min-width: 1100px)").matches);
/** Whether the list of keys is shown. */
export const keysShown = signal(false);

const TITLES = {
  sample: "From the archive",
  browse: "Matching the filters",
  search: "Most alike",
};

export function Bar() {
  const kind = address.value.positive.length ? "search" : filterCount.value ? "browse" : "sample";
  const any = (results.value?.tiles.length ?? 0) > 0;
  return (
    <div class="bar">
      <button
        class="button"
        id="filters-button"
        type="button"
        aria-expanded={railOpen.value}
        aria-controls="rail"
        onClick={() => (railOpen.value = !railOpen.value)}
      >
        <Icon name="filter" />
        <span>Filters</span>
        {filterCount.value > 0 && <span class="badge">{filterCount.value}</span>}
      </button>
      <div class="bar-title">
        <h2 id="results-title">{TITLES[kind]}</h2>
        <p class="meta" id="status" role="status" aria-live="polite">
          {statusOf()}
        </p>
      </div>
      {kind === "sample" && (
        <button
          class="button"
          id="shuffle"
          type="button"
          onClick={() => (seed.value = Math.floor(Math.random() * 2 ** 31))}
        >
          <Icon name="shuffle" /> <span>Show others</span>
        </button>
      )}
      <button
        class="icon-button wide"
        type="button"
        aria-label="Select all"
        title="Select all that are shown (Ctrl A in the grid)"
        disabled={!any}
        onClick={selectAll}
      >
        <Icon name="check" />
      </button>
      <button
        class="button"
        id="export-button"
        type="button"
        title="Export"
        disabled={!any}
        onClick={openExport}
      >
        <Icon name="download" />
        <span>Export</span>
      </button>
      <button
        class="icon-button wide"
        type="button"
        aria-label="Keys"
        title="Keys (?)"
        onClick={() => (keysShown.value = true)}
      >
        <b aria-hidden="true">?</b>
      </button>
      <Views />
    </div>
  );
}

function statusOf(): string {
  const held = results.value;
  if (phase.value === "loading") return held ? "Searching…" : "Loading…";
  if (!held || phase.value === "failed") return "";
  const shown = held.tiles.length;
  const rows = stats.value?.rows;
  if (held.kind === "sample") return `${plural(shown, "picture")} at random`;
  if (held.kind === "browse") {
    const all = matching.value?.matching;
    const whole = plural(all ?? shown, "picture");
    return all === undefined || shown >= all ? whole : `${count(shown)} of ${whole}`;
  }
  const of = held.matching ?? rows;
  const least = address.value.minScore;
  const found =
    least === null
      ? `${count(shown)}${of === undefined ? "" : ` of ${count(of)}`}`
      : `${held.cursor ? "first " : "all "}${count(shown)} at least ${least.toFixed(2)} alike`;
  return `${found} in ${milliseconds(held.tookMs)} ms`;
}

const VIEWS: { view: View; name: string; icon: "grid" | "split" | "map" }[] = [
  { view: "grid", name: "Grid", icon: "grid" },
  { view: "split", name: "Grid and map", icon: "split" },
  { view: "map", name: "Map", icon: "map" },
];

/** What is to be seen: a phone has room for one of both. */
export const viewShown = (): View => {
  const { view } = address.value;
  return narrow.value && view === "split" ? "grid" : view;
};

function Views() {
  return (
    <div class="segments views" role="group" aria-label="View">
      {VIEWS.filter(({ view }) => !narrow.value || view !== "split").map(({ view, name, icon }) => (
        <button
          key={view}
          type="button"
          aria-label={name}
          title={name}
          aria-pressed={viewShown() === view}
          onClick={() => go({ view: narrow.value && view === "grid" ? "split" : view })}
        >
          <Icon name={icon} />
        </button>
      ))}
    </div>
  );
}
