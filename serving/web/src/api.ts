// The service's HTTP interface, typed.  Every failure is a Problem: a title, and what to do.

import type {
  EmbedResponse,
  ExportRequest,
  FacetsOut,
  FilterIn,
  NearbyOut,
  SearchRequest,
  SearchResponse,
  SessionOut,
  StatsOut,
  TileOut,
} from "./wire";

export type * from "./wire";

/** An error as people are told it; ``message`` says what to do, ``slug`` which error it is. */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly title: string;
  readonly status: number;
  readonly slug: string;
  readonly retryAfterS: number | null;

  constructor(
    title: string,
    detail: string,
    { status = 0, slug = "", retryAfterS = null as number | null } = {},
  ) {
    super(detail);
    this.title = title;
    this.status = status;
    this.slug = slug;
    this.retryAfterS = retryAfterS;
  }

  /** Whether the same request is worth sending again in a moment. */
  get passes(): boolean {
    return this.status === 503 || this.status === 429;
  }
}

export const isAbort = (error: unknown): boolean =>
  error instanceof DOMException && error.name === "AbortError";

/** The answer, whatever is in its body; a Problem when it is not a success. */
export async function request(path: string, options: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new Problem(
      "The server does not answer",
      "Check that it is still running and that this device can reach it, then try again.",
    );
  }
  if (response.ok) return response;
  throw await problemOf(response);
}

async function problemOf(response: Response): Promise<Problem> {
  const said = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  const text = (key: string) => (typeof said[key] === "string" ? said[key] : undefined);
  const retry = Number(response.headers.get("Retry-After") ?? "");
  return new Problem(
    text("title") ?? `The server answered ${response.status}`,
    text("detail") ?? "Try again; if it stays so, the server's log says why.",
    {
      status: response.status,
      slug: text("type")?.split(":").pop() ?? "",
      retryAfterS: retry > 0 ? retry : null,
    },
  );
}

const read = async <T>(path: string, options?: RequestInit): Promise<T> =>
  (await request(path, options)).json() as Promise<T>;

const posted = (body: unknown, signal?: AbortSignal): RequestInit => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
  signal: signal ?? null,
});

const within = (signal?: AbortSignal): RequestInit => ({ signal: signal ?? null });
const tilePath = (id: string) => `/v1/tiles/${encodeURIComponent(id)}`;

export const stats = (signal?: AbortSignal) => read<StatsOut>("/v1/stats", within(signal));

export const sample = async (count: number, seed: number, signal?: AbortSignal) =>
  (await read<{ tiles: TileOut[] }>(`/v1/tiles?sample=${count}&seed=${seed}`, within(signal)))
    .tiles;

export const tile = (id: string, signal?: AbortSignal) =>
  read<TileOut>(tilePath(id), within(signal));

export const nearby = (id: string, limit: number, signal?: AbortSignal) =>
  read<NearbyOut>(`${tilePath(id)}/nearby?limit=${limit}`, within(signal));

export const search = (asked: SearchRequest, signal?: AbortSignal) =>
  read<SearchResponse>("/v1/search", posted(asked, signal));

export const facets = (filter: FilterIn, maxLabels: number, signal?: AbortSignal) =>
  read<FacetsOut>("/v1/facets", posted({ filter, max_labels: maxLabels }, signal));

/** The embedding texts of pictures, in their order. */
export async function embed(files: File[], signal?: AbortSignal): Promise<EmbedResponse> {
  const form = new FormData();
  for (const file of files) form.append("image", file, file.name || "picture.png");
  return read<EmbedResponse>("/v1/embed", { method: "POST", body: form, signal: signal ?? null });
}

/** The open answer of an export, to be read as it comes. */
export const exported = (asked: ExportRequest, signal?: AbortSignal) =>
  request("/v1/export", posted(asked, signal));

export const session = (signal?: AbortSignal) => read<SessionOut>("/v1/session", within(signal));
export const signIn = (key: string) => read<SessionOut>("/v1/session", posted({ key }));
export const signOut = async () => {
  await request("/v1/session", { method: "DELETE" });
};

/** Where a tile's picture is: at most ``size`` px on its longer side, or as stored without it. */
export function pictureUrl(
  tile: Pick<TileOut, "image_url">,
  size?: number,
  format: "jpeg" | "png" = "jpeg",
): string {
  const more = new URLSearchParams();
  if (size) more.set("size", String(size));
  if (format !== "jpeg") more.set("format", format);
  const text = more.toString();
  if (!text) return tile.image_url;
  return `${tile.image_url}${tile.image_url.includes("?") ? "&" : "?"}${text}`;
}
