// An export as a file: fetched as it comes, its progress told, then saved.

import { exported, Problem, type ExportFormat } from "../api";
import { nameIn, save } from "../search/files";

export const FORMATS: { format: ExportFormat; name: string }[] = [
  { format: "csv", name: "CSV table" },
  { format: "geojson", name: "GeoJSON" },
  { format: "geoparquet", name: "GeoParquet" },
  { format: "parquet", name: "Parquet with vectors" },
  { format: "zip", name: "ZIP of pictures" },
];

const ENDINGS: Record<ExportFormat, string> = {
  csv: "csv",
  geojson: "geojson",
  geoparquet: "parquet",
  parquet: "parquet",
  zip: "zip",
};

/** Saves these tiles as a file; `progress` is told the bytes so far. */
export async function saveTiles(
  tileIds: string[],
  format: ExportFormat,
  progress: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const response = await exported({ format, tile_ids: tileIds, limit: tileIds.length }, signal);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let received = 0;
  const reader = response.body?.getReader();
  if (!reader) throw new Problem("The export is empty", "Try again.");
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      progress((received += part.value.length));
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Problem(
      "The export broke off",
      "The connection or the server failed half-way; nothing was saved. Try again, or select fewer pictures.",
    );
  }
  const blob = new Blob(parts, { type: response.headers.get("Content-Type") ?? "" });
  const usual = `worldsift-selection.${ENDINGS[format]}`;
  save(blob, nameIn(response.headers.get("Content-Disposition"), usual));
}
