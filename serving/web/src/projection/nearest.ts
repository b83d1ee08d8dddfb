// The point under the pointer, of tens of thousands, at each of its moves: cells of a square grid.

const CELLS = 128;

/** Points on the plane from -1 to 1, to be asked for the nearest. */
export class Neighbourhood {
  private readonly cells = new Map<number, number[]>();
  private readonly xs: Float32Array;
  private readonly ys: Float32Array;

  constructor(xs: Float32Array, ys: Float32Array) {
    this.xs = xs;
    this.ys = ys;
    for (let i = 0; i < xs.length; i++) {
      const key = keyOf(columnOf(xs[i] ?? 0), columnOf(ys[i] ?? 0));
      const cell = this.cells.get(key);
      if (cell) cell.push(i);
      else this.cells.set(key, [i]);
    }
  }

  /** The nearest point to a place, at most `reach` away, that `counts` lets through; -1 for none. */
  nearest(x: number, y: number, reach: number, counts: (i: number) => boolean): number {
    let [best, least] = [-1, reach * reach];
    for (let column = columnOf(x - reach); column <= columnOf(x + reach); column++) {
      for (let row = columnOf(y - reach); row <= columnOf(y + reach); row++) {
        for (const i of this.cells.get(keyOf(column, row)) ?? []) {
          const squared = ((this.xs[i] ?? 0) - x) ** 2 + ((this.ys[i] ?? 0) - y) ** 2;
          if (squared <= least && counts(i)) [best, least] = [i, squared];
        }
      }
    }
    return best;
  }
}

// What lies outside the plane is in the cells at its edge.
const columnOf = (value: number): number =>
  Math.max(0, Math.min(CELLS - 1, Math.floor(((value + 1) / 2) * CELLS)));

const keyOf = (column: number, row: number): number => column * CELLS + row;
