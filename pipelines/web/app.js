// The page's flow: an image is sent once and worked on by its handle. It is encoded; its labels are
// shown from the first bytes of the file, before it is decoded; then the decoded image, then what
// other codecs make of it.

import { Problem, UNKNOWN_UPLOAD, call, timing, watchService } from "./api.js";
import * as files from "./files.js";
import { asPng, clear, load, paint, paintHeat } from "./image.js";
import * as panel from "./panel.js";
import * as search from "./search.js";
import * as settings from "./settings.js";
import * as stage from "./stage.js";

const $ = (id) => document.getElementById(id);
const NAMES = { jpeg: "JPEG", webp: "WebP", avif: "AVIF" };
const PREFIX = 256;
const LONGEST = 1600; // what large images are reduced to, unless told otherwise

let service = { baselines: {}, classifier: null, limits: { max_body_bytes: 20e6 } };
let current = null; // the entry on the stage, see files.js
let work = new AbortController();

// ---- messages

function showError(error) {
  if (error.name === "AbortError") return;
  const known = error instanceof Problem;
  $("alert-title").textContent = known ? error.title : "The page stumbled";
  $("alert-text").textContent = known ? error.message : "Reload it, please.";
  $("alert-id").textContent = known ? error.id : "";
  $("alert").hidden = false;
  $("alert").scrollIntoView({ block: "nearest" });
  if (!known) console.error(error);
}

function busy(text) {
  $("busy").hidden = !text;
  $("busy-text").textContent = text;
  document.body.dataset.state = text ? "busy" : "ready";
}

// Runs `task`, cancelling what ran before; errors reach the user.
async function run(task) {
  work.abort();
  work = new AbortController();
  const { signal } = work;
  $("alert").hidden = true;
  try {
    await task(signal);
  } catch (error) {
    if (!signal.aborted) {
      showError(error);
      if (current && !current.blob) current.status = "failed";
    }
  } finally {
    if (!signal.aborted) {
      busy("");
      showKnown("");
      showFiles();
    }
  }
}

// ---- the stage

function resetStage() {
  panel.reset();
  hideHeat();
  showKnown("");
  for (const id of ["left", "right"]) clear($(id));
  for (const id of ["handle", "tag-left", "tag-right", "reduced"]) $(id).hidden = true;
  $("save-sic").disabled = $("save-png").disabled = true;
  $("stage").classList.add("alone");
}

// What is known before the image is: the label alone, and nothing of the image.
function showKnown(text, why = "") {
  $("known").hidden = !text;
  $("known-name").textContent = text;
  $("known-why").textContent = why;
  $("stage").classList.toggle("waiting", Boolean(text));
}

function against() {
  return document.querySelector('input[name="against"]:checked').value;
}

function tag(place, name, size) {
  place.replaceChildren(panel.element("b", "", name), ` ${size}`);
  place.hidden = false;
}

function showSides(entry) {
  const choice = against();
  const baseline = entry.baselines[choice];
  const left = choice === "original" ? entry.original : baseline?.bitmap;
  const both = Boolean(left && entry.decoded);
  $("stage").classList.toggle("alone", !both);
  $("handle").hidden = !both;
  $("tag-left").hidden = $("tag-right").hidden = true;
  if (left) {
    paint($("left"), left, entry.width, entry.height);
    const size = choice === "original" ? (entry.reduced ? "reduced" : panel.kilobytes(entry.file.size)) : panel.kilobytes(baseline.bytes);
    if (both) tag($("tag-left"), NAMES[choice] ?? "Original", size);
    $("left").setAttribute("aria-label", `${NAMES[choice] ?? "Original"} image, ${size}`);
  }
  if (entry.decoded) tag($("tag-right"), "DeepSIC", panel.kilobytes(entry.blob.size));
  for (const input of document.querySelectorAll('input[name="against"]')) {
    input.disabled = input.value === "original" ? !entry.original : !entry.upload || !(input.value in service.baselines);
  }
}

// ---- one image, step by step; each step has an upload that may have expired

async function again(entry, step, signal) {
  try {
    return await step();
  } catch (error) {
    if (error.title !== UNKNOWN_UPLOAD) throw error;
    // Its keeper was restarted, or it was long ago: send it again, and begin anew.
    entry.upload = entry.sic = null;
    await process(entry, signal, true);
    return null;
  }
}

async function send(entry, signal) {
  if (entry.file.size > service.limits.max_body_bytes) {
    throw new Problem("Too large", `This service takes files of at most ${panel.kilobytes(service.limits.max_body_bytes)}.`);
  }
  busy("Sending");
  const query = entry.sicFile || entry.whole ? "" : `?longest=${LONGEST}`;
  let answer;
  try {
    answer = await call(`/v1/uploads${query}`, { body: entry.file, signal });
  } catch (error) {
    const converted = error.title === "Unreadable input" && !entry.sicFile ? await asPng(entry.file) : null;
    if (!converted) throw error;
    // HEIC, where the browser reads it: its pixels go as PNG, and EXIF stays behind.
    entry.note = "Your browser has converted this image; its EXIF isn't kept.";
    entry.file = converted;
    answer = await call(`/v1/uploads${query}`, { body: converted, signal });
  }
  const told = await answer.json();
  Object.assign(entry, { width: told.width, height: told.height, reduced: told.width !== told.given_width });
  if (entry.sicFile) entry.sic = told.handle;
  else entry.upload = told.handle;
  if (entry.reduced) {
    entry.note = `Reduced from ${told.given_width}×${told.given_height} to ${told.width}×${told.height} to be quick.`;
  }
}

function showNote(entry) {
  $("reduced").hidden = !entry.note;
  $("reduced").replaceChildren(entry.note);
  if (!entry.reduced) return;
  const all = panel.element("button", "quiet", "Use all of it");
  all.type = "button";
  all.addEventListener("click", () => run((signal) => {
    Object.assign(entry, { whole: true, upload: null, note: "" });
    return process(entry, signal);
  }));
  $("reduced").append(all);
}

async function process(entry, signal, retried = false) {
  if (current !== entry) $("alert").hidden = true;
  current = entry;
  resetStage();
  entry.status = "working";
  Object.assign(entry, { decoded: null, baselines: {} });
  showFiles();
  busy("Reading");
  if (!entry.sicFile && !entry.original) entry.original = await load(entry.file);
  signal.throwIfAborted();
  if (entry.original) {
    stage.frame(entry.original.width, entry.original.height);
    paint($("left"), entry.original);
  }
  if (!(entry.sicFile ? entry.sic : entry.upload)) await send(entry, signal);
  showNote(entry);
  const step = () => (entry.sicFile ? openSic(entry, signal) : encode(entry, signal));
  await (retried ? step() : again(entry, step, signal));
}

async function encode(entry, signal) {
  busy("Encoding");
  const answer = await call(`/v1/encode?${settings.query()}&upload=${entry.upload}&keep=true`, { post: true, signal });
  entry.blob = await answer.blob();
  entry.sic = answer.headers.get("X-Sic-Handle");
  $("encode-ms").textContent = panel.milliseconds(timing(answer, "codec"));
  await showFile(entry, signal);
  await compareAll(entry, signal);
}

async function openSic(entry, signal) {
  busy("Opening");
  entry.blob = entry.file;
  await showFile(entry, signal);
}

// Labels first: they need only the file's first bytes.
async function showFile(entry, signal, look = false) {
  const told = await (await call(`/v1/labels?upload=${entry.sic}${look ? "&look=true" : ""}`, { post: true, signal })).json();
  const offer = told.source === "none" && !look;
  const said = panel.showLabels(told, offer ? () => run((next) => again(entry, () => showFile(entry, next, true), next)) : null);
  panel.showBytes(new Uint8Array(await entry.blob.slice(0, PREFIX).arrayBuffer()), told);
  stage.showBoxes(told.labels, told.width, told.height);
  const metadata = told.bytes_metadata ?? 0;
  Object.assign(entry, { prefix: told.bytes_prefix, said, metadata, width: told.width, height: told.height });
  const given = entry.sicFile ? null : { bytes: entry.file.size, same: !entry.reduced };
  panel.showSize(entry.blob.size, metadata, told.width * told.height, given);
  panel.showRace(runners(entry));
  if (entry.sicFile) showQuality("quality", told.quality);
  showKnown(said, `known from ${told.bytes_prefix} bytes; the image is still to come`);
  if (!entry.decoded) {
    busy("Decoding");
    const answer = await call(`/v1/decode?upload=${entry.sic}`, { post: true, accept: "image/png", signal });
    entry.png = await answer.blob();
    entry.decoded = await load(entry.png);
    $("decode-ms").textContent = panel.milliseconds(timing(answer, "codec"));
  }
  signal.throwIfAborted();
  stage.frame(entry.width, entry.height);
  paint($("right"), entry.decoded);
  showKnown("");
  entry.status = "done";
  $("save-sic").disabled = $("save-png").disabled = false;
  showSides(entry);
  showFiles();
}

// ---- other codecs, at the same bytes for the same pixels

async function measure(entry, file, signal) {
  const told = await (await call(`/v1/measure?upload=${entry.upload}&file=${file}`, { post: true, signal })).json();
  return { psnr: told.psnr, ms_ssim: told.ms_ssim, label: told.labels?.[0] };
}

async function compareAll(entry, signal) {
  busy("Comparing");
  const ours = { name: "DeepSIC", ours: true, wait: true };
  const rows = Object.entries(service.baselines).map(([key, about]) => ({ key, name: NAMES[key] ?? key, settings: about, wait: true }));
  const show = () => panel.showCodecs([ours, ...rows], entry.truth);
  show();
  if (service.classifier && !entry.truth) {
    entry.truth = (await (await call(`/v1/classify?upload=${entry.upload}`, { post: true, signal })).json()).labels[0];
  }
  Object.assign(ours, await measure(entry, entry.sic, signal), { wait: false });
  $("psnr").textContent = panel.decibels(ours.psnr);
  $("ms-ssim").textContent = panel.similarity(ours.ms_ssim);
  show();
  const limit = Math.max(64, entry.blob.size - entry.metadata);
  for (const row of rows) {
    try {
      await compare(entry, row, limit, signal);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 415) throw error;
      row.failed = "can't write this image";
    }
    row.wait = false;
    show();
  }
}

async function compare(entry, row, limit, signal) {
  const path = `/v1/baseline?format=${row.key}&max_bytes=${limit}&upload=${entry.upload}&keep=true`;
  const answer = await call(path, { post: true, signal });
  const blob = await answer.blob();
  row.misses = answer.headers.get("X-Fits") === "no";
  if (!row.misses) Object.assign(row, await measure(entry, answer.headers.get("X-Handle"), signal));
  entry.baselines[row.key] = { bitmap: await load(blob), bytes: blob.size };
  signal.throwIfAborted();
  if (against() === row.key) showSides(entry);
}

// ---- the heat map

function hideHeat() {
  $("heat").hidden = true;
  $("heat-button").setAttribute("aria-pressed", "false");
}

async function toggleHeat() {
  if (!$("heat").hidden || !current?.sic) return hideHeat();
  const entry = current;
  const answer = await call(`/v1/heatmap?upload=${entry.upload ?? entry.sic}`, { post: true });
  const label = answer.headers.get("X-Label");
  const bitmap = await load(await answer.blob());
  if (entry !== current) return;
  const scale = Math.min(1, 640 / Math.max(entry.width, entry.height));
  paintHeat($("heat"), bitmap, Math.max(1, Math.round(entry.width * scale)), Math.max(1, Math.round(entry.height * scale)));
  $("heat").setAttribute("aria-label", `Where the classifier finds: ${label}`);
  $("heat").hidden = false;
  $("heat-button").setAttribute("aria-pressed", "true");
}

// ---- the slow line: what really arrives

let racing = 0;

function runners(entry) {
  return [
    { name: "Labels", bytes: entry.prefix, kind: "labels" },
    { name: "Image", bytes: entry.blob.size, kind: "ours" },
    ...(entry.sicFile ? [] : [{ name: "Original", bytes: entry.file.size, kind: "original" }]),
  ];
}

function replay() {
  cancelAnimationFrame(racing);
  const entry = current;
  if (!entry?.decoded) return;
  const started = performance.now();
  const items = runners(entry);
  $("stage").scrollIntoView({ block: "nearest", behavior: "smooth" });
  const tick = () => {
    if (entry !== current) return;
    const now = (performance.now() - started) / 1000;
    const end = panel.showRace(items, now);
    // Nothing of the image can be seen before all of it is here; what it shows is known at once.
    const labels = now >= (8 * entry.prefix) / 50_000;
    showKnown(now < end ? (labels && entry.said) || "…" : "", labels ? `known from ${entry.prefix} bytes; the image is still to come` : "");
    if (now > end + 0.6) return void panel.showRace(items);
    racing = requestAnimationFrame(tick);
  };
  tick();
}

// ---- ways in and out

function showFiles() {
  files.show(current, (entry) => run((signal) => process(entry, signal)));
}

async function take(given, remember = true) {
  busy("Reading");
  const entries = await Promise.all(given.map(files.entry));
  if (remember) press(null);
  files.add(entries);
  // One after the other; the last that was given for the first time stays on the stage.
  await run(async (signal) => {
    for (const entry of entries) {
      try {
        await process(entry, signal);
      } catch (error) {
        entry.status = signal.aborted ? entry.status : "failed";
        if (entries.length === 1 || signal.aborted) throw error;
        showError(new Problem(`${entry.name}: ${error.title ?? "failed"}`, error.message));
      }
    }
  });
}

function press(button) {
  for (const other of document.querySelectorAll(".sample[aria-pressed]")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
}

async function takeSample(button) {
  press(button);
  const name = button.dataset.name;
  try {
    const blob = await (await call(`/samples/${name}`)).blob();
    files.forget();
    await take([new File([blob], name, { type: blob.type })], false);
  } catch (error) {
    showError(error);
  }
}

async function takeAddress(text) {
  busy("Fetching");
  try {
    const answer = await fetch(text, { mode: "cors", credentials: "omit", referrerPolicy: "no-referrer" });
    if (!answer.ok) throw new Error(String(answer.status));
    const name = decodeURIComponent(new URL(text).pathname.split("/").pop()) || "image";
    await take([new File([await answer.blob()], name)]);
  } catch {
    busy("");
    showError(new Problem("Can't fetch it", "Your browser may not load images of that site into this page. Save the image, and drop it here."));
  }
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const stem = (entry) => entry.name.replace(/\.[^.]*$/, "");

// ---- quality, size or bits a pixel

function showQuality(mode, value) {
  const { min, max, step, unit } = settings.MODES[mode];
  $("mode").value = mode;
  const slider = mode === "quality";
  $("quality").hidden = !slider;
  $("number").hidden = slider;
  Object.assign($("number"), { min, max, step });
  $(slider ? "quality" : "number").value = value;
  $("quality-text").value = slider ? value : unit;
  $("quality").style.setProperty("--fill", `${((value - 1) / 99) * 100}%`);
  $("number").setAttribute("aria-label", mode === "size" ? "Kilobytes at most" : "Bits a pixel");
}

let timer = 0;

function changeQuality(changes) {
  const { mode, value } = settings.set(changes);
  if (changes.mode || mode === "quality") showQuality(mode, value);
  clearTimeout(timer);
  const entry = current;
  if (!entry?.upload) return;
  timer = setTimeout(() => run((signal) => process(entry, signal)), 180);
}

async function loadSamples() {
  const samples = await (await call("/samples")).json();
  const buttons = samples.map(({ name, caption }) => {
    const button = panel.element("button", "sample");
    button.type = "button";
    button.dataset.name = name;
    button.title = caption;
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-label", `Sample: ${caption}`);
    const image = document.createElement("img");
    image.src = `/samples/${name}?thumb=true`;
    image.alt = "";
    button.append(image);
    button.addEventListener("click", () => takeSample(button));
    return button;
  });
  $("samples").append(...buttons);
  return buttons;
}

function listenToFiles() {
  for (const id of ["open-button", "own-button"]) $(id).addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    const given = [...$("file").files];
    $("file").value = "";
    if (given.length) take(given);
  });
  addEventListener("paste", (event) => {
    if (event.target instanceof HTMLInputElement) return;
    const given = [...event.clipboardData.files];
    const text = event.clipboardData.getData("text/plain").trim();
    if (given.length) take(given);
    else if (/^https:\/\/\S+$/.test(text)) takeAddress(text);
  });
  addEventListener("dragover", (event) => { event.preventDefault(); $("veil").hidden = false; });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("veil").hidden = true; });
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("veil").hidden = true;
    const given = [...event.dataTransfer.files];
    if (given.length) take(given);
  });
}

function listen() {
  listenToFiles();
  $("alert-close").addEventListener("click", () => { $("alert").hidden = true; });
  $("mode").addEventListener("change", () => changeQuality({ mode: $("mode").value, value: settings.MODES[$("mode").value].value }));
  $("quality").addEventListener("input", () => changeQuality({ value: Number($("quality").value) }));
  $("number").addEventListener("change", () => changeQuality({ value: Number($("number").value) || settings.get().value }));
  for (const input of document.querySelectorAll('input[name="against"]')) {
    input.addEventListener("change", () => {
      settings.set({ against: input.value });
      if (current) showSides(current);
    });
  }
  $("heat-button").addEventListener("click", () => toggleHeat().catch(showError));
  $("replay").addEventListener("click", replay);
  $("save-sic").addEventListener("click", () => save(current.blob, `${stem(current)}.sic`));
  $("save-png").addEventListener("click", () => save(current.png, `${stem(current)}.png`));
  $("save-zip").addEventListener("click", async () => save(await files.zipped(), "sic.zip"));
  $("link-button").addEventListener("click", async () => {
    let told = "Copied";
    try {
      await navigator.clipboard.writeText(settings.link());
    } catch { // browsers keep the clipboard from pages without TLS, and from whom the person says
      history.replaceState(null, "", settings.link());
      told = "In the address bar";
    }
    $("link-button").textContent = told;
    setTimeout(() => { $("link-button").textContent = "Copy link"; }, 1500);
  });
}

async function begin() {
  stage.start();
  const chosen = settings.read();
  showQuality(chosen.mode, chosen.value);
  listen();
  watchService((there) => {
    $("away").hidden = there;
    document.body.dataset.service = there ? "there" : "away";
  });
  search.start(call, showError);
  service = await (await call("/v1/models")).json();
  $("model").textContent = `Model ${service.default} (${service.models[0].identity}).`;
  const wanted = document.querySelector(`input[name="against"][value="${CSS.escape(chosen.against)}"]`);
  if (wanted) wanted.checked = true;
  if (!service.classifier) {
    $("heat-button").disabled = true;
    $("heat-button").title = "This service runs without a classifier";
    $("sees").textContent = "No classifier here";
  }
  const samples = await loadSamples();
  // "/?sample=dog.webp" begins with that one, "/?sample=" with none.
  const name = new URLSearchParams(location.search).get("sample") ?? samples[0]?.dataset.name;
  const first = samples.find((button) => button.dataset.name === name);
  if (first && !search.shown()) await takeSample(first);
  else busy("");
}

begin().catch(showError);
