// Boxes and polygons on a round Earth: longitudes in degrees, boxes as (west, south, east, north)
// with west > east where they cross 180°, as GeoJSON has it.

import type { Polygon, Position } from "geojson";

export type Bounds = [west: number, south: number, east: number, north: number];
export type Ring = Position[];

const WORLD = 360;

/** The same meridian as a longitude in [-180, 180). */
export function wrapLongitude(longitude: number): number {
  const wrapped = (((longitude + 180) % WORLD) + WORLD) % WORLD;
  return wrapped - 180;
}

/** How many degrees a box spans from west to east: 0..360. */
export function widthOf([west, , east]: Bounds): number {
  return west <= east ? Math.min(east - west, WORLD) : east - west + WORLD;
}

/** The middle of a box, its longitude in [-180, 180). */
export function centreOf(bounds: Bounds): [number, number] {
  return [wrapLongitude(bounds[0] + widthOf(bounds) / 2), (bounds[1] + bounds[3]) / 2];
}

/** Whether a place, its longitude that of any world, is in a box or at most `reach` degrees outside. */
export function isWithin(bounds: Bounds, x: number, y: number, reach: number): boolean {
  if (y < bounds[1] - reach || y > bounds[3] + reach) return false;
  const half = widthOf(bounds) / 2;
  return Math.abs(wrapLongitude(x - bounds[0] - half)) <= half + reach;
}

/**
 * The box that an extent on an endless row of worlds means: longitudes wrapped, latitudes cut off
 * at the poles.  An extent of a whole turn or more is all longitudes.
 */
export function boxOfExtent([minX, minY, maxX, maxY]: Bounds): Bounds {
  const south = Math.max(-90, Math.min(minY, 90));
  const north = Math.max(-90, Math.min(maxY, 90));
  if (maxX - minX >= WORLD) return [-180, south, 180, north];
  const west = wrapLongitude(minX);
  const east = wrapLongitude(maxX);
  // A box that ends on the antimeridian ends at 180, not at -180, from where it would be empty.
  return [west, south, east === -180 ? 180 : east, north];
}

/** A box as a ring that runs on past 180 where the box crosses it; closed, counter-clockwise. */
export function ringOfBox(bounds: Bounds): Ring {
  const [west, south, , north] = bounds;
  const east = west + widthOf(bounds);
  return [
    [west, south],
    [east, south],
    [east, north],
    [west, north],
    [west, south],
  ];
}

/** The polygon moved by whole turns, so that the middle of its outer ring lies in [-180, 180). */
export function recentred(polygon: Polygon): Polygon {
  const longitudes = (polygon.coordinates[0] ?? []).map((position) => position[0] ?? 0);
  if (longitudes.length === 0) return polygon;
  const middle = (Math.min(...longitudes) + Math.max(...longitudes)) / 2;
  const turn = wrapLongitude(middle) - middle;
  return {
    type: "Polygon",
    coordinates: polygon.coordinates.map((ring) => ring.map(([x = 0, y = 0]) => [x + turn, y])),
  };
}

/** The part of a closed ring west (or east) of a meridian, by Sutherland and Hodgman (1974). */
function clipped(ring: Ring, meridian: number, keep: "west" | "east"): Ring {
  const inside = (x: number) => (keep === "west" ? x <= meridian : x >= meridian);
  const kept: Ring = [];
  for (let i = 0; i + 1 < ring.length; i++) {
    const [ax = 0, ay = 0] = ring[i] ?? [];
    const [bx = 0, by = 0] = ring[i + 1] ?? [];
    if (inside(ax)) kept.push([ax, ay]);
    if (inside(ax) !== inside(bx)) {
      kept.push([meridian, ay + ((meridian - ax) / (bx - ax)) * (by - ay)]);
    }
  }
  const first = kept[0];
  return first && kept.length >= 3 ? [...kept, first] : [];
}

/** The pieces of a ring in the world from -180 to 180, each moved there by whole turns. */
export function piecesOf(ring: Ring): Ring[] {
  const longitudes = ring.map((position) => position[0] ?? 0);
  const first = Math.floor((Math.min(...longitudes) + 180) / WORLD);
  const last = Math.ceil((Math.max(...longitudes) + 180) / WORLD) - 1;
  const pieces: Ring[] = [];
  for (let world = first; world <= Math.max(first, last); world++) {
    const turn = world * WORLD;
    const moved = ring.map(([x = 0, y = 0]) => [x - turn, y]);
    const piece = clipped(clipped(moved, -180, "east"), 180, "west");
    if (piece.length > 0) pieces.push(piece);
  }
  return pieces;
}

/** The lines around pieces of a ring, without the seams that cutting at 180° left. */
export function outlineOf(pieces: Ring[]): Ring[] {
  const cut = pieces.length > 1;
  const lines: Ring[] = [];
  for (const piece of pieces) {
    let line: Ring = [];
    for (let i = 0; i + 1 < piece.length; i++) {
      const from = piece[i];
      const to = piece[i + 1];
      if (!from || !to) continue;
      if (cut && from[0] === to[0] && Math.abs(from[0] ?? 0) === 180) {
        if (line.length > 1) lines.push(line);
        line = [];
      } else {
        line = line.length > 0 ? [...line, to] : [from, to];
      }
    }
    if (line.length > 1) lines.push(line);
  }
  return lines;
}

/**
 * The smallest extent around boxes, on the world or across 180°: its east may be greater than 180.
 * Null without boxes.  The widest gap between them is left out, so boxes on Fiji give Fiji.
 */
export function extentAround(boxes: Bounds[]): Bounds | null {
  if (boxes.length === 0) return null;
  const spans = boxes
    .map((box) => ({ west: wrapLongitude(box[0]), width: widthOf(box) }))
    .sort((a, b) => a.west - b.west);
  // Where the easternmost box ends, a turn earlier: what it covers east of 180 begins the round.
  let reached = spans.reduce((most, span) => Math.max(most, span.west + span.width), -WORLD) - WORLD;
  let [gap, west] = [0, -180];
  for (const span of spans) {
    if (span.west - reached > gap) [gap, west] = [span.west - reached, span.west];
    reached = Math.max(reached, span.west + span.width);
  }
  const width = Math.max(WORLD - gap, 0);
  const south = boxes.reduce((least, box) => Math.min(least, box[1]), 90);
  const north = boxes.reduce((most, box) => Math.max(most, box[3]), -90);
  return [west, south, west + width, north];
}

/** What four numbers as typed mean, or a sentence that says what is wrong with them. */
export function boxFromText(texts: [string, string, string, string]): Bounds | string {
  const values = texts.map((text) => (text.trim() === "" ? NaN : Number(text.trim().replace(",", "."))));
  const [west = NaN, south = NaN, east = NaN, north = NaN] = values;
  const names = ["West", "South", "East", "North"];
  const wrong = values.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) return `${names[wrong]} must be a number of degrees.`;
  if (Math.abs(west) > 180 || Math.abs(east) > 180) return "West and east lie between -180 and 180.";
  if (Math.abs(south) > 90 || Math.abs(north) > 90) return "South and north lie between -90 and 90.";
  if (south > north) return "South must not be greater than north.";
  return [west, south, east, north];
}
