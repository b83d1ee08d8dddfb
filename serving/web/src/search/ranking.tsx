// How alike, how carefully, and what to make of the ranked results.

import { useState } from "preact/hooks";
import { PAGE_SIZES, type Address } from "../state/address";
import { isHit, results } from "../state/searching";
import { address, go, stats } from "../state/store";

const SCORE_BARS = 40;
const DUPLICATES = { cosine: 0.03, euclidean: 0.1 };

const change = (shaping: Partial<Address["shaping"]>, topic = "") =>
  go({ shaping: { ...address.peek().shaping, ...shaping } }, topic);

export function Ranking() {
  const { quality, negative, negativeWeight, strategy } = address.value;
  return (
    <section class="rail-section" aria-label="Similarity">
      <div class="rail-title">
        <h3>Similarity</h3>
        {address.value.minScore !== null && (
          <button
            class="clear"
            type="button"
            aria-label="Clear similarity"
            onClick={() => go({ minScore: null })}
          >
            Clear
          </button>
        )}
      </div>
      <LeastScore />
      {negative.length > 0 && strategy === "mean" && (
        <label class="field">
          <span class="name">Weight of the unlike examples</span>
          <span class="slider">
            <input
              type="range"
              id="against"
              min={0}
              max={2}
              step={0.1}
              value={negativeWeight}
              onChange={(event) =>
                go({ negativeWeight: Number(event.currentTarget.value) }, "against")
              }
            />
            <output>{negativeWeight.toFixed(1)}</output>
          </span>
        </label>
      )}
      <label class="field">
        <span class="name">Search</span>
        <select
          id="quality"
          value={quality}
          onChange={(event) => go({ quality: event.currentTarget.value as Address["quality"] })}
        >
          <option value="fast">fast: less of the index</option>
          <option value="balanced">balanced</option>
          <option value="high">careful: more of the index</option>
          <option value="exact">exact: every picture</option>
        </select>
      </label>
    </section>
  );
}

function LeastScore() {
  const { minScore } = address.value;
  const [held, setHeld] = useState<number | null>(null);
  const shown = held ?? minScore ?? 0;
  return (
    <div class="field">
      <label class="name" for="least">
        Find all with a score of at least
      </label>
      <span class="slider barred">
        <ScoreBars least={shown} />
        <input
          type="range"
          id="least"
          min={0}
          max={1}
          step={0.01}
          value={shown}
          aria-valuetext={shown > 0 ? `at least ${shown.toFixed(2)}` : "any"}
          onInput={(event) => setHeld(Number(event.currentTarget.value))}
          onChange={(event) => {
            const value = Number(event.currentTarget.value);
            setHeld(null);
            go({ minScore: value > 0 ? value : null }, "least");
          }}
        />
        <output>{shown > 0 ? shown.toFixed(2) : "any"}</output>
      </span>
    </div>
  );
}

/** How the scores of the results on the page lie between 0 and 1. */
function ScoreBars({ least }: { least: number }) {
  const scores = (results.value?.tiles ?? []).filter(isHit).map((hit) => hit.score);
  const bars = new Array<number>(SCORE_BARS).fill(0);
  for (const score of scores) {
    const i = Math.min(SCORE_BARS - 1, Math.max(0, Math.floor(score * SCORE_BARS)));
    bars[i] = (bars[i] ?? 0) + 1;
  }
  const most = Math.max(1, ...bars);
  return (
    <svg
      class="bars short"
      viewBox={`0 0 ${SCORE_BARS} 20`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      {bars.map((n, i) => (
        <rect
          key={i}
          class={(i + 1) / SCORE_BARS > least ? "left" : "all"}
          x={i}
          width={0.8}
          y={20 - (n / most) * 20}
          height={(n / most) * 20}
        />
      ))}
    </svg>
  );
}

export function Shaping() {
  const { shaping, ownHits } = address.value;
  const same = DUPLICATES[stats.value?.featurizer.metric ?? "cosine"];
  return (
    <section class="rail-section" aria-label="Arrangement">
      <div class="rail-title">
        <h3>Arrangement</h3>
      </div>
      <label class="field">
        <span class="name">Pictures at a time</span>
        <select
          id="count"
          value={String(address.value.k)}
          onChange={(event) => go({ k: Number(event.currentTarget.value) })}
        >
          {PAGE_SIZES.filter((size) => size <= (stats.value?.limits.max_k ?? size)).map((size) => (
            <option key={size} value={String(size)}>
              {size}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span class="name">Group overlapping pictures</span>
        <select
          id="overlap"
          value={shaping.overlap}
          onChange={(event) =>
            change({ overlap: event.currentTarget.value as Address["shaping"]["overlap"] })
          }
        >
          <option value="">no</option>
          <option value="window">of one source picture</option>
          <option value="place">of one place, whatever date</option>
        </select>
      </label>
      <label class="choice">
        <input
          type="checkbox"
          class="switch"
          role="switch"
          id="duplicates"
          checked={shaping.duplicates > 0}
          onChange={(event) => change({ duplicates: event.currentTarget.checked ? same : 0 })}
        />
        <span class="choice-name">Hide near-duplicates</span>
      </label>
      <label class="choice">
        <input
          type="checkbox"
          class="switch"
          role="switch"
          id="own"
          checked={!ownHits}
          onChange={(event) => go({ ownHits: !event.currentTarget.checked })}
        />
        <span class="choice-name">Hide the examples</span>
      </label>
      <label class="field">
        <span class="name">Variety among the results</span>
        <span class="slider">
          <input
            type="range"
            id="diversity"
            min={0}
            max={1}
            step={0.1}
            value={shaping.diversity}
            onChange={(event) =>
              change({ diversity: Number(event.currentTarget.value) }, "diversity")
            }
          />
          <output>{shaping.diversity ? shaping.diversity.toFixed(1) : "off"}</output>
        </span>
      </label>
    </section>
  );
}
