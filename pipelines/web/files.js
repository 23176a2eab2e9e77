// The files that were given: a list, each with its own result.

import { element, kilobytes } from "./panel.js";
import { zip } from "./zip.js";

const $ = (id) => document.getElementById(id);
const STATUS = { waiting: "waiting", working: "…", failed: "failed" };
let entries = [];

// { name, file, sicFile, status, original (bitmap), upload and sic (handles), blob, png, decoded, ... }
export async function entry(file) {
  const name = file.name || "pasted image";
  const magic = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  const sicFile = String.fromCharCode(...magic) === "SIC" || /\.sic$/i.test(name);
  return { name, file, sicFile, status: "waiting", note: "", baselines: {} };
}

export function add(given) {
  // One file after another replaces it; several together are a list.
  entries = given.length > 1 || entries.length > 1 ? [...entries, ...given] : given;
}

export function forget() {
  entries = [];
}

export function show(current, onChoose) {
  const several = entries.length > 1;
  $("files").hidden = !several;
  $("save-zip").hidden = !several;
  $("save-zip").disabled = !entries.some((one) => one.blob);
  if (!several) return;
  $("files").replaceChildren(...entries.map((one) => {
    const button = element("button", "quiet");
    button.type = "button";
    button.setAttribute("aria-current", String(one === current));
    const result = one.blob ? kilobytes(one.blob.size) : STATUS[one.status] ?? "";
    button.append(element("span", "", one.name), element("small", "", result));
    button.addEventListener("click", () => onChoose(one));
    const item = element("li");
    item.append(button);
    return item;
  }));
}

export function zipped() {
  const done = entries.filter((one) => one.blob);
  return zip(done.map((one) => ({ name: `${one.name.replace(/\.[^.]*$/, "")}.sic`, blob: one.blob })));
}
