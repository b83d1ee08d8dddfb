// The projection from the server: asked for until it is there.

import { isAbort, Problem, request } from "../api";
import type { TileOut } from "../wire";
import { Neighbourhood } from "./nearest";

/** Points on the plane from -1 to 1; the arrays are as long as `tiles`. */
export interface Projection {
  generation: string;
  method: "umap" | "pca" | null;
  xs: Float32Array;
  ys: Float32Array;
  tiles: TileOut[];
  places: Neighbourhood;
}

interface MapOut {
  status: "ready" | "computing" | "failed";
  generation: string;
  method: "umap" | "pca" | null;
  x: number[];
  y: number[];
  tiles: TileOut[];
}

/** How far it is; `waiting` says why there is nothing to see yet. */
export type Loaded =
  | { status: "waiting"; reason: "asking" | "computing" | "not ready"; since: number }
  | { status: "failed"; title: string; detail: string; signIn: boolean }
  | { status: "ready"; projection: Projection };

const POLL_S = 1.5;

/** Tells `report` how it goes, until the projection is there or cannot be had, or `signal` ends it. */
export async function loadProjection(report: (loaded: Loaded) => void, signal: AbortSignal): Promise<void> {
  const since = Date.now();
  report({ status: "waiting", reason: "asking", since });
  while (!signal.aborted) {
    try {
      const response = await request("/v1/map", { signal });
      const answer = (await response.json()) as MapOut;
      if (answer.status === "ready") return report({ status: "ready", projection: projectionOf(answer) });
      if (answer.status === "failed") return report(failed());
      report({ status: "waiting", reason: "computing", since });
      await pause(Number(response.headers.get("Retry-After")) || POLL_S, signal);
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof Problem)) throw error;
      if (!error.passes) {
        const { title, message } = error;
        return report({ status: "failed", title, detail: message, signIn: error.status === 401 });
      }
      report({ status: "waiting", reason: "not ready", since });
      await pause(error.retryAfterS ?? POLL_S, signal);
    }
  }
}

function failed(): Loaded {
  return {
    status: "failed",
    title: "The map could not be laid out",
    detail: "The server's log says why. Searching is not touched by it.",
    signIn: false,
  };
}

function projectionOf({ generation, method, x, y, tiles }: MapOut): Projection {
  const [xs, ys] = [Float32Array.from(x), Float32Array.from(y)];
  return { generation, method, xs, ys, tiles, places: new Neighbourhood(xs, ys) };
}

function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
