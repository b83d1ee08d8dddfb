// The stage with its tools, and the card of the point that is pointed at.

import { useEffect, useRef } from "preact/hooks";

import { date, place, plural } from "../format";
import { Picture } from "../search/picture";
import { Icon, type IconName } from "../shell/icons";
import { encode, likeTiles } from "../state/address";
import { Stage, cardPlace } from "./stage";
import { grouped, hidden, pinned, projection, selected, toggleTile, tool } from "./state";
import { ask, facts, thumbnailOf, titleOf } from "./tiles";
import type { Point, Size } from "./viewport";

const CARD = { width: 248, gap: 16, rise: 70, edge: 8 };

/** The side of a point on which its card has room; anchored below in the lower half. */
function cardStyle([x, y]: Point, { width, height }: Size): Record<string, string> {
  const right = x + CARD.gap + CARD.width < width - CARD.edge;
  const left = right ? x + CARD.gap : Math.max(CARD.edge, x - CARD.gap - CARD.width);
  const vertical: Record<string, string> =
    y < height / 2
      ? { top: `${Math.max(CARD.edge, y - CARD.rise)}px`, bottom: "auto" }
      : { top: "auto", bottom: `${Math.max(CARD.edge, height - y - CARD.rise)}px` };
  return { left: `${left}px`, ...vertical };
}

export function StageView() {
  const host = useRef<HTMLDivElement>(null);
  const base = useRef<HTMLCanvasElement>(null);
  const overlay = useRef<HTMLCanvasElement>(null);
  const stage = useRef<Stage | null>(null);
  useEffect(() => {
    if (!host.current || !base.current || !overlay.current) return;
    const made = new Stage(host.current, base.current, overlay.current);
    stage.current = made;
    return () => made.destroy();
  }, []);
  const points = projection.value?.tileIds.length ?? 0;
  return (
    <section class="stage" aria-label="Map of likeness">
      <div
        class={`stage-surface is-${tool.value}`}
        id="stage"
        ref={host}
        tabIndex={0}
        role="application"
        aria-label={`${plural(points, "picture")} as points; near each other where they look alike. Arrow keys move, plus and minus zoom, 0 shows all. To select without a pointer, use the list of labels.`}
      >
        <canvas ref={base} aria-hidden="true" />
        <canvas ref={overlay} aria-hidden="true" />
      </div>
      <Tools stage={() => stage.current} />
      <Card />
    </section>
  );
}

function Tools({ stage }: { stage: () => Stage | null }) {
  return (
    <>
      <div class="stage-tools left segments" role="group" aria-label="What dragging does">
        <button type="button" aria-pressed={tool.value === "pan"} onClick={() => (tool.value = "pan")}>
          Move
        </button>
        <button
          type="button"
          aria-pressed={tool.value === "lasso"}
          title="Draw a loop around points; Shift and drag does so at any time"
          onClick={() => (tool.value = "lasso")}
        >
          Lasso
        </button>
      </div>
      <div class="stage-tools right" role="group" aria-label="Zoom">
        <ToolButton icon="plus" label="Zoom in" onClick={() => stage()?.zoom(1.6)} />
        <ToolButton icon="minus" label="Zoom out" onClick={() => stage()?.zoom(1 / 1.6)} />
        <ToolButton
          icon="fit"
          label={selected.value.size > 0 ? "Show the selection" : "Show all"}
          onClick={() => stage()?.fit()}
        />
      </div>
    </>
  );
}

function ToolButton({ icon, label, onClick }: { icon: IconName; label: string; onClick: () => void }) {
  return (
    <button class="icon-button" type="button" aria-label={label} title={label} onClick={onClick}>
      <Icon name={icon} />
    </button>
  );
}

function Card() {
  const shown = cardPlace.value;
  const id = shown ? projection.value?.tileIds[shown.tile] : undefined;
  useEffect(() => (id === undefined ? undefined : ask(id)), [id]);
  if (!shown || id === undefined) return null;
  const stays = shown.tile === pinned.value;
  const group = grouped.value.groups[grouped.value.membership[shown.tile] ?? -1];
  const known = facts.value.get(id);
  return (
    <div class={stays ? "point-card stays" : "point-card"} style={cardStyle(shown.at, shown.size)} data-tile={id}>
      <span class="picture">
        <Picture key={id} src={thumbnailOf(id)} alt="" lazy={false} />
      </span>
      <div class="point-facts">
        <p class="point-name">
          <span class="swatch" style={{ background: group?.colour ?? "" }} />
          <strong>{titleOf(id, group?.label ?? null)}</strong>
        </p>
        <p class="meta">
          {known === undefined
            ? "…"
            : (known && [place(known.bounds), date(known.datetime)].filter(Boolean).join(" · ")) || "No place or date known"}
        </p>
        {stays && <CardActions position={shown.tile} id={id} />}
      </div>
    </div>
  );
}

function CardActions({ position, id }: { position: number; id: string }) {
  if (hidden.value.has(grouped.value.membership[position] ?? -1)) return null;
  const chosen = selected.value.has(position);
  const worldview = facts.value.get(id)?.worldview_url;
  return (
    <>
      <div class="buttons">
        <a class="button small primary" href={encode(likeTiles([id]))}>
          Search by this
        </a>
        <button class="button small" type="button" aria-pressed={chosen} onClick={() => toggleTile(position)}>
          {chosen ? "Selected" : "Select"}
        </button>
      </div>
      {worldview && (
        <a class="worldview" href={worldview} target="_blank" rel="noopener">
          Open in NASA Worldview
        </a>
      )}
      <button class="icon-button point-close" type="button" aria-label="Close" onClick={() => (pinned.value = -1)}>
        <Icon name="close" />
      </button>
    </>
  );
}
