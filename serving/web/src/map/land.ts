// Land for a flat map.  The atlas is made for globes: its rings run over the antimeridian and around
// the pole, which on a flat map would be bars from one edge to the other.

import type { MultiPolygon, Polygon } from "geojson";
import { feature } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";

import { piecesOf, type Ring } from "./geometry";

export type LandTopology = Topology<{ land: GeometryCollection }>;

/** The ring with no step over the antimeridian: longitudes run on past it.  Around a pole, with it. */
function unrolled(ring: Ring): Ring {
  const flat: Ring = [];
  let turn = 0;
  let before: number | null = null;
  for (const [x = 0, y = 0] of ring) {
    if (before !== null && Math.abs(x - before) > 180) turn += x < before ? 360 : -360;
    flat.push([x + turn, y]);
    before = x;
  }
  if (turn === 0) return flat;
  const [firstX = 0, firstY = 0] = flat[0] ?? [];
  const pole = firstY < 0 ? -90 : 90;
  return [...flat, [flat.at(-1)?.[0] ?? 0, pole], [firstX, pole], [firstX, firstY]];
}

function holds(outer: Ring, hole: Ring): boolean {
  const longitudes = outer.map((position) => position[0] ?? 0);
  const [x = 0] = hole[0] ?? [];
  return x >= Math.min(...longitudes) && x <= Math.max(...longitudes);
}

/** A polygon of the globe as polygons of the flat world from -180 to 180. */
export function flattened(rings: Ring[]): Ring[][] {
  const [outer = [], ...holes] = rings;
  const flatHoles = holes.flatMap((hole) => piecesOf(unrolled(hole)));
  return piecesOf(unrolled(outer)).map((piece) => [
    piece,
    ...flatHoles.filter((hole) => holds(piece, hole)),
  ]);
}

/** All land of an atlas file. */
export function landOf(topology: LandTopology): MultiPolygon {
  const polygons = feature(topology, topology.objects.land).features.flatMap(({ geometry }) => {
    const shape = geometry as Polygon | MultiPolygon;
    return shape.type === "Polygon" ? [shape.coordinates] : shape.coordinates;
  });
  return { type: "MultiPolygon", coordinates: polygons.flatMap(flattened) };
}
