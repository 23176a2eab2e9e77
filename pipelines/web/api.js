// Calls to the service; every failure becomes a Problem that says what to do.

const PLAIN = {
  408: "The upload was too slow. Try again, or a smaller picture.",
  415: "This doesn't look like a picture the service can read. Try a JPEG, PNG, WebP, AVIF or TIFF.",
  422: "This .sic file is damaged, or made by a model that this service doesn't have.",
  501: "This service runs without a classifier, so it can't do that.",
  503: "The service is busy. It will be free again in a moment.",
  504: "That took too long. Try a smaller picture.",
};

export class Problem extends Error {
  constructor(title, text, id = "") {
    super(text);
    this.title = title;
    this.id = id;
  }
}

let token = sessionStorage.getItem("token") || "";

function askForToken() {
  const dialog = document.getElementById("token-dialog");
  const field = document.getElementById("token");
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

let asking = null;

export async function call(path, { body, accept, signal } = {}) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (accept) headers.Accept = accept;
  if (body) headers["Content-Type"] = "application/octet-stream";
  let answer;
  try {
    answer = await fetch(path, { method: body ? "POST" : "GET", body, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("No connection", "The service can't be reached. Is it still running?");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) {
    asking ??= askForToken().finally(() => { asking = null; });
    await asking;
    return call(path, { body, accept, signal });
  }
  throw await problemOf(answer);
}

async function problemOf(answer) {
  let told = {};
  try { told = await answer.json(); } catch { /* a proxy's own page: the status must do */ }
  const text = answer.status === 413
    ? `Too large: ${told.detail ?? "more than this service takes"}.`
    : PLAIN[answer.status] ?? told.detail ?? `The service answered ${answer.status}.`;
  const id = (told.instance ?? "").split(":").pop();
  return new Problem(told.title ?? "Something went wrong", text, id && answer.status >= 500 ? `request ${id}` : "");
}

// Milliseconds of one entry of a Server-Timing header.
export function timing(answer, name) {
  const found = new RegExp(`${name};dur=([0-9.]+)`).exec(answer.headers.get("Server-Timing") ?? "");
  return found ? Number(found[1]) : null;
}
