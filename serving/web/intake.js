// Every way a picture comes in: chosen, photographed, dropped, pasted.

import { byId } from "./dom.js";

const firstFile = (transfer) => [...(transfer?.files ?? [])][0];

export function onPicture(take) {
  for (const id of ["file", "camera"]) {
    const input = byId(id);
    input.addEventListener("change", () => {
      const [file] = input.files;
      input.value = ""; // the same file may be chosen again
      if (file) take(file);
    });
  }
  for (const button of document.querySelectorAll("[data-choose]")) {
    button.addEventListener("click", () => byId(button.dataset.choose).click());
  }
  document.addEventListener("paste", (event) => {
    const file = firstFile(event.clipboardData);
    if (file) take(file);
  });
  listenForDrops(take);
}

function listenForDrops(take) {
  let depth = 0; // dragenter and dragleave come once for every element passed
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dragging", depth > 0);
  };
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => carriesFiles(event) && mark(1));
  document.addEventListener("dragleave", (event) => carriesFiles(event) && mark(-1));
  document.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    mark(-depth);
    const file = firstFile(event.dataTransfer);
    if (!file) return;
    event.preventDefault();
    take(file);
  });
}
