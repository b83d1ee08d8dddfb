// What the map shows without any network but its own server: land, graticule, and the poles' edge.

import coarseUrl from "world-atlas/land-110m.json?url";
import fineUrl from "world-atlas/land-50m.json?url";
import Feature from "ol/Feature";
import MultiLineString from "ol/geom/MultiLineString";
import Polygon, { fromExtent } from "ol/geom/Polygon";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";
import { Fill, Stroke, Style } from "ol/style";

import { landOf, type LandTopology } from "./land";
import type { Palette } from "./palette";

/** Degrees per pixel below which the finer coast is asked for. */
const FINE_BELOW = 0.12;
/** A line every so many degrees, at resolutions between these. */
const GRATICULE: [step: number, finest: number, coarsest: number][] = [
  [30, 0.12, Infinity],
  [10, 0.03, 0.12],
  [2, 0, 0.03],
];

/** Land and lines, re-coloured by `paint`; `refine` is told the resolution in degrees per pixel. */
export class Outline {
  private readonly land = new VectorLayer({ source: new VectorSource(), zIndex: 0 });
  private readonly graticule = new VectorLayer({ source: new VectorSource({ features: meridians() }), zIndex: 4 });
  private readonly beyond = new VectorLayer({ source: new VectorSource({ features: poles(), wrapX: false }), zIndex: 5 });
  private shown: "nothing" | "coarse" | "fine" = "nothing";

  get layers(): VectorLayer[] {
    return [this.land, this.graticule, this.beyond];
  }

  /** Land as far as the server gives it: without it the map is a graticule, and of use still. */
  async refine(resolution: number): Promise<void> {
    const wanted = resolution < FINE_BELOW ? "fine" : "coarse";
    if (this.shown === "fine" || this.shown === wanted) return;
    const before = this.shown;
    this.shown = wanted;
    try {
      const features = await fetchLand(wanted === "fine" ? fineUrl : coarseUrl);
      // An answer that comes after a finer one is late.
      if (this.shown !== wanted) return;
      const source = this.land.getSource();
      source?.clear(true);
      source?.addFeatures(features);
    } catch {
      this.shown = before;
    }
  }

  paint(palette: Palette, overImagery: boolean): void {
    this.land.setStyle(
      new Style({
        fill: new Fill({ color: palette.land }),
        stroke: new Stroke({ color: palette.coast, width: 0.8 }),
      }),
    );
    const line = new Stroke({ color: overImagery ? "rgba(255, 255, 255, 0.16)" : palette.graticule, width: 1 });
    const style = new Style({ stroke: line });
    this.graticule.setStyle((lines, resolution) => {
      const [, finest = 0, coarsest = 0] = GRATICULE[Number(lines.get("level"))] ?? [];
      return resolution > finest && resolution <= coarsest ? style : undefined;
    });
    this.beyond.setStyle(new Style({ fill: new Fill({ color: palette.ground }) }));
  }
}

// One feature for each piece, so that only those in view are drawn.
async function fetchLand(url: string): Promise<Feature[]> {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  const { coordinates } = landOf((await answer.json()) as LandTopology);
  return coordinates.map((rings) => new Feature(new Polygon(rings)));
}

function meridians(): Feature[] {
  return GRATICULE.map(([step], level) => {
    const lines: number[][][] = [];
    for (let x = -180; x < 180; x += step) lines.push([[x, -90], [x, 90]]);
    for (let y = -90; y <= 90; y += step) lines.push([[-180, y], [180, y]]);
    return new Feature({ geometry: new MultiLineString(lines), level });
  });
}

// Tiles of imagery reach past the poles, filled with black: what lies beyond is covered.
function poles(): Feature[] {
  return [
    new Feature(fromExtent([-36_000, 90, 36_000, 360])),
    new Feature(fromExtent([-36_000, -360, 36_000, -90])),
  ];
}
