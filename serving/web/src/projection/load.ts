// The projection from the server: asked for until it is there.

import { isAbort, Problem, request } from "../api";
import { Neighbourhood } from "./nearest";

/** Points on the plane from -1 to 1, each a tile: columns of equal length. */
export interface Projection {
  generation: string;
  method: "umap" | "pca" | null;
  xs: Float32Array;
  ys: Float32Array;
  tileIds: string[];
  labels: (string | null)[];
  places: Neighbourhood;
}

interface MapOut {
  status: "ready" | "computing" | "failed";
  generation: string;
  method: "umap" | "pca" | null;
  stage: string | null;
  progress: number;
  x: number[];
  y: number[];
  tile_ids: string[];
  labels: (string | null)[];
}

/** Why there is nothing to see yet, since when, and, once it is computed, how far that is. */
export interface Waiting {
  status: "waiting";
  reason: "asking" | "computing" | "not ready";
  since: number;
  stage: string | null;
  progress: number | null;
}

export type Loaded =
  | Waiting
  | { status: "failed"; title: string; detail: string; signIn: boolean }
  | { status: "ready"; projection: Projection };

const POLL_S = 1.5;

/** Nothing known yet, from now on. */
export const asking = (): Waiting => ({
  status: "waiting",
  reason: "asking",
  since: Date.now(),
  stage: null,
  progress: null,
});

/** Tells `report` how it goes, until the projection is there or cannot be had, or `signal` ends it. */
export async function loadProjection(report: (loaded: Loaded) => void, signal: AbortSignal): Promise<void> {
  const wait = asking();
  report(wait);
  while (!signal.aborted) {
    try {
      const response = await request("/v1/map", { signal });
      const answer = (await response.json()) as MapOut;
      if (answer.status === "ready") return report({ status: "ready", projection: projectionOf(answer) });
      if (answer.status === "failed") return report(failed());
      report({ ...wait, reason: "computing", stage: answer.stage, progress: answer.progress });
      await pause(Number(response.headers.get("Retry-After")) || POLL_S, signal);
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof Problem)) throw error;
      if (!error.passes) {
        const { title, message } = error;
        return report({ status: "failed", title, detail: message, signIn: error.status === 401 });
      }
      report({ ...wait, reason: "not ready" });
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

function projectionOf(answer: MapOut): Projection {
  const { generation, method, labels } = answer;
  const [xs, ys] = [Float32Array.from(answer.x), Float32Array.from(answer.y)];
  return { generation, method, xs, ys, tileIds: answer.tile_ids, labels, places: new Neighbourhood(xs, ys) };
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
