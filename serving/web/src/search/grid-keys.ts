// Where the focus goes in a grid of cards, and what keys do on one.  Pure.

/** Columns of a grid whose cards begin at these heights: as many as the first row has. */
export function columnsOf(tops: number[]): number {
  const [first = 0] = tops;
  const next = tops.findIndex((top) => top > first + 1);
  return Math.max(1, next < 0 ? tops.length : next);
}

/** The index that ``key`` leads to from ``index``; null when it is no key of movement. */
export function moved(key: string, index: number, columns: number, count: number): number | null {
  const steps: Record<string, number> = {
    ArrowRight: 1,
    ArrowLeft: -1,
    ArrowDown: columns,
    ArrowUp: -columns,
    PageDown: 3 * columns,
    PageUp: -3 * columns,
    Home: -index,
    End: count - 1 - index,
  };
  const step = steps[key];
  if (step === undefined || count === 0) return null;
  const to = index + step;
  if (key === "ArrowUp" && to < 0) return index;
  // From above a last row that is not full, down goes to its end.
  return Math.min(Math.max(to, 0), count - 1);
}

export type CardAction =
  | "positive"
  | "negative"
  | "unmark"
  | "only"
  | "details"
  | "select"
  | "range";

export function actionOf(key: string, shift: boolean): CardAction | null {
  if (key === " ") return shift ? "range" : "select";
  const actions: Record<string, CardAction> = {
    p: "positive",
    n: "negative",
    x: "unmark",
    s: "only",
    i: "details",
  };
  return actions[key.toLowerCase()] ?? null;
}
