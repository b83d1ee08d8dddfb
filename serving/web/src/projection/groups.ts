// The points by label, and a colour for each label.

/** A label with its points; `label` null: those without one. */
export interface Group {
  label: string | null;
  name: string;
  count: number;
  colour: string;
}

export interface Grouped {
  /** The most frequent first, the unlabelled last. */
  groups: Group[];
  /** For each tile the position of its group. */
  membership: Uint16Array;
}

/** Hues in an order in which neighbours of the list are far apart on the circle. */
const HUES = [165, 40, 265, 95, 330, 215, 15, 130, 295, 65, 240, 190];
const UNLABELLED = { light: "#8b958f", dark: "#7d8d87" } as const;

/** The colour of the n-th label: twelve hues, then the same paler, then deeper. */
export function colourOf(position: number, theme: "light" | "dark"): string {
  const hue = HUES[position % HUES.length] ?? 0;
  const round = Math.floor(position / HUES.length) % 3;
  const lightness = theme === "light" ? [0.56, 0.7, 0.42][round] : [0.76, 0.62, 0.88][round];
  const chroma = [0.145, 0.11, 0.09][round];
  return `oklch(${lightness} ${chroma} ${hue})`;
}

/** A label as people read it. */
export const nameOf = (label: string | null): string =>
  label === null ? "Without a label" : label.replaceAll("_", " ");

/** Groups of tiles that have these labels. */
export function groupedBy(given: (string | null)[], theme: "light" | "dark"): Grouped {
  const counts = new Map<string | null, number>();
  for (const label of given) counts.set(label, (counts.get(label) ?? 0) + 1);
  const labels = [...counts.keys()].sort(
    (a, b) =>
      Number(a === null) - Number(b === null) ||
      (counts.get(b) ?? 0) - (counts.get(a) ?? 0) ||
      (a ?? "").localeCompare(b ?? ""),
  );
  const position = new Map(labels.map((label, i) => [label, i]));
  return {
    groups: labels.map((label, i) => ({
      label,
      name: nameOf(label),
      count: counts.get(label) ?? 0,
      colour: label === null ? UNLABELLED[theme] : colourOf(i, theme),
    })),
    membership: Uint16Array.from(given, (label) => position.get(label) ?? 0),
  };
}

/** At most `limit` of the positions, spread evenly over them, in their order. */
export function spread<T>(items: T[], limit: number): T[] {
  if (items.length <= limit) return items;
  return Array.from({ length: limit }, (_, i) => items[Math.floor((i * items.length) / limit)] as T);
}
