// The examples of the search: pictures to be like, pictures to be unlike, and how they are joined.

import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { fileName, fullTitle, title } from "../format";
import { Icon } from "../shell/icons";
import type { Example } from "../state/address";
import { swap, unmark, weigh, type Side } from "../state/examples";
import { address, go } from "../state/store";
import { pending, previewOf, type Pending } from "../state/uploads";
import type { TileOut } from "../wire";
import { choosePicture } from "./intake";
import { Picture } from "./picture";
import { snipExample } from "./snip-dialog";
import { knownTile } from "./tile-cache";

const WEIGHTS = [0.25, 0.5, 1, 2, 3, 5];

export function Tray() {
  const { positive, negative, strategy } = address.value;
  if (!positive.length && !pending.value.length) return null;
  const joined = positive.length > 1 || negative.length > 0;
  return (
    <section class="tray" id="tray" aria-label="Examples">
      <Group side="positive" name="Like" examples={positive} />
      <Group side="negative" name="Unlike" examples={negative} />
      {joined && (
        <div class="segments strategy" role="group" aria-label="How the examples are joined">
          <button
            type="button"
            aria-pressed={strategy === "mean"}
            title="Near to what the examples have in common, away from the unlike ones"
            onClick={() => go({ strategy: "mean" })}
          >
            In common
          </button>
          <button
            type="button"
            aria-pressed={strategy === "best"}
            title="Like any one of the examples: for examples that differ from each other"
            onClick={() => go({ strategy: "best" })}
          >
            Any of them
          </button>
        </div>
      )}
    </section>
  );
}

function Group({ side, name, examples }: { side: Side; name: string; examples: Example[] }) {
  const coming = pending.value.filter((one) => one.side === side);
  return (
    <div
      class={`tray-group ${side}`}
      role="group"
      aria-label={`Pictures to be ${name.toLowerCase()}`}
    >
      <h2 class="tray-name">
        <Icon name={side === "positive" ? "plus" : "minus"} /> {name}
      </h2>
      <ul class="chips">
        {examples.map((example) => (
          <Chip key={example.id} example={example} side={side} />
        ))}
        {coming.map((one) => (
          <ComingChip key={`coming ${one.key}`} one={one} />
        ))}
        <li>
          <button
            class="chip-add"
            type="button"
            aria-label={`Add a picture to be ${name.toLowerCase()}`}
            title={`Add a picture to be ${name.toLowerCase()}: choose, drop or paste one, or press ${side === "positive" ? "p" : "n"} on a result`}
            onClick={() => choosePicture("file", side)}
          >
            <Icon name="plus" />
          </button>
        </li>
      </ul>
    </div>
  );
}

function useTile(example: Example): TileOut | null {
  const wanted = example.kind === "tile" ? example.id : null;
  const [tile, setTile] = useState<TileOut | null>(wanted ? knownTile(wanted) : null);
  useEffect(() => {
    if (!wanted || tile?.tile_id === wanted) return;
    const ends = new AbortController();
    // An unknown tile is told of by the search itself.
    api.tile(wanted, ends.signal).then(setTile, () => setTile(null));
    return () => ends.abort();
  }, [wanted]);
  return tile?.tile_id === wanted ? tile : null;
}

function Chip({ example, side }: { example: Example; side: Side }) {
  const tile = useTile(example);
  const name = tile
    ? title(tile)
    : example.name || fileName(example.kind === "tile" ? example.id : "Uploaded picture");
  const long = tile ? fullTitle(tile) : name;
  const otherWord = side === "positive" ? "unlike" : "like";
  return (
    <li class="chip" data-example={example.id}>
      <ChipPicture example={example} tile={tile} name={long} />
      <span class="chip-name" title={long}>
        {name}
      </span>
      <span class="chip-tools">
        <select
          aria-label={`Weight of ${long}`}
          title="Weight against the other examples"
          value={String(example.weight)}
          onChange={(event) => weigh(example, side, Number(event.currentTarget.value))}
        >
          {[...new Set([...WEIGHTS, example.weight])]
            .sort((a, b) => a - b)
            .map((weight) => (
              <option key={weight} value={String(weight)}>
                ×{weight}
              </option>
            ))}
        </select>
        <button
          type="button"
          aria-label={`Move ${long} to ${otherWord}`}
          title={`Move to ${otherWord}`}
          onClick={() => swap(example, side)}
        >
          <Icon name={side === "positive" ? "minus" : "plus"} />
        </button>
        <button
          type="button"
          aria-label={`Cut a part out of ${long}`}
          title="Search by a part of it"
          onClick={() => void snipExample(example, tile)}
        >
          <Icon name="crop" />
        </button>
        <button
          type="button"
          aria-label={`Remove ${long}`}
          title="Remove"
          onClick={() => unmark(example.id, long)}
        >
          <Icon name="close" />
        </button>
      </span>
    </li>
  );
}

function ChipPicture({
  example,
  tile,
  name,
}: {
  example: Example;
  tile: TileOut | null;
  name: string;
}) {
  const source = example.kind === "upload" ? previewOf(example.id) : tile?.thumbnail_url;
  return (
    <span class="picture">
      {source ? (
        <Picture
          src={source}
          alt=""
          instead={name.split(".").pop()?.toUpperCase() ?? "picture"}
          lazy={false}
        />
      ) : example.kind === "upload" ? (
        <span
          class="broken"
          title="The picture itself is with whoever gave it; only what it looks like is in the link."
        >
          upload
        </span>
      ) : (
        <span class="skeleton" />
      )}
    </span>
  );
}

const ComingChip = ({ one }: { one: Pending }) => (
  <li class="chip coming" aria-busy="true">
    <span class="picture">
      <Picture
        src={one.url}
        alt=""
        instead={one.name.split(".").pop()?.toUpperCase() ?? ""}
        lazy={false}
      />
    </span>
    <span class="chip-name">{one.name}</span>
    <span class="meta">reading…</span>
  </li>
);
