// The chosen photo: the photo with a region to try, a job at work, a result beside its photo.

import { Compare, fitInto } from "./compare.js";
import { duration, el } from "./dom.js";
import { Marking } from "./marking.js";

const ACTIVE = ["queued", "running"];

export class Stage {
  constructor(view, shelf, acts) {
    this.view = view;
    this.shelf = shelf;
    this.acts = acts;
    this.shown = null;
  }

  /** Show an entry, or one of its jobs; what is shown already is only brought up to date. */
  show(entry, job) {
    const what = [entry.key, entry.photo?.id, entry.places, entry.error, job?.id, job && ACTIVE.includes(job.state) ? "active" : job?.state].join();
    if (what !== this.shown) {
      this.shown = what;
      this.part?.end();
      this.body = el("div", {});
      this.body.style.display = "contents";
      this.tabs = el("div", { class: "tabs", role: "group", "aria-label": "Photo and results" });
      this.facts = el("p", { class: "facts", role: "status" });
      this.actions = el("div", { class: "row" });
      this.part = this.partFor(entry, job);
      this.body.replaceChildren(this.part.element);
      this.view.replaceChildren(this.tabs, this.body, this.facts, this.actions);
    }
    this.drawTabs(entry, job);
    this.part.update?.(job);
  }

  /** Where the keyboard goes on when what it was on is gone: what cancels, what compares, or the tab. */
  get control() {
    const places = ["#cancel", ".meet:not([hidden]) input", ".tools input:checked", ".tabs [aria-pressed=true]"];
    return places.map((place) => this.view.querySelector(place)).find(Boolean);
  }

  partFor(entry, job) {
    if (job?.state === "done") return this.result(entry, job);
    if (job && ACTIVE.includes(job.state)) return new Working(job, this.facts, this.actions, this.acts);
    if (job) {
      const text = job.state === "failed" ? job.problem.detail : "This job was canceled.";
      this.actions.append(el("button", { type: "button", onclick: () => this.acts.forget(job) }, "Remove"));
      return { element: el("p", { class: "failed", role: "alert" }, text), end() {} };
    }
    if (entry.error) return { element: el("p", { class: "failed", role: "alert" }, entry.error), end() {} };
    if (!entry.photo) return this.pending(entry);
    this.drawPlaces(entry);
    return new Marking(entry, (region) => {
      this.acts.tried(entry, region);
      this.drawPlaces(entry);
    });
  }

  /** Say which places are kept as the photo has them, and offer to keep the marked one or to let one go. */
  drawPlaces(entry) {
    const places = entry.places ?? [];
    const count = places.length === 1 ? "One place is" : `${places.length} places are`;
    this.facts.textContent = places.length
      ? `${count} kept as the photo has them: enlarged, nothing invented.`
      : "Draw a region on the photo to try the settings there first, or to keep letters or a face in it as they are.";
    this.actions.replaceChildren(
      el("button", { type: "button", id: "protect", disabled: !entry.region, onclick: () => this.acts.protect(entry) }, "Keep the marked region as it is"),
      ...places.map((place, index) => el("button", { type: "button", "aria-label": `Let go of kept place ${index + 1}`, onclick: () => this.acts.release(entry, place) }, `Place ${index + 1} ×`)),
    );
  }

  pending(entry) {
    const bar = el("progress", { max: 1, value: entry.sent, "aria-label": "Upload" });
    const picture = entry.local ? el("img", { src: entry.local, alt: entry.name, onerror: () => picture.remove() }) : null;
    const frame = el("div", { class: "frame" }, picture && el("div", { class: "picture" }, picture));
    if (picture) Object.assign(picture.style, { maxHeight: "52vh", width: "auto", maxWidth: "100%" });
    return { element: el("div", {}, frame, bar), end() {}, update: () => { bar.value = entry.sent; } };
  }

  result(entry, job) {
    const { result } = job;
    const others = this.shelf.jobsOf(entry).filter((other) => other.id !== job.id && other.state === "done"
      && String(other.region) === String(job.region) && other.result.width === result.width && other.result.height === result.height);
    const facts = [
      el("strong", {}, `Detail here was invented by ${result.model}`),
      ` (${this.acts.made(job)}); the file says so too. `,
      `${result.width} × ${result.height} px, ${result.format}, made in ${duration(result.seconds)}. `,
    ];
    facts.push(...saidOf(job.wishes));
    if (result.chosen) facts.push(`${result.chosen} `);
    if (result.contradicts) facts.push(el("strong", {}, "It contradicts the photo in places: look at them before you trust it. "));
    this.facts.replaceChildren(...facts);
    this.actions.replaceChildren(
      el("a", { class: "button primary", href: result.url, download: result.name }, "Download"),
      job.kind === "crop" ? el("button", { type: "button", onclick: () => this.acts.whole(entry, job) }, "Restore the whole photo so") : null ?? "",
      el("button", { type: "button", onclick: () => this.acts.forget(job) }, "Remove result"),
    );
    return new Compare(job, others, this.acts.made);
  }

  drawTabs(entry, job) {
    const tab = (id, text, chosen, act) => el("button", { type: "button", id: `tab-${id}`, "aria-pressed": String(chosen), onclick: act }, text);
    const jobs = this.shelf.jobsOf(entry);
    const names = jobs.map((each, index) => nameOf(each, index, jobs));
    const signature = JSON.stringify([names, jobs.map((each) => each.id), job?.id]);
    if (signature === this.signature && this.tabs.childElementCount) return;
    this.signature = signature;
    this.tabs.replaceChildren(tab("photo", "Photo", !job, () => this.acts.choose(entry, null)),
      ...jobs.map((each, index) => tab(each.id, names[index], each.id === job?.id, () => this.acts.choose(entry, each))));
  }
}

/** What a result was asked to be besides restored. */
function saidOf({ mean_of: passes, consistent, protect = [] }) {
  const places = protect.filter((place) => place !== "text").length;
  return [
    passes ? `It is the mean of ${passes} passes. ` : null,
    places ? `${places === 1 ? "One place is" : `${places} places are`} the photo's, enlarged. ` : null,
    protect.includes("text") ? "Text that was found is the photo's, enlarged. " : null,
    consistent ? "Made small again, it is the photo. " : null,
  ].filter(Boolean);
}

function nameOf(job, index, jobs) {
  const number = jobs.slice(0, index + 1).filter((each) => each.kind === job.kind).length;
  const state = { queued: " · waiting", running: " · working", failed: " · failed", canceled: " · canceled", done: "" }[job.state];
  return `${job.kind === "crop" ? "Try" : "Result"} ${number} · ${job.model}${state}`;
}

/** A job that waits or runs: its photo, and over it what is restored already. */
class Working {
  constructor(job, facts, actions, acts) {
    this.parts = new Map();
    const [left, top, width, height] = job.region ?? [0, 0, job.width, job.height];
    this.size = [width, height];
    const share = 100 / width;
    const photo = el("img", { alt: job.photo.name, src: job.photo.proxy_url });
    if (job.region)
      Object.assign(photo.style, {
        position: "absolute", width: `${job.width * share}%`, height: `${(job.height * 100) / height}%`,
        left: `${-left * share}%`, top: `${(-top * 100) / height}%`, maxWidth: "none",
      });
    this.picture = el("div", { class: "picture" }, photo);
    this.picture.style.overflow = "hidden";
    this.bar = el("progress", { max: 1, "aria-label": "Progress" });
    const frame = el("div", { class: "frame" }, this.picture);
    this.element = el("div", {}, frame, this.bar);
    this.watch = fitInto(frame, this.picture, width, height);
    this.facts = facts;
    actions.replaceChildren(el("button", { type: "button", id: "cancel", onclick: () => acts.cancel(job) }, "Cancel"));
  }

  end() {
    this.watch.disconnect();
  }

  update(job) {
    if (job.state === "queued") this.facts.textContent = job.position ? `Waiting: ${job.position} before it.` : "Waiting for the model.";
    else {
      this.bar.value = job.share;
      const spent = Date.now() / 1000 - job.started;
      const left = job.share > 0.05 && job.share < 1 ? `, about ${duration((spent * (1 - job.share)) / job.share)} left` : "";
      const step = job.steps > 1 && job.step ? `, step ${job.step} of ${job.steps}` : "";
      this.facts.textContent = job.share < 1 ? `Restoring: ${Math.round(job.share * 100)} %${step}${left}.` : "Writing the file.";
    }
    for (const preview of job.previews) this.draw(preview);
  }

  draw({ url, region, final }) {
    const key = final ? url : "estimate";
    let part = this.parts.get(key);
    if (!part) {
      part = el("img", { class: "part", alt: "" });
      const [left, top, width, height] = region;
      part.style.left = `${(left * 100) / this.size[0]}%`;
      part.style.top = `${(top * 100) / this.size[1]}%`;
      part.style.width = `${(width * 100) / this.size[0]}%`;
      part.style.height = `${(height * 100) / this.size[1]}%`;
      this.parts.set(key, part);
      this.picture.append(part);
    }
    if (part.getAttribute("src") !== url) part.setAttribute("src", url);
  }
}
