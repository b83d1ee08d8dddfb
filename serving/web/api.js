// The service's HTTP interface. Every failure is a Problem with a title and what to do.

export class Problem extends Error {
  constructor(title, detail, status = 0, slug = "") {
    super(detail);
    this.title = title;
    this.status = status;
    this.slug = slug;
  }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(
      "The server does not answer",
      "Check that it is still running and that this device can reach it, then try again.",
    );
  }
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  throw new Problem(
    problem.title ?? `The server answered ${response.status}`,
    problem.detail ?? "Try again; if it stays so, the server's log says why.",
    response.status,
    (problem.type ?? "").split(":").pop(),
  );
}

export const archive = (signal) => request("/v1/archive", { signal });

export const sample = (count, seed, signal) =>
  request(`/v1/tiles?sample=${count}&seed=${seed}`, { signal }).then((answer) => answer.tiles);

export const tile = (id, signal) => request(`/v1/tiles/${encodeURIComponent(id)}`, { signal });

export function searchByTile(id, { k, exact }, signal) {
  return request("/v1/search", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ tile_ids: [id], k, exact }),
    signal,
  });
}

export function searchByFile(file, { k, exact }, signal) {
  const form = new FormData();
  form.append("image", file, file.name || "pasted picture");
  form.append("k", k);
  form.append("exact", exact);
  return request("/v1/search", { method: "POST", body: form, signal });
}

// image_url already has a query (?v=...).
export const pictureUrl = (tile, size, format = "jpeg") =>
  `${tile.image_url}${size ? `&size=${size}` : ""}${format === "jpeg" ? "" : `&format=${format}`}`;
