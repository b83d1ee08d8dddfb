// A picture, or words in its place when it cannot be shown.

import { signal } from "@preact/signals";
import { useState } from "preact/hooks";

/** Counted up, pictures that could not be had are asked for again: the server may be back. */
export const tries = signal(0);

interface PictureProps {
  src: string;
  alt: string;
  instead?: string;
  lazy?: boolean;
}

export function Picture({
  src,
  alt,
  instead = "This picture's source cannot be read",
  lazy = true,
}: PictureProps) {
  const [failed, setFailed] = useState("");
  const asked = `${tries.value} ${src}`;
  if (failed === asked) return <span class="broken">{instead}</span>;
  return (
    <img
      src={src}
      alt={alt}
      decoding="async"
      loading={lazy ? "lazy" : "eager"}
      draggable={false}
      onError={() => setFailed(asked)}
    />
  );
}
