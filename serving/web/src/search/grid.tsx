// The results as a grid that one moves in by arrows, one stop of the Tab key.

import { effect, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { more, phase, results, searches } from "../state/searching";
import { clearSelection, selectAll } from "../state/selection";
import { inspected, pointed } from "../state/store";
import { act } from "./acting";
import { Card } from "./card";
import { columnsOf, moved } from "./grid-keys";
import { tries } from "./picture";

const SKELETONS = 18;

export function Grid() {
  const list = useRef<HTMLOListElement>(null);
  const active = useSignal(0);
  const hadFocus = useRef(false);
  const tiles = results.value?.tiles ?? [];
  const cards = () => [...(list.current?.querySelectorAll<HTMLElement>(".card[data-index]") ?? [])];
  const focusOn = (index: number) => {
    active.value = index;
    const main = cards()[index]?.querySelector<HTMLElement>(".card-main");
    main?.focus();
    main?.scrollIntoView({ block: "nearest" });
  };

  useEffect(() => linkPointer(list), []);
  useEffect(
    () =>
      effect(() => {
        if (searches.value) beginAtTop(list.current, active, hadFocus.current);
        tries.value = searches.value;
      }),
    [],
  );
  useEffect(() => {
    // A card that is taken away takes the focus with it, and no event tells so.
    const follow = (event: FocusEvent) => {
      hadFocus.current = event.target instanceof Node && !!list.current?.contains(event.target);
    };
    document.addEventListener("focusin", follow);
    return () => document.removeEventListener("focusin", follow);
  }, []);

  const onKeyDown = (event: KeyboardEvent) => {
    const card =
      event.target instanceof Element ? event.target.closest<HTMLElement>(".card") : null;
    const index = Number(card?.dataset["index"] ?? -1);
    const tile = tiles[index];
    if (!tile || event.altKey) return;
    const onMain = event.target instanceof Element && event.target.classList.contains("card-main");
    if ((event.ctrlKey || event.metaKey) && event.key === "a") {
      selectAll();
      return event.preventDefault();
    }
    if (event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape") {
      if (inspected.peek()) inspected.value = null;
      else clearSelection();
      return;
    }
    const to = moved(
      event.key,
      index,
      columnsOf(cards().map((one) => one.offsetTop)),
      tiles.length,
    );
    if (to !== null) focusOn(to);
    else if (event.key === " " && !onMain)
      return; // a button's or box's own key
    else if (!act(event, tile)) return;
    event.preventDefault();
  };

  const waiting = phase.value === "loading" || phase.value === "waiting";
  return (
    <>
      <ol
        class="grid"
        id="results"
        ref={list}
        aria-labelledby="results-title"
        aria-busy={phase.value === "loading"}
        data-stale={(phase.value === "loading" && tiles.length > 0) || undefined}
        onKeyDown={onKeyDown}
        onFocusIn={(event) => {
          const card = (event.target as Element).closest<HTMLElement>(".card");
          if (!card) return;
          active.value = Number(card.dataset["index"]);
          pointed.value = card.dataset["tile"] ?? null;
        }}
      >
        {waiting && !results.value
          ? Array.from({ length: SKELETONS }, (_, i) => <Ghost key={i} />)
          : tiles.map((tile, i) => (
              <Card key={tile.tile_id} tile={tile} index={i} active={active} />
            ))}
      </ol>
      {results.value?.cursor && (
        <p class="more">
          <button
            class="button"
            type="button"
            id="more"
            disabled={phase.value !== "done"}
            onClick={more}
          >
            {phase.value === "more" ? "Loading…" : "Show more"}
          </button>
        </p>
      )}
    </>
  );
}

const Ghost = () => (
  <li class="card ghost" aria-hidden="true">
    <span class="picture skeleton" />
    <span class="caption" />
  </li>
);

/** Marks the card of the tile that is pointed at, wherever it is pointed at. */
function linkPointer(list: { current: HTMLOListElement | null }): () => void {
  return effect(() => {
    const id = pointed.value;
    for (const card of list.current?.querySelectorAll("[data-pointed]") ?? [])
      card.removeAttribute("data-pointed");
    if (id === null) return;
    list.current
      ?.querySelector(`[data-tile="${CSS.escape(id)}"]`)
      ?.setAttribute("data-pointed", "");
  });
}

/** A new answer is read from its best; where the focused card is gone, the first one has the focus. */
function beginAtTop(
  list: HTMLOListElement | null,
  active: { value: number },
  hadFocus: boolean,
): void {
  active.value = 0;
  requestAnimationFrame(() => {
    list?.closest(".results")?.scrollTo({ top: 0 });
    if (hadFocus && document.activeElement === document.body) {
      list?.querySelector<HTMLElement>(".card-main")?.focus({ preventScroll: true });
    }
    const card = document.activeElement?.closest<HTMLElement>(".card");
    if (card) active.value = Number(card.dataset["index"]);
  });
}
