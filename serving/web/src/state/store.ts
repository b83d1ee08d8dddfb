// What the page shows follows from its address: this module holds the one and moves the other.

import { computed, signal } from "@preact/signals";
import type { StatsOut, TileOut } from "../wire";
import { arranged, decode, encode, type Address, type Filters } from "./address";
import { NO_FILTERS } from "./address";
import { countFilters } from "./request";

const SAME_GESTURE_MS = 1200;

export const address = signal<Address>(decode(location.search, location.hash));
export const stats = signal<StatsOut | null>(null);
/** The tile under the pointer or the focus, in the grid or on the map. */
export const pointed = signal<string | null>(null);
/** The tile that the details panel tells of. */
export const inspected = signal<TileOut | null>(null);
/** What has just been done, for those who hear the page. */
export const said = signal("");
/** The same for those who see it, where they would wonder why nothing happened. */
export const hint = signal("");

const HINT_MS = 5000;
let hinted = 0;

export function tell(text: string): void {
  said.value = hint.value = text;
  clearTimeout(hinted);
  hinted = window.setTimeout(() => (hint.value = ""), HINT_MS);
}

export const narrow = signal(false);

export const hasQuery = computed(() => address.value.positive.length > 0);
export const filterCount = computed(() => countFilters(address.value.filters));

const tileIds = (examples: Address["positive"]) =>
  new Set(examples.filter((one) => one.kind === "tile").map((one) => one.id));
export const positiveIds = computed(() => tileIds(address.value.positive));
export const negativeIds = computed(() => tileIds(address.value.negative));

let last = { topic: "", at: 0 };

/**
 * Changes the address, as a step that Back undoes.  Steps of one ``topic`` that follow each other
 * at once, as those of a slider do, are one.
 */
export function go(change: Partial<Address>, topic = ""): void {
  const next = { ...address.value, ...change };
  next.positive = arranged(next.positive);
  next.negative = arranged(next.negative);
  const url = encode(next);
  if (url === encode(address.value)) return;
  const now = performance.now();
  const same = topic !== "" && topic === last.topic && now - last.at < SAME_GESTURE_MS;
  last = { topic, at: now };
  if (same) history.replaceState(null, "", url);
  else history.pushState(null, "", url);
  address.value = next;
}

export function filterBy(change: Partial<Filters>, topic = ""): void {
  go({ filters: { ...address.value.filters, ...change } }, topic);
}

export const clearFilters = (): void => go({ filters: NO_FILTERS });

/** Listens to Back and Forward, and to whether the screen is a phone's. */
export function followBrowser(): void {
  addEventListener("popstate", () => {
    last = { topic: "", at: 0 };
    address.value = decode(location.search, location.hash);
  });
  const phone = matchMedia("(max-width: 900px)");
  narrow.value = phone.matches;
  phone.addEventListener("change", () => {
    narrow.value = phone.matches;
  });
}
