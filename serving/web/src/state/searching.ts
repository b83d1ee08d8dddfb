// Answers: asks the server what the address says, page by page, and keeps what came.

import { effect, signal, untracked } from "@preact/signals";
import * as api from "../api";
import type { Hit, Metric, TileOut } from "../wire";
import { encode, type Address } from "./address";
import { askOf, filterOf } from "./request";
import { address, inspected, stats, tell } from "./store";

const SAMPLE = 36;
const TOGETHER = 192; // hits a page, where all above a similarity are wanted
const MOST_SHOWN = 2000; // cards before a person must ask for more
const RETRY_S = 1.5;
const SETTLE_MS = 120;

export interface Results {
  /** sample: drawn from the archive; browse: what matches the filter; search: hits. */
  kind: "sample" | "browse" | "search";
  tiles: (TileOut | Hit)[];
  cursor: string | null;
  matching: number | null;
  metric: Metric;
  tookMs: number;
}

export type Phase = "loading" | "more" | "done" | "waiting" | "failed";

export const results = signal<Results | null>(null);
export const phase = signal<Phase>("loading");
/** What went wrong, and how to try again. */
export const trouble = signal<{ problem: api.Problem; again: () => void } | null>(null);
/** Whether the server asks for a key before it answers. */
export const keyAsked = signal(false);
/** Which sample is drawn. */
export const seed = signal(0);
/** Counts new searches (not further pages): what should begin at the top begins there. */
export const searches = signal(0);

let underway = new AbortController();

export const isHit = (tile: TileOut | Hit): tile is Hit => "score" in tile;

/** Shows an error, whatever was being done; what is no Problem is a fault of ours and thrown on. */
export function report(error: unknown, again: () => void = refresh): void {
  if (api.isAbort(error)) return;
  if (!(error instanceof api.Problem)) throw error;
  trouble.value = { problem: error, again };
  if (error.status !== 401) return;
  // Nothing stays in view that only those signed in may see.
  results.value = null;
  inspected.value = null;
  keyAsked.value = true;
}

/** Asks again what the address says. */
export function refresh(): void {
  underway.abort();
  underway = new AbortController();
  trouble.value = null;
  phase.value = "loading";
  void untilAnswered(underway.signal, (signal) => first(address.peek(), signal));
}

async function first(asked: Address, signal: AbortSignal): Promise<void> {
  const before = results.peek()?.kind;
  const kind = kindOf(asked);
  if (before !== kind) results.value = null;
  results.value = await load(asked, kind, null, signal);
  searches.value += 1;
  phase.value = "done";
  await theRest(signal);
}

function kindOf(asked: Address): Results["kind"] {
  if (asked.positive.length) return "search";
  return filterOf(asked.filters) ? "browse" : "sample";
}

async function load(
  asked: Address,
  kind: Results["kind"],
  cursor: string | null,
  signal: AbortSignal,
): Promise<Results> {
  const metric = stats.peek()?.featurizer.metric ?? "cosine";
  const plain = { kind, cursor: null, matching: null, metric, tookMs: 0 };
  if (kind === "sample") return { ...plain, tiles: await api.sample(SAMPLE, seed.peek(), signal) };
  if (kind === "browse") {
    return { ...plain, ...(await browsed(asked.filters, Number(cursor ?? 0), signal)) };
  }
  const k = Math.min(
    asked.minScore === null ? asked.k : Math.max(asked.k, TOGETHER),
    stats.peek()?.limits.max_k ?? asked.k,
  );
  const answer = await api.search({ ...askOf(asked), k, ...(cursor && { cursor }) }, signal);
  // The archive was published anew since the page was opened: its facts are others.
  if (stats.peek() && stats.peek()?.generation !== answer.generation) void loadStats();
  return {
    kind,
    tiles: answer.hits,
    cursor: answer.cursor,
    matching: answer.matching,
    metric: answer.metric,
    tookMs: answer.took_ms,
  };
}

/** The first ``limit`` tiles that a filter leaves, in the archive's order. */
export async function idsMatching(
  filters: Address["filters"],
  limit: number,
  signal?: AbortSignal,
): Promise<string[]> {
  const filter = filterOf(filters) ?? {};
  const answer = await api.exported({ format: "geojson", filter, limit }, signal);
  const { features } = (await answer.json()) as GeoJSON.FeatureCollection;
  return features.map((feature) => String(feature.properties?.["tile_id"]));
}

/** The page of what a filter leaves that begins after ``seen`` tiles; its cursor counts them. */
async function browsed(filters: Address["filters"], seen: number, signal: AbortSignal) {
  // One more than the page tells whether there is another.
  const ids = (await idsMatching(filters, seen + SAMPLE + 1, signal)).slice(seen);
  const tiles = await Promise.all(ids.slice(0, SAMPLE).map((id) => api.tile(id, signal)));
  return { tiles, cursor: ids.length > SAMPLE ? String(seen + SAMPLE) : null };
}

/** Loads the next page. */
export function more(): void {
  if (phase.peek() !== "done" || !results.peek()?.cursor) return;
  void untilAnswered(underway.signal, next);
}

async function next(signal: AbortSignal): Promise<void> {
  const before = results.peek();
  if (!before?.cursor) return;
  phase.value = "more";
  try {
    const page = await load(address.peek(), before.kind, before.cursor, signal);
    results.value = { ...page, tiles: [...before.tiles, ...page.tiles] };
    phase.value = "done";
  } catch (error) {
    // The archive was published anew between two pages: the order has changed, so begin again.
    if (error instanceof api.Problem && error.slug === "stale-cursor") {
      tell("The archive was published anew: the search begins again.");
      return refresh();
    }
    throw error;
  }
}

/** All above a similarity were asked for: page after page, as far as it is sensible to show. */
async function theRest(signal: AbortSignal): Promise<void> {
  if (address.peek().minScore === null || results.peek()?.kind !== "search") return;
  while (results.peek()?.cursor && (results.peek()?.tiles.length ?? 0) < MOST_SHOWN) {
    await next(signal);
  }
}

/** Runs ``work``; where the server is not ready or busy, again and again until it answers. */
async function untilAnswered(
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  for (;;) {
    try {
      await work(signal);
      trouble.value = null;
      return;
    } catch (error) {
      if (api.isAbort(error) || signal.aborted) return;
      if (!(error instanceof api.Problem) || !error.passes) {
        phase.value = "failed";
        return report(error);
      }
      phase.value = "waiting";
      trouble.value = { problem: error, again: refresh };
      await pause(Math.min(error.retryAfterS ?? RETRY_S, 30), signal);
      if (signal.aborted) return;
    }
  }
}

const pause = (seconds: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });

async function loadStats(): Promise<void> {
  const { signal } = new AbortController();
  for (;;) {
    try {
      stats.value = await api.stats(signal);
      return;
    } catch (error) {
      if (!(error instanceof api.Problem)) throw error;
      if (error.status === 401) return void (keyAsked.value = true);
      if (!error.passes) return; // the search says what is wrong
      await pause(RETRY_S, signal);
    }
  }
}

/** After a key was given: everything anew. */
export function signedIn(): void {
  keyAsked.value = false;
  void loadStats();
  refresh();
}

/** Searches whenever the address asks something else. */
export function followAddress(): void {
  void loadStats();
  let asked = "";
  let timer = 0;
  effect(() => {
    const wanted = encode({ ...address.value, view: "split" }) + seed.value;
    if (wanted === asked) return;
    const begun = asked !== "";
    asked = wanted;
    clearTimeout(timer);
    // Steps that follow each other at once are asked for once.
    if (begun) timer = window.setTimeout(refresh, SETTLE_MS);
    else untracked(refresh);
  });
  effect(() => {
    if (kindOf(address.value) === "sample") inspected.value = null;
  });
}
