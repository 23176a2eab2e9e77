// The page's flow: a picture comes in, is encoded; its labels are shown from the first bytes of
// the file, before it is decoded; then the decoded picture, then what other codecs make of it.

import { Problem, call, timing } from "./api.js";
import * as panel from "./panel.js";
import { load, paint, paintHeat, prepare, psnr } from "./picture.js";
import * as stage from "./stage.js";

const $ = (id) => document.getElementById(id);
const NAMES = { jpeg: "JPEG", webp: "WebP", avif: "AVIF" };
const PREFIX = 256;

let service = { baselines: [], classifier: null, limits: { max_body_bytes: 20e6 } };
let source = null; // { name, file, body, bitmap, truth }: the picture that came in
let result = null; // { blob, bitmap, png, width, height }: the .sic file and what it decodes to
let rivals = {}; // name -> { bitmap, psnr, label, bytes }
let known = { name: "", prefix: 0 }; // what the first bytes of the file say
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
    showError(error);
  } finally {
    if (!signal.aborted) {
      busy("");
      showKnown(0);
    }
  }
}

// ---- from a picture to a file and back

async function takePicture(file, name, whole, signal) {
  busy("Reading");
  $("reduced").hidden = true;
  const { body, bitmap, reduced } = await prepare(file, whole);
  signal.throwIfAborted();
  if (body.size > service.limits.max_body_bytes) {
    throw new Problem("Too large", `This service takes pictures of at most ${panel.kilobytes(service.limits.max_body_bytes)}.`);
  }
  source = { name, file, body, bitmap, truth: null };
  rivals = {};
  hideHeat();
  if (bitmap) {
    stage.frame(bitmap.width, bitmap.height);
    paint($("left"), bitmap);
    paint($("right"), bitmap);
  }
  if (reduced) {
    const all = document.createElement("button");
    all.type = "button";
    all.className = "quiet";
    all.textContent = "Use all of it";
    all.addEventListener("click", () => run((next) => takePicture(file, name, true, next)));
    $("reduced").replaceChildren(`Reduced from ${reduced.from} to ${reduced.to} to be quick.`, all);
    $("reduced").hidden = false;
  }
  await encode(signal);
}

async function encode(signal) {
  busy("Encoding");
  const answer = await call(`/v1/encode?quality=${$("quality").value}`, { body: source.body, signal });
  const blob = await answer.blob();
  $("encode-ms").textContent = panel.milliseconds(timing(answer, "codec"));
  await showFile(blob, signal);
  await compareAll(signal);
}

async function openFile(file, name, signal) {
  busy("Opening");
  source = null;
  rivals = {};
  hideHeat();
  $("reduced").hidden = true;
  $("encode-ms").textContent = "–";
  await showFile(file, signal, name);
  const quality = (await (await call("/v1/info", { body: file.slice(0, PREFIX), signal })).json()).quality;
  setQuality(quality);
  await compareAll(signal);
}

// Labels first: they need only the file's first bytes.
async function showFile(blob, signal, name) {
  const head = blob.slice(0, PREFIX);
  const told = await (await call("/v1/labels", { body: head, signal })).json();
  panel.showLabels(told, name);
  panel.showBytes(new Uint8Array(await head.arrayBuffer()), told);
  panel.showSize(blob.size, told.width * told.height, source ? source.file.size : 0);
  race(blob.size, told.bytes_prefix);
  busy("Decoding");
  known = { name: told.labels[0]?.name ?? "", prefix: told.bytes_prefix };
  showKnown(1);
  const answer = await call("/v1/decode", { body: blob, accept: "image/png", signal });
  const png = await answer.blob();
  const bitmap = await load(png);
  result = { blob, png, bitmap, width: told.width, height: told.height, prefix: told.bytes_prefix };
  $("decode-ms").textContent = panel.milliseconds(timing(answer, "codec"));
  if (!source?.bitmap) stage.frame(bitmap.width, bitmap.height);
  paint($("right"), bitmap);
  showKnown(0);
  $("psnr").textContent = panel.decibels(source ? psnr(source.bitmap, bitmap) : null);
  $("save-sic").disabled = $("save-png").disabled = false;
  showSides();
}

// What is known before the picture is: the label alone, over a blur.
function showKnown(missing) {
  const { name, prefix } = known;
  $("known").hidden = missing <= 0 || !name;
  $("known-name").textContent = name;
  $("known-why").textContent = `known from ${prefix} bytes; the picture is still to come`;
  $("stage").classList.toggle("waiting", missing > 0);
  $("stage").style.setProperty("--missing", missing);
}

// ---- what stands on the left

function against() {
  return document.querySelector('input[name="against"]:checked').value;
}

function showSides() {
  const choice = against();
  const rival = rivals[choice];
  const left = choice === "original" ? source?.bitmap : rival?.bitmap;
  const alone = !left;
  $("stage").classList.toggle("alone", alone);
  $("handle").hidden = $("tag-left").hidden = alone;
  $("tag-right").hidden = !result;
  if (left) {
    paint($("left"), left);
    const size = choice === "original" ? source.file.size : rival.bytes;
    tag($("tag-left"), NAMES[choice] ?? "Original", panel.kilobytes(size));
    $("left").setAttribute("aria-label", `${NAMES[choice] ?? "Original"} picture, ${panel.kilobytes(size)}`);
  }
  if (result) tag($("tag-right"), "DeepSIC", panel.kilobytes(result.blob.size));
  for (const input of document.querySelectorAll('input[name="against"]')) {
    const there = input.value === "original" ? source?.bitmap : source && service.baselines.includes(input.value);
    input.disabled = !there;
  }
}

function tag(place, name, size) {
  const strong = document.createElement("b");
  strong.textContent = name;
  place.replaceChildren(strong, ` ${size}`);
}

// ---- the rivals

async function classify(blob, signal) {
  if (!service.classifier) return null;
  const told = await (await call("/v1/classify", { body: blob, signal })).json();
  return told.labels[0];
}

async function compareAll(signal) {
  const ours = { name: "DeepSIC", ours: true, psnr: source ? psnr(source.bitmap, result.bitmap) : null };
  const rows = [ours];
  if (!source) return panel.showRivals(rows, null);
  rows.push(...service.baselines.map((name) => ({ key: name, name: NAMES[name], wait: true })));
  panel.showRivals(rows, source.truth);
  busy("Comparing");
  source.truth ??= await classify(source.body, signal);
  ours.label = await classify(result.png, signal);
  for (const row of rows.slice(1)) {
    panel.showRivals(rows, source.truth);
    const path = `/v1/baseline?format=${row.key}&max_bytes=${result.blob.size}`;
    const answer = await call(path, { body: source.body, signal });
    const blob = await answer.blob();
    const bitmap = await load(blob);
    row.wait = false;
    row.misses = answer.headers.get("X-Fits") === "no";
    row.psnr = psnr(source.bitmap, bitmap);
    row.label = row.misses ? null : await classify(blob, signal);
    rivals[row.key] = { bitmap, bytes: blob.size };
    if (against() === row.key) showSides();
  }
  panel.showRivals(rows, source.truth);
}

// ---- the heat map

function hideHeat() {
  $("heat").hidden = true;
  $("heat-button").setAttribute("aria-pressed", "false");
}

async function toggleHeat() {
  if (!$("heat").hidden) return hideHeat();
  const answer = await call("/v1/heatmap", { body: source?.body ?? result.png });
  const label = answer.headers.get("X-Label");
  const bitmap = await load(await answer.blob());
  const shape = result?.bitmap ?? source.bitmap;
  const scale = Math.min(1, 640 / Math.max(shape.width, shape.height));
  paintHeat($("heat"), bitmap, Math.round(shape.width * scale), Math.round(shape.height * scale));
  $("heat").setAttribute("aria-label", `Where the classifier finds: ${label}`);
  $("heat").hidden = false;
  $("heat-button").setAttribute("aria-pressed", "true");
}

// ---- the slow line

let racing = 0;

function runners(size, prefix) {
  return [
    { name: "Labels", bytes: prefix, kind: "labels" },
    { name: "Picture", bytes: size, kind: "ours" },
    ...(source ? [{ name: "Original", bytes: source.file.size, kind: "original" }] : []),
  ];
}

function race(size, prefix) {
  cancelAnimationFrame(racing);
  showKnown(0);
  panel.showRace(runners(size, prefix));
}

function replay() {
  cancelAnimationFrame(racing);
  if (!result) return;
  const started = performance.now();
  const items = runners(result.blob.size, result.prefix);
  const end = (items[1].bytes * 8) / 50_000;
  const chips = [...$("chips").children];
  for (const chip of chips) { chip.style.animation = "none"; void chip.offsetWidth; chip.style.animation = ""; }
  $("stage").scrollIntoView({ block: "nearest", behavior: "smooth" });
  const tick = () => {
    const now = (performance.now() - started) / 1000;
    // The picture clears up as its bytes arrive; what it shows was known all the time.
    showKnown(now < end ? Math.max(0.02, 1 - now / end) : 0);
    if (now > end + 0.6) return race(result.blob.size, result.prefix);
    panel.showRace(items, now);
    racing = requestAnimationFrame(tick);
  };
  tick();
}

// ---- ways in and out

async function take(file, name = file.name || "pasted picture") {
  press(null);
  busy("Reading");
  const magic = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  const sic = String.fromCharCode(...magic) === "SIC" || /\.sic$/i.test(name);
  await run((signal) => (sic ? openFile(file, name, signal) : takePicture(file, name, false, signal)));
}

function press(button) {
  for (const other of document.querySelectorAll(".sample[aria-pressed]")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
}

async function takeSample(button) {
  press(button);
  await run(async (signal) => {
    const answer = await call(`/samples/${button.dataset.name}`, { signal });
    await takePicture(await answer.blob(), button.dataset.name, false, signal);
  });
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function stem() {
  return (source?.name ?? "picture").replace(/\.[^.]*$/, "");
}

function setQuality(value) {
  $("quality").value = value;
  $("quality-text").value = value;
  $("quality").style.setProperty("--fill", `${((value - 1) / 99) * 100}%`);
}

async function loadSamples() {
  const samples = await (await call("/samples")).json();
  const buttons = samples.map(({ name, caption }) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sample";
    button.dataset.name = name;
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-label", `Sample: ${caption}`);
    button.title = caption;
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

function listen() {
  $("open-button").addEventListener("click", () => $("file").click());
  $("own-button").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => { if ($("file").files[0]) take($("file").files[0]); $("file").value = ""; });
  $("alert-close").addEventListener("click", () => { $("alert").hidden = true; });
  addEventListener("paste", (event) => { if (event.clipboardData.files[0]) take(event.clipboardData.files[0]); });
  addEventListener("dragover", (event) => { event.preventDefault(); $("veil").hidden = false; });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("veil").hidden = true; });
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("veil").hidden = true;
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  let timer = 0;
  $("quality").addEventListener("input", () => {
    setQuality($("quality").value);
    clearTimeout(timer);
    if (source) timer = setTimeout(() => run(encode), 180);
  });
  for (const input of document.querySelectorAll('input[name="against"]')) input.addEventListener("change", showSides);
  $("heat-button").addEventListener("click", () => toggleHeat().catch(showError));
  $("replay").addEventListener("click", replay);
  $("save-sic").addEventListener("click", () => save(result.blob, `${stem()}.sic`));
  $("save-png").addEventListener("click", () => save(result.png, `${stem()}.png`));
}

async function begin() {
  stage.start();
  listen();
  setQuality(30);
  service = await (await call("/v1/models")).json();
  $("model").textContent = `Model ${service.default} (${service.models[0].identity}).`;
  if (!service.classifier) {
    $("heat-button").disabled = true;
    $("heat-button").title = "This service runs without a classifier";
    $("sees").textContent = "No classifier installed";
  }
  const samples = await loadSamples();
  // "/?sample=rocket.jpg" begins with that one, "/?sample=" with none.
  const wanted = new URLSearchParams(location.search).get("sample") ?? samples[0]?.dataset.name;
  const first = samples.find((button) => button.dataset.name === wanted);
  if (first) await takeSample(first);
  else busy("");
}

begin().catch(showError);
