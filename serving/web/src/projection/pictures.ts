// Near enough, the points are pictures: thumbnails, where they do not lie upon each other.

import { thumbnailOf } from "./tiles";
import { magnification, toScreen, type Point, type Size, type Viewport } from "./viewport";

const SIDE_PX = 58;
/** Pictures stand at least this far apart; points between them stay dots. */
const APART_PX = 50;
const MOST = 90;
/** From so many times nearer than the whole. */
const FROM_TIMES = 1.6;
const KEPT = 400;

/** Thumbnails that have come, and those on their way. */
export class Pictures {
  private readonly images = new Map<string, HTMLImageElement>();
  private readonly arrived: () => void;

  /** `arrived` is called when one more can be drawn. */
  constructor(arrived: () => void) {
    this.arrived = arrived;
  }

  /** Draws thumbnails over their points; how many pictures are meant to be seen, drawn or on their way. */
  draw(
    canvas: HTMLCanvasElement,
    ratio: number,
    places: { i: number; at: Point }[],
    tileIds: string[],
    colourOf: (i: number) => string,
  ): number {
    const context = canvas.getContext("2d");
    if (!context) return 0;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const chosen = apart(places);
    for (const { i, at } of chosen) {
      const id = tileIds[i];
      const image = id === undefined ? undefined : this.imageOf(thumbnailOf(id));
      if (image?.complete && image.naturalWidth > 0) stampPicture(context, image, at, colourOf(i));
    }
    return chosen.length;
  }

  private imageOf(url: string): HTMLImageElement {
    const known = this.images.get(url);
    if (known) return known;
    // The oldest go first: what has been looked at is in the browser's own cache still.
    for (const old of this.images.keys()) {
      if (this.images.size < KEPT) break;
      this.images.delete(old);
    }
    const image = new Image();
    image.decoding = "async";
    image.onload = this.arrived;
    image.src = url;
    this.images.set(url, image);
    return image;
  }
}

/** Points in sight, once they are few and near enough for pictures; none before. */
export function placesInSight(
  { xs, ys }: { xs: Float32Array; ys: Float32Array },
  view: Viewport,
  size: Size,
  isShown: (i: number) => boolean,
): { i: number; at: Point }[] {
  if (magnification(view, size) < FROM_TIMES) return [];
  const places: { i: number; at: Point }[] = [];
  for (let i = 0; i < xs.length; i++) {
    const at = toScreen(view, size, [xs[i] ?? 0, ys[i] ?? 0]);
    if (at[0] < 0 || at[1] < 0 || at[0] > size.width || at[1] > size.height || !isShown(i)) continue;
    places.push({ i, at });
    // A crowd is better told by dots.
    if (places.length > MOST * 6) return [];
  }
  return places;
}

function apart(places: { i: number; at: Point }[]): { i: number; at: Point }[] {
  const chosen: { i: number; at: Point }[] = [];
  for (const place of places) {
    if (chosen.length >= MOST) break;
    const [x, y] = place.at;
    if (chosen.every(({ at }) => Math.max(Math.abs(at[0] - x), Math.abs(at[1] - y)) > APART_PX)) chosen.push(place);
  }
  return chosen;
}

function stampPicture(context: CanvasRenderingContext2D, image: HTMLImageElement, [x, y]: Point, colour: string): void {
  const [left, top] = [x - SIDE_PX / 2, y - SIDE_PX / 2];
  const side = Math.min(image.naturalWidth, image.naturalHeight);
  context.save();
  context.beginPath();
  context.roundRect(left - 2.5, top - 2.5, SIDE_PX + 5, SIDE_PX + 5, 9);
  context.fillStyle = colour;
  context.fill();
  context.beginPath();
  context.roundRect(left, top, SIDE_PX, SIDE_PX, 7);
  context.clip();
  const [sx, sy] = [(image.naturalWidth - side) / 2, (image.naturalHeight - side) / 2];
  context.drawImage(image, sx, sy, side, side, left, top, SIDE_PX, SIDE_PX);
  context.restore();
}
