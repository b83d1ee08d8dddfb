// What goes over the wire: the records of serving/models, field by field.

/** West, south, east, north in degrees; west > east crosses the antimeridian. */
export type Bounds = [number, number, number, number];

export type Metric = "cosine" | "euclidean";
export type Strategy = "mean" | "best";
export type Quality = "fast" | "balanced" | "high";
export type ExportFormat = "csv" | "geojson" | "geoparquet" | "parquet" | "zip";

export interface TileOut {
  tile_id: string;
  uri: string;
  window: { x: number; y: number; width: number; height: number } | null;
  bounds: Bounds | null;
  datetime: string | null;
  label: string | null;
  valid_fraction: number | null;
  image_url: string;
  thumbnail_url: string;
  worldview_url: string | null;
}

export interface Hit extends TileOut {
  rank: number;
  distance: number;
  score: number;
  folded: string[];
}

export interface ExampleIn {
  tile_id?: string;
  embedding?: string;
  vector?: number[];
  image?: string;
  weight?: number;
}

export interface FilterIn {
  start?: string;
  end?: string;
  season?: { start: string; end: string };
  bbox?: Bounds;
  polygon?: GeoJSON.Polygon | GeoJSON.MultiPolygon;
  labels?: (string | null)[];
  uri_prefix?: string;
  min_valid_fraction?: number;
}

export interface ShapeIn {
  max_overlap?: number;
  overlap_by?: "window" | "place";
  duplicate_distance?: number;
  diversity?: number;
}

export interface Ask {
  positive: ExampleIn[];
  negative?: ExampleIn[];
  strategy?: Strategy;
  negative_weight?: number;
  filter?: FilterIn;
  shape?: ShapeIn;
  min_score?: number;
  include_examples?: boolean;
  quality?: Quality;
  exact?: boolean;
}

export interface SearchRequest extends Ask {
  k?: number;
  cursor?: string;
}

export interface SearchResponse {
  generation: string;
  metric: Metric;
  took_ms: number;
  matching: number | null;
  hits: Hit[];
  cursor: string | null;
}

export interface EmbedResponse {
  featurizer: string;
  dim: number;
  embeddings: { name: string; vector: number[]; embedding: string }[];
}

export interface FacetsOut {
  generation: string;
  matching: number;
  labels: { label: string; count: number }[];
  unlabelled: number;
  months: { month: string; count: number }[];
  undated: number;
  first: string | null;
  last: string | null;
  bounds: Bounds | null;
  unplaced: number;
}

export interface NearbyOut {
  tile: TileOut;
  same_place: TileOut[];
  adjacent: TileOut[];
}

export interface StatsOut {
  name: string;
  generation: string;
  loaded: string;
  rows: number;
  shards: number;
  removed: number;
  featurizer: {
    backbone: string;
    layer: string;
    dim: number;
    metric: Metric;
    input_px: number;
    fingerprint: string;
  };
  index: { factory: string; nlist: number; nprobe: number; rerank_factor: number };
  limits: {
    max_upload_bytes: number;
    max_upload_pixels: number;
    max_images: number;
    max_examples: number;
    max_k: number;
    max_results: number;
    max_batch: number;
  };
  evaluation: Record<string, unknown> | null;
  live_recall: { recall_at_10: number; samples: number; last: string } | null;
  refused: { generation: string; reason: string; at: string } | null;
}

export interface ExportRequest {
  format: ExportFormat;
  search?: Ask;
  tile_ids?: string[];
  filter?: FilterIn;
  limit?: number;
  labels?: Record<string, string>;
}

export interface SessionOut {
  required: boolean;
  scopes: ("read" | "admin")[];
}
