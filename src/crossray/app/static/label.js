/* Labelling across views: a place in one film, the same place in another, and what else a reader may say of it. */

import * as api from "./api.js";
import * as draw from "./draw.js";
import { proposal } from "./hands.js";
import { fineTune } from "./tune.js";
import { point, redraw, state } from "./viewer.js";

const MINE = [86, 204, 242], KEPT = [150, 164, 178], BRUSH = [255, 128, 102];
const SIGNS = { same: "same point", different: "not here", hidden: "not visible", unsure: "unsure" };
const byId = id => document.getElementById(id);
const rounded = at => at.map(x => Math.round(x * 10) / 10);

export class Labelling {
  constructor(page) {
    Object.assign(this, { page, anchor: null, places: new Map(), said: null, blind: false, brushes: false, asking: false });
    const on = (id, does) => byId(id).addEventListener("click", does);
    byId("reader").value = localStorage.getItem("reader") ?? "";
    byId("reader").addEventListener("change", () => { localStorage.setItem("reader", this.reader); this.list(); });
    byId("person").addEventListener("change", () => page.busy(() => this.tell(id => api.setPerson(id, byId("person").value.trim()))));
    for (const button of document.querySelectorAll("[data-verdict]")) button.addEventListener("click", () => this.verdict(button.dataset.verdict));
    on("brush", () => this.toggle("brushes", "brush"));
    on("blind", () => this.toggle("blind", "blind"));
    on("undo", () => this.undo());
    on("next", () => this.next());
    on("agree", () => page.busy(() => this.agreement()));
    on("tune", () => fineTune(page));
  }

  get reader() { return byId("reader").value.trim(); }

  async study() {                                               // another study on the stage
    this.drop();
    await this.tell(api.labels);
  }

  leave() {                                                     // the study goes, and what was begun on its films
    this.said = null;
    this.drop();
  }

  async tell(request, id = state.study.id) {                    // an answer counts while its study is on the stage
    const said = await request(id);
    if (id === state.study.id) this.keep(said);
  }

  async once(request) {                                         // one request at a time, however often a key is hit
    if (this.asking) return;
    this.asking = true;
    try { await this.page.busy(request); } finally { this.asking = false; }
  }

  keep(said) {
    this.said = said;
    if (document.activeElement !== byId("person")) byId("person").value = said.person;
    this.list();
    redraw();
  }

  mine() { return (this.said?.labels ?? []).filter(label => label.reader === this.reader); }

  list() {
    if (!this.said) return;
    const items = this.mine().map((label, n) => {
      const item = document.createElement("li"), add = text => item.appendChild(document.createElement("span")).append(text);
      add(`${n + 1}`); add(label.name || Object.keys(label.places).join(", ")); add(SIGNS[label.verdict]);
      return item;
    });
    byId("labels").replaceChildren(...items.reverse());
    byId("landmarks").replaceChildren(...[...new Set(this.said.labels.map(label => label.name))].filter(Boolean).map(name => new Option(name)));
    const count = this.said.labels.length, file = this.said.file.split(/[\\/]/).at(-1), { missing } = this.said;
    byId("saved").textContent = count ? `${count} ${count === 1 ? "label" : "labels"} and ${this.said.drawn} drawn negatives, kept in ${file}` : `Will be kept in ${file}`;
    if (missing.length) byId("saved").append(`, which looks for the films beside it: put them there as ${missing.join(", ")}`);
    byId("saved").title = this.said.file;
    this.task();
  }

  task(words, wrong = false) {
    const name = view => state.films[view].facts.view;
    const meant = this.target(), hidden = state.films.length < 3 || this.places.size === this.others().length ? "" : meant === undefined
      ? " Point at the film that does not show it, and V says so." : ` V: not visible in ${name(meant)}.`;
    const next = !this.anchor ? "Click a place in any film. X proposes the most uncertain one."
      : this.places.size ? `${[...this.places.keys()].map(name).join(", ")}: S keeps it as the same, N as not here.${hidden}`
      : this.blind ? `Click where ${name(this.anchor.view)}'s place lies in another film.${hidden}`
      : `The ring is the matcher's proposal: S accepts it, a click corrects it.${hidden}`;
    byId("task").textContent = words ?? next;
    byId("task").classList.toggle("wrong", wrong);
  }

  toggle(what, button) {
    this[what] = !this[what];
    byId(button).setAttribute("aria-pressed", String(this[what]));
    this.task();
    redraw();
  }

  /* ---- The label being made ---------------------------------------------------------------------------------- */

  started() { return this.anchor !== null; }

  drop() {
    Object.assign(this, { anchor: null, places: new Map() });
    if (this.said) this.task();
    redraw();
  }

  click(view, at) {
    if (!this.anchor || view === this.anchor.view) this.anchor = { view, at };
    else if (this.brushes) this.brush(view, at, true);
    else this.places.set(view, { at });
    this.task();
    redraw();
  }

  brushing(event) { return this.started() && state.active !== this.anchor.view && (this.brushes || event.shiftKey); }

  brush(view, at, toggles = false) {                            // whole patches
    const box = state.layer.boxOf(view, state.layer.patchAt(view, ...at)), place = this.places.get(view);
    const boxes = place?.boxes ?? [], [top, left, bottom, right] = rounded(box), added = [top, left, bottom - 1, right - 1];
    const known = boxes.findIndex(each => each[0] === added[0] && each[1] === added[1]);
    if (known < 0) boxes.push(added); else if (toggles) boxes.splice(known, 1);
    if (boxes.length) this.places.set(view, { boxes }); else this.places.delete(view);
    this.task();
    redraw();
  }

  others() { return state.films.map(film => film.number).filter(view => view !== this.anchor?.view); }

  proposals() { return this.blind ? [] : this.others().map(view => [view, proposal(this.anchor, view)]).filter(([, at]) => at); }

  target() {                                                    // the film meant, of those without a place; undefined if none can be told
    const others = this.others().filter(view => !this.places.has(view));
    return others.length < 2 ? others[0] : others.find(view => view === state.cursor?.view);
  }

  verdict(kind) {
    if (!this.reader) { this.task("Write your name as the reader first.", true); return byId("reader").focus(); }
    if (!this.anchor) return this.task("Click a place first.", true);
    const meant = this.target(), remarks = this.blind ? ["blind"] : [];
    let placed = [...this.places];
    if (kind === "hidden" && meant === undefined) return this.task("Point at the film that does not show it, one without a place of yours, and press V.", true);
    if (kind === "different" && !placed.length) return this.task("Click or brush where it is not.", true);
    if (!placed.length && kind !== "hidden") {
      placed = this.proposals().map(([view, at]) => [view, { at }]);
      if (!placed.length) return this.task("There is no proposal to accept; click the place in another film.", true);
      remarks.push("proposal accepted");
    }
    const views = state.films.map(film => film.facts.view), begun = { anchor: this.anchor, places: this.places }, { id } = state.study;
    const where = places => Object.fromEntries(places.map(([view, place]) => [views[view], place.boxes ? { boxes: place.boxes } : { point: rounded(place.at) }]));
    const said = { verdict: kind, hidden: kind === "hidden" ? [views[meant]] : [], remarks, reader: this.reader, name: byId("landmark").value.trim() };
    return this.once(async () => {
      this.drop();                                              // it comes back if it is refused
      try {                                                     // not here: a label a film
        for (const group of kind === "different" ? placed.map(place => [place]) : [placed]) {
          await this.tell(study => api.addLabel(study, { ...said, places: where([[begun.anchor.view, begun.anchor], ...group]) }), id);
          for (const [view] of group) begun.places.delete(view);
        }
        byId("landmark").value = "";
      } catch (error) {
        if (id === state.study.id && !this.anchor) { Object.assign(this, begun); this.task(); redraw(); }
        throw error;
      }
    });
  }

  undo() { return this.once(() => this.tell(id => api.undoLabel(id, this.reader))); }

  next() {
    return this.once(async () => {
      const asked = await api.next(this.reader);
      if (asked.study !== state.study.id) await this.page.open(asked.study);
      if (asked.study !== state.study.id) return;               // it cannot be opened, or another was chosen meanwhile
      this.drop();
      this.anchor = { view: asked.view, at: asked.point };
      point(asked.view, asked.point);
      this.task();
    });
  }

  key(event) {
    const does = {
      s: () => this.verdict("same"), n: () => this.verdict("different"), v: () => this.verdict("hidden"), u: () => this.verdict("unsure"),
      z: () => this.undo(), x: () => this.next(), b: () => this.toggle("brushes", "brush"), p: () => this.toggle("blind", "blind"),
    }[event.key.toLowerCase()];
    if (!does || !state.layer) return false;
    if (!event.repeat) does();
    event.preventDefault();
    return true;
  }

  /* ---- What the films show of it ----------------------------------------------------------------------------- */

  marks() {
    const placed = [...this.places].filter(([, place]) => place.at).map(([view, { at }]) => ({ view, at, colour: MINE, held: true, quiet: true }));
    return this.anchor ? [{ ...this.anchor, colour: MINE, held: true }, ...placed] : [];
  }

  overlay(film, taken) {
    const boxes = this.places.get(film.number)?.boxes;
    if (boxes) draw.boxes(film, boxes, BRUSH);
    this.mine().forEach((label, n) => {
      const place = label.places[film.facts.view];
      if (!place?.point) return;
      draw.ring(film, place.point, KEPT, 4);
      draw.tag(film, place.point, `${n + 1}`, KEPT, taken);
    });
  }

  async agreement() {
    const pairs = await api.agreement(), share = value => value === null ? "" : `${(100 * value).toFixed(0)} %`;
    const words = Object.assign(document.createElement("p"), { textContent: "Labels of two readers answer one question where they name one landmark, or begin at one place." });
    const rows = pairs.map(each => [each.readers.join(" and "), String(each.questions), share(each.verdicts),
      each.kappa === null ? "" : each.kappa.toFixed(2), each.distance === null ? "" : `${(100 * each.distance).toFixed(1)} % of the film (${each.pixels.toFixed(0)} px)`]);
    this.page.dialog("Agreement between readers", words, rows.length
      ? this.page.table(rows, ["readers", "questions", "same verdict", "kappa", "median distance"]) : "No two readers have labelled yet.");
  }
}
