// 1:1 tiles by URL: only those in sight are in the page, so that a result of any size can be panned.

import { el } from "./dom.js";

const TILE = 512;

export class Tiles {
  constructor(width, height, url) {
    this.width = width;
    this.height = height;
    this.url = url;
    this.element = el("div", { class: "layer" });
    this.shown = new Map();
  }

  /** Show what lies in a rectangle of the picture, and let go of what doesn't. */
  show(left, top, width, height) {
    const wanted = new Map();
    const last = [Math.ceil(this.width / TILE) - 1, Math.ceil(this.height / TILE) - 1];
    for (let row = Math.max(0, Math.floor(top / TILE)); row <= Math.min(last[1], Math.floor((top + height) / TILE)); row++)
      for (let column = Math.max(0, Math.floor(left / TILE)); column <= Math.min(last[0], Math.floor((left + width) / TILE)); column++)
        wanted.set(`${column}/${row}`, [column, row]);
    for (const [key, tile] of this.shown)
      if (!wanted.has(key)) {
        tile.removeAttribute("src");
        tile.remove();
        this.shown.delete(key);
      }
    for (const [key, [column, row]] of wanted) if (!this.shown.has(key)) this.shown.set(key, this.add(key, column, row));
  }

  add(key, column, row) {
    const tile = el("img", { class: "tile", alt: "", src: this.url(key), draggable: "false" });
    tile.style.left = `${column * TILE}px`;
    tile.style.top = `${row * TILE}px`;
    this.element.append(tile);
    return tile;
  }
}

/** The tiles of a result, or of its photo enlarged to it. */
export function tilesOf(job, of) {
  const { width, height, tiles_url: url } = job.result;
  return new Tiles(width, height, (key) => `${url}/0/${key}${of === "photo" ? "?of=photo" : ""}`);
}
