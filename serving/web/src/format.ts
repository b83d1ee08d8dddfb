// Facts as people read them.

import type { Bounds, TileOut } from "./wire";

const number = new Intl.NumberFormat("en");
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeZone: "UTC" });
const monthAndYear = new Intl.DateTimeFormat("en-GB", {
  month: "short",
  year: "numeric",
  timeZone: "UTC",
});

export const count = (value: number): string => number.format(value);
export const plural = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`;
export const date = (text: string | null): string => (text ? day.format(new Date(text)) : "");
/** "2021-07" as "Jul 2021". */
export const month = (text: string): string =>
  monthAndYear.format(new Date(`${text}-01T00:00:00Z`));
export const milliseconds = (value: number): string =>
  value < 10 ? value.toFixed(1) : String(Math.round(value));
export const percent = (share: number): string => `${Math.round(share * 100)} %`;

/** The last part of a path, as a name. */
export const fileName = (uri: string): string => uri.split("/").pop() || uri;

export function bytes(value: number): string {
  const units = ["B", "KB", "MB", "GB"];
  let unit = 0;
  let left = value;
  while (left >= 1024 && unit < units.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${unit && left < 10 ? left.toFixed(1) : Math.round(left)} ${units[unit]}`;
}

const degrees = (value: number, positive: string, negative: string, digits: number) =>
  `${Math.abs(value).toFixed(digits)}°${value < 0 ? negative : positive}`;

export const latitude = (value: number, digits = 2): string => degrees(value, "N", "S", digits);
export const longitude = (value: number, digits = 2): string => degrees(value, "E", "W", digits);

/** Latitude and longitude of the middle; west > east crosses the antimeridian. */
export function centre([west, south, east, north]: Bounds): [number, number] {
  let middle = (west + (west > east ? east + 360 : east)) / 2;
  if (middle > 180) middle -= 360;
  return [(south + north) / 2, middle];
}

export function place(bounds: Bounds | null): string {
  if (!bounds) return "";
  const [lat, lon] = centre(bounds);
  return `${latitude(lat)} ${longitude(lon)}`;
}

/** Where on Earth, or else where in its source; "" for a whole picture of an unknown place. */
export const where = ({ bounds, window }: Pick<TileOut, "bounds" | "window">): string =>
  place(bounds) || (window ? `x ${count(window.x)}, y ${count(window.y)}` : "");

export function extent([west, south, east, north]: Bounds, digits = 4): string {
  const text = (f: typeof latitude, a: number, b: number) => `${f(a, digits)} to ${f(b, digits)}`;
  return `${text(latitude, south, north)}, ${text(longitude, west, east)}`;
}

type Named = Pick<TileOut, "label" | "uri" | "bounds">;

/** What a tile is called: its label, or else its place, or else its source's name. */
export const title = (tile: Named): string =>
  tile.label ? tile.label.replaceAll("_", " ") : place(tile.bounds) || fileName(tile.uri);

/** What stands below the title: where it is, or of what source where the title says that. */
export const subtitle = (tile: Named & Pick<TileOut, "window">): string => {
  const known = where(tile);
  return known === title(tile) ? fileName(tile.uri) : known;
};

/** As ``title``, with what tells it from others of the same label. */
export const fullTitle = (tile: TileOut): string =>
  [...new Set([title(tile), where(tile), date(tile.datetime)])].filter(Boolean).join(", ");

/** What a server says as a sentence: a capital, unless it begins with a name, and an end. */
export const sentence = (text: string): string => {
  const begun = /^[a-z]+ /.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
};
