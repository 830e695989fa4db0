/* The server's API as functions; see openapi.json. */

export class Refused extends Error {}

async function answered(response) {
  if (response.ok) return response;
  let detail = `The server answered ${response.status}.`;
  try {
    const body = await response.json();
    detail = typeof body.detail === "string" ? body.detail : body.detail[0].msg;
  } catch { /* no JSON: the status has to do */ }
  throw new Refused(detail);
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(`api/${path}`, options);
  } catch {
    throw new Refused("The server does not answer; is it still running?");
  }
  return answered(response);
}

const json = async (path, options) => (await ask(path, options)).json();
const sent = (method, body) => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
const by = weights => `weights=${encodeURIComponent(weights)}`;

export const health = () => json("health");
export const studies = () => json("studies");
export const study = id => json(`studies/${id}`);

export function upload(files) {
  const form = new FormData();
  for (const file of files) form.append("films", file, file.name);
  return json("studies", { method: "POST", body: form });
}

export const removeStudy = id => ask(`studies/${id}`, { method: "DELETE" });

export async function pixels(id, film) {
  const response = await ask(`studies/${id}/films/${film}`);
  return new Uint16Array(await response.arrayBuffer());
}

export async function matches(id, weights) {
  const about = await json(`studies/${id}/matches?${by(weights)}`);
  const raw = await ask(`studies/${id}/matches.raw?${by(weights)}`);
  return { about, values: new Uint16Array(await raw.arrayBuffer()) };
}

export const labels = id => json(`studies/${id}/labels`);
export const addLabel = (id, label) => json(`studies/${id}/labels`, sent("POST", label));
export const undoLabel = (id, reader) => json(`studies/${id}/labels/last?reader=${encodeURIComponent(reader)}`, { method: "DELETE" });
export const setPerson = (id, person) => json(`studies/${id}/person`, sent("PUT", { person }));
export const agreement = () => json("agreement");
export const next = reader => json(`next?reader=${encodeURIComponent(reader)}`);
export const startTuning = steps => json("finetune", sent("POST", { steps }));
export const tuning = () => json("finetune");
export const stopTuning = () => json("finetune", { method: "DELETE" });
