// The map's colours: those of the page, read from its CSS variables, and again when they change.

import { asArray } from "ol/color";

export interface Palette {
  land: string;
  coast: string;
  graticule: string;
  ground: string;
  normal: string;
  hover: string;
  positive: string;
  negative: string;
  selected: string;
  region: string;
  halo: string;
}

const VARIABLES: Record<keyof Palette, [name: string, fallback: string]> = {
  land: ["--map-land", "#dddccf"],
  coast: ["--map-line", "#b9c3bd"],
  graticule: ["--map-graticule", "rgb(11 102 86 / .18)"],
  ground: ["--map-sea", "#eef1ee"],
  normal: ["--map-tile", "#b8430f"],
  hover: ["--map-hover", "#13201d"],
  positive: ["--map-positive", "#0b6656"],
  negative: ["--map-negative", "#b02a4c"],
  selected: ["--map-selected", "#2456b8"],
  region: ["--map-region", "#7a3fb0"],
  halo: ["--map-halo", "#fffefb"],
};

/** The colours that hold on `element` now. */
export function readPalette(element: Element): Palette {
  const style = getComputedStyle(element);
  const read = (key: keyof Palette): [keyof Palette, string] => {
    const [name, fallback] = VARIABLES[key];
    return [key, style.getPropertyValue(name).trim() || fallback];
  };
  return Object.fromEntries((Object.keys(VARIABLES) as (keyof Palette)[]).map(read)) as unknown as Palette;
}

/** Calls `changed` when the page turns light or dark; returns what ends that. */
export function watchTheme(changed: () => void): () => void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const toggle = new MutationObserver(changed);
  system.addEventListener("change", changed);
  toggle.observe(document.documentElement, { attributes: true, attributeFilter: ["class", "data-theme"] });
  return () => {
    system.removeEventListener("change", changed);
    toggle.disconnect();
  };
}

/** A CSS colour with another opacity, 0..1. */
export function faded(colour: string, opacity: number): string {
  const [red = 0, green = 0, blue = 0] = asArray(colour);
  return `rgba(${red}, ${green}, ${blue}, ${opacity})`;
}
