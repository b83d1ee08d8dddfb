// What the address asks, as the API takes it.

import type { Ask, ExampleIn, FilterIn, ShapeIn } from "../wire";
import type { Address, Example, Filters, Shaping } from "./address";

export const OVERLAP_KEPT = 0.25; // tiles that share more of the smaller one are grouped

/** How many kinds of filter are set. */
export const countFilters = (filters: Filters): number =>
  [
    filters.start || filters.end,
    filters.season,
    filters.region,
    filters.labels.length > 0,
    filters.uriPrefix,
    filters.minValid,
  ].filter(Boolean).length;

/** The filter, or undefined where none is set. */
export function filterOf(filters: Filters): FilterIn | undefined {
  const { season, region } = filters;
  const asked: FilterIn = {};
  if (filters.start) asked.start = `${filters.start}T00:00:00Z`;
  if (filters.end) asked.end = `${dayAfter(filters.end)}T00:00:00Z`;
  if (season) asked.season = season;
  if (region?.kind === "bbox") asked.bbox = region.bbox;
  if (region?.kind === "polygon") asked.polygon = region.polygon;
  if (filters.labels.length) asked.labels = filters.labels;
  if (filters.uriPrefix) asked.uri_prefix = filters.uriPrefix;
  if (filters.minValid) asked.min_valid_fraction = filters.minValid;
  return Object.keys(asked).length ? asked : undefined;
}

/** The day after "2021-06-30": the API's end is exclusive. */
export function dayAfter(day: string): string {
  const next = new Date(`${day}T00:00:00Z`);
  next.setUTCDate(next.getUTCDate() + 1);
  return next.toISOString().slice(0, 10);
}

/** The search that the address asks, without page size; it must have a positive example. */
export function askOf(address: Address): Ask {
  const { quality, shaping, filters, minScore } = address;
  const shape = shapeOf(shaping);
  const filter = filterOf(filters);
  return {
    positive: address.positive.map(exampleOf),
    ...(address.negative.length && { negative: address.negative.map(exampleOf) }),
    ...(address.strategy !== "mean" && { strategy: address.strategy }),
    ...(address.negative.length && { negative_weight: address.negativeWeight }),
    ...(filter && { filter }),
    ...(shape && { shape }),
    ...(minScore !== null && { min_score: minScore }),
    ...(!address.ownHits && { include_examples: false }),
    ...(quality === "exact" ? { exact: true } : quality !== "balanced" && { quality }),
  };
}

const exampleOf = ({ kind, id, weight }: Example): ExampleIn => ({
  ...(kind === "tile" ? { tile_id: id } : { embedding: id }),
  ...(weight !== 1 && { weight }),
});

function shapeOf({ overlap, duplicates, diversity }: Shaping): ShapeIn | undefined {
  const shape: ShapeIn = {};
  if (overlap) {
    shape.max_overlap = OVERLAP_KEPT;
    shape.overlap_by = overlap;
  }
  if (duplicates) shape.duplicate_distance = duplicates;
  if (diversity) shape.diversity = diversity;
  return Object.keys(shape).length ? shape : undefined;
}
