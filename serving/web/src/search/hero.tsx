// How it begins: what this is, and where a picture goes in.  Among filtered pictures only the latter.

import { bytes } from "../format";
import { Icon } from "../shell/icons";
import { filterCount, stats } from "../state/store";
import { PictureButtons } from "./intake";

export function Hero() {
  if (filterCount.value) {
    return (
      <section class="begin" aria-label="Begin a search">
        <h1 class="visually-hidden">Search of the archive</h1>
        <Drop />
      </section>
    );
  }
  return (
    <section class="hero" id="hero" aria-labelledby="headline">
      <div class="pitch">
        <h1 id="headline">
          Show it one place.
          <br />
          See every place like it.
        </h1>
        <p>
          Give satellite or aerial pictures and this archive returns the ones that look most alike.
          Then say which of them are right and which are wrong, and it looks again.
        </p>
      </div>
      <Drop />
    </section>
  );
}

function Drop() {
  const limit = stats.value?.limits.max_upload_bytes;
  return (
    <div class="drop" id="drop">
      <p>
        <Icon name="upload" />
        <span class="for-mouse">
          <strong>Drop a picture here</strong>, or paste one
        </span>
        <span class="for-touch">
          <strong>Start with a picture</strong> of yours
        </span>
      </p>
      <PictureButtons />
      <p class="meta">
        JPEG, PNG, TIFF, WebP, GIF{limit ? `, up to ${bytes(limit)}` : ""}. Or begin with any
        picture below.
      </p>
    </div>
  );
}
