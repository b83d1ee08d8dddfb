// The grid: one card a picture, or grey ones while the answer is on its way.

import { pictureUrl } from "./api.js";
import { element, picture } from "./dom.js";
import { date, distance, title, where } from "./format.js";

export function card(tile, { href, self, onSearch, onDetails }) {
  const facts = [where(tile), date(tile.datetime)].filter(Boolean);
  const near = tile.distance === undefined ? null : distance(tile.distance);
  const link = element(
    "a",
    {
      href,
      "aria-label": ["Search by " + title(tile), ...facts, near && `distance ${near}`].filter(Boolean).join(", "),
      onclick: (event) => {
        // Other clicks are the browser's: a new tab, a new window.
        if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        onSearch(tile);
      },
    },
    element(
      "span",
      { className: "picture" },
      picture(pictureUrl(tile, 384), "", "This picture's source cannot be read"),
    ),
    element(
      "span",
      { className: "caption" },
      element(
        "span",
        { className: "caption-top" },
        element("span", { className: "name", title: title(tile) }, title(tile)),
        near && element("span", { className: "distance", title: "Distance to your query" }, near),
      ),
      ...facts.map((fact) => element("span", { className: "line" }, fact)),
    ),
  );
  const more = element(
    "button",
    { className: "more", type: "button", "aria-label": `Details of ${title(tile)}`, onclick: () => onDetails(tile) },
    "i",
  );
  return element(
    "li",
    { className: self ? "card self" : "card", "data-tile": tile.tile_id },
    link,
    self ? element("span", { className: "tag" }, "your query") : null,
    more,
  );
}

export const skeletons = (count) =>
  Array.from({ length: count }, () =>
    element(
      "li",
      { className: "card skeleton", "aria-hidden": "true" },
      element("span", { className: "picture" }),
      element("span", { className: "caption" }),
    ),
  );
