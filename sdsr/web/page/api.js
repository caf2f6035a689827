// The HTTP API: what goes wrong becomes an Error that says what the service said.

export class Problem extends Error {
  constructor(status, detail, retryAfter) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

function problemOf(status, text, retryAfter) {
  if (status === 401) location.assign("/login");
  let detail = `The service answered ${status}.`;
  try {
    detail = JSON.parse(text).detail ?? detail;
  } catch {
    if (status === 0) detail = "The service can't be reached; is it still running?";
  }
  return new Problem(status, detail, Number(retryAfter) || 2);
}

export async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, { method, body });
  } catch {
    throw problemOf(0, "", 2);
  }
  const text = await answer.text();
  if (!answer.ok) throw problemOf(answer.status, text, answer.headers.get("Retry-After"));
  return text ? JSON.parse(text) : null;
}

/** Upload a file; `onShare` is told how much of it is sent, 0 ... 1. */
export function upload(file, onShare) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("photo", file, file.name || "pasted.png");
    request.open("POST", "/v1/photos");
    request.upload.onprogress = (event) => event.lengthComputable && onShare(event.loaded / event.total);
    request.onerror = () => reject(problemOf(0, "", 2));
    request.onload = () => {
      if (request.status === 201) resolve(JSON.parse(request.responseText));
      else reject(problemOf(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    };
    request.send(form);
  });
}

/** Do something again while the service is busy; `stillWanted` may end that. */
export async function patiently(action, stillWanted = () => true) {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (error.status !== 429 || !stillWanted()) throw error;
      await new Promise((resolve) => setTimeout(resolve, error.retryAfter * 1000));
    }
  }
}
