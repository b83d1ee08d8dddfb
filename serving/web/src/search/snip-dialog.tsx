// Cuts a box out of a picture, by mouse, touch or keys; the part is then searched by.

import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "../api";
import { fileName } from "../format";
import type { Example } from "../state/address";
import { report } from "../state/searching";
import { said } from "../state/store";
import { addPictures, fileOf } from "../state/uploads";
import type { TileOut } from "../wire";
import { boxBetween, holds, pixelsOf, shifted, stretched, type Box } from "./crop";
import { Modal } from "./modal";

interface Source {
  bitmap: ImageBitmap;
  name: string;
  /** The example that the part stands in for; null: the part is one more. */
  instead: string | null;
}

const source = signal<Source | null>(null);
const STEP = 0.02;

async function open(blob: Blob, name: string, instead: string | null): Promise<void> {
  const bitmap = await createImageBitmap(blob).catch(() => null);
  if (bitmap) source.value = { bitmap, name, instead };
  else {
    report(
      new api.Problem(
        "This browser cannot show that picture",
        `${name} can be searched by, but not cut here. Give it as JPEG or PNG, or cut it before.`,
      ),
    );
  }
}

/** Lets a person cut a part out of a tile's picture, to search by it. */
export async function snipTile(tile: TileOut, instead: string | null = null): Promise<void> {
  try {
    const answer = await api.request(api.pictureUrl(tile, undefined, "png"));
    await open(await answer.blob(), fileName(tile.uri), instead);
  } catch (error) {
    report(error, () => void snipTile(tile, instead));
  }
}

/** The same for an example, which the part then stands in for. */
export async function snipExample(example: Example, tile: TileOut | null): Promise<void> {
  const file = fileOf(example.id);
  if (file) return open(file, example.name, example.id);
  if (tile) return snipTile(tile, example.id);
  report(
    new api.Problem(
      "The picture is not here",
      "A link carries what an uploaded picture looks like, not the picture. Give the file again to cut it.",
    ),
  );
}

export function SnipDialog() {
  const held = source.value;
  if (!held) return null;
  const close = () => {
    held.bitmap.close();
    source.value = null;
  };
  return (
    <Modal id="snip" title="Cut out what to search by" onClose={close}>
      <Cutter held={held} close={close} />
    </Modal>
  );
}

function Cutter({ held, close }: { held: Source; close: () => void }) {
  const [box, setBox] = useState<Box>({ x: 0.25, y: 0.25, width: 0.5, height: 0.5 });
  const part = pixelsOf(box, held.bitmap.width, held.bitmap.height);
  const use = async () => {
    const file = await cut(held, part);
    close();
    said.value = "Searching by the part.";
    await addPictures([file], "positive", held.instead ?? undefined);
  };
  return (
    <>
      <Stage bitmap={held.bitmap} box={box} onBox={setBox} />
      <p class="meta">
        Draw a box, or move it: arrow keys move it, with Shift they size it. {part.width} ×{" "}
        {part.height} px.
      </p>
      <div class="dialog-foot">
        <button class="button" type="button" onClick={close}>
          Cancel
        </button>
        <button class="button primary" type="button" id="snip-use" onClick={() => void use()}>
          Search by this part
        </button>
      </div>
    </>
  );
}

async function cut({ bitmap, name }: Source, part: Box): Promise<File> {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [part.width, part.height];
  canvas
    .getContext("2d")
    ?.drawImage(bitmap, part.x, part.y, part.width, part.height, 0, 0, part.width, part.height);
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!blob)
    throw new api.Problem(
      "The part could not be cut out",
      "It may be too large for this browser: choose a smaller one.",
    );
  return new File([blob], `part of ${name.replace(/\.\w+$/, "")}.png`, { type: "image/png" });
}

interface StageProps {
  bitmap: ImageBitmap;
  box: Box;
  onBox: (box: Box) => void;
}

function Stage({ bitmap, box, onBox }: StageProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const grip = useRef<{ x: number; y: number; box: Box | null } | null>(null);
  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    [element.width, element.height] = [bitmap.width, bitmap.height];
    element.getContext("2d")?.drawImage(bitmap, 0, 0);
  }, [bitmap]);

  const at = (event: PointerEvent): [number, number] => {
    const frame = canvas.current?.getBoundingClientRect();
    if (!frame) return [0, 0];
    return [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
  };
  const down = (event: PointerEvent) => {
    const [x, y] = at(event);
    (event.currentTarget as Element).setPointerCapture(event.pointerId);
    grip.current = { x, y, box: holds(box, x, y) && box.width * box.height < 0.95 ? box : null };
  };
  const drag = (event: PointerEvent) => {
    const held = grip.current;
    if (!held) return;
    const [x, y] = at(event);
    onBox(held.box ? shifted(held.box, x - held.x, y - held.y) : boxBetween(held.x, held.y, x, y));
  };
  const key = (event: KeyboardEvent) => {
    const by: Record<string, [number, number]> = {
      ArrowLeft: [-STEP, 0],
      ArrowRight: [STEP, 0],
      ArrowUp: [0, -STEP],
      ArrowDown: [0, STEP],
    };
    const step = by[event.key];
    if (!step) return;
    event.preventDefault();
    onBox((event.shiftKey ? stretched : shifted)(box, ...step));
  };
  const share = (value: number) => `${value * 100}%`;
  return (
    <div
      class="stage"
      onPointerDown={down}
      onPointerMove={drag}
      onPointerUp={() => (grip.current = null)}
      onPointerCancel={() => (grip.current = null)}
    >
      <canvas ref={canvas} />
      <div
        class="cut"
        id="cut"
        tabIndex={0}
        autofocus
        role="application"
        aria-roledescription="box"
        aria-label={`The part to search by: ${Math.round(box.width * 100)} by ${Math.round(box.height * 100)} percent of the picture, from ${Math.round(box.x * 100)} percent left and ${Math.round(box.y * 100)} percent top`}
        style={{
          left: share(box.x),
          top: share(box.y),
          width: share(box.width),
          height: share(box.height),
        }}
        onKeyDown={key}
      />
    </div>
  );
}
