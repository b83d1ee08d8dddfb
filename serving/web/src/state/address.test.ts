import { describe, expect, it } from "vitest";
import { arranged, decode, encode, likeTiles, START, type Address, type Example } from "./address";

/** What an address says after it went through a browser's location. */
function through(address: Address): Address {
  const url = new URL(encode(address), "http://here/");
  return decode(url.search, url.hash);
}

// Numbers between 0 and 1 that are the same in every run (mulberry32).
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const ODD_IDS = [
  "gs://imagery/2021/scene.tif#512,256,256,256",
  "/a b/50 % off #1, naïve?.png",
  "2*scene.tif",
  "a+b&c=d;e",
  "  spaces  ",
  "日本/衛星.tif#0,0,9,9",
  "x\ny",
];
const ODD_LABELS = ["coast", "a,b", "&like=x", "0"];

function anyAddress(next: () => number): Address {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T;
  const some = <T>(list: readonly T[]): T[] => list.filter(() => next() < 0.4);
  const weight = () => pick([1, 1, 0.25, 2, 37.5, 1000]);
  const tiles = (ids: string[]): Example[] =>
    ids.map((id) => ({ kind: "tile", id, weight: weight(), name: "" }));
  const upload = (id: string): Example => ({
    kind: "upload",
    id,
    weight: weight(),
    name: pick(["", "photo.jpg", "my photo (2).png", "été & co.tif"]),
  });
  const degrees = (most: number) => Number((next() * 2 * most - most).toFixed(5));
  const [south, north] = [degrees(90), degrees(90)].sort((a, b) => a - b) as [number, number];
  const corner: [number, number] = [degrees(180), degrees(90)];
  return {
    positive: arranged([...some(["e1.AbC-_9", "e1.zz"]).map(upload), ...tiles(some(ODD_IDS))]),
    negative: arranged([...some(["e1.Neg_1"]).map(upload), ...tiles(some(ODD_IDS))]),
    strategy: pick(["mean", "best"]),
    negativeWeight: pick([0, 0.5, 2.5]),
    filters: {
      start: pick(["", "2019-02-28"]),
      end: pick(["", "2024-02-29"]),
      season: pick([null, { start: "12-01", end: "02-29" }]),
      region: pick([
        null,
        { kind: "bbox", bbox: [degrees(180), south, degrees(180), north] },
        {
          kind: "polygon",
          polygon: {
            type: "Polygon",
            coordinates: [[corner, [degrees(180), degrees(90)], [190.5, degrees(90)], corner]],
          },
        },
      ]),
      labels: [...some(ODD_LABELS), ...some([null])], // null last, as an address has it
      uriPrefix: pick(["", "gs://a b/#?"]),
      minValid: pick([0, 0.35, 1]),
    },
    shaping: {
      overlap: pick(["", "window", "place"]),
      duplicates: pick([0, 0.03]),
      diversity: pick([0, 0.7]),
    },
    k: pick([24, 48, 96, 192]),
    minScore: pick([null, 0, 0.62, -0.2]),
    quality: pick(["fast", "balanced", "high", "exact"]),
    ownHits: pick([true, false]),
    view: pick(["split", "grid", "map"]),
  };
}

describe("an address", () => {
  it("is short where all is as usual", () => {
    expect(encode(START)).toBe("/");
    expect(decode("", "")).toEqual(START);
    expect(encode(likeTiles(["a.png"]))).toBe("/?like=a.png");
  });

  it("comes back as it was, whatever it says", () => {
    for (let seed = 0; seed < 400; seed += 1) {
      const address = anyAddress(numbers(seed));
      expect(through(address), `seed ${seed}`).toEqual(address);
    }
  });

  it("keeps uploads out of what is sent to the server", () => {
    const upload: Example = { kind: "upload", id: "e1.secret", weight: 2, name: "me.jpg" };
    const url = new URL(encode({ ...START, positive: [upload] }), "http://here/");
    expect(url.pathname + url.search).toBe("/");
    expect(url.hash).toContain("e1.secret");
    expect(through({ ...START, positive: [upload] }).positive).toEqual([upload]);
  });

  it("of the first version is understood", () => {
    expect(decode("?tile=a%2Fb.png", "").positive).toEqual(likeTiles(["a/b.png"]).positive);
  });

  it("names an example once", () => {
    expect(decode("?like=a&like=2*a&like=b", "").positive.map((one) => one.id)).toEqual(["a", "b"]);
  });

  it("passes over what makes no sense", () => {
    const junk = [
      "?k=7&strategy=worst&quality=&view=3d&least=2&against=-1&own=maybe",
      "?from=2021-02-30&to=yesterday&season=13-01..02-01&valid=NaN&diversity=1e9&duplicates=x",
      "?box=1,2,3&area=1,2%203,4",
      "?box=0,50,10,40",
      "?box=0,-91,10,4",
      "?area=0,0%201,1%20x,y",
      "?like=&unlike=&label=",
      "?%E0%A4%A&&&==&=",
      `?season=${"1".repeat(5000)}`,
    ];
    for (const search of junk) expect(decode(search, "#like=%20&=&x"), search).toEqual(START);
    expect(decode("", "#like=<script> x").positive).toEqual([]);
    expect(decode("?like=0*a&like=9999*b", "").positive).toEqual([]);
  });

  it("survives arbitrary text", () => {
    const next = numbers(7);
    for (let i = 0; i < 500; i += 1) {
      const text = Array.from({ length: 60 }, () => String.fromCharCode(next() * 300)).join("");
      const address = decode(`?box=${text}&${text}`, `#${text}`);
      expect(through(address)).toEqual(address);
    }
  });
});
