// The stage: two canvases, the view of the plane on them, and what hands do to it.

import { effect, signal } from "@preact/signals";

import { theme } from "../shell/theme";
import { followHands, type Hands } from "./gestures";
import { enclosed } from "./lasso";
import { Pictures, placesInSight } from "./pictures";
import { drawOverlay, radiusOf, Scatter } from "./scatter";
import { emphasised, grouped, hidden, isShown, pinned, pointed, projection, select, selected, tool, toggleTile } from "./state";
import { around, magnification, panned, toData, toScreen, wholeOf, zoomed, type Point, type Size, type Viewport } from "./viewport";

/** Where on the stage the tile is whose card is shown; null while there is none. */
export const cardPlace = signal<{ tile: number; at: Point; size: Size } | null>(null);

const REACH_PX = { mouse: 9, touch: 22 };

export class Stage {
  private readonly host: HTMLElement;
  private readonly base: HTMLCanvasElement;
  private readonly overlay: HTMLCanvasElement;
  private readonly scatter: Scatter;
  private readonly pictures = new Pictures(() => this.redraw());
  private readonly ends: (() => void)[];
  private size: Size = { width: 0, height: 0 };
  private view: Viewport = { x: 0, y: 0, scale: 1 };
  private loop: Point[] = [];
  private frame = 0;
  private stale = { base: true, overlay: true };

  constructor(host: HTMLElement, base: HTMLCanvasElement, overlay: HTMLCanvasElement) {
    this.host = host;
    this.base = base;
    this.overlay = overlay;
    this.scatter = new Scatter(base);
    const resized = new ResizeObserver(() => this.resize());
    resized.observe(host);
    this.ends = [
      () => resized.disconnect(),
      followHands(host, this.hands()),
      effect(() => {
        void [projection.value, grouped.value, hidden.value, selected.value, emphasised.value, theme.value];
        this.redraw();
      }),
      effect(() => {
        void [pointed.value, pinned.value];
        this.redrawOverlay();
      }),
    ];
    this.resize();
  }

  destroy(): void {
    for (const end of this.ends) end();
    cancelAnimationFrame(this.frame);
    cardPlace.value = null;
  }

  zoom(factor: number): void {
    this.show(zoomed(this.view, this.size, [this.size.width / 2, this.size.height / 2], factor));
  }

  /** Shows what is selected, or without a selection all points. */
  fit(): void {
    const data = projection.value;
    if (!data || selected.value.size === 0) return this.whole();
    const points = [...selected.value].map((i): Point => [data.xs[i] ?? 0, data.ys[i] ?? 0]);
    this.show(around(points, this.size));
  }

  whole(): void {
    this.show(wholeOf(this.size));
  }

  private hands(): Hands {
    return {
      lassoing: () => tool.value === "lasso",
      pan: (dx, dy) => this.show(panned(this.view, dx, dy)),
      zoom: (anchor, factor) =>
        this.show(zoomed(this.view, this.size, anchor ?? [this.size.width / 2, this.size.height / 2], factor)),
      whole: () => this.whole(),
      hover: (at) => (pointed.value = at ? this.tileAt(at, REACH_PX.mouse) : -1),
      tap: (at, touched, add) => this.tap(at, touched, add),
      loop: (points) => {
        this.loop = points;
        this.redrawOverlay();
      },
      looped: (points, add) => this.looped(points, add),
      escape: () => this.escape(),
    };
  }

  private tap(at: Point, touched: boolean, add: boolean): void {
    const tile = this.tileAt(at, touched ? REACH_PX.touch : REACH_PX.mouse);
    if (add && tile >= 0) return toggleTile(tile);
    pinned.value = tile === pinned.value ? -1 : tile;
  }

  private looped(points: Point[], add: boolean): void {
    const data = projection.value;
    if (!data) return;
    const loop = points.map((point) => toData(this.view, this.size, point));
    select(enclosed(loop, data.xs, data.ys, isShown), add);
  }

  private escape(): void {
    if (pinned.value >= 0) pinned.value = -1;
    else if (selected.value.size > 0) select([], false);
    else tool.value = "pan";
  }

  private tileAt(at: Point, reachPx: number): number {
    const data = projection.value;
    if (!data) return -1;
    const [x, y] = toData(this.view, this.size, at);
    return data.places.nearest(x, y, reachPx / this.view.scale, isShown);
  }

  private resize(): void {
    const before = this.size;
    this.size = { width: this.host.clientWidth, height: this.host.clientHeight };
    if (this.size.width === 0 || this.size.height === 0) return;
    const grown = before.width === 0 ? 0 : magnification(this.view, before);
    // What was seen stays in the middle, as much nearer than the whole as it was.
    this.view =
      grown === 0 ? wholeOf(this.size) : { ...this.view, scale: wholeOf(this.size).scale * grown };
    this.redraw();
  }

  private show(view: Viewport): void {
    this.view = view;
    this.redraw();
  }

  private redraw(): void {
    this.stale.base = true;
    this.redrawOverlay();
  }

  private redrawOverlay(): void {
    this.stale.overlay = true;
    if (this.frame === 0) this.frame = requestAnimationFrame(() => this.paint());
  }

  private paint(): void {
    this.frame = 0;
    const data = projection.peek();
    if (!data || this.size.width === 0) return;
    if (this.stale.base) this.paintPoints();
    this.paintOverlay();
    this.stale = { base: false, overlay: false };
  }

  private paintPoints(): void {
    const data = projection.peek();
    if (!data) return;
    const { groups, membership } = grouped.peek();
    const colours = groups.map((group) => group.colour);
    const { ink, ground } = this.inks();
    this.scatter.draw(
      {
        ...data,
        membership,
        colours,
        hidden: hidden.peek(),
        selected: selected.peek(),
        emphasised: emphasised.peek(),
        ink,
        ground,
      },
      this.view,
      this.size,
    );
    const ratio = this.base.width / this.size.width;
    const places = placesInSight(data, this.view, this.size, isShown);
    const colourOf = (i: number) =>
      selected.peek().has(i) ? ink : (colours[membership[i] ?? 0] ?? ink);
    this.pictures.draw(this.base, ratio, places, data.tileIds, colourOf);
  }

  private paintOverlay(): void {
    const data = projection.peek();
    if (!data) return;
    const { groups, membership } = grouped.peek();
    const radius = radiusOf(data.xs.length, magnification(this.view, this.size)) + 1.5;
    const tiles = [...new Set([pinned.peek(), pointed.peek()])].filter((i) => i >= 0 && isShown(i));
    const rings = tiles.map((i) => ({
      at: toScreen(this.view, this.size, [data.xs[i] ?? 0, data.ys[i] ?? 0]),
      colour: groups[membership[i] ?? 0]?.colour ?? "",
      radius,
    }));
    drawOverlay(this.overlay, this.size, rings, this.loop, this.inks());
    const tile = tiles.at(-1);
    const at = rings.at(-1)?.at;
    cardPlace.value = tile !== undefined && at ? { tile, at, size: this.size } : null;
  }

  private inks(): { ink: string; halo: string; accent: string; ground: string } {
    const style = getComputedStyle(this.host);
    const read = (name: string) => style.getPropertyValue(name).trim();
    return { ink: read("--ink"), halo: read("--surface"), accent: read("--accent"), ground: read("--ground") };
  }
}
