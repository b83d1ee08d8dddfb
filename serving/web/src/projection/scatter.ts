// The points on a canvas: stamped from ready-made dots, so that tens of thousands follow the hand.

import { magnification, toScreen, type Point, type Size, type Viewport } from "./viewport";

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
  halo: string;
}

/** A stride that is prime, so that points are drawn mixed: no label covers the one before. */
const STRIDE = 7919;
const MAX_RADIUS = 9;

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

type Dot = { canvas: HTMLCanvasElement; half: number };

/** Draws on one canvas, which it keeps as large as its box. */
export class Scatter {
  private readonly canvas: HTMLCanvasElement;
  private readonly context: CanvasRenderingContext2D;
  private dots = new Map<string, Dot>();
  private order: Uint32Array = new Uint32Array();

  constructor(canvas: HTMLCanvasElement) {
    const context = canvas.getContext("2d");
    if (!context) throw new Error("this browser gives no 2-D canvas");
    this.canvas = canvas;
    this.context = context;
  }

  draw(picture: Picture, view: Viewport, size: Size): void {
    const { context } = this;
    const ratio = fitCanvas(this.canvas, size);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const points = picture.xs.length;
    if (this.order.length !== points) this.order = mixedOrder(points);
    const times = magnification(view, size);
    const [radius, alpha] = [radiusOf(points, times), alphaOf(points, times)];
    this.stampAll(picture, view, size, { ratio, radius, alpha });
    this.ringSelected(picture, view, size, { ratio, radius });
  }

  private stampAll(
    picture: Picture,
    view: Viewport,
    size: Size,
    { ratio, radius, alpha }: { ratio: number; radius: number; alpha: number },
  ): void {
    const { xs, ys, membership, colours, emphasised, hidden, selected } = picture;
    const choosing = selected.size > 0 && emphasised < 0;
    const strong = colours.map((colour) => this.dot(colour, radius, alpha, ratio));
    const faint = colours.map((colour) => this.dot(colour, radius, choosing ? alpha * 0.45 : 0.1, ratio));
    const skipped = colours.map((_, group) => hidden.has(group));
    const { context } = this;
    const scale = view.scale * ratio;
    const left = (size.width / 2) * ratio - view.x * scale;
    const top = (size.height / 2) * ratio + view.y * scale;
    const [width, height, edge] = [this.canvas.width, this.canvas.height, MAX_RADIUS * ratio];
    for (const i of this.order) {
      const group = membership[i] ?? 0;
      if (skipped[group]) continue;
      const x = left + (xs[i] ?? 0) * scale;
      const y = top - (ys[i] ?? 0) * scale;
      if (x < -edge || y < -edge || x > width + edge || y > height + edge) continue;
      const weak = choosing || (emphasised >= 0 && group !== emphasised);
      const dot = (weak ? faint : strong)[group];
      if (dot) context.drawImage(dot.canvas, Math.round(x - dot.half), Math.round(y - dot.half));
    }
  }

  private ringSelected(
    picture: Picture,
    view: Viewport,
    size: Size,
    { ratio, radius }: { ratio: number; radius: number },
  ): void {
    for (const i of picture.selected) {
      const group = picture.membership[i] ?? 0;
      if (picture.hidden.has(group)) continue;
      const [x, y] = toScreen(view, size, [picture.xs[i] ?? 0, picture.ys[i] ?? 0]);
      if (x < -20 || y < -20 || x > size.width + 20 || y > size.height + 20) continue;
      const dot = this.dot(picture.colours[group] ?? picture.ink, radius + 0.8, 1, ratio, picture.ink);
      this.context.drawImage(dot.canvas, Math.round(x * ratio - dot.half), Math.round(y * ratio - dot.half));
    }
  }

  /** A ready-made dot; kept until there are too many kinds, which zooming brings about. */
  private dot(colour: string, radius: number, alpha: number, ratio: number, ring?: string): Dot {
    const size = Math.max(1, Math.round(radius * ratio * 4)) / 4;
    const key = `${colour}|${size}|${alpha.toFixed(2)}|${ring ?? ""}`;
    const known = this.dots.get(key);
    if (known) return known;
    if (this.dots.size > 400) this.dots.clear();
    const made = stamp(colour, size, alpha, ring ? { colour: ring, width: 1.4 * ratio } : null);
    this.dots.set(key, made);
    return made;
  }
}

function stamp(colour: string, radius: number, alpha: number, ring: { colour: string; width: number } | null): Dot {
  const canvas = document.createElement("canvas");
  const half = Math.ceil(radius + (ring?.width ?? 0) + 1);
  canvas.width = canvas.height = 2 * half;
  const context = canvas.getContext("2d");
  if (context) {
    context.globalAlpha = alpha;
    context.beginPath();
    context.arc(half, half, radius, 0, 2 * Math.PI);
    context.fillStyle = colour;
    context.fill();
    if (ring) {
      context.lineWidth = ring.width;
      context.strokeStyle = ring.colour;
      context.stroke();
    }
  }
  return { canvas, half };
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
