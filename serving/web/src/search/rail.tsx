// The column of filters, and of how results are ranked and shown.

import type { ComponentChildren } from "preact";
import { count, extent, percent } from "../format";
import { Icon } from "../shell/icons";
import type { Filters } from "../state/address";
import { matching } from "../state/facets";
import {
  address,
  clearFilters,
  filterBy,
  filterCount,
  go,
  hasQuery,
  narrow,
  stats,
} from "../state/store";
import { railOpen } from "./bar";
import { LabelFilter } from "./label-filter";
import { worldMap } from "./map-pane";
import { Ranking, Shaping } from "./ranking";
import { TimeFilter } from "./time-filter";

export function Rail() {
  if (!railOpen.value) return null;
  const { filters } = address.value;
  const rows = stats.value?.rows;
  const left = matching.value?.matching;
  return (
    <aside class="rail" id="rail" aria-label="Filters">
      <div class="rail-head">
        <p id="matching" aria-live="polite">
          {left === undefined ? "…" : <b>{count(left)}</b>}
          {rows !== undefined && left !== undefined && (
            <span class="meta">
              {" "}
              of {count(rows)}
              {filterCount.value ? "" : " pictures"}
            </span>
          )}
        </p>
        {filterCount.value > 0 && (
          <button class="button small" id="clear-filters" type="button" onClick={clearFilters}>
            Clear all
          </button>
        )}
        {narrow.value && (
          <button
            class="icon-button"
            type="button"
            aria-label="Close the filters"
            onClick={() => (railOpen.value = false)}
          >
            <Icon name="close" />
          </button>
        )}
      </div>
      {hasQuery.value && <Ranking />}
      <Section
        name="When"
        set={Boolean(filters.start || filters.end || filters.season)}
        clear={{ start: "", end: "", season: null }}
      >
        <TimeFilter />
      </Section>
      <Section name="Where" set={filters.region !== null} clear={{ region: null }}>
        <WhereFilter />
      </Section>
      <Section name="Labels" set={filters.labels.length > 0} clear={{ labels: [] }}>
        <LabelFilter />
      </Section>
      <Section
        name="Source"
        set={Boolean(filters.uriPrefix || filters.minValid)}
        clear={{ uriPrefix: "", minValid: 0 }}
      >
        <SourceFilter />
      </Section>
      {hasQuery.value && <Shaping />}
    </aside>
  );
}

interface SectionProps {
  name: string;
  set: boolean;
  clear: Partial<Filters>;
  children: ComponentChildren;
}

const Section = ({ name, set, clear, children }: SectionProps) => (
  <section class="rail-section" aria-label={name}>
    <div class="rail-title">
      <h3>{name}</h3>
      {set && (
        <button
          class="clear"
          type="button"
          aria-label={`Clear ${name.toLowerCase()}`}
          onClick={() => filterBy(clear)}
        >
          Clear
        </button>
      )}
    </div>
    {children}
  </section>
);

function WhereFilter() {
  const { region } = address.value.filters;
  const draw = (kind: "bbox" | "polygon") => {
    if (narrow.value) railOpen.value = false;
    const { view } = address.peek();
    if (narrow.value || view === "grid") go({ view: narrow.value ? "map" : "split" });
    // The map may be on its way.
    const stop = worldMap.subscribe((map) => {
      if (!map) return;
      map.draw(kind);
      queueMicrotask(() => stop());
    });
  };
  return (
    <>
      {region && (
        <p class="meta">
          {region.kind === "bbox"
            ? extent(region.bbox, 2)
            : `a polygon of ${(region.polygon.coordinates[0]?.length ?? 1) - 1} corners`}
        </p>
      )}
      <div class="buttons">
        <button class="button small" type="button" onClick={() => draw("bbox")}>
          <Icon name="box" /> Draw a box
        </button>
        <button class="button small" type="button" onClick={() => draw("polygon")}>
          <Icon name="polygon" /> Polygon
        </button>
      </div>
    </>
  );
}

function SourceFilter() {
  const { uriPrefix, minValid } = address.value.filters;
  return (
    <>
      <label class="field">
        <span class="name">Address begins with</span>
        <input
          type="text"
          id="uri-prefix"
          value={uriPrefix}
          placeholder="gs://imagery/2021/"
          spellcheck={false}
          autocomplete="off"
          onChange={(event) => filterBy({ uriPrefix: event.currentTarget.value.trim() })}
        />
      </label>
      <label class="field">
        <span class="name">Pixels that hold a measurement</span>
        <span class="slider">
          <input
            type="range"
            id="valid"
            min={0}
            max={1}
            step={0.05}
            value={minValid}
            onChange={(event) => filterBy({ minValid: Number(event.currentTarget.value) }, "valid")}
          />
          <output>{minValid ? `≥ ${percent(minValid)}` : "any"}</output>
        </span>
      </label>
    </>
  );
}
