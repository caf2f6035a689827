// Before and after: a slider, blinking, the difference, a loupe; at screen size or 1:1; against the photo or a result.

import { choice, el, keepingFocus } from "./dom.js";
import { tilesOf } from "./tiles.js";

const MODES = { slider: "Slider", blink: "Blink", difference: "Difference", loupe: "Loupe" };
const ZOOMS = { fit: "Fit", full: "1:1" };
const BLINK_MS = 700;
const kept = { mode: "slider", zoom: "fit", at: 50, map: false };

/** The view of a finished job; `others` are results of the same photo and size, `made` says in how many steps one was made, and by which seed. */
export class Compare {
  constructor(job, others, made) {
    this.job = job;
    this.others = others;
    this.made = made;
    this.against = null;
    this.element = el("div", {});
    this.element.style.display = "contents";
    this.draw();
  }

  end() {
    clearInterval(this.blinking);
    this.watch?.disconnect();
  }

  draw() {
    keepingFocus(() => this.redraw(), () => this.element.querySelector(".tools input:checked"));
  }

  redraw() {
    this.end();
    this.frame = el("div", { class: "frame" });
    this.range = el("input", {
      type: "range", min: 0, max: 100, step: 1, value: kept.at, "aria-label": "Where photo and result meet",
      oninput: () => this.meet(Number(this.range.value)),
    });
    const meet = el("div", { class: "meet" }, el("span", {}, this.beforeName), this.range, el("span", {}, "Result"));
    meet.hidden = kept.mode !== "slider";
    if (kept.zoom === "full") this.drawFull();
    else this.drawFit();
    this.element.replaceChildren(this.frame, meet, this.tools(), ...(this.maps && kept.map ? [legend()] : []));
    this.tags();
    if (kept.mode === "slider") this.meet(kept.at);
    if (kept.mode === "blink") this.blink();
  }

  /** Whether there is a map to be shown over what is shown. */
  get maps() {
    return this.job.result.map_url && kept.zoom === "fit";
  }

  get beforeName() {
    return this.against ? `Result of ${this.against.model}` : "Photo";
  }

  tags() {
    if (kept.mode === "difference" || kept.mode === "loupe") return;
    this.leftTag = el("span", { class: "tag left" }, this.beforeName);
    this.rightTag = el("span", { class: "tag right" }, "Result");
    (kept.zoom === "full" ? this.frame : this.picture).append(this.leftTag, this.rightTag);
  }

  drawFit() {
    const { result } = this.job;
    const before = el("img", { alt: this.beforeName, src: this.against ? this.against.result.proxy_url : result.before_url, draggable: "false" });
    this.after = el("img", { alt: `Restored by ${result.model}`, src: result.proxy_url, draggable: "false" });
    this.picture = el("div", { class: "picture" }, before, this.after);
    if (kept.mode === "difference") this.picture.classList.add("difference");
    if (kept.map && this.maps) this.picture.append(el("img", { class: "map", alt: "Where the result contradicts the photo", src: result.map_url }));
    if (kept.mode === "slider") this.picture.append((this.line = el("div", { class: "line" })));
    this.frame.append(this.picture);
    this.watch = fitInto(this.frame, this.picture, result.width, result.height);
    if (kept.mode === "slider") this.dragging(this.picture, (share) => this.meet(share * 100));
    if (kept.mode === "loupe") this.loupe();
  }

  drawFull() {
    const { width, height } = this.job.result;
    this.beforeTiles = this.against ? tilesOf(this.against, "result") : tilesOf(this.job, "photo");
    this.afterTiles = tilesOf(this.job, "result");
    this.after = this.afterTiles.element;
    const sheet = (this.sheet = el("div", { class: "sheet", style: { width: `${width}px`, height: `${height}px` } }, this.beforeTiles.element, this.after));
    if (kept.mode === "difference") {
      this.after.style.mixBlendMode = "difference";
      sheet.style.filter = "brightness(4)";
    }
    this.full = el("div", { class: "full", tabindex: 0, role: "region", "aria-label": "Result at 1:1; arrow keys move it" }, sheet);
    const look = () => {
      const view = [this.full.scrollLeft, this.full.scrollTop, this.full.clientWidth, this.full.clientHeight];
      this.beforeTiles.show(...view);
      this.afterTiles.show(...view);
      if (kept.mode === "slider") this.meet(kept.at);
    };
    this.full.addEventListener("scroll", look, { passive: true });
    this.watch = new ResizeObserver(look);
    this.watch.observe(this.full);
    panByMouse(this.full);
    this.frame.append(this.full);
    requestAnimationFrame(() => {
      this.full.scrollTo((width - this.full.clientWidth) / 2, (height - this.full.clientHeight) / 2);
      look();
    });
  }

  /** Let photo and result meet at a percentage of what is seen. */
  meet(at) {
    kept.at = Math.min(100, Math.max(0, at));
    this.range.value = kept.at;
    if (kept.zoom === "full") {
      const left = this.full.scrollLeft + (kept.at / 100) * this.full.clientWidth - this.sheet.offsetLeft;
      this.after.style.clipPath = `inset(0 0 0 ${left}px)`;
    } else {
      this.after.style.clipPath = `inset(0 0 0 ${kept.at}%)`;
      this.line.style.left = `${kept.at}%`;
    }
  }

  blink() {
    const turn = () => {
      const hidden = this.after.style.visibility !== "hidden";
      this.after.style.visibility = hidden ? "hidden" : "visible";
      this.leftTag.hidden = !hidden;
      this.rightTag.hidden = hidden;
    };
    this.leftTag.hidden = true;
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.blinking = setInterval(turn, BLINK_MS);
    const button = el("button", { type: "button", onclick: () => { clearInterval(this.blinking); turn(); } }, "Turn by hand");
    this.element.append(button);
  }

  loupe() {
    const { result } = this.job;
    const layers = [this.against ? tilesOf(this.against, "result") : tilesOf(this.job, "photo"), tilesOf(this.job, "result")];
    const glass = el("div", { class: "loupe" }, ...layers.map((layer) => el("div", { class: "half" }, layer.element)));
    this.picture.append(glass);
    this.picture.tabIndex = 0;
    this.picture.setAttribute("role", "application");
    this.picture.setAttribute("aria-label", "Loupe: left of its middle the photo, right the result; arrow keys move it");
    const place = [0.5, 0.5];
    const look = () => {
      const [x, y] = [place[0] * result.width, place[1] * result.height];
      glass.style.left = `${place[0] * 100}%`;
      glass.style.top = `${place[1] * 100}%`;
      layers.forEach((layer, index) => {
        layer.show(x - 120, y - 120, 240, 240);
        layer.element.style.inset = "auto";
        layer.element.style.transform = `translate(${(index ? 0 : 120) - x}px, ${120 - y}px)`;
      });
    };
    const move = (share, down) => { place[0] = share; place[1] = down; look(); };
    this.picture.addEventListener("pointermove", (event) => {
      const box = this.picture.getBoundingClientRect();
      move(clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height));
    });
    this.picture.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      move(clamp(place[0] + step[0] / 40), clamp(place[1] + step[1] / 40));
    });
    look();
  }

  dragging(element, onShare) {
    const take = (event) => {
      const box = element.getBoundingClientRect();
      onShare(clamp((event.clientX - box.left) / box.width));
    };
    element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); take(event); });
    element.addEventListener("pointermove", (event) => event.buttons && take(event));
  }

  tools() {
    const again = (name) => (value) => { kept[name] = value; this.draw(); };
    if (kept.mode === "loupe" && kept.zoom === "full") kept.zoom = "fit";
    const zooms = kept.mode === "loupe" ? null : choice("Zoom", ZOOMS, kept.zoom, again("zoom"));
    const parts = [choice("Compare by", MODES, kept.mode, (value) => { if (value === "loupe") kept.zoom = "fit"; again("mode")(value); }), zooms];
    if (this.maps)
      parts.push(el("label", {}, el("input", { type: "checkbox", id: "contradicts", checked: kept.map, onchange: (event) => { kept.map = event.target.checked; this.draw(); } }), " Where it contradicts the photo"));
    if (this.others.length) parts.push(this.opponents());
    return el("div", { class: "tools" }, ...parts);
  }

  opponents() {
    const options = [["", "the photo"], ...this.others.map((job) => [job.id, `${job.model}, ${this.made(job)}`])];
    const select = el("select", { id: "against", onchange: (event) => { this.against = this.others.find((job) => job.id === event.target.value) ?? null; this.draw(); } },
      ...options.map(([value, text]) => el("option", { value, selected: (this.against?.id ?? "") === value }, text)));
    return el("label", {}, "Against ", select);
  }
}

/** What the colors of the map mean; its scale is that of sdsr/trust/consistency.py. */
function legend() {
  return el("p", { class: "hint legend" }, el("span", { class: "scale", "aria-hidden": "true" }), el("span", {},
    "Where the result, made as small as the photo, differs from it: clear, by less than 12 of 255, as true pictures mostly do; red, by 24 or more."));
}

const clamp = (share) => Math.min(1, Math.max(0, share));

/** Make a picture as large as its frame allows, in its proportions; small ones are enlarged up to 4 times. */
export function fitInto(frame, picture, width, height) {
  const fit = () => {
    const share = Math.min(frame.clientWidth / width, frame.clientHeight / height, 4);
    picture.style.width = `${Math.floor(width * share)}px`;
    picture.style.height = `${Math.floor(height * share)}px`;
  };
  const watch = new ResizeObserver(fit);
  watch.observe(frame);
  fit();
  return watch;
}

function panByMouse(full) {
  let from = null;
  full.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse") return;
    from = [event.clientX + full.scrollLeft, event.clientY + full.scrollTop];
    full.setPointerCapture(event.pointerId);
  });
  full.addEventListener("pointermove", (event) => from && full.scrollTo(from[0] - event.clientX, from[1] - event.clientY));
  full.addEventListener("pointerup", () => { from = null; });
  full.addEventListener("pointercancel", () => { from = null; });
}
