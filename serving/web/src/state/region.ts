// Places as an address writes them: boxes and polygons in degrees, five digits (about a metre).

import type { Bounds } from "../wire";

export type Region = { kind: "bbox"; bbox: Bounds } | { kind: "polygon"; polygon: GeoJSON.Polygon };

const short = (value: number): string => String(Number(value.toFixed(5)));

/** "w,s,e,n" */
export const boxText = (bbox: Bounds): string => bbox.map(short).join(",");

/** "lon,lat lon,lat ...", rings with ";" between; the closing corner is left out. */
export const polygonText = (polygon: GeoJSON.Polygon): string =>
  polygon.coordinates
    .map((ring) =>
      ring
        .slice(0, -1)
        .map(([x = 0, y = 0]) => `${short(x)},${short(y)}`)
        .join(" "),
    )
    .join(";");

const finite = (text: string): number | null => {
  const value = Number(text);
  return text.trim() !== "" && Number.isFinite(value) ? value : null;
};

const latitude = (value: number) => value >= -90 && value <= 90;

/** The box of ``text``, null where it is none. */
export function readBox(text: string): Bounds | null {
  const values = text.split(",").map(finite);
  const [west, south, east, north] = values;
  if (values.length !== 4 || values.includes(null)) return null;
  const box: Bounds = [west as number, south as number, east as number, north as number];
  const meant =
    latitude(box[1]) &&
    latitude(box[3]) &&
    box[1] <= box[3] &&
    Math.abs(box[0]) <= 180 &&
    Math.abs(box[2]) <= 180;
  return meant ? box : null;
}

/** The polygon of ``text``, null where it is none; longitudes may pass 180. */
export function readPolygon(text: string): GeoJSON.Polygon | null {
  const coordinates: [number, number][][] = [];
  for (const part of text.split(";")) {
    const ring: [number, number][] = [];
    for (const corner of part.split(" ")) {
      const [x, y, ...more] = corner.split(",").map(finite);
      if (x == null || y == null || more.length > 0) return null;
      if (!latitude(y) || Math.abs(x) > 540) return null;
      ring.push([x, y]);
    }
    const [first] = ring;
    if (first === undefined || ring.length < 3) return null;
    coordinates.push([...ring, first]);
  }
  return { type: "Polygon", coordinates };
}
