// What is known of tiles beyond id and label: asked for when a point is looked at, and kept.

import { signal } from "@preact/signals";

import { isAbort, Problem, tile } from "../api";
import { fileName } from "../format";
import type { TileOut } from "../wire";
import { nameOf } from "./groups";

/** Facts by tile id; null where the server cannot give them. */
export const facts = signal<ReadonlyMap<string, TileOut | null>>(new Map());

/** A pointer that passes over points asks nothing of the server. */
const REST_MS = 120;

/** Where a tile's picture is, at 256 px or less. */
export const thumbnailOf = (id: string): string => `/v1/tiles/${encodeURIComponent(id)}/image?size=256`;

/** What a tile is called: by its label, or else its file. */
export const titleOf = (id: string, label: string | null): string =>
  label === null ? fileName(id) : nameOf(label);

/** Fetches what is known of a tile if a pointer rests on it; the function that comes back ends that. */
export function ask(id: string): () => void {
  if (facts.peek().has(id)) return () => undefined;
  const end = new AbortController();
  const timer = setTimeout(() => void fetchFacts(id, end.signal), REST_MS);
  return () => {
    clearTimeout(timer);
    end.abort();
  };
}

async function fetchFacts(id: string, signal: AbortSignal): Promise<void> {
  try {
    keep(id, await tile(id, signal));
  } catch (error) {
    if (isAbort(error)) return;
    if (!(error instanceof Problem)) throw error;
    if (!error.passes) keep(id, null);
  }
}

function keep(id: string, known: TileOut | null): void {
  facts.value = new Map(facts.peek()).set(id, known);
}
