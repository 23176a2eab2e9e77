// Calls to the service; every failure becomes a Problem that says what to do.

const PLAIN = {
  "Body too slow": "The upload was too slow. Try again, or send a smaller image.",
  "Unreadable input": "This doesn't look like an image the service can read. Try a JPEG, PNG, WebP, AVIF or TIFF.",
  "Unsupported image": "An animation or a document of several pages: send the one image that you want.",
  "Corrupt file": "This .sic file is damaged.",
  "Unknown model": "This .sic file was made by a model that this service doesn't have.",
  "No classifier": "This service runs without a classifier, so it can't do that.",
  "Time limit exceeded": "That took too long. Try a smaller image.",
};
const BUSY = { 502: 1, 503: 1, 504: 1 };

export class Problem extends Error {
  constructor(title, text, { id = "", status = 0 } = {}) {
    super(text);
    this.title = title;
    this.id = id;
    this.status = status;
  }
}

export const UNKNOWN_UPLOAD = "Unknown upload";

let token = sessionStorage.getItem("token") || "";
let asking = null;

function askForToken() {
  const dialog = document.getElementById("token-dialog");
  const field = document.getElementById("token");
  document.getElementById("token-wrong").hidden = !token;
  field.value = "";
  dialog.showModal();
  return new Promise((resolve, reject) => {
    dialog.addEventListener("close", () => {
      if (!field.value) return reject(new Problem("No token", "Without it this service answers nothing."));
      token = field.value.trim();
      sessionStorage.setItem("token", token);
      resolve();
    }, { once: true });
  });
}

// A GET without a body, else a POST. `post` posts an empty body, as for work on an upload.
export async function call(path, { body, post = body !== undefined, accept, signal } = {}) {
  const headers = {};
  const used = token;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (accept) headers.Accept = accept;
  if (body) headers["Content-Type"] = "application/octet-stream";
  let answer;
  try {
    answer = await fetch(path, { method: post ? "POST" : "GET", body, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service is away", "It can't be reached. This page looks for it and says when it is back.");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) {
    if (used === token) {
      asking ??= askForToken().finally(() => { asking = null; });
      await asking;
    }
    return call(path, { body, post, accept, signal });
  }
  throw await problemOf(answer);
}

async function problemOf(answer) {
  let told = {};
  try {
    told = await answer.json();
  } catch {
    told.detail = `The service answered ${answer.status}.`; // something in between: the status must do
  }
  const title = told.title ?? (BUSY[answer.status] ? "Busy" : "Something went wrong");
  const text = PLAIN[title] ?? `${told.detail?.[0]?.toUpperCase() ?? ""}${told.detail?.slice(1) ?? ""}.`.replace(/\.\.$/, ".");
  const id = (told.instance ?? "").split(":").pop();
  return new Problem(title, text, {
    id: id && answer.status >= 500 ? `request ${id}` : "",
    status: answer.status,
  });
}

// Milliseconds of one entry of a Server-Timing header.
export function timing(answer, name) {
  const found = new RegExp(`${name};dur=([0-9.]+)`).exec(answer.headers.get("Server-Timing") ?? "");
  return found ? Number(found[1]) : null;
}

// Says whether the service answers, every second and a half while the page is looked at.
export function watchService(onChange) {
  let there = true;
  const look = async () => {
    if (document.visibilityState === "visible") {
      let now = false;
      try {
        now = (await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(1200) })).ok;
      } catch {
        now = false;
      }
      if (now !== there) onChange(now);
      there = now;
    }
    setTimeout(look, 1500);
  };
  look();
}
