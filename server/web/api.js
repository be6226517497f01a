// Requests to this server.

/** What a request that was refused throws. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function request(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers['Content-Type'] = 'application/json';
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, options);
  } catch {
    throw new Refused(0, 'The server cannot be reached.');
  }
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = new Refused(answer.status, value.error ?? `The server answered ${answer.status}.`);
    if (answer.status === 401 && path !== '/login') window.dispatchEvent(new Event('logged-out'));
    throw error;
  }
  return value;
}

export const get = (path, query) => request('GET', path + asked(query));
export const post = (path, body) => request('POST', path, body ?? {});
export const put = (path, body) => request('PUT', path, body);
export const remove = (path) => request('DELETE', path);

/** What stands behind the question mark; fields that are empty are left out. */
export function asked(query) {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value != null && value !== '');
  return pairs.length ? `?${new URLSearchParams(pairs)}` : '';
}

/** How long to wait before a stream that ended is asked for again. */
const AGAIN = 5000;

/** Alerts as they come, until the returned function is called. */
export function follow(query, alert, state) {
  let timer;
  let over = false;
  const source = new EventSource(`/api/v1/alerts/stream${asked(query)}`);
  source.addEventListener('alert', (event) => alert(JSON.parse(event.data)));
  source.addEventListener('open', () => state(true));
  // The page is shown anew, so that what came meanwhile is on it; who is not logged in any more is told so.
  const again = async () => {
    try {
      await get('/me');
      if (!over) window.dispatchEvent(new Event('hashchange'));
    } catch (error) {
      if (!over && error.status !== 401) timer = setTimeout(again, AGAIN);
    }
  };
  source.addEventListener('error', () => {
    state(false);
    // After an answer that is no stream the browser does not ask again by itself.
    if (source.readyState === EventSource.CLOSED) timer = setTimeout(again, AGAIN);
  });
  return () => { over = true; clearTimeout(timer); source.close(); };
}
