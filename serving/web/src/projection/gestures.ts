// Hands on the canvas: one pointer pans or draws a loop, two pinch, the wheel and keys zoom.

import { drawnOn } from "./lasso";
import type { Point } from "./viewport";

export interface Hands {
  /** Whether one pointer draws a loop rather than pans. */
  lassoing(): boolean;
  pan(dx: number, dy: number): void;
  zoom(anchor: Point | null, factor: number): void;
  whole(): void;
  hover(at: Point | null): void;
  tap(at: Point, touched: boolean, add: boolean): void;
  loop(points: Point[]): void;
  looped(points: Point[], add: boolean): void;
  escape(): void;
}

/** Pointers that move less than this have tapped, not dragged. */
const TAP_PX = 6;
const PAN_KEY_PX = 60;
const ZOOM_KEY = 1.5;

/** Listens on `surface`, in its own pixels, until the function that comes back is called. */
export function followHands(surface: HTMLElement, hands: Hands): () => void {
  const gesture = new Gesture(surface, hands);
  const end = new AbortController();
  const { signal } = end;
  surface.addEventListener("pointerdown", (event) => gesture.down(event), { signal });
  surface.addEventListener("pointermove", (event) => gesture.move(event), { signal });
  surface.addEventListener("pointerup", (event) => gesture.up(event), { signal });
  surface.addEventListener("pointercancel", (event) => gesture.cancel(event), { signal });
  surface.addEventListener("pointerleave", () => hands.hover(null), { signal });
  surface.addEventListener("keydown", (event) => byKey(event, hands), { signal });
  surface.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const step = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 20 : event.deltaY;
      // A pinch on a touchpad comes as a wheel with Ctrl, in small steps.
      hands.zoom(gesture.place(event), Math.exp(-step * (event.ctrlKey ? 0.01 : 0.0018)));
    },
    { signal, passive: false },
  );
  return () => end.abort();
}

function byKey(event: KeyboardEvent, hands: Hands): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const actions: Record<string, () => void> = {
    ArrowLeft: () => hands.pan(PAN_KEY_PX, 0),
    ArrowRight: () => hands.pan(-PAN_KEY_PX, 0),
    ArrowUp: () => hands.pan(0, PAN_KEY_PX),
    ArrowDown: () => hands.pan(0, -PAN_KEY_PX),
    "+": () => hands.zoom(null, ZOOM_KEY),
    "=": () => hands.zoom(null, ZOOM_KEY),
    "-": () => hands.zoom(null, 1 / ZOOM_KEY),
    "0": () => hands.whole(),
    Escape: () => hands.escape(),
  };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

class Gesture {
  private readonly surface: HTMLElement;
  private readonly hands: Hands;
  private readonly pointers = new Map<number, Point>();
  private kind: "none" | "pan" | "lasso" | "pinch" = "none";
  private start: Point = [0, 0];
  private moved = false;
  private loop: Point[] = [];

  constructor(surface: HTMLElement, hands: Hands) {
    this.surface = surface;
    this.hands = hands;
  }

  place(event: MouseEvent): Point {
    const box = this.surface.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event: PointerEvent): void {
    if (event.button !== 0) return;
    this.surface.setPointerCapture(event.pointerId);
    const at = this.place(event);
    this.pointers.set(event.pointerId, at);
    if (this.pointers.size === 2) {
      this.kind = "pinch";
      this.endLoop();
      return;
    }
    this.kind = this.hands.lassoing() || event.shiftKey ? "lasso" : "pan";
    this.start = at;
    this.moved = false;
    this.loop = this.kind === "lasso" ? [at] : [];
  }

  move(event: PointerEvent): void {
    const at = this.place(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") this.hands.hover(at);
      return;
    }
    if (this.kind === "pinch") return this.pinch(event.pointerId, before, at);
    if (!this.moved && Math.hypot(at[0] - this.start[0], at[1] - this.start[1]) < TAP_PX) return;
    this.moved = true;
    this.hands.hover(null);
    if (this.kind === "lasso") {
      this.loop = drawnOn(this.loop, at);
      this.hands.loop(this.loop);
    } else {
      this.hands.pan(at[0] - before[0], at[1] - before[1]);
    }
    this.pointers.set(event.pointerId, at);
  }

  up(event: PointerEvent): void {
    if (!this.pointers.delete(event.pointerId)) return;
    const { kind, loop } = this;
    const add = event.shiftKey || event.ctrlKey || event.metaKey;
    if (kind === "pinch") {
      if (this.pointers.size === 0) this.kind = "none";
      return;
    }
    this.kind = "none";
    this.endLoop();
    if (!this.moved) this.hands.tap(this.start, event.pointerType !== "mouse", add);
    else if (kind === "lasso") this.hands.looped(loop, add);
  }

  cancel(event: PointerEvent): void {
    this.pointers.delete(event.pointerId);
    this.kind = this.pointers.size > 0 ? "pinch" : "none";
    this.endLoop();
  }

  private endLoop(): void {
    this.loop = [];
    this.hands.loop([]);
  }

  private pinch(id: number, before: Point, at: Point): void {
    const other = [...this.pointers].find(([known]) => known !== id)?.[1];
    this.pointers.set(id, at);
    if (!other) return;
    const was = Math.hypot(before[0] - other[0], before[1] - other[1]);
    const is = Math.hypot(at[0] - other[0], at[1] - other[1]);
    this.hands.pan((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    if (was > 0 && is > 0) this.hands.zoom([(at[0] + other[0]) / 2, (at[1] + other[1]) / 2], is / was);
  }
}
