// Everything beside the image: labels, bytes, numbers, the table of codecs, the slow line.

const $ = (id) => document.getElementById(id);
const SLOW = 50_000; // bits a second of the slow line
const PREFIX_ROWS = 3;
const STEPS = 5; // of the path down WordNet; those above, such as "object", say little

export function kilobytes(count) {
  if (count < 1000) return `${count} B`;
  if (count < 1_000_000) return `${(count / 1000).toFixed(count < 100_000 ? 1 : 0)} kB`;
  return `${(count / 1_000_000).toFixed(2)} MB`;
}

export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const percent = (value) => `${Math.round(100 * value)} %`;

export function showLabels(told, onLook) {
  const sure = told.certain;
  const boxed = told.labels.some((label) => label.box); // a detector names each object for itself
  const chips = told.labels.map((label) => {
    const first = label.name === sure?.name;
    const chip = element("span", first ? "chip first" : sure || boxed ? "chip" : "chip unsure", label.name);
    chip.append(element("small", "", percent(label.probability)));
    return chip;
  });
  if (!boxed && told.labels.length && !told.labels.some((label) => label.name === sure?.name)) {
    const chip = element("span", sure ? "chip first" : "chip first unsure", sure?.name ?? "unsure what it is");
    if (sure) chip.append(element("small", "", percent(sure.probability)));
    chips.unshift(chip);
  }
  if (!chips.length) {
    chips.push(element("span", "note", told.source === "none" && !onLook ? `No labels: ${told.reason}.` : "No labels stored in this file."));
    if (onLook) {
      const look = element("button", "quiet", "Look at the image");
      look.type = "button";
      look.addEventListener("click", onLook, { once: true });
      chips.push(look);
    }
  }
  $("chips").replaceChildren(...chips);
  const path = sure?.path.slice(-STEPS) ?? [];
  const words = path.map((word, index) => (index === path.length - 1 ? element("b", "", word) : word));
  $("path").replaceChildren(...words.flatMap((word, index) => (index ? [" › ", word] : [word])));
  $("says-cost").textContent = { file: `${told.bytes_semantics} bytes of the file`, model: "from the compressed features", none: "" }[told.source];
  $("prefix-count").textContent = told.bytes_prefix;
  $("stage-label").textContent = sure?.name ?? "";
  $("stage-label").hidden = !sure;
  return sure?.name ?? "";
}

// The file's first bytes as they are; semantics sit between the header and a 4-byte checksum.
export function showBytes(bytes, told) {
  const shown = Math.max(16 * PREFIX_ROWS, 16 * Math.ceil(told.bytes_prefix / 16));
  const cells = [...bytes.slice(0, Math.min(shown, 96))].map((byte, index) => {
    const checksum = told.bytes_prefix - 4;
    const kind = index >= told.bytes_prefix ? "pic"
      : index >= checksum ? "crc"
        : index >= checksum - told.bytes_semantics ? "sem" : "head";
    return element("span", kind, byte.toString(16).padStart(2, "0"));
  });
  $("bytes").replaceChildren(...cells);
  $("bytes").setAttribute("aria-label",
    `The file's first ${told.bytes_prefix} bytes: header, ${told.bytes_semantics} bytes of labels, checksum`);
}

// `given`: the file as it came, { bytes, same } where `same` says that the pixels are the same.
export function showSize(size, metadata, pixels, given) {
  $("kilobytes").value = kilobytes(size);
  $("bpp").textContent = ((8 * (size - metadata)) / pixels).toFixed(3);
  $("metadata").textContent = metadata ? `${kilobytes(metadata)} of it EXIF and colour profile, kept` : "";
  const ratio = given && (given.bytes - metadata) / (size - metadata);
  $("ratio").textContent = given?.same && ratio > 1
    ? `${ratio.toFixed(ratio < 10 ? 1 : 0)}× smaller than\nthe ${kilobytes(given.bytes)} original, pixel for pixel`
    : "";
  $("rest").textContent = `image, ${kilobytes(size)}`;
}

export const decibels = (value) => (value === undefined ? "–" : value === null ? "equal" : `${value.toFixed(1)} dB`);
export const similarity = (value) => (value === undefined || value === null ? "–" : value.toFixed(3));
export const milliseconds = (value) => (value === null ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);

// One row for each codec; `truth` is what the classifier says of the original.
export function showCodecs(rows, truth) {
  $("baselines").replaceChildren(...rows.map((row) => {
    const line = element("tr", row.ours ? "ours" : "");
    const name = element("th", "", row.name);
    name.scope = "row";
    name.title = row.settings ?? "";
    line.append(name);
    const text = row.wait ? "…" : row.misses ? "can't be this small" : row.failed;
    if (text) {
      const cell = element("td", "faint", text);
      cell.colSpan = 3;
      line.append(cell);
      return line;
    }
    line.append(element("td", "", decibels(row.psnr)), element("td", "", similarity(row.ms_ssim)), sees(row.label, truth));
    return line;
  }));
}

function sees(label, truth) {
  if (!label) return element("td", "faint", "");
  const wrong = truth && label.wnid !== truth.wnid;
  const cell = element("td", wrong ? "wrong" : "");
  const seen = element("div", "seen");
  // A long name is cut short, its probability never.
  seen.append(element("span", "", `${wrong ? "✕ " : ""}${label.name}`), element("span", "", percent(label.probability)));
  cell.append(seen);
  cell.title = label.name;
  return cell;
}

// How long each takes to arrive over the slow line; `now` in seconds plays it.
export function showRace(sizes, now = Infinity) {
  const longest = (8 * Math.max(...sizes.map((item) => item.bytes))) / SLOW;
  const ours = sizes.find((item) => item.kind === "ours");
  const scale = Math.min(longest, (8 * 8 * (ours?.bytes ?? 1)) / SLOW);
  $("race").replaceChildren(...sizes.map((item) => {
    const seconds = (item.bytes * 8) / SLOW;
    const line = element("div", `runner ${item.kind}`);
    const track = element("span", "track");
    const bar = element("i");
    // Before a replay: how long each takes. In one: how much of each has arrived.
    const share = now === Infinity ? seconds / scale : now / seconds;
    bar.style.setProperty("--share", Math.min(1, Math.max(0.02, share)));
    track.append(bar);
    const text = seconds < 1 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
    line.append(element("span", "", item.name), track, element("span", "", now < seconds ? "…" : text));
    return line;
  }));
  return (8 * (ours?.bytes ?? 0)) / SLOW;
}

// Nothing of one image may stand beside another.
export function reset() {
  for (const id of ["chips", "path", "bytes", "baselines", "race"]) $(id).replaceChildren();
  for (const id of ["says-cost", "ratio", "metadata"]) $(id).textContent = "";
  for (const id of ["bpp", "psnr", "ms-ssim", "encode-ms", "decode-ms"]) $(id).textContent = "–";
  $("kilobytes").value = "–";
  $("rest").textContent = "image";
  $("stage-label").hidden = true;
  $("boxes").toggleAttribute("hidden", true);
}
