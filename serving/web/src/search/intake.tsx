// Every way a picture comes in: chosen, photographed, pasted, dropped.

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Side } from "../state/examples";
import { hasQuery } from "../state/store";
import { addPictures } from "../state/uploads";

const inputs: { file: HTMLInputElement | null; camera: HTMLInputElement | null } = {
  file: null,
  camera: null,
};
let side: Side = "positive";
const dragged = signal(false);

/** Lets a person choose or take a picture for one side. */
export function choosePicture(from: "file" | "camera", to: Side = "positive"): void {
  side = to;
  inputs[from]?.click();
}

const filesOf = (transfer: DataTransfer | null): File[] => [...(transfer?.files ?? [])];
const carriesFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;

export function Intake() {
  useEffect(listen, []);
  const chosen = (event: Event) => {
    const input = event.currentTarget as HTMLInputElement;
    const files = [...(input.files ?? [])];
    input.value = ""; // the same file may be chosen again
    void addPictures(files, side);
  };
  const hold = (name: "file" | "camera") => (element: HTMLInputElement | null) => {
    inputs[name] = element;
  };
  return (
    <>
      <input
        type="file"
        id="file"
        ref={hold("file")}
        accept="image/*,.tif,.tiff,.jp2,.avif"
        multiple
        hidden
        aria-label="Pictures"
        onChange={chosen}
      />
      <input
        type="file"
        id="camera"
        ref={hold("camera")}
        accept="image/*"
        capture="environment"
        hidden
        aria-label="Photo"
        onChange={chosen}
      />
      {dragged.value && <DropZones />}
    </>
  );
}

function DropZones() {
  const both = hasQuery.value;
  return (
    <div class="dropping" aria-hidden="true">
      <p class="drop-zone" data-side="positive">
        {both ? "More like this" : "Drop to search"}
      </p>
      {both && (
        <p class="drop-zone" data-side="negative">
          Less like this
        </p>
      )}
    </div>
  );
}

function listen(): () => void {
  let depth = 0; // dragenter and dragleave come once for every element passed
  const ends = new AbortController();
  const on = <K extends keyof DocumentEventMap>(
    kind: K,
    heard: (event: DocumentEventMap[K]) => void,
  ) => document.addEventListener(kind, heard, { signal: ends.signal });
  const count = (change: number) => {
    depth = Math.max(0, depth + change);
    dragged.value = depth > 0;
  };
  on("paste", (event) => void addPictures(filesOf(event.clipboardData), "positive"));
  on("dragenter", (event) => carriesFiles(event) && count(1));
  on("dragleave", (event) => carriesFiles(event) && count(-1));
  on("dragover", (event) => carriesFiles(event) && event.preventDefault());
  on("drop", (event) => {
    count(-depth);
    const files = filesOf(event.dataTransfer);
    if (!files.length) return;
    event.preventDefault();
    const zone = event.target instanceof Element ? event.target.closest("[data-side]") : null;
    void addPictures(
      files,
      zone?.getAttribute("data-side") === "negative" ? "negative" : "positive",
    );
  });
  return () => ends.abort();
}

/** Buttons to choose a picture, or to take one where there is a camera to hold. */
export function PictureButtons() {
  return (
    <div class="buttons">
      <button class="button primary" type="button" onClick={() => choosePicture("file")}>
        Choose pictures
      </button>
      <button class="button camera" type="button" onClick={() => choosePicture("camera")}>
        Take a photo
      </button>
    </div>
  );
}
