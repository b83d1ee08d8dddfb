// The part of the map that a search is held to: drawn, moved into the world, shown.

import type { Polygon } from "geojson";
import Feature from "ol/Feature";
import { MultiLineString, MultiPolygon, Polygon as PolygonShape } from "ol/geom";
import Draw, { createBox } from "ol/interaction/Draw";
import VectorLayer from "ol/layer/Vector";
import type OlMap from "ol/Map";
import VectorSource from "ol/source/Vector";
import { Circle, Fill, Stroke, Style } from "ol/style";

import { boxOfExtent, extentAround, outlineOf, piecesOf, recentred, ringOfBox, type Bounds, type Ring } from "./geometry";
import { faded, type Palette } from "./palette";

export type Region =
  | { kind: "bbox"; bbox: Bounds }
  | { kind: "polygon"; polygon: Polygon };

export type Drawing = "bbox" | "polygon" | null;

/** Smaller drawings than this many pixels across are slips of the hand. */
const LEAST_PX = 4;

/** What was drawn on an endless row of worlds, as a region of the one there is. */
export function regionOf(kind: "bbox" | "polygon", polygon: Polygon, extent: Bounds): Region {
  if (kind === "bbox") return { kind, bbox: boxOfExtent(extent) };
  const clamped: Polygon = {
    type: "Polygon",
    coordinates: polygon.coordinates.map((ring) =>
      ring.map(([x = 0, y = 0]) => [x, Math.max(-90, Math.min(y, 90))]),
    ),
  };
  return { kind, polygon: recentred(clamped) };
}

/** The smallest extent around a region; its east may be greater than 180. */
export function extentOfRegion(region: Region): Bounds {
  if (region.kind === "bbox") return extentAround([region.bbox]) ?? region.bbox;
  const ring = region.polygon.coordinates[0] ?? [];
  const longitudes = ring.map((position) => position[0] ?? 0);
  const latitudes = ring.map((position) => position[1] ?? 0);
  return [Math.min(...longitudes), Math.min(...latitudes), Math.max(...longitudes), Math.max(...latitudes)];
}

function ringsOf(region: Region): Ring[] {
  return region.kind === "bbox" ? [ringOfBox(region.bbox)] : region.polygon.coordinates;
}

/** Shows a region, and lets one be drawn. */
export class RegionLayer {
  private readonly source = new VectorSource();
  readonly layer = new VectorLayer({ source: this.source, zIndex: 8 });
  private interaction: Draw | null = null;
  private style = new Style();

  private readonly map: OlMap;
  private readonly drawn: (region: Region) => void;

  constructor(map: OlMap, drawn: (region: Region) => void) {
    this.map = map;
    this.drawn = drawn;
  }

  show(region: Region | null): void {
    this.source.clear(true);
    if (region) {
      const rings = ringsOf(region).map(piecesOf);
      const fill = new MultiPolygon((rings[0] ?? []).map((piece) => [piece]));
      const feature = new Feature({ geometry: fill });
      feature.set("outline", new MultiLineString(rings.flatMap(outlineOf)), true);
      this.source.addFeature(feature);
    }
    this.source.changed();
  }

  paint(palette: Palette): void {
    const outline = (width: number, color: string, lineDash?: number[]) =>
      new Style({
        stroke: new Stroke(lineDash ? { color, width, lineDash } : { color, width }),
        geometry: (feature) => feature.get("outline") as MultiLineString,
      });
    this.layer.setStyle([
      new Style({ fill: new Fill({ color: faded(palette.region, 0.07) }) }),
      outline(3.5, faded(palette.halo, 0.7)),
      outline(2, palette.region, [7, 5]),
    ]);
    this.style = new Style({
      stroke: new Stroke({ color: palette.region, width: 2 }),
      fill: new Fill({ color: faded(palette.region, 0.1) }),
      image: new Circle({
        radius: 5,
        fill: new Fill({ color: palette.region }),
        stroke: new Stroke({ color: palette.halo, width: 1.5 }),
      }),
    });
    this.interaction?.getOverlay().setStyle(this.style);
  }

  /** Begins a drawing, or ends one with null.  A box is dragged, a polygon clicked corner by corner. */
  draw(kind: Drawing): void {
    if (this.interaction) this.map.removeInteraction(this.interaction);
    this.interaction = null;
    if (kind === null) return;
    const draw = new Draw({
      type: kind === "bbox" ? "Circle" : "Polygon",
      ...(kind === "bbox" ? { geometryFunction: createBox(), freehand: true } : {}),
      style: this.style,
      wrapX: false,
      stopClick: true,
    });
    draw.on("drawend", (event) => {
      const shape = event.feature.getGeometry() as PolygonShape;
      const extent = shape.getExtent() as Bounds;
      const least = LEAST_PX * (this.map.getView().getResolution() ?? 0);
      if (extent[2] - extent[0] < least || extent[3] - extent[1] < least) return;
      const polygon: Polygon = { type: "Polygon", coordinates: shape.getCoordinates() };
      this.drawn(regionOf(kind, polygon, extent));
    });
    this.interaction = draw;
    this.map.addInteraction(draw);
  }

  abort(): void {
    this.interaction?.abortDrawing();
  }
}
