// The points on a canvas, tens of thousands of them as fast as the hand moves.

import { maskOf, pixelsOf, splat, type Mask, type Pixels } from "./splat";
import { magnification, type Point, type Size, type Viewport } from "./viewport";

/** What is drawn; all but the view changes seldom. */
export interface Picture {
  xs: Float32Array;
  ys: Float32Array;
  membership: Uint16Array;
  colours: string[];
  hidden: ReadonlySet<number>;
  selected: ReadonlySet<number>;
  /** A group that stands out, -1 for none. */
  emphasised: number;
  ink: string;
  ground: string;
}

/** A stride that is prime, so that points are drawn mixed: no label covers the one before. */
const STRIDE = 7919;
const MAX_RADIUS = 9;
const RING_PX = 1.4;
const FAINT = 0.12;

/** Pixels of a dot's radius: smaller the more there are, greater the nearer they are. */
export function radiusOf(points: number, times: number): number {
  const base = Math.max(1.3, Math.min(4.6, 4.6 * (220 / Math.max(points, 1)) ** 0.2));
  return Math.min(MAX_RADIUS, base * Math.max(1, times) ** 0.3);
}

/** How much a dot covers, 0..1: less where there are many, so that dense places show. */
export function alphaOf(points: number, times: number): number {
  const crowd = Math.max(0.42, Math.min(0.92, 1.5 - 0.23 * Math.log10(Math.max(points, 1))));
  return Math.min(0.95, crowd + 0.12 * Math.log2(Math.max(1, times)));
}

/** The order of drawing: every point once. */
export function mixedOrder(points: number): Uint32Array {
  const order = new Uint32Array(points);
  const stride = points % STRIDE === 0 ? 1 : STRIDE;
  for (let n = 0; n < points; n++) order[n] = (n * stride) % points;
  return order;
}

/** Where data lie on the canvas, in its own pixels. */
interface Placing {
  left: number;
  top: number;
  scale: number;
}

/** Draws on one canvas, which it keeps as large as its box. */
export class Scatter {
  private readonly canvas: HTMLCanvasElement;
  private readonly context: CanvasRenderingContext2D;
  private order: Uint32Array = new Uint32Array();
  private image: ImageData | null = null;
  private masks = new Map<string, Mask>();
  private paint = { key: "", pixels: [] as number[] };

  constructor(canvas: HTMLCanvasElement) {
    const context = canvas.getContext("2d");
    if (!context) throw new Error("this browser gives no 2-D canvas");
    this.canvas = canvas;
    this.context = context;
  }

  draw(picture: Picture, view: Viewport, size: Size): void {
    const ratio = fitCanvas(this.canvas, size);
    const { width, height } = this.canvas;
    if (this.image?.width !== width || this.image.height !== height) {
      this.image = this.context.createImageData(width, height);
    }
    const pixels: Pixels = { data: new Uint32Array(this.image.data.buffer), width, height };
    const points = picture.xs.length;
    if (this.order.length !== points) this.order = mixedOrder(points);
    const times = magnification(view, size);
    const [radius, alpha] = [radiusOf(points, times) * ratio, alphaOf(points, times)];
    const scale = view.scale * ratio;
    const placing = { left: width / 2 - view.x * scale, top: height / 2 + view.y * scale, scale };
    const [ground = 0, ink = 0, ...colours] = this.pixels([picture.ground, picture.ink, ...picture.colours]);
    pixels.data.fill(ground);
    this.drawAll(pixels, picture, placing, { colours, radius, alpha });
    this.drawSelected(pixels, picture, placing, { colours, ink, radius: radius + 0.8 * ratio, ring: RING_PX * ratio });
    this.context.putImageData(this.image, 0, 0);
  }

  private drawAll(
    pixels: Pixels,
    { xs, ys, membership, emphasised, hidden, selected }: Picture,
    { left, top, scale }: Placing,
    { colours, radius, alpha }: { colours: number[]; radius: number; alpha: number },
  ): void {
    const choosing = selected.size > 0 && emphasised < 0;
    const usual = this.mask(radius, choosing ? alpha * 0.45 : alpha);
    const faint = this.mask(radius, FAINT);
    const masks = colours.map((_, group) => {
      if (hidden.has(group)) return null;
      return emphasised >= 0 && group !== emphasised ? faint : usual;
    });
    const [right, bottom] = [pixels.width + usual.side, pixels.height + usual.side];
    for (const i of this.order) {
      const group = membership[i] ?? 0;
      const mask = masks[group];
      if (!mask) continue;
      const x = left + (xs[i] ?? 0) * scale;
      const y = top - (ys[i] ?? 0) * scale;
      if (x < -mask.side || y < -mask.side || x > right || y > bottom) continue;
      splat(pixels, mask, x, y, colours[group] ?? 0);
    }
  }

  private drawSelected(
    pixels: Pixels,
    { xs, ys, membership, hidden, selected }: Picture,
    { left, top, scale }: Placing,
    { colours, ink, radius, ring }: { colours: number[]; ink: number; radius: number; ring: number },
  ): void {
    const [rim, dot] = [this.mask(radius + ring, 1), this.mask(radius, 1)];
    for (const i of selected) {
      const group = membership[i] ?? 0;
      if (hidden.has(group)) continue;
      const x = left + (xs[i] ?? 0) * scale;
      const y = top - (ys[i] ?? 0) * scale;
      if (x < -rim.side || y < -rim.side || x > pixels.width + rim.side || y > pixels.height + rim.side) continue;
      splat(pixels, rim, x, y, ink);
      splat(pixels, dot, x, y, colours[group] ?? 0);
    }
  }

  private pixels(colours: string[]): number[] {
    const key = colours.join("|");
    if (this.paint.key !== key) this.paint = { key, pixels: pixelsOf(colours) };
    return this.paint.pixels;
  }

  /** A ready-made mask, its radius rounded to a quarter; kept until zooming has made too many. */
  private mask(radius: number, alpha: number): Mask {
    const rounded = Math.round(radius * 4) / 4;
    const key = `${rounded}|${alpha.toFixed(3)}`;
    const known = this.masks.get(key);
    if (known) return known;
    if (this.masks.size > 60) this.masks.clear();
    const made = maskOf(rounded, alpha);
    this.masks.set(key, made);
    return made;
  }
}

/** Makes a canvas as fine as the screen; pixels of the screen per CSS pixel, 2 at most. */
export function fitCanvas(canvas: HTMLCanvasElement, size: Size): number {
  const ratio = Math.min(2, devicePixelRatio || 1);
  const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  return ratio;
}

/** Draws what follows the pointer: the ring around a point, and the loop of a lasso. */
export function drawOverlay(
  canvas: HTMLCanvasElement,
  size: Size,
  rings: { at: Point; colour: string; radius: number }[],
  loop: Point[],
  { ink, halo, accent }: { ink: string; halo: string; accent: string },
): void {
  const ratio = fitCanvas(canvas, size);
  const context = canvas.getContext("2d");
  if (!context) return;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, size.width, size.height);
  for (const { at, colour, radius } of rings) {
    for (const [extra, paint] of [[3.5, halo], [2, ink], [0, colour]] as const) {
      context.beginPath();
      context.arc(at[0], at[1], radius + extra, 0, 2 * Math.PI);
      context.fillStyle = paint;
      context.fill();
    }
  }
  if (loop.length < 2) return;
  context.beginPath();
  loop.forEach(([x, y], i) => (i === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
  context.closePath();
  context.globalAlpha = 0.1;
  context.fillStyle = accent;
  context.fill();
  context.globalAlpha = 1;
  context.setLineDash([6, 4]);
  context.lineWidth = 2;
  context.strokeStyle = accent;
  context.stroke();
  context.setLineDash([]);
}
