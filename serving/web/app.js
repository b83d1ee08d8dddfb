// The search page: what the address says is what is shown.
//   /                 a sample of the archive
//   /?tile=<id>       what looks like that tile      (&k=48&exact=1)
//   / with an upload  what looks like a picture of yours; it lives in this page's memory only

import * as api from "./api.js";
import { card, skeletons } from "./cards.js";
import { showDetails } from "./details.js";
import { byId, element, picture } from "./dom.js";
import { bytes, count, fileName, placeAndDate, title } from "./format.js";
import { onPicture } from "./intake.js";

const SAMPLE = 24;
const COUNTS = [24, 48, 96, 192];
const READY_POLL_MS = 1500;

const uploads = new Map(); // number in the history entry -> File
let archive = null;
let seed = 0;
let underway = new AbortController();

const options = () => ({
  k: Number(byId("count").value) || COUNTS[0],
  exact: byId("exact").checked,
});

// Addresses ---------------------------------------------------------------------------------------

function addressOf(tileId) {
  const query = new URLSearchParams({ tile: tileId });
  const { k, exact } = options();
  if (k !== Number(byId("count").options[0]?.value)) query.set("k", k);
  if (exact) query.set("exact", "1");
  return `/?${query}`;
}

function readOptions(query) {
  const k = query.get("k");
  const select = byId("count");
  const known = [...select.options].some((option) => option.value === k);
  select.value = known ? k : (select.options[0]?.value ?? "");
  byId("exact").checked = query.get("exact") === "1";
}

function goTo(address, state = null) {
  history.pushState(state, "", address);
  show();
}

const searchTile = (tile) => goTo(addressOf(tile.tile_id));

function searchFile(file) {
  const limit = archive?.limits.max_upload_bytes;
  if (limit && file.size > limit) {
    showNotice("That picture is too large", `${file.name} has ${bytes(file.size)}; this server takes ${bytes(limit)}. Scale it down, or cut out the part to search by.`);
    return;
  }
  const upload = uploads.size + 1;
  uploads.set(upload, file);
  goTo("/", { upload, ...options() });
}

// What is shown -----------------------------------------------------------------------------------

async function show() {
  underway.abort();
  underway = new AbortController();
  const { signal } = underway;
  const query = new URLSearchParams(location.search);
  const tileId = query.get("tile");
  const file = uploads.get(history.state?.upload);
  byId("notice").hidden = true;
  byId("details").close();
  try {
    if (!archive) await loadArchive(signal);
    if (archive.rows === 0) return showEmptyArchive();
    if (tileId !== null) {
      readOptions(query);
      await showTileQuery(tileId, signal);
    } else if (file) {
      byId("count").value = history.state.k;
      byId("exact").checked = history.state.exact;
      await showFileQuery(file, signal);
    } else {
      await showStart(signal);
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof api.Problem)) throw error;
    if (error.slug === "not-ready") await waitUntilReady(error, signal);
    else showProblem(error);
  }
}

async function loadArchive(signal) {
  const asked = new URLSearchParams(location.search).has("tile");
  layout(asked ? "query" : "start", asked ? "Nearest pictures" : "From the archive");
  byId("results").replaceChildren(...skeletons(SAMPLE / 2));
  archive = await api.archive(signal);
  const { limits, featurizer, evaluation } = archive;
  const counts = COUNTS.filter((k) => k <= limits.max_k);
  byId("count").replaceChildren(
    ...(counts.length ? counts : [limits.max_k]).map((k) => element("option", { value: k }, `${k}`)),
  );
  const recall = recallOf(evaluation);
  byId("facts").replaceChildren(
    element("span", {}, element("b", {}, count(archive.rows)), archive.rows === 1 ? " picture" : " pictures"),
    element("span", { className: "wide" }, featurizer.backbone, " ", element("b", {}, `${featurizer.dim}-d`)),
    recall === null ? "" : element("span", {}, "recall@10 ", element("b", {}, recall.toFixed(3))),
  );
  byId("accepts").textContent = `JPEG, PNG, TIFF, WebP, GIF, up to ${bytes(limits.max_upload_bytes)}`;
  byId("about").textContent = `Archive “${archive.name}”, generation ${archive.generation}, ${archive.index.factory}, ${featurizer.metric} distance`;
}

const recallOf = (evaluation) => {
  const value = evaluation?.["recall_at_10"] ?? evaluation?.["recall@10"];
  return typeof value === "number" ? value : null;
};

function layout(state, heading) {
  byId("hero").hidden = state !== "start";
  byId("query").hidden = state !== "query";
  byId("shuffle").hidden = state !== "start";
  byId("options").hidden = state !== "query";
  byId("results-title").textContent = heading;
  byId("status").textContent = "";
}

async function showStart(signal) {
  document.title = `${archive.name} · Worldsift`;
  layout("start", "From the archive");
  byId("results").replaceChildren(...skeletons(Math.min(SAMPLE, archive.rows)));
  fill(await api.sample(SAMPLE, seed, signal));
}

async function showTileQuery(id, signal) {
  document.title = `Like ${fileName(id)} · Worldsift`;
  beginQuery(fileName(id), "");
  byId("query-picture").replaceChildren();
  // Asked together: the picture of the query stands there before the answer does.
  const answer = api.searchByTile(id, options(), signal);
  answer.catch(() => {}); // awaited below; the tile's own failure may come first
  const tile = await api.tile(id, signal);
  setQuery(picture(api.pictureUrl(tile, 256), "Your query", "Source unreadable", false), title(tile), placeAndDate(tile));
  finishQuery(await answer, id);
}

async function showFileQuery(file, signal) {
  const name = file.name || "Pasted picture";
  document.title = `Like ${name} · Worldsift`;
  const url = URL.createObjectURL(file);
  beginQuery(name, bytes(file.size));
  const ending = name.includes(".") ? name.split(".").pop().toUpperCase() : "picture";
  setQuery(picture(url, "Your query", `${ending} (no preview)`, false), name, `your picture, ${bytes(file.size)}`);
  signal.addEventListener("abort", () => URL.revokeObjectURL(url));
  finishQuery(await api.searchByFile(file, options(), signal), null);
}

function beginQuery(name, meta) {
  layout("query", "Nearest pictures");
  byId("query-name").textContent = name;
  byId("query-meta").textContent = meta;
  byId("status").textContent = "Searching…";
  byId("results").replaceChildren(...skeletons(Math.min(options().k, archive.rows, 24)));
  scrollTo({ top: 0 });
}

function setQuery(image, name, meta) {
  byId("query-picture").replaceChildren(image);
  byId("query-name").textContent = name;
  byId("query-meta").textContent = meta;
}

function finishQuery(answer, tileId) {
  const [{ hits }] = answer.results;
  const time = answer.took_ms < 10 ? answer.took_ms.toFixed(1) : Math.round(answer.took_ms);
  byId("status").textContent = `${hits.length} of ${count(archive.rows)} in ${time} ms`;
  fill(hits, tileId);
  // The card that was clicked is gone: the keyboard goes on from the new grid.
  if (document.activeElement === document.body) byId("results").focus({ preventScroll: true });
  if (!hits.length) showNotice("Nothing found", "The archive gave no neighbour. Switch on “Exact” to compare with every picture.");
}

function fill(tiles, selfId = null) {
  byId("results").replaceChildren(
    ...tiles.map((tile) =>
      card(tile, {
        href: addressOf(tile.tile_id),
        self: tile.tile_id === selfId,
        onSearch: searchTile,
        onDetails: (one) => showDetails(one, { href: addressOf(one.tile_id), onSearch: searchTile }),
      }),
    ),
  );
}

// When there is nothing to show -------------------------------------------------------------------

function showNotice(heading, text, actions = [], waiting = false) {
  byId("notice-title").textContent = heading;
  byId("notice-text").textContent = text;
  byId("notice-actions").replaceChildren(...actions);
  byId("notice").classList.toggle("waiting", waiting);
  byId("notice").hidden = false;
}

const stopped = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

function showProblem(problem) {
  byId("results").replaceChildren();
  byId("status").textContent = "";
  const again = element("button", { className: "button", type: "button", onclick: show }, "Try again");
  const home = element("a", { className: "button", href: "/" }, "To the start page");
  const mine = problem.status === 404 || problem.status === 413 || problem.status === 422;
  const other = element("button", { className: "button", type: "button", onclick: () => byId("file").click() }, "Choose another picture");
  showNotice(problem.title, stopped(problem.message), mine ? [other, home] : [again, home]);
}

function showEmptyArchive() {
  layout("start", "From the archive");
  byId("results").replaceChildren();
  byId("shuffle").hidden = true;
  showNotice("This archive is empty", "Index some imagery into it (python -m pipeline index SOURCE ROOT), then load this page again.");
}

async function waitUntilReady(problem, signal) {
  showNotice("One moment", `The server says: ${stopped(problem.message)}`, [], true);
  await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
  if (!signal.aborted) await show();
}

// Wiring ------------------------------------------------------------------------------------------

function changeOptions() {
  const tileId = new URLSearchParams(location.search).get("tile");
  if (tileId !== null) history.replaceState(null, "", addressOf(tileId));
  else history.replaceState({ ...history.state, ...options() }, "");
  show();
}

onPicture(searchFile);
byId("options").addEventListener("change", changeOptions);
byId("options").addEventListener("submit", (event) => event.preventDefault());
byId("shuffle").addEventListener("click", () => {
  seed = Math.floor(Math.random() * 2 ** 31);
  show();
});
byId("home").addEventListener("click", (event) => {
  if (event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  goTo("/");
});
addEventListener("popstate", show);
show();
