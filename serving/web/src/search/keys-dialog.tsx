// The keys of the page.

import { keysShown } from "./bar";
import { Modal } from "./modal";

const KEYS: [string, string][] = [
  ["arrows", "move in the grid; in the details, to the one before and after"],
  ["Enter", "details of the picture; on the start page, search by it"],
  ["p", "more like this: an example, or none any more"],
  ["n", "less like this: a counter-example, or none any more"],
  ["x", "no example any more"],
  ["s", "search by this alone"],
  ["i", "details"],
  ["Space", "select; with Shift, all from the last one"],
  ["Ctrl A", "select all that are shown"],
  ["Esc", "close what is open, or clear the selection"],
  ["?", "this list"],
];

export function KeysDialog() {
  if (!keysShown.value) return null;
  return (
    <Modal id="keys" title="Keys" onClose={() => (keysShown.value = false)}>
      <dl class="keys">
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Modal>
  );
}
