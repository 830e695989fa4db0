/* The stage: films side by side, the point under the pointer, pins, and the bands they light up in the other films. */

import * as api from "./api.js";
import { Layer } from "./bands.js";
import * as draw from "./draw.js";
import { FilmView } from "./film.js";

const PINS = [[86, 204, 242], [126, 231, 135], [240, 128, 200], [255, 226, 89], [180, 150, 255], [255, 128, 102]];
const BESIDE = "rgb(111,211,255)", TRUE = "rgb(126,231,135)";
const byId = id => document.getElementById(id);
const percent = value => `${Math.round(100 * value)} %`;
const worth = value => state.layer.calibration ? percent(value) : value.toFixed(2);   // a probability only where it was measured

export const state = {
  study: null, films: [], layers: new Map(), layer: null, against: null, coverage: 0.9,
  cursor: null, pins: [], drag: "point", active: 0, hover: [], label: null,
};

export const called = name => name.replace(/^matcher-/, "");

export function say(words, wrong = false) {
  byId("status").textContent = words;
  byId("status").classList.toggle("wrong", wrong);
}

/* ---- A study ------------------------------------------------------------------------------------------------- */

export async function show(facts, listen) {                     // `listen` attends to a new film's pointer and keys
  Object.assign(state, { study: facts, cursor: null, pins: [], layers: new Map(), layer: null, against: null, active: 0 });
  byId("stage").replaceChildren();
  listPins();
  byId("empty").hidden = true;
  document.body.classList.add("has-study");
  document.title = `crossray: ${facts.name}`;
  byId("remove").hidden = !facts.uploaded;
  state.films = facts.films.map((film, n) => new FilmView(byId("stage"), film, n, facts.films.length));
  for (const film of state.films) listen(film);
  place();
  await Promise.all(state.films.map(async (film, n) => {
    const pixels = await api.pixels(facts.id, n);
    if (state.films[n] !== film) return;                        // another study was chosen meanwhile
    film.onpaint = () => overlay(n);
    film.load(pixels);
  }));
  if (state.study !== facts) return;
  listLayers();
  await use(facts.layers[0], null);
}

let asked = 0;

export async function use(name, against) {                      // whose bands, and whose beside them
  const study = state.study, turn = ++asked;
  for (const wanted of [name, against]) if (wanted && !state.layers.has(wanted)) {
    say(`Matching with ${called(wanted)} ...`);
    const { about, values } = await api.matches(study.id, wanted);
    if (study.id !== state.study.id) return;
    state.layers.set(wanted, new Layer(wanted, about, values));
  }
  if (turn !== asked) return;                                   // something else was chosen meanwhile
  Object.assign(state, { layer: state.layers.get(name), against: against ? state.layers.get(against) : null });
  byId("layer").value = name;
  byId("against").value = against ?? "";
  redraw();
}

export function listLayers() {
  const names = state.study.layers, option = name => new Option(called(name), name);
  byId("layer").replaceChildren(...names.map(option));
  byId("against").replaceChildren(new Option("nothing", ""), ...names.map(option));
  byId("against-label").hidden = names.length < 2;
}

/* ---- Layout: the columns of equal cells in which the films come out largest ----------------------------------- */

export function place() {
  const stage = byId("stage"), count = state.films.length, { clientWidth: width, clientHeight: height } = stage;
  if (!count) return;
  const size = columns => {
    const rows = Math.ceil(count / columns), w = width / columns - 10, h = height / rows - 34;
    return state.films.reduce((sum, film) => sum + Math.min(w / film.columns, h / film.rows) ** 2 * film.rows * film.columns, 0);
  };
  const best = state.films.map((_, n) => n + 1).reduce((most, n) => size(n) > size(most) * 1.02 ? n : most, 1);
  stage.style.gridTemplateColumns = `repeat(${best}, minmax(0, 1fr))`;
  stage.style.gridTemplateRows = `repeat(${Math.ceil(count / best)}, minmax(0, 1fr))`;
  for (const film of state.films) film.resize();
}

/* ---- Points and their bands ---------------------------------------------------------------------------------- */

export function bandFor(mark, to, layer = state.layer) {
  return layer.band(mark.view, layer.patchAt(mark.view, ...mark.at), to, state.coverage);
}

export function point(view, at) {
  const another = state.cursor?.view !== view;
  state.cursor = { view, at };
  if (another) state.label?.task();
  redraw();
}

export function pin(view, at) {
  const patch = state.layer.patchAt(view, ...at);
  const known = state.pins.findIndex(p => p.view === view && state.layer.patchAt(view, ...p.at) === patch);
  if (known >= 0) state.pins.splice(known, 1);
  else {
    const free = PINS.find(colour => !state.pins.some(p => p.colour === colour));
    state.pins.push({ view, at, colour: free ?? state.pins.shift().colour });
  }
  listPins();
  redraw();
}

export function clear() {
  Object.assign(state, { pins: [], cursor: null });
  listPins();
  redraw();
}

function listPins() {
  byId("pins").replaceChildren(...state.pins.map(p => {
    const button = document.createElement("button"), name = state.films[p.view].facts.view;
    button.type = "button";
    button.setAttribute("aria-label", `Remove the pin in ${name}`);
    button.append(Object.assign(document.createElement("i"), {}), name.length > 12 ? `${name.slice(0, 11)}\u2026` : name);
    button.firstChild.style.background = `rgb(${p.colour.join(",")})`;
    button.addEventListener("click", () => pin(p.view, p.at));
    return button;
  }));
}

function marks() {
  const held = [...state.pins.map(p => ({ ...p, held: true })), ...(state.label?.marks() ?? [])], c = state.cursor;
  const patch = mark => state.layer.patchAt(mark.view, ...mark.at);
  const again = c && held.some(mark => mark.view === c.view && patch(mark) === patch(c));
  return c && !again ? [...held, { ...c, colour: null }] : held;
}

export function redraw() {
  const began = performance.now();
  for (const film of state.films) overlay(film.number);
  state.hover.push(performance.now() - began);
  if (state.hover.length > 200) state.hover.shift();
  if (state.layer) report();
}

function overlay(v) {
  const film = state.films[v];
  if (!film?.dots) return;                                      // a film of a study that has left the stage paints no more
  film.clear();
  if (!state.layer || !film.pixels) return;
  const all = marks(), others = state.label?.blind ? [] : all.filter(mark => mark.view !== v && !mark.quiet), taken = [];
  const found = others.map(mark => [mark, bandFor(mark, v)]);
  for (const [mark, band] of found) if (band.found) draw.band(film, state.layer, band, mark.colour);
  if (state.against) for (const mark of others.slice(-1)) {
    const band = bandFor(mark, v, state.against);
    if (band.found) draw.beside(film, state.against, band, state.against.name === "truth" ? TRUE : BESIDE);
  }
  for (const [mark, band] of found) if (band.found) {
    const at = state.layer.middleOf(v, band.best);
    draw.ring(film, at, mark.colour);
    draw.tag(film, at, worth(band.probability), mark.colour, taken);
  }
  for (const mark of all) if (mark.view === v) draw.cross(film, mark.at, mark.colour, mark.held);
  state.label?.overlay(film, taken);
  film.box.classList.toggle("lit", found.some(([, band]) => band.found));
  const last = found.at(-1);
  film.says.textContent = last ? words(last[1]) : "";
  film.says.style.color = last?.[1].found ? last[0].colour ? `rgb(${last[0].colour.join(",")})` : "#ffd27d" : "";
}

function words(band) {
  if (!band.found) return band.reason;
  const held = state.layer.calibration ? `${percent(state.coverage)} region: ` : state.layer.name === "truth" ? "true region: " : "";
  return `${held}${percent(band.share)} of the film`;
}

function report() {
  const c = state.cursor;
  if (!c) return say(idle());
  const place = `${state.films[c.view].facts.view}, row ${Math.round(c.at[0])}, column ${Math.round(c.at[1])}`;
  if (state.label?.blind) return say(place);
  const parts = state.films.filter(film => film.number !== c.view).map(film => {
    const band = bandFor(c, film.number);
    return `${film.facts.view}: ${band.found ? `likeliest ${worth(band.probability)}, ${words(band)}` : band.reason}`;
  });
  say(`${place} \u2192 ${parts.join("; ")}`);
}

function idle() {
  const kind = state.layer.name === "truth" ? "The truth of a rendering." : state.layer.calibration
    ? "Probabilities and regions as measured on people the weights never saw."
    : "These weights have no calibration: their values are no probabilities.";
  return `Point at a film. ${kind} For research, not for diagnosis.`;
}
