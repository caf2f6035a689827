// A region marked on the photo, by pointer or keyboard; to be tried before the whole is restored.

import { el } from "./dom.js";
import { fitInto } from "./compare.js";

/** The photo of an entry with a region on it, in shares of it, and the places kept. `onMark` hears of a region that was drawn, or let go of (null). */
export class Marking {
  constructor({ photo, local, region = null, places = [] }, onMark) {
    this.region = region;
    this.onMark = onMark;
    this.image = el("img", { alt: photo.name, src: local ?? photo.proxy_url, draggable: "false" });
    this.mark = el("div", {
      class: "mark", tabindex: 0, role: "application",
      "aria-label": "Region to try: arrow keys move it, with Shift they change its size, Enter tries it",
    });
    this.picture = el("div", { class: "picture marking" }, this.image, ...places.map((place, index) => kept(place, index, photo)), this.mark);
    this.element = el("div", { class: "frame" }, this.picture);
    this.watch = fitInto(this.element, this.picture, photo.width, photo.height);
    this.picture.addEventListener("pointerdown", (event) => this.begin(event));
    this.mark.addEventListener("keydown", (event) => this.press(event));
    this.draw();
  }

  end() {
    this.watch.disconnect();
  }

  draw() {
    this.mark.hidden = this.region === null;
    if (this.region === null) return;
    for (const side of ["left", "top", "width", "height"]) this.mark.style[side] = `${this.region[side] * 100}%`;
  }

  begin(event) {
    const box = this.picture.getBoundingClientRect();
    const at = (each) => [clamp((each.clientX - box.left) / box.width), clamp((each.clientY - box.top) / box.height)];
    const first = at(event);
    const before = event.target === this.mark ? { ...this.region } : null;
    this.picture.setPointerCapture(event.pointerId);
    const move = (each) => {
      const now = at(each);
      if (before) this.place(before.left + now[0] - first[0], before.top + now[1] - first[1]);
      else
        this.region = {
          left: Math.min(first[0], now[0]), top: Math.min(first[1], now[1]),
          width: Math.abs(now[0] - first[0]), height: Math.abs(now[1] - first[1]),
        };
      this.draw();
    };
    const up = () => {
      this.picture.removeEventListener("pointermove", move);
      if (this.region && (this.region.width < 0.02 || this.region.height < 0.02)) this.region = before;
      this.draw();
      this.onMark(this.region);
    };
    this.picture.addEventListener("pointermove", move);
    this.picture.addEventListener("pointerup", up, { once: true });
    this.picture.addEventListener("pointercancel", up, { once: true });
  }

  place(left, top) {
    this.region.left = Math.min(1 - this.region.width, Math.max(0, left));
    this.region.top = Math.min(1 - this.region.height, Math.max(0, top));
  }

  press(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Enter") this.onMark(this.region);
    if (!step) return;
    event.preventDefault();
    const { region } = this;
    if (event.shiftKey) {
      region.width = Math.min(1 - region.left, Math.max(0.04, region.width + step[0] / 50));
      region.height = Math.min(1 - region.top, Math.max(0.04, region.height + step[1] / 50));
    } else this.place(region.left + step[0] / 50, region.top + step[1] / 50);
    this.draw();
  }
}

/** The outline of a place "left,top,width,height" in a photo's pixels. */
function kept(place, index, photo) {
  const [left, top, width, height] = place.split(",").map(Number);
  const outline = el("div", { class: "kept" }, el("span", {}, String(index + 1)));
  Object.assign(outline.style, {
    left: `${(left * 100) / photo.width}%`, top: `${(top * 100) / photo.height}%`,
    width: `${(width * 100) / photo.width}%`, height: `${(height * 100) / photo.height}%`,
  });
  return outline;
}

/** A region in the middle, about 256 px of the photo wide. */
export function middleOf(photo) {
  const width = Math.min(1, Math.max(0.1, 256 / photo.width));
  const height = Math.min(1, Math.max(0.1, 256 / photo.height));
  return { left: (1 - width) / 2, top: (1 - height) / 2, width, height };
}

const clamp = (share) => Math.min(1, Math.max(0, share));
