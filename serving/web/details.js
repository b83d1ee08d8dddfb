// The dialog with everything that is known of one tile.

import { pictureUrl } from "./api.js";
import { byId, element, picture } from "./dom.js";
import { date, distance, extent, fileName, place, title } from "./format.js";

const dialog = byId("details");

const map = ([west, south, east, north]) => {
  const ring = (w, e) => [[w, south], [e, south], [e, north], [w, north], [w, south]];
  return west <= east
    ? { type: "Polygon", coordinates: [ring(west, east)] }
    : { type: "MultiPolygon", coordinates: [[ring(west, 180)], [ring(-180, east)]] };
};

function footprint(tile) {
  const { bounds, image_url: _, ...properties } = tile;
  const feature = { type: "Feature", geometry: map(bounds), properties };
  return `data:application/geo+json,${encodeURIComponent(JSON.stringify(feature))}`;
}

function facts(tile) {
  const { window } = tile;
  const rows = [
    ["Distance", tile.distance === undefined ? "" : `${distance(tile.distance)} (rank ${tile.rank})`],
    ["Label", tile.label ?? ""],
    ["Taken", date(tile.datetime)],
    ["Centre", place(tile.bounds)],
    ["Bounds", tile.bounds ? extent(tile.bounds) : ""],
    ["Window", window ? `${window.width} × ${window.height} px at x ${window.x}, y ${window.y}` : "the whole picture"],
    ["Valid", tile.valid_fraction === null ? "" : `${Math.round(tile.valid_fraction * 100)} % of its pixels`],
    ["Source", tile.uri, "code"],
    ["Tile id", tile.tile_id, "code"],
  ];
  return rows
    .filter(([, value]) => value !== "")
    .flatMap(([name, value, className]) => [element("dt", {}, name), element("dd", { className }, value)]);
}

const download = (tile, extension) => `${fileName(tile.tile_id).replaceAll(/[^\w.-]+/g, "_")}.${extension}`;

export function showDetails(tile, { href, onSearch }) {
  byId("details-title").textContent = title(tile);
  byId("details-picture").replaceChildren(
    picture(pictureUrl(tile, 1024), `Picture of ${title(tile)}`, "This picture's source cannot be read", false),
  );
  byId("details-facts").replaceChildren(...facts(tile));
  byId("details-downloads").replaceChildren(
    element("a", { href: pictureUrl(tile, 0), download: download(tile, "jpg") }, "Download JPEG"),
    element("a", { href: pictureUrl(tile, 0, "png"), download: download(tile, "png") }, "Download PNG"),
    ...(tile.bounds
      ? [element("a", { href: footprint(tile), download: download(tile, "geojson") }, "Footprint (GeoJSON)")]
      : []),
  );
  const search = byId("details-search");
  search.href = href;
  search.onclick = (event) => {
    event.preventDefault();
    dialog.close();
    onSearch(tile);
  };
  const copy = byId("details-copy");
  copy.textContent = "Copy id";
  // Browsers offer the clipboard to https and localhost only.
  copy.hidden = !navigator.clipboard;
  copy.onclick = async () => {
    await navigator.clipboard.writeText(tile.tile_id);
    copy.textContent = "Copied";
  };
  dialog.showModal();
}

// A click beside the dialog closes it.
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
