// Facts as people read them.

const number = new Intl.NumberFormat("en");
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeZone: "UTC" });

export const count = (value) => number.format(value);
export const date = (text) => (text ? day.format(new Date(text)) : "");
export const distance = (value) => value.toFixed(3);

export const fileName = (uri) => uri.split("/").pop() || uri;

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Math.round(value)} ${units[unit]}`;
}

const degrees = (value, positive, negative, digits) =>
  `${Math.abs(value).toFixed(digits)}°${value < 0 ? negative : positive}`;

export const latitude = (value, digits = 2) => degrees(value, "N", "S", digits);
export const longitude = (value, digits = 2) => degrees(value, "E", "W", digits);

// The middle of [west, south, east, north]; west > east crosses the antimeridian.
export function centre([west, south, east, north]) {
  let middle = (west + (west > east ? east + 360 : east)) / 2;
  if (middle > 180) middle -= 360;
  return [(south + north) / 2, middle];
}

export function place(bounds) {
  if (!bounds) return "";
  const [lat, lon] = centre(bounds);
  return `${latitude(lat)} ${longitude(lon)}`;
}

// Where on Earth, or else where in its source; "" for a whole picture of an unknown place.
export const where = ({ bounds, window }) =>
  place(bounds) || (window ? `x ${count(window.x)}, y ${count(window.y)}` : "");

export function extent([west, south, east, north]) {
  const text = (f, a, b) => `${f(a, 4)} to ${f(b, 4)}`;
  return `${text(latitude, south, north)}, ${text(longitude, west, east)}`;
}

export function title(tile) {
  if (tile.label) return tile.label.replaceAll("_", " ");
  return fileName(tile.uri);
}

export const placeAndDate = (tile) =>
  [where(tile), date(tile.datetime)].filter(Boolean).join(" · ");
