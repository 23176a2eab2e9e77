// The two-up view: a divider to drag, zoom, and panning when zoomed.

const $ = (id) => document.getElementById(id);
const PAN = 0.15; // of the frame, for an arrow key
const LEVELS = [1, 1.5, 2, 3, 4, 6, 8, 12];

const stage = $("stage");
const handle = $("handle");
let split = 50;
let zoom = 1;
let x = 0;
let y = 0;

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

function place() {
  const box = stage.getBoundingClientRect();
  x = clamp(x, box.width * (1 - zoom), 0);
  y = clamp(y, box.height * (1 - zoom), 0);
  const style = stage.style;
  style.setProperty("--split", `${split}%`);
  style.setProperty("--zoom", zoom);
  style.setProperty("--x", `${x}px`);
  style.setProperty("--y", `${y}px`);
  // The divider stays put on the screen while the picture moves below it.
  const cut = box.width ? ((split / 100) * box.width - x) / zoom / box.width : split / 100;
  style.setProperty("--cut", `${clamp(100 * cut, 0, 100)}%`);
  stage.classList.toggle("deep", zoom > 1);
  const shown = $("right").width ? (box.width * zoom * devicePixelRatio) / $("right").width : 1;
  stage.classList.toggle("pixels", shown >= 3);
  $("zoom-text").value = zoom === 1 ? "Fit" : `${zoom}×`;
  handle.setAttribute("aria-valuenow", Math.round(split));
  handle.setAttribute("aria-valuetext", `${Math.round(split)} % of the left image`);
}

export function setSplit(value) {
  split = clamp(value, 0, 100);
  place();
}

export function setZoom(level, atX = null, atY = null) {
  const box = stage.getBoundingClientRect();
  const px = atX ?? box.width / 2;
  const py = atY ?? box.height / 2;
  const next = clamp(level, LEVELS[0], LEVELS.at(-1));
  x = px - ((px - x) / zoom) * next;
  y = py - ((py - y) / zoom) * next;
  zoom = next;
  place();
}

export function step(direction, atX, atY) {
  const index = LEVELS.findLastIndex((level) => level <= zoom + 1e-6);
  setZoom(LEVELS[clamp(index + direction, 0, LEVELS.length - 1)], atX, atY);
}

// Shape of the frame for an image; it never becomes taller than two thirds of the window, and stays
// large enough to be seen whatever the image's shape.
export function frame(width, height) {
  const ratio = clamp(width / height, 0.4, 4);
  stage.style.setProperty("--aspect", ratio);
  const tallest = Math.min(0.66 * innerHeight, 720);
  stage.style.maxWidth = innerWidth > 560 || ratio < 1 ? `${tallest * ratio}px` : "";
  setZoom(1);
}

// Objects that a detector stored: their boxes are shares of the image's sides.
export function showBoxes(labels, width, height) {
  const boxed = labels.filter((label) => label.box);
  const drawing = $("boxes");
  drawing.toggleAttribute("hidden", !boxed.length);
  drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  drawing.setAttribute("aria-label", `Objects: ${boxed.map((label) => label.name).join(", ")}`);
  const size = Math.max(width, height) / 32;
  drawing.replaceChildren(...boxed.flatMap(({ name, box: [left, top, right, bottom] }) => [
    shape("rect", { x: left * width, y: top * height, width: (right - left) * width, height: (bottom - top) * height }),
    shape("text", { x: left * width + size / 4, y: top * height + size, "font-size": size }, name),
  ]));
}

function shape(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function drag(target, onMove) {
  target.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    target.setPointerCapture(event.pointerId);
    let last = event;
    const move = (next) => {
      onMove(next, next.clientX - last.clientX, next.clientY - last.clientY);
      last = next;
    };
    target.addEventListener("pointermove", move);
    const stop = () => target.removeEventListener("pointermove", move);
    target.addEventListener("pointerup", stop, { once: true });
    target.addEventListener("pointercancel", stop, { once: true });
  });
}

function splitAt(event) {
  const box = stage.getBoundingClientRect();
  setSplit((100 * (event.clientX - box.left)) / box.width);
}

export function start() {
  drag(handle, splitAt);
  drag(stage, (event, dx, dy) => {
    if (event.target.closest(".handle")) return;
    if (zoom === 1) return splitAt(event);
    x += dx;
    y += dy;
    place();
  });
  stage.addEventListener("click", (event) => { if (zoom === 1 && !handle.hidden) splitAt(event); });
  stage.addEventListener("dblclick", (event) => {
    const box = stage.getBoundingClientRect();
    if (zoom > 1) setZoom(1);
    else setZoom(3, event.clientX - box.left, event.clientY - box.top);
  });
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // plain wheel scrolls the page
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    setZoom(zoom * Math.exp(-event.deltaY / 200), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  handle.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -2, ArrowRight: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
    if (event.key in moves) setSplit(split + moves[event.key]);
    else if (event.key === "+" || event.key === "=") step(1);
    else if (event.key === "-") step(-1);
    else return;
    event.preventDefault();
  });
  stage.addEventListener("keydown", (event) => {
    if (event.target !== stage) return;
    const moves = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const box = stage.getBoundingClientRect();
    if (event.key in moves && zoom > 1) {
      x += moves[event.key][0] * box.width * PAN;
      y += moves[event.key][1] * box.height * PAN;
      place();
    } else if (event.key === "+" || event.key === "=") step(1);
    else if (event.key === "-") step(-1);
    else if (event.key === "0") setZoom(1);
    else return;
    event.preventDefault();
  });
  $("zoom-in").addEventListener("click", () => step(1));
  $("zoom-out").addEventListener("click", () => step(-1));
  addEventListener("resize", place);
  place();
}
