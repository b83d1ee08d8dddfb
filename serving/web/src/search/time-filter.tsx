// When: the months of the archive as bars, two sliders over them, and the season.

import { useState } from "preact/hooks";
import { count, month } from "../format";
import { matching, whole } from "../state/facets";
import { address, filterBy } from "../state/store";
import { bins, dayRange, monthsBetween, position } from "./months";

const MONTHS = Array.from({ length: 12 }, (_, i) => ({
  from: `${String(i + 1).padStart(2, "0")}-01`,
  // A season that ends in February ends with its 29th, where there is one.
  to: `${String(i + 1).padStart(2, "0")}-${[31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][i]}`,
  name: new Intl.DateTimeFormat("en", { month: "short", timeZone: "UTC" }).format(
    new Date(Date.UTC(2021, i, 15)),
  ),
}));

export function TimeFilter() {
  if (!whole.value) return <p class="meta">…</p>;
  const all = whole.value.months;
  if (!all.length) return <p class="meta">No picture of this archive has a date.</p>;
  return (
    <div class="time">
      <TimeRange all={all} />
      <Season />
    </div>
  );
}

type Months = { month: string; count: number }[];

function TimeRange({ all }: { all: Months }) {
  const { start, end } = address.value.filters;
  const months = monthsBetween(all[0]?.month ?? "", all.at(-1)?.month ?? "");
  const last = months.length - 1;
  const [from, to] = [position(start, months, 0), position(end, months, last)];
  // While a thumb is dragged, only the text follows it.
  const [held, setHeld] = useState<[number, number] | null>(null);
  const [low, high] = held ?? [from, to];
  const settle = (range: [number, number]) => {
    setHeld(null);
    filterBy(dayRange(months, range), "time");
  };
  const drag = (which: 0 | 1) => (event: { currentTarget: HTMLInputElement }) => {
    const value = Number(event.currentTarget.value);
    const range: [number, number] =
      which === 0 ? [Math.min(value, high), high] : [low, Math.max(value, low)];
    event.currentTarget.value = String(range[which]);
    return range;
  };
  const slider = (which: 0 | 1, name: string) => (
    <input
      type="range"
      aria-label={name}
      aria-valuetext={month(months[which ? high : low] ?? "2000-01")}
      min={0}
      max={last}
      value={which ? high : low}
      onInput={(event) => setHeld(drag(which)(event))}
      onChange={(event) => settle(drag(which)(event))}
    />
  );
  return (
    <>
      <Bars months={months} all={all} low={low} high={high} />
      <div class="sliders">
        {slider(0, "From month")}
        {slider(1, "To month")}
      </div>
      <p class="range-text">
        <span>{month(months[low] ?? "2000-01")}</span>
        <span>{month(months[high] ?? "2000-01")}</span>
      </p>
      <div class="days">
        <label class="field">
          <span class="name">From day</span>
          <input
            type="date"
            id="from-day"
            value={start}
            max={end || undefined}
            onChange={(event) => filterBy({ start: event.currentTarget.value })}
          />
        </label>
        <label class="field">
          <span class="name">To day</span>
          <input
            type="date"
            id="to-day"
            value={end}
            min={start || undefined}
            onChange={(event) => filterBy({ end: event.currentTarget.value })}
          />
        </label>
      </div>
    </>
  );
}

function Bars({
  months,
  all,
  low,
  high,
}: {
  months: string[];
  all: Months;
  low: number;
  high: number;
}) {
  const left = matching.value?.months ?? [];
  const groups = bins(months, all, left);
  const most = Math.max(1, ...groups.map((group) => group.all));
  const width = 100 / groups.length;
  // By the square root: one day with a large scene does not press all others flat.
  const height = (value: number) => (value ? Math.max(2, Math.sqrt(value / most) * 46) : 0);
  return (
    <svg
      class="bars"
      viewBox="0 0 100 48"
      preserveAspectRatio="none"
      role="img"
      aria-label={`Pictures by month: ${count(all.reduce((sum, one) => sum + one.count, 0))} with a date`}
    >
      {groups.map((group, i) => {
        const inside = group.last >= low && group.first <= high;
        const bar = (value: number, name: string) => (
          <rect
            class={name}
            x={i * width}
            width={Math.max(0.4, width - Math.min(0.8, width / 4))}
            y={48 - height(value)}
            height={height(value)}
          />
        );
        return (
          <g key={group.first} class={inside ? "inside" : "outside"}>
            <title>{`${month(months[group.first] ?? "2000-01")}: ${count(group.left)} of ${count(group.all)}`}</title>
            {bar(group.all, "all")}
            {bar(group.left, "left")}
          </g>
        );
      })}
    </svg>
  );
}

function Season() {
  const { season } = address.value.filters;
  const from = season ? season.start : "";
  const to = season ? season.end : "";
  const choose = (start: string, end: string) =>
    filterBy({ season: start && end ? { start, end } : null });
  const known = (days: string[], one: string) =>
    one && !days.includes(one) ? [...days, one] : days;
  return (
    <div class="days season">
      <label class="field">
        <span class="name">Every year from</span>
        <select
          id="season-from"
          value={from}
          onChange={(event) =>
            choose(
              event.currentTarget.value,
              to || (MONTHS.find((one) => one.from === event.currentTarget.value)?.to ?? ""),
            )
          }
        >
          <option value="">any month</option>
          {known(
            MONTHS.map((one) => one.from),
            from,
          ).map((day) => (
            <option key={day} value={day}>
              {MONTHS.find((one) => one.from === day)?.name ?? day}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span class="name">to</span>
        <select
          id="season-to"
          value={to}
          disabled={!season}
          onChange={(event) => choose(from, event.currentTarget.value)}
        >
          {!season && <option value="">any month</option>}
          {known(
            MONTHS.map((one) => one.to),
            to,
          ).map((day) => (
            <option key={day} value={day}>
              {MONTHS.find((one) => one.to === day)?.name ?? day}
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}
