// Line icons, 24 units square, drawn with the colour of the text around them.

const PATHS = {
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  info: "M12 11v6M12 7.2v.1M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5L21 21",
  filter: "M4 6h16M7 12h10M10 18h4",
  upload: "M4 16v4h16v-4M12 4v12M7 9l5-5 5 5",
  camera: "M4 8h3l2-3h6l2 3h3v11H4zM12 16.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z",
  crop: "M7 2v15h15M2 7h15v15",
  download: "M4 16v4h16v-4M12 4v11M7 10.5l5 5 5-5",
  map: "M9 4L3 6.5v13L9 17l6 2.5 6-2.5v-13L15 6.5 9 4zM9 4v13M15 6.5v13",
  grid: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  split: "M4 4h16v16H4zM13 4v16",
  sun: "M12 16.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM12 2v2.5M12 19.5V22M2 12h2.5M19.5 12H22M5 5l1.7 1.7M17.3 17.3L19 19M19 5l-1.7 1.7M6.7 17.3L5 19",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  key: "M14.5 14a5 5 0 1 0-4.6-3L3 18v3h3l1-1v-2h2v-2h2l1.2-1.9M16 8v.1",
  box: "M5 5h14v14H5z",
  polygon: "M12 3l8.5 6.5L17 20H6L3.5 9.5z",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  external: "M10 5H5v14h14v-5M14 4h6v6M20 4l-9 9",
  shuffle:
    "M3 7h4c6 0 4 10 10 10h4M3 17h4c2 0 3-1.2 3.8-2.8M13.5 9.5C14.300 8 15.200 7 17 7h4M18 4l3 3-3 3M18 14l3 3-3 3",
  chevron: "M8 10l4 4 4-4",
  target: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM12 1v5M12 18v5M1 12h5M18 12h5",
} as const;

export type IconName = keyof typeof PATHS;

export const Icon = ({ name }: { name: IconName }) => (
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
    <path d={PATHS[name]} />
  </svg>
);
