// What can be wished: only what the chosen model has, each with a sentence on what it does.

import { el, megapixels } from "./dom.js";

const SIZES = { 2: "2 times", 3: "3 times", 4: "4 times", width: "a width in pixels", megapixels: "megapixels" };
const PASSES = { 1: "one", 2: "mean of 2", 4: "mean of 4", 8: "mean of 8" };
const MOST_WIDTH = 1 << 20; // that the API takes
const FORMATS = { "": "as the photo", jpeg: "JPEG", png: "PNG", webp: "WebP", tiff: "TIFF", avif: "AVIF", jxl: "JPEG XL" };

export class Wishes {
  constructor(form, onChange) {
    this.form = form;
    this.onChange = onChange;
    this.values = { model: "", size: "4", amount: "", fidelity: null, steps: "", seed: "0", prompt: "", format: "", mean_of: "1", consistent: false, text: false };
    this.models = [];
    this.most = Infinity;
    this.findsText = false;
    this.watch = new ResizeObserver(([{ target }]) => document.documentElement.style.setProperty("--bar", `${target.offsetHeight}px`));
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  know(list) {
    this.models = list.models;
    this.most = list.max_output_pixels;
    this.findsText = list.finds_text;
    this.values.model ||= list.models.find((model) => model.default)?.name ?? list.models[0].name;
    this.draw();
  }

  get model() {
    return this.models.find((model) => model.name === this.values.model);
  }

  /** Whether another seed would give another result; of a model that isn't here any more, nobody knows. */
  heedsSeed(name) {
    return this.models.find((model) => model.name === name)?.heeds_seed ?? true;
  }

  draw() {
    const open = this.form.querySelector("details")?.open ?? false;
    const model = this.model;
    const { values } = this;
    const parts = [
      this.select("model", "Model", Object.fromEntries(this.models.map((each) => [each.name, each.name])), model.summary ?? "It is being loaded."),
      this.select("size", "Make it", SIZES, "How much larger the result gets; its sharpness comes from the model."),
    ];
    if (values.size === "width") parts.push(this.input("amount", "Width", { type: "number", min: 1, step: 1 }, "Pixels; the height follows."));
    if (values.size === "megapixels") parts.push(this.input("amount", "Megapixels", { type: "number", min: 0.1, step: 0.1 }, "Of the result."));
    if (model.fidelity !== null && model.fidelity !== undefined)
      parts.push(this.input("fidelity", "Fidelity", { type: "range", min: 0, max: 1, step: 0.05 }, "Left: crisp, more invented. Right: nearer to the photo, its noise too."));
    this.result = el("p", { class: "hint", id: "result-size", "aria-live": "polite" });
    this.largest = el("button", { type: "button", id: "largest", hidden: true });
    this.actions = el("div", { class: "actions" });
    this.form.replaceChildren(...parts, el("details", { open }, el("summary", {}, "More"), ...this.more(model)), this.result, this.largest, this.actions);
    this.watch.disconnect();
    this.watch.observe(this.actions); // which lies over what is scrolled below it
  }

  more(model) {
    const parts = [];
    if (model.choice_of_steps) parts.push(this.input("steps", "Steps", { type: "number", min: 1, max: model.most_steps, placeholder: model.steps }, `More take longer; the model's own are ${model.steps}.`));
    if (model.prompts) parts.push(this.select("prompt", "Prompt", Object.fromEntries([["", "the model's own"], ...model.prompts.filter(Boolean).map((each) => [each, each])]), "What the model is told of the picture."));
    if (model.free_prompt) parts.push(this.input("prompt", "Prompt", { type: "text", maxlength: 1000 }, "What is in the picture, in words."));
    if (model.heeds_seed) parts.push(this.input("seed", "Seed", { type: "number", min: 0, step: 1 }, "Another seed invents other detail; the same one gives the same result."));
    parts.push(this.select("mean_of", "Passes", PASSES, "Their mean has less of what one pass invents, and is softer. Each takes as long as one."));
    this.consistent = this.check("consistent", "True to the photo's pixels", "Made small again, the result is the photo. For screenshots and pictures that were scaled down; a camera's noise comes back.");
    parts.push(this.consistent);
    if (this.findsText) parts.push(this.check("text", "Keep text as it is", "Where letters are found, the photo is enlarged and nothing invented."));
    parts.push(this.select("format", "File", FORMATS, "Metadata is kept, and the file says that a model made it."));
    return parts;
  }

  select(name, label, options, hint) {
    const select = el("select", { id: `wish-${name}`, "aria-describedby": `hint-${name}` },
      ...Object.entries(options).sort(([one], [other]) => (name === "size" ? 0 : 0)).map(([value, text]) => el("option", { value, selected: value === this.values[name] }, text)));
    return this.field(name, label, select, hint);
  }

  input(name, label, facts, hint) {
    const value = name === "fidelity" ? this.values.fidelity ?? this.model.fidelity : this.values[name];
    return this.field(name, label, el("input", { id: `wish-${name}`, "aria-describedby": `hint-${name}`, ...facts, value }), hint);
  }

  check(name, label, hint) {
    const box = el("input", { type: "checkbox", id: `wish-${name}`, "aria-describedby": `hint-${name}`, checked: this.values[name] });
    box.addEventListener("change", () => {
      this.values[name] = box.checked;
      this.onChange();
    });
    return el("div", {}, el("label", { class: "check" }, box, label), el("p", { class: "hint", id: `hint-${name}` }, hint));
  }

  field(name, label, control, hint) {
    const redraws = name === "model" || name === "size";
    control.addEventListener(redraws ? "change" : "input", () => {
      this.values[name] = control.value;
      if (name === "model") Object.assign(this.values, { fidelity: null, steps: "", prompt: "" });
      if (redraws) {
        this.draw();
        document.getElementById(`wish-${name}`).focus();
      }
      this.onChange();
    });
    return el("div", {}, el("label", { for: `wish-${name}` }, label), control, el("p", { class: "hint", id: `hint-${name}` }, hint));
  }

  /** The fields of a job for a photo of which places (in its pixels) are protected. */
  fields(photo, places = []) {
    const { values } = this;
    const fields = { model: values.model };
    if (this.model.heeds_seed) fields.seed = values.seed || "0";
    if (values.size === "width" || values.size === "megapixels") {
      if (values.amount) fields[values.size] = values.amount;
    } else fields.scale = values.size;
    if (values.fidelity !== null) fields.fidelity = values.fidelity;
    for (const name of ["steps", "prompt", "format"]) if (values[name]) fields[name] = values[name];
    if (values.mean_of !== "1") fields.mean_of = values.mean_of;
    if (values.consistent && this.enlarges(photo)) fields.consistent = true;
    const protect = [...places, ...(values.text && this.findsText ? ["text"] : [])];
    if (protect.length) fields.protect = protect;
    return fields;
  }

  /** The size of a photo's result, [width, height]. */
  sizeFor(photo) {
    const { size, amount } = this.values;
    let scale = Number(size);
    if (size === "width") scale = (Number(amount) || photo.width * 4) / photo.width;
    if (size === "megapixels") scale = Math.sqrt(((Number(amount) || (photo.width * photo.height * 16) / 1e6) * 1e6) / (photo.width * photo.height));
    return [Math.max(1, Math.floor(photo.width * scale + 0.5)), Math.max(1, Math.floor(photo.height * scale + 0.5))];
  }

  /** Whether a photo's result is no smaller than it, so that it can be made consistent. */
  enlarges(photo) {
    const [width, height] = this.sizeFor(photo);
    return width >= photo.width && height >= photo.height;
  }

  /** Whether a photo's result is no larger than this service makes. */
  fits(photo) {
    const [width, height] = this.sizeFor(photo);
    return width * height <= this.most;
  }

  /** The size of the largest result of a photo that this service makes, [width, height]. */
  largestOf(photo) {
    const high = (wide) => Math.max(1, Math.floor(photo.height * (wide / photo.width) + 0.5));
    let wide = Math.min(MOST_WIDTH, Math.max(1, Math.floor(Math.sqrt((this.most * photo.width) / photo.height))));
    while (wide > 1 && wide * high(wide) > this.most) wide -= 1;
    return [wide, high(wide)];
  }

  /** Say how large the result gets; where that is too large, offer the largest that isn't. */
  tell(photo) {
    const fits = !photo || this.fits(photo);
    this.largest.hidden = fits;
    if (photo) this.consistent.hidden = !this.enlarges(photo);
    const large = fits ? "" : ` That is more than this service makes (${Number((this.most / 1e6).toPrecision(4))} MP): choose less.`;
    const size = photo && this.sizeFor(photo);
    const text = photo ? `Result: ${size[0]} × ${size[1]} px, ${megapixels(...size)}.${large}` : "";
    if (this.result.textContent !== text) this.result.textContent = text;
    if (!fits) this.offer(this.largestOf(photo));
  }

  offer([width, height]) {
    const text = `Make it ${width} × ${height} px, the most`;
    if (this.largest.textContent !== text) this.largest.textContent = text;
    this.largest.onclick = () => {
      Object.assign(this.values, { size: "width", amount: String(width) });
      this.draw();
      document.getElementById("wish-amount").focus();
      this.onChange();
    };
  }
}
