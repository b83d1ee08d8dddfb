// Results as a file: which of them, in what format; and how far it is.

import { signal } from "@preact/signals";
import { useRef, useState } from "preact/hooks";
import * as api from "../api";
import { bytes, count, plural, sentence } from "../format";
import { matching } from "../state/facets";
import { askOf, filterOf } from "../state/request";
import { results } from "../state/searching";
import { selected } from "../state/selection";
import { address, hasQuery, said, stats } from "../state/store";
import type { ExportFormat, ExportRequest } from "../wire";
import { nameIn, save } from "./files";
import { Modal } from "./modal";

const shown = signal(false);
export const openExport = (): void => void (shown.value = true);

const FORMATS: { format: ExportFormat; name: string; of: string }[] = [
  { format: "csv", name: "CSV", of: "a table for any program" },
  { format: "geojson", name: "GeoJSON", of: "footprints for web maps and QGIS" },
  { format: "geoparquet", name: "GeoParquet", of: "footprints for GeoPandas, QGIS, DuckDB" },
  { format: "parquet", name: "Parquet", of: "with the vectors, for training" },
  { format: "zip", name: "ZIP", of: "the pictures, in folders by label" },
];
const ENDINGS: Record<ExportFormat, string> = {
  csv: "csv",
  geojson: "geojson",
  geoparquet: "parquet",
  parquet: "parquet",
  zip: "zip",
};
const LIMITS = [100, 1000, 10_000, 100_000];

type Which = "selection" | "shown" | "search" | "filter";

export function ExportDialog() {
  return shown.value ? <Dialog onClose={() => (shown.value = false)} /> : null;
}

function choices(): { which: Which; name: string }[] {
  const ticked = selected.value.size;
  const onPage = results.value?.tiles.length ?? 0;
  return [
    ...(ticked
      ? [{ which: "selection" as const, name: `The ${plural(ticked, "selected picture")}` }]
      : []),
    ...(onPage
      ? [{ which: "shown" as const, name: `The ${plural(onPage, "picture")} shown${hasQuery.value ? ", without scores" : ""}` }]
      : []),
    ...(hasQuery.value ? [{ which: "search" as const, name: "The whole search with scores, best first" }] : []),
    ...(!hasQuery.value && filterOf(address.value.filters)
      ? [
          {
            which: "filter" as const,
            name: `All that the filters leave${matching.value ? ` (${count(matching.value.matching)})` : ""}`,
          },
        ]
      : []),
  ];
}

function requestOf(which: Which, format: ExportFormat, limit: number): ExportRequest {
  const ids =
    which === "selection"
      ? [...selected.value.keys()]
      : (results.value?.tiles ?? []).map((tile) => tile.tile_id);
  if (which === "search") return { format, search: askOf(address.value), limit };
  if (which === "filter") return { format, filter: filterOf(address.value.filters) ?? {}, limit };
  return { format, tile_ids: ids, limit: ids.length };
}

/** Reads the answer as it comes, telling how many bytes have come. */
async function received(answer: Response, tell: (size: number) => void): Promise<Blob> {
  const parts: BlobPart[] = [];
  let size = 0;
  const reader = answer.body?.getReader();
  for (;;) {
    const step = await reader?.read();
    if (!step || step.done) break;
    parts.push(step.value as Uint8Array<ArrayBuffer>);
    size += step.value.byteLength;
    tell(size);
  }
  return new Blob(parts, { type: answer.headers.get("Content-Type") ?? "" });
}

function Dialog({ onClose }: { onClose: () => void }) {
  const offered = choices();
  const [which, setWhich] = useState<Which>(offered[0]?.which ?? "shown");
  const [format, setFormat] = useState<ExportFormat>("csv");
  const [limit, setLimit] = useState(1000);
  const [size, setSize] = useState<number | null>(null);
  const [trouble, setTrouble] = useState("");
  const running = useRef(new AbortController());
  const most = stats.value?.limits.max_results ?? LIMITS.at(-1) ?? 0;

  const start = async () => {
    running.current = new AbortController();
    setTrouble("");
    setSize(0);
    try {
      const answer = await api.exported(
        requestOf(which, format, Math.min(limit, most)),
        running.current.signal,
      );
      const blob = await received(answer, setSize);
      const usual = `worldsift-${stats.value?.name ?? "export"}.${ENDINGS[format]}`;
      save(blob, nameIn(answer.headers.get("Content-Disposition"), usual));
      said.value = `The export of ${bytes(blob.size)} is done.`;
      onClose();
    } catch (error) {
      if (!api.isAbort(error)) setTrouble(reasonOf(error));
    } finally {
      setSize(null);
    }
  };
  const close = () => {
    running.current.abort();
    onClose();
  };

  return (
    <Modal id="export" title="Export" onClose={close}>
      <fieldset class="options" disabled={size !== null}>
        <legend>Which</legend>
        {offered.map((one) => (
          <label class="choice" key={one.which}>
            <input
              type="radio"
              name="which"
              value={one.which}
              checked={which === one.which}
              onChange={() => setWhich(one.which)}
            />
            <span>{one.name}</span>
          </label>
        ))}
        {(which === "search" || which === "filter") && (
          <label class="field limit">
            <span class="name">At most</span>
            <select
              id="export-limit"
              value={String(limit)}
              onChange={(event) => setLimit(Number(event.currentTarget.value))}
            >
              {LIMITS.filter((one) => one <= most).map((one) => (
                <option key={one} value={String(one)}>
                  {count(one)}
                </option>
              ))}
            </select>
          </label>
        )}
      </fieldset>
      <fieldset class="options" disabled={size !== null}>
        <legend>Format</legend>
        {FORMATS.map((one) => (
          <label class="choice" key={one.format}>
            <input
              type="radio"
              name="format"
              value={one.format}
              checked={format === one.format}
              onChange={() => setFormat(one.format)}
            />
            <span>
              <b>{one.name}</b> <span class="meta">{one.of}</span>
            </span>
          </label>
        ))}
      </fieldset>
      {trouble && (
        <p class="trouble" role="alert">
          {trouble}
        </p>
      )}
      <div class="dialog-foot">
        <p class="meta" role="status">
          {size === null
            ? ""
            : size === 0
              ? "The server is preparing it…"
              : `${bytes(size)} received…`}
        </p>
        {size === null ? (
          <button
            class="button primary"
            type="button"
            id="export-start"
            onClick={() => void start()}
          >
            Export
          </button>
        ) : (
          <button class="button" type="button" onClick={() => running.current.abort()}>
            Stop
          </button>
        )}
      </div>
      {size !== null && <progress aria-label="Export" />}
    </Modal>
  );
}

function reasonOf(error: unknown): string {
  if (error instanceof api.Problem) return `${error.title}. ${sentence(error.message)}`;
  // The connection broke after the first bytes: what came is not whole, and is thrown away.
  if (error instanceof TypeError) {
    return "The transfer broke off and nothing was kept. Try again; if it stays so, export fewer, or look at the server's log.";
  }
  throw error;
}
