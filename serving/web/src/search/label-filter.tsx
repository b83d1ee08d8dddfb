// Labels with their counts; any of those ticked may be found.

import { useState } from "preact/hooks";
import { count } from "../format";
import { anyLabel, whole } from "../state/facets";
import { address, filterBy } from "../state/store";

const SEARCHED_FROM = 10; // labels: fewer are seen at once
const SHOWN = 60;

export function LabelFilter() {
  const [sought, setSought] = useState("");
  const known = whole.value;
  if (!known) return <p class="meta">…</p>;
  if (!known.labels.length) return <p class="meta">No picture of this archive has a label.</p>;
  const counts = new Map(anyLabel.value?.labels.map(({ label, count: n }) => [label, n]));
  const chosen = address.value.filters.labels;
  const names = known.labels.map(({ label }) => label);
  const found = names.filter((name) =>
    readable(name).toLowerCase().includes(sought.trim().toLowerCase()),
  );
  const toggle = (label: string | null) =>
    filterBy({
      labels: chosen.includes(label) ? chosen.filter((one) => one !== label) : [...chosen, label],
    });
  return (
    <div class="labels">
      {names.length > SEARCHED_FROM && (
        <input
          type="search"
          aria-label="Find a label"
          placeholder={`Find among ${count(names.length)} labels`}
          value={sought}
          onInput={(event) => setSought(event.currentTarget.value)}
        />
      )}
      <div role="group" aria-label="Labels">
        <ul class="label-list">
          {found.slice(0, SHOWN).map((name) => (
            <Choice
              key={name}
              name={readable(name)}
              checked={chosen.includes(name)}
              count={anyLabel.value ? (counts.get(name) ?? 0) : null}
              onChange={() => toggle(name)}
            />
          ))}
          {known.unlabelled > 0 && !sought && (
            <Choice
              key=""
              name="without a label"
              checked={chosen.includes(null)}
              count={anyLabel.value?.unlabelled ?? null}
              onChange={() => toggle(null)}
            />
          )}
        </ul>
      </div>
      {found.length > SHOWN && (
        <p class="meta">and {count(found.length - SHOWN)} more: type to find them</p>
      )}
      {found.length === 0 && <p class="meta">No label has “{sought}” in it.</p>}
    </div>
  );
}

const readable = (label: string) => label.replaceAll("_", " ");

interface ChoiceProps {
  name: string;
  checked: boolean;
  count: number | null;
  onChange: () => void;
}

const Choice = ({ name, checked, count: n, onChange }: ChoiceProps) => (
  <li>
    <label class="choice">
      <input type="checkbox" checked={checked} onChange={onChange} />
      <span class="choice-name">{name}</span>
      <span class="meta">{n === null ? "" : count(n)}</span>
    </label>
  </li>
);
