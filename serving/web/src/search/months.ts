// Months as the places of a slider.  Pure; a month is "2021-07", a day "2021-07-31".

export interface MonthCount {
  month: string;
  count: number;
}

/** One bar: months ``first`` to ``last`` of the slider, all their pictures and those left. */
export interface Bin {
  first: number;
  last: number;
  all: number;
  left: number;
}

const MOST_BARS = 60;
const MOST_MONTHS = 12 * 400; // from the first photograph on, with room

const ordinal = (month: string): number =>
  Number(month.slice(0, 4)) * 12 + Number(month.slice(5, 7)) - 1;

/** Every month from ``first`` to ``last``. */
export function monthsBetween(first: string, last: string): string[] {
  const begin = ordinal(first);
  const length = Math.min(Math.max(1, ordinal(last) - begin + 1), MOST_MONTHS);
  return Array.from({ length }, (_, i) => {
    const at = begin + i;
    return `${String(Math.floor(at / 12)).padStart(4, "0")}-${String((at % 12) + 1).padStart(2, "0")}`;
  });
}

/** Where the month of ``day`` is among ``months``, cut off at their ends; ``open`` for no day. */
export function position(day: string, months: string[], open: number): number {
  if (!day || !months[0]) return open;
  return Math.min(Math.max(ordinal(day.slice(0, 7)) - ordinal(months[0]), 0), months.length - 1);
}

/** The days from the first of one month to the end of another, "" where the range is not cut. */
export function dayRange(
  months: string[],
  [low, high]: [number, number],
): { start: string; end: string } {
  const to = months[high] ?? "";
  const days = new Date(Date.UTC(Number(to.slice(0, 4)), Number(to.slice(5, 7)), 0)).getUTCDate();
  return {
    start: low > 0 ? `${months[low]}-01` : "",
    end: high < months.length - 1 ? `${to}-${days}` : "",
  };
}

/** Counts by month as at most sixty bars, several months to a bar where there are more. */
export function bins(months: string[], all: MonthCount[], left: MonthCount[]): Bin[] {
  const width = Math.ceil(months.length / MOST_BARS);
  const begin = ordinal(months[0] ?? "0000-01");
  const made: Bin[] = [];
  for (let first = 0; first < months.length; first += width) {
    made.push({ first, last: Math.min(first + width, months.length) - 1, all: 0, left: 0 });
  }
  const add = (counts: MonthCount[], key: "all" | "left") => {
    for (const { month, count } of counts) {
      const bin = made[Math.floor((ordinal(month) - begin) / width)];
      if (bin) bin[key] += count;
    }
  };
  add(all, "all");
  add(left, "left");
  return made;
}
