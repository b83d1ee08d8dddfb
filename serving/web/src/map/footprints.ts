// The tiles on the map: an outline each, a dot where the outline would be too small to see.

import Feature from "ol/Feature";
import { MultiLineString, MultiPolygon, Point } from "ol/geom";
import type Layer from "ol/layer/Layer";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";
import { Circle, Fill, Stroke, Style } from "ol/style";

import { Dots, LEAST_PX, MARKS, RADIUS_PX, type Mark } from "./dots";
import { centreOf, isWithin, outlineOf, piecesOf, ringOfBox, widthOf, type Bounds } from "./geometry";
import { faded, type Palette } from "./palette";

export interface MapTile {
  tile_id: string;
  bounds: Bounds | null;
}

interface Shapes {
  bounds: Bounds;
  outline: MultiLineString;
  dot: Point;
  degrees: number;
}

type Placed = MapTile & { bounds: Bounds };

const degreesOf = (bounds: Bounds): number => Math.max(widthOf(bounds), bounds[3] - bounds[1]);

// The last is on top: small tiles over large ones; of one size the best, which is given first.
function inOrderOfDrawing(tiles: MapTile[]): Placed[] {
  const placed = tiles.filter((tile): tile is Placed => tile.bounds !== null).reverse();
  return placed.sort((a, b) => degreesOf(b.bounds) - degreesOf(a.bounds));
}

/** Footprints with their marks, and the one that is pointed at above all others. */
export class Footprints {
  private readonly source = new VectorSource();
  private readonly pointed = new VectorSource();
  private readonly areas = new VectorLayer({ source: this.source, zIndex: 10 });
  private readonly dots = new Dots(11);
  private readonly above = new VectorLayer({ source: this.pointed, zIndex: 12 });
  private readonly features = new Map<string, Feature>();
  private readonly shapes = new WeakMap<Feature, Shapes>();
  private marks = new Map<string, Mark>();
  private pointedId: string | null = null;
  private resolution = 0;
  private outlined = 0;
  private placed: Bounds[] = [];

  get layers(): Layer[] {
    return [this.areas, this.dots.layer, this.above];
  }

  /** Draws these tiles and no others; those without bounds are left out.  How many are drawn. */
  show(tiles: MapTile[]): number {
    this.source.clear(true);
    this.pointed.clear(true);
    this.features.clear();
    this.placed = [];
    for (const tile of inOrderOfDrawing(tiles)) {
      this.placed.push(tile.bounds);
      this.features.set(tile.tile_id, this.featureOf(tile.tile_id, tile.bounds));
    }
    this.outlined = 0;
    this.outline();
    this.point(this.pointedId);
    this.showDots();
    return this.features.size;
  }

  /** Tells how many degrees a pixel takes: footprints too small for it leave the outlined ones. */
  setResolution(resolution: number): void {
    this.resolution = resolution;
    this.outline();
  }

  get bounds(): Bounds[] {
    return this.placed;
  }

  /** The tiles drawn at a place, the topmost first; dots are hit `tolerance` pixels beside them too. */
  at([x, y]: [number, number], resolution: number, tolerance: number): string[] {
    const ids: string[] = [];
    for (const [id, feature] of this.features) {
      const shapes = this.shapes.get(feature);
      if (!shapes) continue;
      const small = this.isSmall(feature, resolution);
      const reach = (tolerance + (small ? RADIUS_PX.normal : 0)) * resolution;
      if (isWithin(shapes.bounds, x, y, reach)) ids.push(id);
    }
    return ids.reverse();
  }

  /** Marks these tiles, whether they are shown now or come to be. */
  mark(positive: Set<string>, negative: Set<string>, selected: Set<string>): void {
    const of = (ids: Set<string>, mark: Mark) => [...ids].map((id): [string, Mark] => [id, mark]);
    this.marks = new Map([...of(selected, "selected"), ...of(negative, "negative"), ...of(positive, "positive")]);
    this.source.changed();
    this.showDots();
  }

  /** Draws one tile above all others, as soon as it is shown. */
  point(tileId: string | null): void {
    this.pointedId = tileId;
    const feature = tileId === null ? undefined : this.features.get(tileId);
    if (this.pointed.getFeatures()[0] === feature) return;
    this.pointed.clear(true);
    if (feature) this.pointed.addFeature(feature);
    this.pointed.changed();
  }

  paint(palette: Palette): void {
    const styles = Object.fromEntries(MARKS.map((mark) => [mark, this.areaStyle(mark, palette)])) as Record<Mark, Style[]>;
    this.areas.setStyle((feature) => styles[this.markOf(feature as Feature)]);
    const pointed = this.pointedStyles(palette);
    this.above.setStyle((feature, resolution) =>
      this.isSmall(feature as Feature, resolution) ? pointed.dot : pointed.area,
    );
    this.dots.paint(palette);
  }

  // In order of drawing the largest come first, so those with an outline are the first so many.  Only
  // they are in the layer, which would otherwise ask for the style of thousands with each move.
  private outline(): void {
    const features = [...this.features.values()];
    const small = features.findIndex((feature) => this.isSmall(feature, this.resolution));
    const outlined = small < 0 ? features.length : small;
    if (outlined === this.outlined) return;
    this.outlined = outlined;
    this.source.clear(true);
    this.source.addFeatures(features.slice(0, outlined));
    this.source.changed();
  }

  private markOf(feature: Feature): Mark {
    return this.marks.get(String(feature.getId())) ?? "normal";
  }

  private showDots(): void {
    this.dots.show(
      [...this.features.values()].flatMap((feature) => {
        const shapes = this.shapes.get(feature);
        if (!shapes) return [];
        const [x = 0, y = 0] = shapes.dot.getCoordinates();
        return [{ x, y, degrees: shapes.degrees, mark: this.markOf(feature) }];
      }),
    );
  }

  private featureOf(tileId: string, bounds: Bounds): Feature {
    const pieces = piecesOf(ringOfBox(bounds));
    const feature = new Feature({ geometry: new MultiPolygon(pieces.map((piece) => [piece])) });
    feature.setId(tileId);
    this.shapes.set(feature, {
      bounds,
      outline: new MultiLineString(outlineOf(pieces)),
      dot: new Point(centreOf(bounds)),
      degrees: degreesOf(bounds),
    });
    return feature;
  }

  private isSmall(feature: Feature, resolution: number): boolean {
    return (this.shapes.get(feature)?.degrees ?? 0) < LEAST_PX * resolution;
  }

  private lineStyle(stroke: Stroke, zIndex: number): Style {
    return new Style({
      stroke,
      zIndex,
      geometry: (feature) => this.shapes.get(feature as Feature)?.outline,
    });
  }

  private areaStyle(mark: Mark, palette: Palette): Style[] {
    const colour = palette[mark];
    const zIndex = MARKS.indexOf(mark);
    const width = mark === "normal" ? 1.5 : 2.5;
    return [
      new Style({ fill: new Fill({ color: faded(colour, mark === "normal" ? 0.14 : 0.26) }), zIndex }),
      this.lineStyle(new Stroke({ color: faded(palette.halo, 0.75), width: width + 1.5, lineCap: "butt" }), zIndex),
      this.lineStyle(new Stroke({ color: colour, width }), zIndex),
    ];
  }

  private pointedStyles(palette: Palette): { area: Style[]; dot: Style } {
    return {
      area: [
        new Style({ fill: new Fill({ color: faded(palette.hover, 0.2) }) }),
        this.lineStyle(new Stroke({ color: palette.halo, width: 6, lineCap: "butt" }), 1),
        this.lineStyle(new Stroke({ color: palette.hover, width: 3 }), 2),
      ],
      dot: new Style({
        image: new Circle({
          radius: 7,
          fill: new Fill({ color: palette.hover }),
          stroke: new Stroke({ color: palette.halo, width: 1.5 }),
        }),
        geometry: (feature) => this.shapes.get(feature as Feature)?.dot,
      }),
    };
  }
}
