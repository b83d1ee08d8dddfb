// The map's own buttons, and the form that gives a box by four numbers to who cannot draw one.

import { boxFromText, type Bounds } from "./geometry";
import type { Drawing } from "./region";

export interface ToolbarEvents {
  draw(kind: Drawing): void;
  box(bounds: Bounds): void;
  clear(): void;
  fit(): void;
  zoom(by: number): void;
}

const ICONS = {
  box: "M4 6h16v12H4zM2.5 4.5h3v3h-3zM18.5 4.5h3v3h-3zM2.5 16.5h3v3h-3zM18.5 16.5h3v3h-3z",
  polygon: "M5 19 3.5 8 12 3.5 20.5 10 17 20z",
  numbers: "M9 4 7 20M17 4l-2 16M4 9h17M3 15h17",
  clear: "M6 6l12 12M18 6 6 18",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
} as const;

function icon(name: keyof typeof ICONS): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

function button(name: keyof typeof ICONS, label: string, onClick: () => void): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "map-button";
  made.title = label;
  made.setAttribute("aria-label", label);
  made.append(icon(name));
  made.addEventListener("click", onClick);
  return made;
}

function group(label: string, className: string, ...children: HTMLElement[]): HTMLDivElement {
  const made = document.createElement("div");
  made.className = `map-tools ${className}`;
  made.setAttribute("role", "group");
  made.setAttribute("aria-label", label);
  made.append(...children);
  return made;
}

/** Buttons over a map; `elements` are to be laid over it. */
export class Toolbar {
  readonly elements: HTMLElement[];
  private readonly boxButton: HTMLButtonElement;
  private readonly polygonButton: HTMLButtonElement;
  private readonly numbersButton: HTMLButtonElement;
  private readonly clearButton: HTMLButtonElement;
  private readonly form: BoxForm;
  private readonly events: ToolbarEvents;
  private drawing: Drawing = null;

  constructor(events: ToolbarEvents) {
    this.events = events;
    this.boxButton = button("box", "Draw a box", () => this.toggle("bbox"));
    this.polygonButton = button("polygon", "Draw a polygon", () => this.toggle("polygon"));
    this.numbersButton = button("numbers", "Box by numbers", () => this.openForm(this.form.element.hidden === true));
    this.clearButton = button("clear", "Remove the region", () => events.clear());
    this.form = new BoxForm(
      (bounds) => {
        this.openForm(false);
        events.box(bounds);
      },
      () => this.openForm(false),
    );
    this.clearButton.hidden = true;
    this.numbersButton.setAttribute("aria-expanded", "false");
    this.setDrawing(null);
    this.elements = [
      group("Region", "map-tools-draw", this.boxButton, this.polygonButton, this.numbersButton, this.clearButton),
      group(
        "Zoom",
        "map-tools-zoom",
        button("plus", "Zoom in", () => events.zoom(1)),
        button("minus", "Zoom out", () => events.zoom(-1)),
        button("fit", "Show all results", () => events.fit()),
      ),
      this.form.element,
    ];
  }

  setDrawing(kind: Drawing): void {
    this.drawing = kind;
    this.boxButton.setAttribute("aria-pressed", String(kind === "bbox"));
    this.polygonButton.setAttribute("aria-pressed", String(kind === "polygon"));
  }

  /** Shows a region's box in the form, and the button that takes the region away. */
  setRegion(box: Bounds | null): void {
    const hadFocus = document.activeElement === this.clearButton;
    this.clearButton.hidden = box === null;
    if (hadFocus && box === null) this.boxButton.focus();
    this.form.fill(box);
  }

  private toggle(kind: "bbox" | "polygon"): void {
    this.openForm(false);
    this.events.draw(this.drawing === kind ? null : kind);
  }

  private openForm(open: boolean): void {
    if (this.form.element.hidden === !open) return;
    this.form.element.hidden = !open;
    this.numbersButton.setAttribute("aria-expanded", String(open));
    if (open) this.form.focus();
    else this.numbersButton.focus();
  }
}

const EDGES = ["West", "South", "East", "North"] as const;

class BoxForm {
  readonly element = document.createElement("form");
  private readonly inputs: HTMLInputElement[];
  private readonly trouble = document.createElement("p");

  constructor(given: (bounds: Bounds) => void, closed: () => void) {
    this.element.className = "map-form";
    this.element.noValidate = true;
    this.element.hidden = true;
    this.element.setAttribute("aria-label", "Box by numbers");
    this.inputs = EDGES.map(() => document.createElement("input"));
    this.element.append(...EDGES.map((edge, i) => this.field(edge, i)), this.hint(), this.actions(closed));
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      const box = boxFromText(this.inputs.map((input) => input.value) as [string, string, string, string]);
      this.trouble.textContent = typeof box === "string" ? box : "";
      if (typeof box !== "string") given(box);
    });
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      closed();
    });
  }

  fill(box: Bounds | null): void {
    this.inputs.forEach((input, i) => (input.value = box ? String(Number((box[i] ?? 0).toFixed(4))) : ""));
    this.trouble.textContent = "";
  }

  focus(): void {
    this.inputs[0]?.focus();
  }

  private field(edge: (typeof EDGES)[number], index: number): HTMLLabelElement {
    const label = document.createElement("label");
    const input = this.inputs[index];
    label.append(edge);
    if (input) {
      input.type = "text";
      input.inputMode = "text";
      input.autocomplete = "off";
      input.name = edge.toLowerCase();
      input.placeholder = "degrees";
      label.append(input);
    }
    return label;
  }

  private hint(): HTMLElement {
    const hint = document.createElement("p");
    hint.className = "map-form-hint";
    hint.textContent = "Degrees; west greater than east goes across 180°.";
    this.trouble.className = "map-form-trouble";
    this.trouble.setAttribute("role", "alert");
    const both = document.createElement("div");
    both.append(hint, this.trouble);
    return both;
  }

  private actions(closed: () => void): HTMLElement {
    const row = document.createElement("div");
    row.className = "map-form-actions";
    const use = document.createElement("button");
    use.type = "submit";
    use.className = "button primary";
    use.textContent = "Use this box";
    const cancel = document.createElement("button");
    cancel.type = "button";
    cancel.className = "button";
    cancel.textContent = "Cancel";
    cancel.addEventListener("click", closed);
    row.append(use, cancel);
    return row;
  }
}
