// What the user chose: remembered on this machine, and carried by a link.

export const MODES = {
  quality: { unit: "", min: 1, max: 100, step: 1, value: 30, parameter: "quality", factor: 1 },
  size: { unit: "kB", min: 1, max: 20000, step: 0.1, value: 20, parameter: "max_bytes", factor: 1000 },
  bpp: { unit: "bpp", min: 0.01, max: 24, step: 0.01, value: 0.25, parameter: "bpp", factor: 1 },
};
const KEYS = ["mode", "value", "against"];
const chosen = { mode: "quality", value: MODES.quality.value, against: "original" };

function stored() {
  try {
    return JSON.parse(localStorage.getItem("settings")) ?? {};
  } catch {
    return {}; // another version's, or a person's own
  }
}

export function read() {
  const before = stored();
  const given = Object.fromEntries(new URLSearchParams(location.search));
  for (const key of KEYS) Object.assign(chosen, key in given ? { [key]: given[key] } : key in before ? { [key]: before[key] } : {});
  if (!(chosen.mode in MODES)) chosen.mode = "quality";
  set({ value: Number(chosen.value) || MODES[chosen.mode].value });
  return chosen;
}

export function set(changes) {
  Object.assign(chosen, changes);
  const { min, max } = MODES[chosen.mode];
  chosen.value = Math.min(Math.max(chosen.value, min), max);
  localStorage.setItem("settings", JSON.stringify(chosen));
  return chosen;
}

export const get = () => chosen;

// The parameter of /v1/encode.
export function query() {
  const mode = MODES[chosen.mode];
  return `${mode.parameter}=${mode.factor === 1 ? chosen.value : Math.round(chosen.value * mode.factor)}`;
}

export function link() {
  const parameters = new URLSearchParams(KEYS.map((key) => [key, chosen[key]]));
  return `${location.origin}/?${parameters}`;
}
