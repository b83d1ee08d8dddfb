// The stage with its tools, and the card of the point that is pointed at.

import { useEffect, useRef } from "preact/hooks";

import { date, place, plural, title } from "../format";
import { Picture } from "../search/picture";
import { Icon, type IconName } from "../shell/icons";
import { encode, likeTiles } from "../state/address";
import { Stage, cardPlace } from "./stage";
import { grouped, hidden, pinned, projection, selected, toggleTile, tool } from "./state";

const CARD = { width: 216, height: 312, gap: 16 };

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
  const points = projection.value?.tiles.length ?? 0;
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
  const tile = shown && projection.value?.tiles[shown.tile];
  if (!shown || !tile) return null;
  const stays = shown.tile === pinned.value;
  const group = grouped.value.groups[grouped.value.membership[shown.tile] ?? -1];
  const [x, y] = shown.at;
  const right = x + CARD.gap + CARD.width < shown.size.width - 8;
  const left = right ? x + CARD.gap : Math.max(8, x - CARD.gap - CARD.width);
  const top = Math.max(8, Math.min(y - 70, shown.size.height - CARD.height - 8));
  return (
    <div class={stays ? "point-card stays" : "point-card"} style={{ left: `${left}px`, top: `${top}px` }} data-tile={tile.tile_id}>
      <span class="picture">
        <Picture key={tile.tile_id} src={tile.thumbnail_url} alt="" lazy={false} />
      </span>
      <div class="point-facts">
        <p class="point-name">
          <span class="swatch" style={{ background: group?.colour ?? "" }} />
          <strong>{title(tile)}</strong>
        </p>
        <p class="meta">{[place(tile.bounds), date(tile.datetime)].filter(Boolean).join(" · ") || tile.uri.split("/").pop()}</p>
        {stays && <CardActions position={shown.tile} />}
      </div>
    </div>
  );
}

function CardActions({ position }: { position: number }) {
  const tile = projection.value?.tiles[position];
  if (!tile || hidden.value.has(grouped.value.membership[position] ?? -1)) return null;
  const chosen = selected.value.has(position);
  return (
    <>
      <div class="buttons">
        <a class="button small primary" href={encode(likeTiles([tile.tile_id]))}>
          Search by this
        </a>
        <button class="button small" type="button" aria-pressed={chosen} onClick={() => toggleTile(position)}>
          {chosen ? "Selected" : "Select"}
        </button>
      </div>
      {tile.worldview_url && (
        <a class="worldview" href={tile.worldview_url} target="_blank" rel="noopener">
          Open in NASA Worldview
        </a>
      )}
      <button class="icon-button point-close" type="button" aria-label="Close" onClick={() => (pinned.value = -1)}>
        <Icon name="close" />
      </button>
    </>
  );
}
