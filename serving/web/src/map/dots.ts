// Footprints too small to have an outline, as dots: thousands of them, in all worlds in sight.

import Layer from "ol/layer/Layer";
import type { FrameState } from "ol/Map";

import { maskOf, pixelsOf, splat, type Mask, type Pixels } from "../projection/splat";
import type { Palette } from "./palette";

export type Mark = "normal" | "positive" | "negative" | "selected";

/** In the order in which they are drawn, the last on top. */
export const MARKS: Mark[] = ["normal", "selected", "negative", "positive"];
export const RADIUS_PX: Record<Mark, number> = { normal: 3.5, selected: 5, negative: 5, positive: 5 };
/** Footprints narrower than this are dots. */
export const LEAST_PX = 9;
const HALO_PX = 1.25;

/** A dot: its middle in degrees, and how many degrees its footprint spans. */
export interface Dot {
  x: number;
  y: number;
  degrees: number;
  mark: Mark;
}

/** Where a longitude appears in a view that may show several worlds: pixels from its left edge. */
export function copiesOf(x: number, centre: number, resolution: number, width: number, margin: number): number[] {
  const left = centre - (width / 2 + margin) * resolution;
  const right = centre + (width / 2 + margin) * resolution;
  const places: number[] = [];
  for (let copy = x + 360 * Math.ceil((left - x) / 360); copy <= right; copy += 360) {
    places.push((copy - centre) / resolution + width / 2);
  }
  return places;
}

/** A layer of the map that draws its dots anew with each frame. */
export class Dots {
  readonly layer: Layer;
  private readonly canvas = document.createElement("canvas");
  private dots: Dot[] = [];
  private colours: Record<Mark | "halo", number> | null = null;
  private image: ImageData | null = null;
  private readonly masks = new Map<number, Mask>();

  constructor(zIndex: number) {
    this.canvas.className = "map-dots";
    this.layer = new Layer({ zIndex, render: (frame: FrameState) => this.render(frame) });
  }

  show(dots: Dot[]): void {
    this.dots = MARKS.flatMap((mark) => dots.filter((dot) => dot.mark === mark));
    this.layer.changed();
  }

  paint(palette: Palette): void {
    const names = [...MARKS, "halo"] as const;
    const pixels = pixelsOf(names.map((name) => palette[name]));
    this.colours = Object.fromEntries(names.map((name, i) => [name, pixels[i]])) as Record<Mark | "halo", number>;
    this.layer.changed();
  }

  private render({ size, pixelRatio, viewState }: FrameState): HTMLElement {
    const [width = 0, height = 0] = size;
    const ratio = Math.min(2, pixelRatio);
    const context = this.sized(Math.round(width * ratio), Math.round(height * ratio));
    if (!context || !this.image || !this.colours) return this.canvas;
    const pixels: Pixels = {
      data: new Uint32Array(this.image.data.buffer),
      width: this.image.width,
      height: this.image.height,
    };
    pixels.data.fill(0);
    const [centreX = 0, centreY = 0] = viewState.center;
    const { resolution } = viewState;
    for (const { x, y, degrees, mark } of this.dots) {
      if (degrees >= LEAST_PX * resolution) continue;
      const top = ((centreY - y) / resolution + height / 2) * ratio;
      if (top < -20 || top > pixels.height + 20) continue;
      for (const left of copiesOf(x, centreX, resolution, width, 10)) {
        splat(pixels, this.mask((RADIUS_PX[mark] + HALO_PX) * ratio), left * ratio, top, this.colours.halo);
        splat(pixels, this.mask(RADIUS_PX[mark] * ratio), left * ratio, top, this.colours[mark]);
      }
    }
    context.putImageData(this.image, 0, 0);
    return this.canvas;
  }

  private sized(width: number, height: number): CanvasRenderingContext2D | null {
    if (width === 0 || height === 0) return null;
    const context = this.canvas.getContext("2d");
    if (this.canvas.width !== width || this.canvas.height !== height || !this.image) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.image = context?.createImageData(width, height) ?? null;
    }
    return context;
  }

  private mask(radius: number): Mask {
    const known = this.masks.get(radius);
    if (known) return known;
    const made = maskOf(radius, 1);
    this.masks.set(radius, made);
    return made;
  }
}
