// What the page knows: the points, which labels are hidden, what is selected and pointed at.

import { computed, signal } from "@preact/signals";

import { theme } from "../shell/theme";
import type { StatsOut } from "../wire";
import { groupedBy, type Grouped } from "./groups";
import { asking, loadProjection, type Loaded, type Projection } from "./load";

export type Tool = "pan" | "lasso";

export const loaded = signal<Loaded>(asking());
export const stats = signal<StatsOut | null>(null);
export const tool = signal<Tool>("pan");
/** Positions of groups whose points are not shown. */
export const hidden = signal<ReadonlySet<number>>(new Set());
/** Positions of tiles, in the order in which they were selected. */
export const selected = signal<ReadonlySet<number>>(new Set());
/** The tile under the pointer, the tile whose card stays open, the group pointed at: -1 for none. */
export const pointed = signal(-1);
export const pinned = signal(-1);
export const emphasised = signal(-1);

export const projection = computed<Projection | null>(() =>
  loaded.value.status === "ready" ? loaded.value.projection : null,
);

const NOTHING: Grouped = { groups: [], membership: new Uint16Array() };
export const grouped = computed<Grouped>(() =>
  projection.value ? groupedBy(projection.value.labels, theme.value) : NOTHING,
);

export const selectedIds = computed<string[]>(() => {
  const ids = projection.value?.tileIds ?? [];
  return [...selected.value].flatMap((i) => ids[i] ?? []);
});

/** How many of each group are selected. */
export const selectedCounts = computed<number[]>(() => {
  const counts = grouped.value.groups.map(() => 0);
  for (const i of selected.value) {
    const group = grouped.value.membership[i] ?? -1;
    if (group >= 0) counts[group] = (counts[group] ?? 0) + 1;
  }
  return counts;
});

/** Whether a tile's point is shown. */
export const isShown = (i: number): boolean => !hidden.value.has(grouped.value.membership[i] ?? -1);

let loading = new AbortController();

export function load(): void {
  loading.abort();
  loading = new AbortController();
  selected.value = new Set();
  pointed.value = pinned.value = -1;
  void loadProjection((now) => (loaded.value = now), loading.signal);
}

export function toggleGroup(position: number): void {
  const next = new Set(hidden.value);
  if (!next.delete(position)) next.add(position);
  hidden.value = next;
}

/** Shows all labels, or hides all. */
export function showAll(shown: boolean): void {
  hidden.value = new Set(shown ? [] : grouped.value.groups.keys());
}

/** Selects these tiles: beside those selected before with `add`, in their place without. */
export function select(tiles: Iterable<number>, add: boolean): void {
  selected.value = new Set(add ? [...selected.value, ...tiles] : tiles);
}

export function toggleTile(i: number): void {
  const next = new Set(selected.value);
  if (!next.delete(i)) next.add(i);
  selected.value = next;
}

/** The tiles of a group, if it is shown or not. */
export function membersOf(position: number): number[] {
  const members: number[] = [];
  grouped.value.membership.forEach((group, i) => {
    if (group === position) members.push(i);
  });
  return members;
}

/** Selects all of a group, or lets all of it go when all of it is selected. */
export function toggleMembers(position: number): void {
  const members = membersOf(position);
  const next = new Set(selected.value);
  if (members.every((i) => next.has(i))) members.forEach((i) => next.delete(i));
  else members.forEach((i) => next.add(i));
  selected.value = next;
}
