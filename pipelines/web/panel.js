// Everything beside the picture: labels, bytes, numbers, the table of rivals, the slow line.

const $ = (id) => document.getElementById(id);
const SLOW = 50_000; // bits a second of the slow line
const PREFIX_ROWS = 3;
const STEPS = 5; // of the path down WordNet; those above, such as "object", say little

export function kilobytes(count) {
  if (count < 1000) return `${count} B`;
  if (count < 1_000_000) return `${(count / 1000).toFixed(count < 100_000 ? 1 : 0)} kB`;
  return `${(count / 1_000_000).toFixed(2)} MB`;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function showLabels(told, name = "the file") {
  const chips = told.labels.map((label, index) => {
    const chip = element("span", index ? "chip" : "chip first", label.name);
    chip.append(element("small", "", `${Math.round(100 * label.probability)} %`));
    chip.style.animationDelay = `${60 * index}ms`;
    return chip;
  });
  if (!chips.length) chips.push(element("span", "note", "No labels were stored in this file."));
  $("chips").replaceChildren(...chips);
  const path = told.labels[0]?.path.slice(-STEPS) ?? [];
  const words = path.map((word, index) => (index === path.length - 1 ? element("b", "", word) : word));
  $("path").replaceChildren(...words.flatMap((word, index) => (index ? [" › ", word] : [word])));
  $("says-cost").textContent = told.source === "file"
    ? `${told.bytes_semantics} bytes of ${name}`
    : "from the compressed features";
  $("prefix-count").textContent = told.bytes_prefix;
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

export function showSize(size, pixels, source) {
  $("kilobytes").value = kilobytes(size);
  $("bpp").textContent = ((8 * size) / pixels).toFixed(3);
  $("ratio").textContent = source > size
    ? `${(source / size).toFixed(source < 10 * size ? 1 : 0)}× smaller\nthan the ${kilobytes(source)} original`
    : "";
  $("rest").textContent = `picture, ${kilobytes(size)}`;
}

export const decibels = (value) => (value === null ? "–" : value === Infinity ? "lossless" : `${value.toFixed(1)} dB`);
export const milliseconds = (value) => (value === null ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);

// One row for each codec; `truth` is what the classifier says of the original.
export function showRivals(rows, truth) {
  const best = Math.max(...rows.map((row) => row.psnr ?? 0).filter(Number.isFinite), 1);
  const least = best - 12;
  $("rivals").replaceChildren(...rows.map((row) => {
    const line = element("tr", row.ours ? "ours" : "");
    const quality = element("td");
    const gauge = element("span", "gauge");
    const bar = element("i");
    bar.style.setProperty("--share", `${row.psnr ? Math.max(4, Math.min(100, (100 * (row.psnr - least)) / (best - least))) : 0}%`);
    gauge.append(bar);
    const number = row.wait ? "…" : row.misses ? "can't be this small" : decibels(row.psnr);
    quality.append(...(row.misses ? [number] : [gauge, number]));
    if (row.misses) quality.colSpan = 2;
    line.append(element("td", "", row.name), quality);
    if (!row.misses) line.append(sees(row.label, truth));
    return line;
  }));
}

function sees(label, truth) {
  if (!label) return element("td", "faint", "");
  const cell = element("td", truth && label.wnid !== truth.wnid ? "wrong" : "");
  const seen = element("div", "seen");
  // A long name is cut short, its probability never.
  seen.append(element("span", "", label.name), element("span", "", `${Math.round(100 * label.probability)} %`));
  cell.append(seen);
  cell.title = label.name;
  return cell;
}

// How long each takes to arrive over the slow line; `now` in seconds plays it.
export function showRace(sizes, now = Infinity) {
  const slowest = Math.max(...sizes.map((item) => item.bytes)) * 8 / SLOW;
  const scale = Math.min(slowest, 8 * Math.max(...sizes.filter((i) => i.kind === "ours").map((i) => (i.bytes * 8) / SLOW)));
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
  return slowest;
}
