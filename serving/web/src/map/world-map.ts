// The map beside the results: where they lie, which is pointed at, and the region they must touch.

import "ol/ol.css";
import "./map.css";

import Attribution from "ol/control/Attribution";
import ScaleLine from "ol/control/ScaleLine";
import { defaults as defaultInteractions } from "ol/interaction/defaults";
import DoubleClickZoom from "ol/interaction/DoubleClickZoom";
import type TileLayer from "ol/layer/Tile";
import OlMap from "ol/Map";
import type MapBrowserEvent from "ol/MapBrowserEvent";
import View from "ol/View";

import { Footprints, type MapTile } from "./footprints";
import { centreOf, extentAround, wrapLongitude, type Bounds } from "./geometry";
import { blueMarble, dayImagery, imageryReachable } from "./imagery";
import { Outline } from "./outline";
import { readPalette, watchTheme } from "./palette";
import { extentOfRegion, RegionLayer, type Drawing, type Region } from "./region";
import { Toolbar } from "./toolbar";

export type { MapTile } from "./footprints";
export type { Region } from "./region";

export interface MapEvents {
  /** The pointer is over this tile's footprint, or over none. */
  hover(tileId: string | null): void;
  /** A footprint was clicked or tapped; where several lie upon each other, one after the other. */
  pick(tileId: string): void;
  /** A region was drawn, given by numbers, or removed, in the map itself. */
  region(region: Region | null): void;
}

/** Degrees per pixel: from the whole world on a narrow phone down to about 4 m at the equator. */
const COARSEST = 1.6;
const FINEST = 0.00004;
/** `fit` does not come nearer than this, so that one small tile is seen in its surroundings. */
const FINEST_FIT = 0.0008;
const HIT_TOLERANCE_PX = { mouse: 2, touch: 10 };
/** Degrees of longitude; tiles farther apart are shown on the whole world. */
const WIDEST_FIT = 180;
const FIT_PADDING_PX = 48;
const ANIMATION_MS = 280;

const HINTS = {
  bbox: "Drag from corner to corner",
  polygon: "Mark corner by corner, the last one twice",
};

const motionMs = (): number =>
  matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : ANIMATION_MS;

/** A map in `target`, which must have a size; it follows that size until `destroy`. */
export class WorldMap {
  private readonly events: MapEvents;
  private readonly target: HTMLElement;
  private readonly map: OlMap;
  private readonly view: View;
  private readonly outline = new Outline();
  private readonly footprints = new Footprints();
  private readonly regions: RegionLayer;
  private readonly toolbar: Toolbar;
  private readonly surface = document.createElement("div");
  private readonly note = document.createElement("p");
  private readonly ends: (() => void)[] = [];
  private marble: TileLayer | null = null;
  private imagery: TileLayer | null = null;
  private day: string | null = null;
  private region: Region | null = null;
  private drawing: Drawing = null;
  private hovered: string | null = null;
  private picked: string | null = null;
  private standing = "";
  private destroyed = false;

  constructor(target: HTMLElement, events: MapEvents) {
    this.target = target;
    this.events = events;
    this.view = new View({
      projection: "EPSG:4326",
      center: [0, 12],
      resolution: 0.6,
      maxResolution: COARSEST,
      minResolution: FINEST,
      multiWorld: true,
      extent: [-Infinity, -90, Infinity, 90],
      constrainOnlyCenter: true,
      enableRotation: false,
    });
    this.toolbar = this.makeToolbar();
    this.layOut();
    this.map = new OlMap({
      target: this.surface,
      view: this.view,
      controls: [new Attribution({ collapsible: false }), new ScaleLine({ minWidth: 56 })],
      interactions: defaultInteractions({ altShiftDragRotate: false, pinchRotate: false }),
      layers: [...this.outline.layers, ...this.footprints.layers],
    });
    this.regions = new RegionLayer(this.map, (region) => this.given(region));
    this.map.addLayer(this.regions.layer);
    this.paint();
    this.listen();
    this.showWorld();
    void this.outline.refine(COARSEST);
    void this.addImagery();
  }

  /** Draws the footprints of these tiles, the best on top, in place of those before. */
  setTiles(tiles: MapTile[]): void {
    this.picked = null;
    const shown = this.footprints.show(tiles);
    const unplaced = tiles.length - shown;
    const left = unplaced > 0 ? `; ${unplaced} without a known place` : "";
    this.surface.setAttribute(
      "aria-label",
      `Map of results: ${shown} on the map${left}. Arrow keys move it, plus and minus zoom.`,
    );
  }

  /** Shows one tile above all others: the one that is pointed at elsewhere. */
  highlight(tileId: string | null): void {
    this.footprints.point(tileId);
  }

  setMarked(positive: Set<string>, negative: Set<string>, selected: Set<string>): void {
    this.footprints.mark(positive, negative, selected);
  }

  /** Shows a region that was set elsewhere; `events.region` is not called. */
  setRegion(region: Region | null): void {
    this.region = region;
    this.regions.show(region);
    if (!region) {
      this.toolbar.setRegion(null);
      return;
    }
    const [west, south, east, north] = extentOfRegion(region);
    this.toolbar.setRegion([wrapLongitude(west), south, east > 180 ? east - 360 : east, north]);
  }

  /** Lets the user draw a box or a polygon; null ends that. */
  draw(kind: Drawing): void {
    this.drawing = kind;
    this.regions.draw(kind);
    this.toolbar.setDrawing(kind);
    this.surface.classList.toggle("is-drawing", kind !== null);
    this.point(null);
    this.hint(kind);
    this.zoomOnDoubleClick(kind === null);
  }

  /** Shows the satellite's picture of a day, YYYY-MM-DD, where there is a network; null: no day. */
  setDay(day: string | null): void {
    this.day = day;
    if (!this.marble) return;
    if (this.imagery) this.map.removeLayer(this.imagery);
    this.imagery = day === null ? null : dayImagery(day, () => this.say(`No imagery of ${day} arrives.`));
    if (this.imagery) this.map.addLayer(this.imagery);
    this.say("");
  }

  /** Moves to the region; without one to where all footprints are seen, or to the whole world. */
  fit(): void {
    const around = this.region
      ? extentOfRegion(this.region)
      : extentAround(this.footprints.bounds);
    this.map.updateSize();
    // What lies all over the world is best seen on the map that people know.
    if (!around || (!this.region && around[2] - around[0] > WIDEST_FIT)) return this.showWorld();
    const [width = 0, height = 0] = this.map.getSize() ?? [];
    const padding = Math.min(FIT_PADDING_PX, width / 6, height / 6);
    this.view.fit(around, {
      padding: [padding, padding, padding, padding],
      minResolution: FINEST_FIT,
      duration: motionMs(),
    });
  }

  /** Moves these bounds into view where their middle is outside of it; null: stays. */
  reveal(bounds: Bounds | null): void {
    // What is to be revealed may just have taken a part of the map's room.
    if (bounds) requestAnimationFrame(() => this.destroyed || this.bringIntoView(centreOf(bounds)));
  }

  destroy(): void {
    this.destroyed = true;
    for (const end of this.ends) end();
    this.map.setTarget(undefined);
    this.map.dispose();
    this.target.classList.remove("world-map");
    this.target.replaceChildren();
  }

  private layOut(): void {
    this.surface.className = "map-surface";
    this.surface.tabIndex = 0;
    this.surface.setAttribute("role", "application");
    this.surface.setAttribute("aria-label", "Map of results. Arrow keys move it, plus and minus zoom.");
    this.note.className = "map-note";
    this.note.setAttribute("role", "status");
    this.target.classList.add("world-map");
    this.target.replaceChildren(this.surface, ...this.toolbar.elements, this.note);
  }

  private makeToolbar(): Toolbar {
    return new Toolbar({
      draw: (kind) => this.draw(kind),
      box: (bbox) => {
        this.given({ kind: "bbox", bbox });
        this.view.fit(extentAround([bbox]) ?? bbox, { minResolution: FINEST_FIT, padding: [40, 40, 40, 40] });
      },
      clear: () => {
        this.setRegion(null);
        this.events.region(null);
      },
      fit: () => this.fit(),
      zoom: (by) => this.view.animate({ zoom: (this.view.getZoom() ?? 0) + by, duration: motionMs() / 2 }),
    });
  }

  private listen(): void {
    this.map.on("pointermove", (event) => {
      if (event.dragging || this.drawing) return;
      this.point(this.tilesAt(event, HIT_TOLERANCE_PX.mouse)[0] ?? null);
    });
    const left = () => this.point(null);
    this.surface.addEventListener("pointerleave", left);
    this.map.on("click", (event) => this.click(event));
    this.map.on("moveend", () => void this.outline.refine(this.view.getResolution() ?? COARSEST));
    const scaled = () => this.footprints.setResolution(this.view.getResolution() ?? COARSEST);
    this.view.on("change:resolution", scaled);
    scaled();
    this.target.addEventListener("keydown", this.escape);
    const resized = new ResizeObserver(() => this.map.updateSize());
    resized.observe(this.surface);
    this.ends.push(
      watchTheme(() => this.paint()),
      () => resized.disconnect(),
      () => this.target.removeEventListener("keydown", this.escape),
    );
  }

  private readonly escape = (event: KeyboardEvent): void => {
    if (event.key !== "Escape" || !this.drawing) return;
    event.stopPropagation();
    this.regions.abort();
    this.draw(null);
  };

  private click(event: MapBrowserEvent): void {
    if (this.drawing) return;
    const touched = (event.originalEvent as PointerEvent).pointerType !== "mouse";
    const tiles = this.tilesAt(event, touched ? HIT_TOLERANCE_PX.touch : HIT_TOLERANCE_PX.mouse);
    const next = tiles[(tiles.indexOf(this.picked ?? "") + 1) % Math.max(tiles.length, 1)];
    if (next === undefined) return;
    this.picked = next;
    this.point(next);
    this.events.pick(next);
  }

  private tilesAt(event: MapBrowserEvent, hitTolerance: number): string[] {
    const place = event.coordinate as [number, number];
    return this.footprints.at(place, this.view.getResolution() ?? COARSEST, hitTolerance);
  }

  private point(tileId: string | null): void {
    if (tileId === this.hovered) return;
    this.hovered = tileId;
    this.surface.classList.toggle("is-pointing", tileId !== null);
    this.footprints.point(tileId);
    this.events.hover(tileId);
  }

  private given(region: Region): void {
    this.setRegion(region);
    this.draw(null);
    this.events.region(region);
  }

  // The second click that closes a polygon would zoom, were this given back at once.
  private zoomOnDoubleClick(active: boolean): void {
    const change = () => {
      for (const interaction of this.map.getInteractions().getArray()) {
        if (interaction instanceof DoubleClickZoom) interaction.setActive(active && this.drawing === null);
      }
    };
    if (active) setTimeout(change, 300);
    else change();
  }

  private paint(): void {
    const palette = readPalette(this.target);
    this.outline.paint(palette, this.marble !== null);
    this.footprints.paint(palette);
    this.regions.paint(palette);
  }

  private bringIntoView([x, y]: [number, number]): void {
    this.map.updateSize();
    const [west = 0, south = 0, east = 0, north = 0] = this.view.calculateExtent();
    // Of the copies of the world in a row, the one whose place is the nearest to the view's middle.
    const nearest = x + 360 * Math.round(((west + east) / 2 - x) / 360);
    if (nearest >= west && nearest <= east && y >= south && y <= north) return;
    this.view.cancelAnimations();
    this.view.animate({ center: [nearest, y], duration: motionMs() });
  }

  private showWorld(): void {
    const width = this.surface.clientWidth || 600;
    this.view.setCenter([0, 12]);
    this.view.setResolution(Math.min(COARSEST, 360 / width));
  }

  private async addImagery(): Promise<void> {
    const reachable = await imageryReachable();
    if (this.destroyed) return;
    if (!reachable) return this.say("Offline map: outlines only");
    this.marble = blueMarble(() => this.loseImagery());
    this.map.addLayer(this.marble);
    this.target.classList.add("has-imagery");
    this.paint();
    if (this.day) this.setDay(this.day);
  }

  private loseImagery(): void {
    for (const layer of [this.marble, this.imagery]) if (layer) this.map.removeLayer(layer);
    this.marble = this.imagery = null;
    this.target.classList.remove("has-imagery");
    this.paint();
    this.say("Offline map: outlines only");
  }

  /** What holds until something else is said; while something is drawn, how that is done. */
  private say(text: string): void {
    this.standing = text;
    this.hint(this.drawing);
  }

  private hint(drawing: Drawing): void {
    this.note.textContent = drawing ? HINTS[drawing] : this.standing;
  }
}
