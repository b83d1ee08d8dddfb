// What to do with the pictures that are ticked.

import { plural } from "../format";
import { Icon } from "../shell/icons";
import { markAll, type Side } from "../state/examples";
import { clearSelection, selected } from "../state/selection";
import { hasQuery } from "../state/store";
import { openExport } from "./export-dialog";

export function SelectionBar() {
  const chosen = selected.value.size;
  if (!chosen) return null;
  const use = (side: Side) => {
    markAll([...selected.peek().keys()], side);
    clearSelection();
  };
  return (
    <div class="selection-bar" id="selection" role="region" aria-label="Selection">
      <b>{plural(chosen, "picture")}</b>
      <button class="button small" type="button" onClick={() => use("positive")}>
        <Icon name="plus" /> Like these
      </button>
      {hasQuery.value && (
        <button class="button small" type="button" onClick={() => use("negative")}>
          <Icon name="minus" /> Unlike these
        </button>
      )}
      <button class="button small" type="button" onClick={openExport}>
        <Icon name="download" /> Export
      </button>
      <button class="button small quiet" type="button" onClick={clearSelection}>
        Clear
      </button>
    </div>
  );
}
