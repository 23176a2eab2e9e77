// The second view: a search over shipped files that reads only their first bytes.

import { element, kilobytes } from "./panel.js";

const $ = (id) => document.getElementById(id);
const WORDS = ["dog", "vehicle", "food", "furniture", "building", "structure", "device"];

let call;
let fail;
let last = null;

export const shown = () => location.hash === "#search";

function switchView() {
  const searching = shown();
  $("view-image").hidden = searching;
  $("view-search").hidden = !searching;
  for (const [id, here] of [["nav-image", !searching], ["nav-search", searching]]) {
    if (here) $(id).setAttribute("aria-current", "page");
    else $(id).removeAttribute("aria-current");
  }
  if (searching && !last) find($("search-word").value);
}

// What an earlier word found doesn't stand beside this one.
function clear() {
  for (const id of ["search-result", "search-read", "search-jpeg"]) $(id).textContent = "–";
  $("search-share").style.setProperty("--share", 0);
  $("search-images").replaceChildren();
}

async function find(word) {
  last?.abort();
  last = new AbortController();
  const { signal } = last;
  clear();
  try {
    const told = await (await call(`/gallery?word=${encodeURIComponent(word)}`, { signal })).json();
    $("search-result").textContent = told.files.length
      ? `${told.files.length} of ${told.searched} images`
      : `None of ${told.searched} images`;
    $("search-read").textContent = `${kilobytes(told.bytes_read)} read in ${told.ms < 10 ? told.ms.toFixed(1) : Math.round(told.ms)} ms`;
    $("search-jpeg").textContent = `${kilobytes(told.bytes_jpeg)} to move, then a classifier over every image`;
    $("search-share").style.setProperty("--share", Math.max(0.004, told.bytes_read / told.bytes_jpeg));
    $("search-images").replaceChildren(...told.files.map(card));
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  }
}

function card(file) {
  const figure = element("figure");
  const image = document.createElement("img");
  image.src = `/gallery/${file.name}?width=320`;
  image.loading = "lazy";
  image.width = 320;
  image.height = Math.round((320 * file.height) / file.width);
  const said = file.certain?.name ?? "unsure";
  image.alt = said;
  const caption = element("figcaption");
  const source = element("a", "", file.credit);
  source.href = file.source;
  source.rel = "noreferrer";
  caption.append(element("b", "", said), element("small", "", kilobytes(file.bytes)), source);
  figure.append(image, caption);
  return figure;
}

export function start(caller, onError) {
  call = caller;
  fail = onError;
  for (const word of WORDS) {
    const button = element("button", "quiet", word);
    button.type = "button";
    button.addEventListener("click", () => {
      $("search-word").value = word;
      find(word);
    });
    $("search-words").append(button);
  }
  $("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    find($("search-word").value);
  });
  addEventListener("hashchange", switchView);
  switchView();
}
