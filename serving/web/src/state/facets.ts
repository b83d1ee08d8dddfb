// How many tiles the filter leaves, of which labels and months.

import { effect, signal } from "@preact/signals";
import * as api from "../api";
import type { FacetsOut } from "../wire";
import { NO_FILTERS, type Filters } from "./address";
import { filterOf } from "./request";
import { searches } from "./searching";
import { address, stats } from "./store";

const MOST_LABELS = 500;
const SETTLE_MS = 180;
const RETRY_MS = 2000;

/** Of the whole archive. */
export const whole = signal<FacetsOut | null>(null);
/** Of what the filter leaves. */
export const matching = signal<FacetsOut | null>(null);
/** The same but for the labels chosen, so that those not chosen have a count too. */
export const anyLabel = signal<FacetsOut | null>(null);

let underway = new AbortController();

async function count(filters: Filters, signal: AbortSignal): Promise<FacetsOut> {
  const filter = filterOf(filters);
  if (!filter && whole.peek()) return whole.peek() as FacetsOut;
  const counted = await api.facets(filter ?? {}, MOST_LABELS, signal);
  if (!filter) whole.value = counted;
  return counted;
}

async function recount(filters: Filters): Promise<void> {
  underway.abort();
  underway = new AbortController();
  const { signal } = underway;
  try {
    await count(NO_FILTERS, signal);
    const all = await count(filters, signal);
    const any = filters.labels.length ? await count({ ...filters, labels: [] }, signal) : all;
    if (signal.aborted) return;
    matching.value = all;
    anyLabel.value = any;
  } catch (error) {
    if (api.isAbort(error)) return;
    if (!(error instanceof api.Problem)) throw error;
    // The search tells what is wrong; counts that are no longer true are taken away.
    matching.value = anyLabel.value = null;
    if (error.passes) setTimeout(() => signal.aborted || void recount(filters), RETRY_MS);
  }
}

/** Counts whenever the filter or the archive changes, and once the server first answers. */
export function followFilters(): void {
  let timer = 0;
  let counted = "";
  let generation: string | undefined;
  effect(() => {
    const { filters } = address.value;
    const answering = searches.value > 0;
    const wanted = JSON.stringify([filters, answering, stats.value?.generation]);
    if (wanted === counted) return;
    if (generation !== stats.value?.generation) whole.value = null;
    generation = stats.value?.generation;
    counted = wanted;
    clearTimeout(timer);
    timer = window.setTimeout(() => void recount(filters), SETTLE_MS);
  });
}
