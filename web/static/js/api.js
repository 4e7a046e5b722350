// The gateway's REST interface. Where it asks for the token, so does the page, once.

/** What the gateway answers to a request that can't be done: a word for programs and a sentence for people. */
export class ApiError extends Error {
  constructor(status, error, detail) {
    super(detail);
    this.status = status;
    this.error = error;
  }
}

const AWAY = "The gateway does not answer. Is `topology up` running?";

let askForToken = () => Promise.resolve(false);
let asking = null;
let declined = false;

/**
 * @param {() => Promise<boolean>} ask shows a dialog; it resolves to whether the gateway has taken the token
 */
export function tokenFrom(ask) {
  askForToken = ask;
}

/** Ask for the token; callers at the same time share one dialog. Who declines is only asked again for a change. */
function authorize() {
  asking ??= askForToken().finally(() => (asking = null));
  return asking;
}

/** @returns {Promise<any>} the JSON that a path answers; throws ApiError */
export async function get(path) {
  return (await request("GET", path)).json();
}

/** @returns {Promise<any>} what a change answers; throws ApiError */
export async function post(path, body) {
  return (await request("POST", path, body)).json();
}

/** @returns {Promise<{required: boolean, authorized: boolean}>} whether this page is let in; throws ApiError */
export async function session() {
  return (await send("GET", "/api/session")).json();
}

/** Give the token; throws ApiError where it is not the one. */
export async function beginSession(token) {
  return (await checked(await send("POST", "/api/session", { token }))).json();
}

/**
 * @returns {Promise<{rows: any[], more: boolean}>} a page, the newest first, and whether there are older ones
 */
export async function page(path) {
  const response = await request("GET", path);
  return { rows: await response.json(), more: /rel="?next/.test(response.headers.get("Link") ?? "") };
}

async function request(method, path, body) {
  let response = await send(method, path, body);
  if (response.status === 401 && (method !== "GET" || !declined)) {
    declined = !(await authorize());
    if (!declined) response = await send(method, path, body);
  }
  return checked(response);
}

async function send(method, path, body) {
  const options = { method, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  try {
    return await fetch(path, options);
  } catch {
    throw new ApiError(0, "unreachable", AWAY);
  }
}

async function checked(response) {
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new ApiError(
    response.status,
    problem.error ?? "failed",
    problem.detail ?? `The gateway answered ${response.status} ${response.statusText}.`,
  );
}
