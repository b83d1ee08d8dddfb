// The page's address <-> what is asked.  Pure: strings in, records out, and back.
//
//   /?like=<tile>&unlike=<tile>&from=2021-06-01&label=coast#like=<embedding> <file name>
//
// Uploaded pictures are in the fragment, as embedding texts: browsers do not send it, so that they
// stay out of logs and below no server's limit.  What is as usual is left out.  What makes no sense
// (an address may come from anywhere) is passed over, never an error.

import type { Quality, Strategy } from "../wire";
import { boxText, polygonText, readBox, readPolygon, type Region } from "./region";

export type { Region } from "./region";

/** A picture to be like or unlike: ``id`` is a tile's id or an upload's embedding text. */
export interface Example {
  kind: "tile" | "upload";
  id: string;
  weight: number;
  name: string; // the uploaded file's; "" for a tile
}

/** Days are "2021-06-30", both inclusive, "" where open; seasons are months and days, "12-01". */
export interface Filters {
  start: string;
  end: string;
  season: { start: string; end: string } | null;
  region: Region | null;
  labels: (string | null)[];
  uriPrefix: string;
  minValid: number;
}

export interface Shaping {
  overlap: "" | "window" | "place";
  duplicates: number; // 0: not looked for; else the distance up to which two are the same
  diversity: number; // 0..1
}

export type View = "split" | "grid" | "map";

export interface Address {
  positive: Example[]; // uploads before tiles, as ``arranged`` has them
  negative: Example[];
  strategy: Strategy;
  negativeWeight: number;
  filters: Filters;
  shaping: Shaping;
  k: number;
  minScore: number | null;
  quality: Quality | "exact";
  ownHits: boolean; // whether examples may be hits
  view: View;
}

export const PAGE_SIZES = [24, 48, 96, 192] as const;
export const NO_FILTERS: Filters = {
  start: "",
  end: "",
  season: null,
  region: null,
  labels: [],
  uriPrefix: "",
  minValid: 0,
};
export const START: Address = {
  positive: [],
  negative: [],
  strategy: "mean",
  negativeWeight: 0.5,
  filters: NO_FILTERS,
  shaping: { overlap: "", duplicates: 0, diversity: 0 },
  k: 48,
  minScore: null,
  quality: "balanced",
  ownHits: true,
  view: "split",
};
const MAX_EXAMPLES = 256;

/** Examples in the order in which an address can say them: uploads first. */
export const arranged = (examples: Example[]): Example[] => [
  ...examples.filter((example) => example.kind === "upload"),
  ...examples.filter((example) => example.kind === "tile"),
];

/** What is asked by nothing but these tiles. */
export const likeTiles = (ids: string[]): Address => ({
  ...START,
  positive: ids.map((id) => ({ kind: "tile", id, weight: 1, name: "" })),
});

const WEIGHTED = /^(\d{1,4}(?:\.\d{1,4})?)\*(.*)$/s;

// A weight stands before the id where it is not 1, or where the id itself begins like one.
const weighted = ({ weight, id }: Example): string =>
  weight !== 1 || WEIGHTED.test(id) ? `${weight}*${id}` : id;

function unweighted(text: string): { weight: number; id: string } | null {
  const found = WEIGHTED.exec(text);
  const weight = found ? Number(found[1]) : 1;
  const id = found ? (found[2] ?? "") : text;
  return id !== "" && weight > 0 && weight <= 1000 ? { weight, id } : null;
}

/** The path, query and fragment that say ``address``; "/" for the start. */
export function encode(address: Address): string {
  const query = new URLSearchParams();
  const fragment = new URLSearchParams();
  for (const [key, examples] of [
    ["like", address.positive],
    ["unlike", address.negative],
  ] as const) {
    for (const example of examples) {
      if (example.kind === "tile") query.append(key, weighted(example));
      else fragment.append(key, `${weighted(example)} ${example.name}`.trim());
    }
  }
  const put = (key: string, value: string | number, usual: string | number) => {
    if (value !== usual) query.set(key, String(value));
  };
  put("strategy", address.strategy, START.strategy);
  put("against", address.negativeWeight, START.negativeWeight);
  putFilters(query, address.filters);
  put("overlap", address.shaping.overlap, "");
  put("duplicates", address.shaping.duplicates, 0);
  put("diversity", address.shaping.diversity, 0);
  put("k", address.k, START.k);
  put("least", address.minScore ?? "", "");
  put("quality", address.quality, START.quality);
  put("own", address.ownHits ? "" : "0", "");
  put("view", address.view, START.view);
  const [asked, shared] = [query.toString(), fragment.toString()];
  return `/${asked && `?${asked}`}${shared && `#${shared}`}`;
}

function putFilters(query: URLSearchParams, filters: Filters): void {
  if (filters.start) query.set("from", filters.start);
  if (filters.end) query.set("to", filters.end);
  if (filters.season) query.set("season", `${filters.season.start}..${filters.season.end}`);
  if (filters.region?.kind === "bbox") query.set("box", boxText(filters.region.bbox));
  if (filters.region?.kind === "polygon") query.set("area", polygonText(filters.region.polygon));
  for (const label of filters.labels) {
    if (label === null) query.set("unlabelled", "1");
    else query.append("label", label);
  }
  if (filters.uriPrefix) query.set("uri", filters.uriPrefix);
  if (filters.minValid) query.set("valid", String(filters.minValid));
}

/** What the ``search`` and ``hash`` of a location ask. */
export function decode(search: string, hash: string): Address {
  const query = new URLSearchParams(search);
  const fragment = new URLSearchParams(hash.replace(/^#/, ""));
  const examples = (key: string) => [...uploads(fragment, key), ...tiles(query, key)];
  const overlap = oneOf(query.get("overlap"), ["", "window", "place"] as const, "");
  return {
    positive: examples("like").slice(0, MAX_EXAMPLES),
    negative: examples("unlike").slice(0, MAX_EXAMPLES),
    strategy: oneOf(query.get("strategy"), ["mean", "best"] as const, START.strategy),
    negativeWeight: numberIn(query.get("against"), 0, 10) ?? START.negativeWeight,
    filters: readFilters(query),
    shaping: {
      overlap,
      duplicates: numberIn(query.get("duplicates"), 0, 2) ?? 0,
      diversity: numberIn(query.get("diversity"), 0, 1) ?? 0,
    },
    k: PAGE_SIZES.find((size) => String(size) === query.get("k")) ?? START.k,
    minScore: numberIn(query.get("least"), -1, 1),
    quality: oneOf(
      query.get("quality"),
      ["fast", "balanced", "high", "exact"] as const,
      START.quality,
    ),
    ownHits: query.get("own") !== "0",
    view: oneOf(query.get("view"), ["split", "grid", "map"] as const, START.view),
  };
}

function tiles(query: URLSearchParams, key: string): Example[] {
  const given = query.getAll(key);
  if (key === "like") given.push(...query.getAll("tile")); // as addresses said it at first
  return distinct(
    given.flatMap((text) => {
      const read = unweighted(text);
      return read ? [{ kind: "tile" as const, ...read, name: "" }] : [];
    }),
  );
}

function uploads(fragment: URLSearchParams, key: string): Example[] {
  return distinct(
    fragment.getAll(key).flatMap((text) => {
      const space = text.indexOf(" ");
      const read = unweighted(space < 0 ? text : text.slice(0, space));
      if (!read || !/^[\w.-]+$/.test(read.id)) return [];
      const name = space < 0 ? "" : text.slice(space + 1).trim();
      return [{ kind: "upload" as const, ...read, name }];
    }),
  );
}

const distinct = (examples: Example[]): Example[] => [
  ...new Map(examples.map((example) => [example.id, example])).values(),
];

function readFilters(query: URLSearchParams): Filters {
  const box = readBox(query.get("box") ?? "");
  const polygon = box ? null : readPolygon(query.get("area") ?? "");
  const labels: (string | null)[] = [...new Set(query.getAll("label").filter(Boolean))];
  if (query.get("unlabelled") === "1") labels.push(null);
  let region: Region | null = null;
  if (box) region = { kind: "bbox", bbox: box };
  if (polygon) region = { kind: "polygon", polygon };
  return {
    start: day(query.get("from")),
    end: day(query.get("to")),
    season: season(query.get("season")),
    region,
    labels,
    uriPrefix: query.get("uri") ?? "",
    minValid: numberIn(query.get("valid"), 0, 1) ?? 0,
  };
}

/** ``text`` when it is a day of the calendar, "" otherwise. */
function day(text: string | null): string {
  if (!text || !/^\d{4}-\d\d-\d\d$/.test(text)) return "";
  const read = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(read.getTime()) && read.toISOString().startsWith(text) ? text : "";
}

function season(text: string | null): Filters["season"] {
  const [start = "", end = "", ...more] = (text ?? "").split("..");
  const meant = more.length === 0 && [start, end].every((one) => day(`2020-${one}`) !== "");
  return meant ? { start, end } : null;
}

function oneOf<T extends string>(text: string | null, known: readonly T[], usual: T): T {
  return known.find((one) => one === text) ?? usual;
}

function numberIn(text: string | null, least: number, most: number): number | null {
  const value = text === null || text.trim() === "" ? Number.NaN : Number(text);
  return value >= least && value <= most ? value : null;
}
