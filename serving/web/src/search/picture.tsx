// A picture, or words in its place when it cannot be shown.

import { useState } from "preact/hooks";

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
  if (failed === src) return <span class="broken">{instead}</span>;
  return (
    <img
      src={src}
      alt={alt}
      decoding="async"
      loading={lazy ? "lazy" : "eager"}
      draggable={false}
      onError={() => setFailed(src)}
    />
  );
}
