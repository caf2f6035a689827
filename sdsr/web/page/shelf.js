// Photos and jobs of this client, as the service tells them; the page is drawn from them.

import { ask, patiently, upload } from "./api.js";
import { notice } from "./dom.js";

const AT_ONCE = 2;
const SHOWN = ["image/jpeg", "image/png", "image/webp", "image/avif"];
const MOST_LOCAL = 40e6;
const rank = (job) => ["queued", "running"].indexOf(job.state) + (["queued", "running"].includes(job.state) ? 0 : 3);

/** Raise where a file can't be read: what is dropped may be a folder. */
async function readable({ file, name }) {
  await file.slice(0, 1).arrayBuffer().catch(() => { throw new Error(`${name} can't be read: it is a folder, or has gone; choose photos.`); });
}

export class Shelf extends EventTarget {
  constructor() {
    super();
    this.photos = [];
    this.jobs = new Map();
    this.uploading = 0;
    this.waiting = [];
  }

  changed(what = "shelf") {
    this.dispatchEvent(new CustomEvent("change", { detail: what }));
  }

  async load() {
    const { photos } = await ask("GET", "/v1/photos");
    for (const photo of photos.reverse()) if (!this.find(photo.id)) this.photos.push({ key: photo.id, photo, name: photo.name });
    this.changed();
    this.listen();
  }

  find(id) {
    return this.photos.find((entry) => entry.photo?.id === id);
  }

  jobsOf(entry) {
    return [...this.jobs.values()].filter((job) => job.photo.id === entry.photo?.id).sort((one, other) => one.created - other.created);
  }

  /** Take files; they are uploaded a few at a time. Returns the first one's entry. */
  add(files) {
    const entries = [...files].map((file) => ({
      key: crypto.getRandomValues(new Uint32Array(2)).join("-"),
      name: file.name || "pasted.png",
      file,
      sent: 0,
      local: SHOWN.includes(file.type) && file.size < MOST_LOCAL ? URL.createObjectURL(file) : null,
    }));
    this.photos.push(...entries);
    this.waiting.push(...entries);
    this.changed();
    this.pump();
    return entries[0];
  }

  async pump() {
    while (this.uploading < AT_ONCE && this.waiting.length) {
      this.uploading += 1;
      this.send(this.waiting.shift()).finally(() => {
        this.uploading -= 1;
        this.pump();
      });
    }
  }

  async send(entry) {
    try {
      await readable(entry);
      entry.photo = await patiently(
        () => upload(entry.file, (share) => { entry.sent = share; this.changed("upload"); }),
        () => this.photos.includes(entry),
      );
    } catch (error) {
      entry.error = error.message;
    }
    entry.file = null;
    if (entry.local) URL.revokeObjectURL(entry.local);
    entry.local = null;
    this.changed();
  }

  /** Queue a job; a busy service is asked again. */
  async start(entry, fields, { patient = false } = {}) {
    const form = new FormData();
    form.append("photo_id", entry.photo.id);
    for (const [name, value] of Object.entries(fields)) for (const each of [value].flat()) form.append(name, each);
    const send = () => ask("POST", "/v1/jobs", form);
    const job = await (patient ? patiently(send) : send());
    this.take(job);
    return job;
  }

  async cancel(job) {
    await ask("DELETE", `/v1/jobs/${job.id}`);
  }

  async forget(job) {
    await ask("DELETE", `/v1/jobs/${job.id}`);
    this.jobs.delete(job.id);
    this.changed();
  }

  /** Delete a photo with all that was made of it. */
  async remove(entry) {
    for (const job of this.jobsOf(entry)) {
      if (["queued", "running"].includes(job.state)) await ask("DELETE", `/v1/jobs/${job.id}`);
      await ask("DELETE", `/v1/jobs/${job.id}`);
      this.jobs.delete(job.id);
    }
    if (entry.photo) await ask("DELETE", `/v1/photos/${entry.photo.id}`);
    this.photos = this.photos.filter((each) => each !== entry);
    this.waiting = this.waiting.filter((each) => each !== entry);
    this.changed();
  }

  take(job) {
    const before = this.jobs.get(job.id);
    if (before && rank(before) > rank(job)) return; // an answer that was overtaken by an event
    this.jobs.set(job.id, job);
    this.changed();
  }

  /** Hear what happens, over one connection for all jobs; after a break, all is told again. */
  listen() {
    const source = new EventSource("/v1/events");
    const on = (name, act) => source.addEventListener(name, (event) => act(JSON.parse(event.data)));
    const update = (what) => (data) => {
      const job = this.jobs.get(data.job);
      if (!job) return;
      what(job, data);
      this.changed("progress");
    };
    on("jobs", ({ jobs }) => {
      this.jobs = new Map(jobs.map((job) => [job.id, job]));
      this.changed();
    });
    for (const name of ["queued", "started", "done", "failed", "canceled"]) on(name, (job) => this.take(job));
    on("planned", update((job, data) => Object.assign(job, { steps: data.steps, windows: data.windows })));
    on("window", update((job, data) => { job.share = data.share; }));
    on("step", update((job, data) => { job.step = data.step; }));
    on("preview", update((job, data) => { job.previews = [...job.previews.filter((each) => each.final), data]; }));
    source.onerror = async () => {
      if (source.readyState !== EventSource.CLOSED) return;
      await ask("GET", "/v1/jobs").then(() => this.listen(), (error) => {
        notice(error.message);
        setTimeout(() => this.listen(), 3000);
      });
    };
  }
}
