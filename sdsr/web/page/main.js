// The page: files in, wishes, photos, the stage.

import { ask } from "./api.js";
import { el, keepingFocus, notice } from "./dom.js";
import { middleOf } from "./marking.js";
import { Shelf } from "./shelf.js";
import { Stage } from "./stage.js";
import { Wishes } from "./wishes.js";

const ACTIVE = ["queued", "running"];
const at = (id) => document.getElementById(id);
const shelf = new Shelf();
const chosen = { entry: null, job: null };

const wishes = new Wishes(at("wishes"), () => drawActions());
const stage = new Stage(at("view"), shelf, {
  made: ({ model, result }) => [
    result.steps === 1 ? "1 step" : `${result.steps} steps`,
    ...(wishes.heedsSeed(model) ? [`seed ${result.seed}`] : []),
  ].join(", "),
  choose,
  tried: (entry, region) => { entry.region = region; drawActions(); },
  protect: (entry) => { protect(entry); draw(); },
  release: (entry, place) => { entry.places = entry.places.filter((each) => each !== place); draw(); },
  cancel: (job) => trying(() => shelf.cancel(job)),
  forget: (job) => trying(async () => { await shelf.forget(job); choose(chosen.entry, null); }),
  whole: (entry, job) => trying(async () => {
    const fields = { model: job.model, ...job.wishes };
    if (fields.format) fields.format = fields.format.toLowerCase();
    choose(entry, await shelf.start(entry, fields));
  }),
});

async function trying(action) {
  try {
    return await action();
  } catch (error) {
    notice(error.message);
  }
  return undefined;
}

function choose(entry, job) {
  chosen.entry = entry;
  chosen.job = job?.id ?? null;
  history.replaceState(null, "", entry?.photo ? `#${entry.photo.id}` : location.pathname);
  draw();
}

function take(files) {
  if (!files.length) return;
  const first = shelf.add(files);
  if (!chosen.entry || files.length === 1) choose(first, null);
}

function draw() {
  keepingFocus(drawAll, () => (chosen.entry ? stage.control : at("files")));
}

function drawAll() {
  if (!shelf.photos.includes(chosen.entry)) chosen.entry = shelf.photos[0] ?? null;
  const { entry } = chosen;
  const any = entry !== null;
  at("welcome").hidden = any;
  at("view").hidden = !any;
  at("strip").hidden = !any;
  at("zip").hidden = [...shelf.jobs.values()].filter((job) => job.kind === "full" && job.state === "done").length < 2;
  if (any) stage.show(entry, shelf.jobs.get(chosen.job));
  at("tally").textContent = tally();
  drawCards();
  drawActions();
}

/** How far all photos are, where they are several and something was asked of them. */
function tally() {
  const jobs = shelf.photos.map((entry) => shelf.jobsOf(entry).filter((job) => job.kind === "full"));
  const done = jobs.filter((each) => each.some((job) => job.state === "done")).length;
  const active = jobs.filter((each) => each.some((job) => ACTIVE.includes(job.state))).length;
  if (jobs.length < 2 || !(done + active)) return "";
  return `${done} of ${jobs.length} restored${active ? `, ${active} to come` : ""}`;
}

/** Let the photo be seen where a job was begun from below it, on a phone. */
function look() {
  const stage = at("stage").getBoundingClientRect();
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (stage.top < 0) at("stage").scrollIntoView({ behavior: calm ? "auto" : "smooth" });
}

function drawCards() {
  const list = at("cards");
  const kept = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const items = shelf.photos.map((entry) => kept.get(entry.key) ?? card(entry));
  if (items.length !== list.children.length || items.some((item, index) => list.children[index] !== item)) list.replaceChildren(...items);
  shelf.photos.forEach((entry, index) => refresh(items[index], entry));
}

function card(entry) {
  const item = el("li", {},
    el("button", { type: "button", class: "card", onclick: () => choose(entry, newest(entry)) },
      noPicture(), el("span", { class: "name" }, entry.name), el("span", { class: "what" })),
    el("button", { type: "button", class: "remove", "aria-label": `Remove ${entry.name}`, onclick: () => trying(() => shelf.remove(entry)) }, "×"));
  item.dataset.key = entry.key;
  return item;
}

const noPicture = () => el("span", { class: "empty" });

/** The picture of a card, or none where it can't be shown: an upload may be anything. */
function pictureOf(entry, url) {
  const fails = () => {
    entry.unseen = url;
    picture.replaceWith(noPicture());
  };
  const picture = el("img", { alt: "", src: url, loading: "lazy", onerror: fails });
  return picture;
}

function refresh(item, entry) {
  const [button] = item.children;
  button.setAttribute("aria-current", String(entry === chosen.entry));
  const url = entry.photo?.thumbnail_url ?? entry.local;
  const picture = button.firstElementChild;
  if (!url && picture.matches("img")) picture.replaceWith(noPicture());
  if (url && entry.unseen !== url && picture.getAttribute("src") !== url) picture.replaceWith(pictureOf(entry, url));
  const what = whatOf(entry);
  if (button.lastElementChild.textContent !== what) button.lastElementChild.textContent = what;
}

function whatOf(entry) {
  if (entry.error) return "can't be used";
  if (!entry.photo) return entry.sent < 1 ? `sending ${Math.round((entry.sent ?? 0) * 100)} %` : "being looked at";
  const job = newest(entry);
  if (!job) return `${entry.photo.width} × ${entry.photo.height}`;
  const share = `${Math.round(job.share * 100)} %`;
  return { queued: "waiting", running: `working, ${share}`, done: job.kind === "crop" ? "tried" : "restored", failed: "failed", canceled: "canceled" }[job.state];
}

const newest = (entry) => shelf.jobsOf(entry).at(-1) ?? null;
const restorable = () => shelf.photos.filter((entry) => entry.photo);

function drawActions() {
  if (!wishes.actions) return;
  const { entry } = chosen;
  const photo = entry?.photo;
  wishes.tell(photo);
  const active = photo && shelf.jobsOf(entry).some((job) => job.kind === "full" && ACTIVE.includes(job.state));
  const fits = photo && wishes.fits(photo);
  const count = restorable().length;
  const fitting = restorable().filter((each) => wishes.fits(each.photo)).length;
  action("try", entry?.region ? "Try the marked region" : "Try a region first", fits, tryRegion);
  action("run", "Restore this photo", fits && !active, restore);
  action("run-all", fitting && fitting < count ? `Restore ${fitting} of ${count}` : `Restore all ${count}`, fitting, restoreAll).hidden = count < 2;
}

/** A button below the wishes. It stays the same one, so that it keeps the focus; `able`: whether it does anything now. */
function action(id, text, able, act) {
  let button = wishes.actions.querySelector(`#${id}`);
  if (!button) {
    const press = () => button.getAttribute("aria-disabled") === "true" || act();
    button = el("button", { type: "button", id, class: id === "run" ? "primary" : null, "aria-describedby": "result-size", onclick: press });
    wishes.actions.append(button);
  }
  if (button.textContent !== text) button.textContent = text;
  button.setAttribute("aria-disabled", String(!able)); // the size of the result says why
  return button;
}

const fieldsOf = (entry) => wishes.fields(entry.photo, entry.places);

/** Protect the marked region of a photo, in whole pixels of it. */
function protect(entry) {
  const { photo, region } = entry;
  const left = Math.floor(region.left * photo.width);
  const top = Math.floor(region.top * photo.height);
  const right = Math.min(photo.width, Math.ceil((region.left + region.width) * photo.width));
  const bottom = Math.min(photo.height, Math.ceil((region.top + region.height) * photo.height));
  entry.places = [...(entry.places ?? []), [left, top, right - left, bottom - top].join()].slice(-15);
  entry.region = null;
}

async function tryRegion() {
  look();
  const { entry } = chosen;
  entry.region ??= middleOf(entry.photo);
  const [width, height] = wishes.sizeFor(entry.photo);
  const left = Math.min(width - 1, Math.round(entry.region.left * width));
  const top = Math.min(height - 1, Math.round(entry.region.top * height));
  const wide = Math.max(1, Math.min(width - left, Math.round(entry.region.width * width)));
  const high = Math.max(1, Math.min(height - top, Math.round(entry.region.height * height)));
  await trying(async () => choose(entry, await shelf.start(entry, { ...fieldsOf(entry), region: [left, top, wide, high].join() })));
}

async function restore() {
  look();
  const { entry } = chosen;
  await trying(async () => choose(entry, await shelf.start(entry, fieldsOf(entry))));
}

async function restoreAll() {
  look();
  for (const entry of restorable().filter((each) => wishes.fits(each.photo))) {
    if (shelf.jobsOf(entry).some((job) => job.kind === "full" && ACTIVE.includes(job.state))) continue;
    const job = await trying(() => shelf.start(entry, fieldsOf(entry), { patient: true }));
    if (entry === chosen.entry && job) choose(entry, job);
  }
}

async function know() {
  const list = await trying(() => ask("GET", "/v1/models"));
  if (list) {
    at("limits").textContent = `Up to ${Math.round(list.max_file_bytes / 1e6)} MB and ${Math.round(list.max_input_pixels / 1e6)} megapixels each. Photos stay on this machine's service and are deleted after a while.`;
    if (!wishes.models.length) wishes.know(list);
    drawActions();
  }
  at("state").textContent = list?.ready ? "" : "The model is being loaded …";
  if (!list?.ready) setTimeout(know, 1000);
}

function takeFilesFrom() {
  for (const id of ["files", "more"])
    at(id).addEventListener("change", (event) => {
      take(event.target.files);
      event.target.value = "";
    });
  addEventListener("paste", (event) => take(event.clipboardData?.files ?? []));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    take(event.dataTransfer.files);
  });
}

takeFilesFrom();
shelf.addEventListener("change", draw);
know().then(() => trying(() => shelf.load())).then(() => {
  const entry = shelf.find(location.hash.slice(1)) ?? chosen.entry;
  if (entry) choose(entry, newest(entry));
  else draw();
});
shelf.addEventListener("change", function restored() {
  if (!shelf.jobs.size) return;
  shelf.removeEventListener("change", restored);
  if (chosen.entry && !chosen.job) choose(chosen.entry, newest(chosen.entry));
});
