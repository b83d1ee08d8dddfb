// The labels: their colours, which are shown, and a way to select without a pointer.

import { useState } from "preact/hooks";

import { count } from "../format";
import type { Group } from "./groups";
import { emphasised, grouped, hidden, selectedCounts, showAll, toggleGroup, toggleMembers } from "./state";

/** With more labels than this, they can be searched for. */
const SEARCHED_FROM = 12;

export function Legend() {
  const { groups } = grouped.value;
  const [wanted, setWanted] = useState("");
  const rows = groups
    .map((group, position) => ({ group, position }))
    .filter(({ group }) => group.name.toLowerCase().includes(wanted.trim().toLowerCase()));
  return (
    <section class="legend" aria-labelledby="legend-title">
      <div class="panel-head">
        <h2 id="legend-title">Labels</h2>
        <div class="buttons">
          <button class="button quiet small" type="button" onClick={() => showAll(true)} disabled={hidden.value.size === 0}>
            Show all
          </button>
          <button
            class="button quiet small"
            type="button"
            onClick={() => showAll(false)}
            disabled={hidden.value.size === groups.length}
          >
            Hide all
          </button>
        </div>
      </div>
      {groups.length > SEARCHED_FROM && (
        <input
          type="search"
          aria-label="Find a label"
          placeholder={`Find one of ${count(groups.length)} labels`}
          value={wanted}
          onInput={(event) => setWanted(event.currentTarget.value)}
        />
      )}
      <ul class="legend-list" onMouseLeave={() => (emphasised.value = -1)}>
        {rows.map(({ group, position }) => (
          <Row key={position} group={group} position={position} />
        ))}
      </ul>
      {rows.length === 0 && <p class="meta">No label is called so.</p>}
    </section>
  );
}

function Row({ group, position }: { group: Group; position: number }) {
  const shown = !hidden.value.has(position);
  const chosen = selectedCounts.value[position] === group.count;
  return (
    <li class={shown ? "" : "is-hidden"} onMouseEnter={() => (emphasised.value = shown ? position : -1)}>
      <label>
        <input
          type="checkbox"
          checked={shown}
          onChange={() => {
            toggleGroup(position);
            emphasised.value = -1;
          }}
        />
        <span class="swatch" style={{ background: group.colour }} />
        <span class="legend-name">{group.name}</span>
        <span class="legend-count">{count(group.count)}</span>
      </label>
      <button
        class="button quiet small"
        type="button"
        aria-pressed={chosen}
        aria-label={`${chosen ? "Selected" : "Select"} all ${count(group.count)} of ${group.name}`}
        onClick={() => toggleMembers(position)}
      >
        {chosen ? "Selected" : "Select"}
      </button>
    </li>
  );
}
