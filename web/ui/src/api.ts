// Requests to the program that served the page. Paths are relative, so that the page also works below the path of a
// proxy, such as that of kubectl.

export type Params = Record<string, string | number | boolean | undefined | string[]>;

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly kind: string
  ) {
    super(message);
  }
}

export interface Annotated<T> {
  data: T;
  warnings: string[];
  infos: string[];
}

interface Envelope<T> {
  status: string;
  data: T;
  error?: string;
  errorType?: string;
  warnings?: string[];
  infos?: string[];
}

export function queryString(params: Params): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== '') search.append(name, String(one));
    }
  }
  const text = search.toString();
  return text ? `?${text}` : '';
}

async function reply(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError('Tidewright does not answer. Is it running, and can this browser reach it?', 0, 'unreachable');
  }
}

async function json<T>(response: Response): Promise<T> {
  const text = await response.text();
  try {
    return JSON.parse(text) as T;
  } catch {
    const line = text.trim().split('\n')[0] ?? '';
    throw new ApiError(line || `HTTP status ${response.status}`, response.status, 'http');
  }
}

// What may be asked by POST, too, in case that it is too long for an address.
const POSTABLE = /^(query|query_range|series|labels|format_query)$/;

// Asks a path below api/v1/ that answers in Prometheus' envelope.
export async function ask<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<Annotated<T>> {
  const search = queryString(params);
  const post = search.length > 1500 && POSTABLE.test(path);
  const response = post
    ? await reply(`api/v1/${path}`, {
        method: 'POST',
        body: search.slice(1),
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        signal: signal ?? null
      })
    : await reply(`api/v1/${path}${search}`, { signal: signal ?? null });
  const body = await json<Envelope<T>>(response);
  if (body.status !== 'success') {
    throw new ApiError(body.error ?? `HTTP status ${response.status}`, response.status, body.errorType ?? 'http');
  }
  return { data: body.data, warnings: body.warnings ?? [], infos: body.infos ?? [] };
}

export async function get<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  return (await ask<T>(path, params, signal)).data;
}

// GET of a document without an envelope.
export async function getDocument<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await reply(path, { signal: signal ?? null });
  if (!response.ok) throw new ApiError(`HTTP status ${response.status}`, response.status, 'http');
  return json<T>(response);
}
