// Round dots blended into an array of pixels.  A canvas takes 5 us and more for each small picture
// drawn on it; fifty thousand dots written by hand take a few milliseconds, with or without a GPU.

/** Pixels as a canvas stores them on little-endian machines: 0xAABBGGRR. */
export interface Pixels {
  data: Uint32Array;
  width: number;
  height: number;
}

/** How much of each pixel a dot covers, 0..256, for 4 x 4 places of its middle within a pixel. */
export interface Mask {
  side: number;
  covers: Uint16Array[];
}

const STEPS = 4;
const OPAQUE = 0xff000000;
const RED_BLUE = 0x00ff00ff;
const GREEN = 0x0000ff00;

/** Red, green and blue, 0..255 each, as one pixel. */
export const pixelOf = (red: number, green: number, blue: number): number =>
  (OPAQUE | (blue << 16) | (green << 8) | red) >>> 0;

/** The mask of a disc of this radius in pixels; its rim is smoothed over one pixel. */
export function maskOf(radius: number, alpha: number): Mask {
  const half = Math.ceil(radius + 1);
  const side = 2 * half + 1;
  const covers: Uint16Array[] = [];
  for (let row = 0; row < STEPS; row++) {
    for (let column = 0; column < STEPS; column++) {
      const [dx, dy] = [column / STEPS, row / STEPS];
      const cover = new Uint16Array(side * side);
      for (let p = 0; p < cover.length; p++) {
        const distance = Math.hypot((p % side) - half - dx, Math.floor(p / side) - half - dy);
        cover[p] = Math.round(256 * alpha * Math.max(0, Math.min(1, radius - distance + 0.5)));
      }
      covers.push(cover);
    }
  }
  return { side, covers };
}

/**
 * Blends a dot with its middle at (x, y), in pixels; what lies outside is cut off.  Over pixels that
 * are empty it takes their place, as opaque as it covers them.
 */
export function splat(pixels: Pixels, mask: Mask, x: number, y: number, colour: number): void {
  const { data, width, height } = pixels;
  const { side } = mask;
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const step = Math.floor((y - top) * STEPS) * STEPS + Math.floor((x - left) * STEPS);
  const cover = mask.covers[step];
  if (!cover) return;
  const [west, north] = [left - (side - 1) / 2, top - (side - 1) / 2];
  const [firstRow, lastRow] = [Math.max(0, -north), Math.min(side, height - north)];
  const [firstColumn, lastColumn] = [Math.max(0, -west), Math.min(side, width - west)];
  const [redBlue, green] = [colour & RED_BLUE, colour & GREEN];
  for (let row = firstRow; row < lastRow; row++) {
    let at = (north + row) * width + west + firstColumn;
    for (let m = row * side + firstColumn; m < row * side + lastColumn; m++, at++) {
      const part = cover[m] ?? 0;
      if (part === 0) continue;
      const under = data[at] ?? 0;
      if (under === 0) {
        data[at] = (Math.min(255, part) << 24) | redBlue | green;
        continue;
      }
      const [underRedBlue, underGreen] = [under & RED_BLUE, under & GREEN];
      // Two channels in one product: each has eight bits of room above it, and what runs over is
      // masked away.
      const mixedRedBlue = (underRedBlue + (Math.imul(redBlue - underRedBlue, part) >> 8)) & RED_BLUE;
      const mixedGreen = (underGreen + (((green - underGreen) * part) >> 8)) & GREEN;
      const opacity = Math.max(under >>> 24, Math.min(255, part));
      data[at] = (opacity << 24) | mixedRedBlue | mixedGreen;
    }
  }
}

/** CSS colours, in whatever notation the browser knows, as pixels. */
export function pixelsOf(colours: string[]): number[] {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, colours.length);
  canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return colours.map(() => OPAQUE >>> 0);
  colours.forEach((colour, i) => {
    context.fillStyle = colour;
    context.fillRect(i, 0, 1, 1);
  });
  const { data } = context.getImageData(0, 0, canvas.width, 1);
  return colours.map((_, i) => pixelOf(data[4 * i] ?? 0, data[4 * i + 1] ?? 0, data[4 * i + 2] ?? 0));
}
