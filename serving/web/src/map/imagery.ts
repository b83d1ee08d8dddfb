// NASA's imagery beneath the map, where it can be reached.
//
// GIBS in EPSG:4326: tiles of 512 px from (-180, 90), 0.5625° per pixel at level 0, half of that at
// each further one (https://nasa-gibs.github.io/gibs-api-docs/access-basics).  Levels 0 and 1 do
// not divide the world's width, so tiles of theirs cannot be repeated east of 180°: left out.

import TileLayer from "ol/layer/Tile";
import XYZ from "ol/source/XYZ";
import TileGrid from "ol/tilegrid/TileGrid";

const GIBS = "https://gibs.earthdata.nasa.gov/wmts/epsg4326/best";
const BLUE_MARBLE = `${GIBS}/BlueMarble_ShadedRelief_Bathymetry/default/500m/{z}/{y}/{x}.jpeg`;
const PROBED = `${GIBS}/BlueMarble_ShadedRelief_Bathymetry/default/500m/0/0/0.jpeg`;
const ATTRIBUTION =
  'Imagery: <a href="https://earthdata.nasa.gov/gibs" target="_blank" rel="noopener">NASA GIBS</a>';
const PROBE_TIMEOUT_MS = 4_000;
const MEMORY = "worldsift.gibs";
/** So many tiles that fail, with none that comes, and the network is held to be gone. */
const FAILURES_ALLOWED = 4;

let probe: Promise<boolean> | null = null;

/** Whether GIBS answers; asked once in a session, so that a closed network is not asked for tiles. */
export function imageryReachable(): Promise<boolean> {
  probe ??= ask();
  return probe;
}

async function ask(): Promise<boolean> {
  const known = recalled();
  if (known !== null) return known;
  if (!navigator.onLine) return false;
  let reached = false;
  try {
    const answer = await fetch(PROBED, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS), credentials: "omit" });
    reached = answer.ok;
  } catch {
    reached = false; // No network, a proxy's refusal, a time-out: all mean the outline alone.
  }
  remember(reached);
  return reached;
}

// Storage is refused to pages in some privacy modes; the probe is then made once a page.
function recalled(): boolean | null {
  try {
    const text = sessionStorage.getItem(MEMORY);
    return text === null ? null : text === "yes";
  } catch {
    return null;
  }
}

function remember(reached: boolean): void {
  try {
    sessionStorage.setItem(MEMORY, reached ? "yes" : "no");
  } catch {
    // As above.
  }
}

function grid(levels: number): TileGrid {
  return new TileGrid({
    extent: [-180, -90, 180, 90],
    origin: [-180, 90],
    resolutions: Array.from({ length: levels }, (_, level) => 0.5625 / 2 ** level),
    tileSize: 512,
    minZoom: 2,
  });
}

function layerOf(url: string, levels: number, zIndex: number, lost: () => void): TileLayer<XYZ> {
  const source = new XYZ({
    url,
    tileGrid: grid(levels),
    projection: "EPSG:4326",
    attributions: ATTRIBUTION,
    wrapX: true,
  });
  let failures = 0;
  source.on("tileloadend", () => (failures = 0));
  source.on("tileloaderror", () => {
    failures += 1;
    if (failures === FAILURES_ALLOWED) lost();
  });
  return new TileLayer({ source, zIndex });
}

/** The whole Earth without clouds, of no date.  `lost` is called when its tiles stop coming. */
export function blueMarble(lost: () => void): TileLayer<XYZ> {
  return layerOf(BLUE_MARBLE, 8, 2, () => {
    remember(false);
    probe = Promise.resolve(false);
    lost();
  });
}

/** True colour from Terra's MODIS on a day, YYYY-MM-DD; days before 2000-02-24 have no tiles. */
export function dayImagery(day: string, lost: () => void): TileLayer<XYZ> {
  const layer = `${GIBS}/MODIS_Terra_CorrectedReflectance_TrueColor/default/${day}/250m/{z}/{y}/{x}.jpg`;
  return layerOf(layer, 9, 3, lost);
}
