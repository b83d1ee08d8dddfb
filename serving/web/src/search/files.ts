// Files that the page makes: names, footprints, and handing them to the browser.

import type { Bounds, TileOut } from "../wire";

export const safeName = (name: string): string =>
  name.replaceAll(/[^\w.-]+/g, "_").slice(0, 120) || "tile";

/** A box as GeoJSON: cut in two where it crosses the antimeridian (RFC 7946, 3.1.9). */
export function geometryOf([west, south, east, north]: Bounds):
  | GeoJSON.Polygon
  | GeoJSON.MultiPolygon {
  const ring = (w: number, e: number) => [
    [w, south],
    [e, south],
    [e, north],
    [w, north],
    [w, south],
  ];
  return west <= east
    ? { type: "Polygon", coordinates: [ring(west, east)] }
    : { type: "MultiPolygon", coordinates: [[ring(west, 180)], [ring(-180, east)]] };
}

export function footprint(tile: TileOut): Blob {
  const { bounds, image_url: _, thumbnail_url: __, ...properties } = tile;
  const geometry = bounds && geometryOf(bounds);
  const feature = { type: "Feature", geometry, properties };
  return new Blob([JSON.stringify(feature)], { type: "application/geo+json" });
}

/** Lets the browser keep ``blob`` as a file. */
export function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser has begun to read it by then; revoking at once would break that.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** The file name out of a Content-Disposition, or ``usual``. */
export function nameIn(disposition: string | null, usual: string): string {
  const extended = /filename\*=UTF-8''([^;]+)/i.exec(disposition ?? "")?.[1];
  const plain = /filename="?([^";]+)"?/i.exec(disposition ?? "")?.[1];
  try {
    return safeName(extended ? decodeURIComponent(extended) : (plain ?? usual));
  } catch {
    return safeName(plain ?? usual);
  }
}
