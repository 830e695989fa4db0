/* The page: opening studies, the buttons of the header, keys, and where everything meets. */

import * as api from "./api.js";
import { ember } from "./bands.js";
import { everywhere, listen } from "./hands.js";
import { Labelling } from "./label.js";
import { called, place, redraw, say, show, state, use } from "./viewer.js";

const byId = id => document.getElementById(id);

async function busy(work) {                               // says what went wrong instead of breaking
  document.body.classList.add("busy");
  try { return await work(); } catch (error) {
    if (!(error instanceof api.Refused)) console.error(error);
    say(error.message, true);
  } finally { document.body.classList.remove("busy"); }
}

let opened = 0;

const open = id => busy(async () => {
  const turn = ++opened;
  say("Reading films ...");
  const facts = await api.study(id);
  if (turn !== opened) return;                                   // another was chosen meanwhile
  labels.leave();
  byId("studies").value = id;
  await show(facts, listen);
  if (turn === opened) await state.label?.study();
});

async function listStudies(chosen) {
  const studies = await api.studies();
  byId("studies").replaceChildren(...studies.map(study => new Option(`${study.name} (${study.films})`, study.id)));
  byId("studies").hidden = studies.length === 0;
  if (chosen ?? studies[0]) await open(chosen ?? studies[0].id);
  else if (state.study) location.reload();                       // nothing is left: the empty page
}

const take = files => busy(async () => {
  if (!files.length) return;
  say(`Sending ${files.length} ${files.length === 1 ? "film" : "films"} ...`);
  const study = await api.upload(files);
  await listStudies(study.id);
});

const remove = () => busy(async () => {
  await api.removeStudy(state.study.id);
  await listStudies();
});

async function dropped(transfer) {                               // files, or folders with files in them
  const entries = [...transfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean), files = [];
  if (!entries.length) return [...transfer.files];
  for (const entry of entries) {
    const inside = entry.isDirectory ? await new Promise((done, fail) => entry.createReader().readEntries(done, fail)) : [entry];
    for (const each of inside) if (each.isFile && !each.name.startsWith("."))
      files.push(await new Promise((done, fail) => each.file(done, fail)));
  }
  return files.sort((a, b) => a.name.localeCompare(b.name));
}

function pressed(group, name, value) {
  for (const button of byId(group).children) button.setAttribute("aria-pressed", String(button.dataset[name] === value));
}

const KEYS = [
  ["point, touch", "bands light up in the other films"], ["click, Enter, Space", "pin a point, or remove it; in labelling: place it"],
  ["wheel, pinch, + \u2212", "zoom; middle button drags"], ["right button, [ ] { }", "level and window"],
  ["I R H 0", "invert, rotate, flip, fit"], ["arrows, Shift", "move the point by a patch, or an eighth of one"],
  ["Tab, 1 to 6", "the next film; the film of this number"], ["C", "coverage of the region"], ["W", "the next weights, or the truth"],
  ["D", "what dragging does: point, window, pan"], ["L", "label: S same, N not here, V not visible, U unsure"],
  ["Z X B P", "labelling: undo, next, brush, hide the proposal"], ["Esc", "clear"],
  ["Delete", "remove an uploaded study with its copies of the films; its labels stay"],
];

function dialog(title, ...content) {
  byId("dialog-title").textContent = title;
  byId("dialog-body").replaceChildren(...content);
  if (!byId("dialog").open) byId("dialog").showModal();
}

function table(rows, head) {
  const node = document.createElement("table");
  const add = (cells, tag) => {
    const line = node.insertRow();
    for (const cell of cells) line.appendChild(document.createElement(tag)).append(cell);
  };
  if (head) add(head, "th");
  for (const row of rows) add(row, "td");
  return node;
}

function help() {
  dialog("Keys and hands", table(KEYS), Object.assign(document.createElement("p"), {
    textContent: "The filled outline is the region that holds the point's match as often as it says; the ring is the likeliest place. crossray is for research; it is not a medical device.",
  }));
}

function next(select) {
  const list = byId(select);
  list.selectedIndex = (list.selectedIndex + 1) % list.options.length;
  list.dispatchEvent(new Event("change"));
}

function dragging(name) { state.drag = name; pressed("drag", "drag", name); }

function wire() {
  byId("open").addEventListener("click", () => byId("files").click());
  byId("choose").addEventListener("click", () => byId("files").click());
  byId("files").addEventListener("change", event => { take([...event.target.files]); });
  byId("remove").addEventListener("click", event => { if (event.detail < 2) remove(); });   // a double click removes one
  byId("studies").addEventListener("change", event => open(event.target.value));
  byId("coverage").addEventListener("change", event => { state.coverage = Number(event.target.value); redraw(); });
  const chosen = () => busy(() => use(byId("layer").value, byId("against").value || null));
  byId("layer").addEventListener("change", chosen);
  byId("against").addEventListener("change", chosen);
  byId("drag").addEventListener("click", event => { if (event.target.dataset.drag) dragging(event.target.dataset.drag); });
  byId("hang").addEventListener("click", event => { const name = event.target.dataset.do; if (name) state.films[state.active][name](); });
  byId("help").addEventListener("click", help);
  byId("label").addEventListener("click", toggleLabels);
  addEventListener("dragover", event => { event.preventDefault(); document.body.classList.add("dropping"); });
  addEventListener("dragleave", event => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  addEventListener("drop", event => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    busy(async () => take(await dropped(event.dataTransfer)));
  });
  document.addEventListener("keydown", keys);
  new ResizeObserver(place).observe(byId("stage"));
  const stops = [0, .2, .4, .6, .8, 1].map(v => `rgb(${ember(v).map(c => Math.round(c * (.2 + .8 * v))).join(",")})`);
  byId("bar").style.background = `linear-gradient(90deg, ${stops.join(",")})`;
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT/.test(event.target.tagName) || byId("dialog").open) return;
  const does = {
    "?": help, c: () => next("coverage"), w: () => next("layer"), l: toggleLabels,
    d: () => dragging({ point: "window", window: "pan", pan: "point" }[state.drag]),
    Delete: () => { if (state.study.uploaded && !event.repeat) remove(); },
  }[event.key];
  if (does && (state.study || event.key === "?")) { does(); event.preventDefault(); }
  else if (/^[1-6]$/.test(event.key)) state.films[event.key - 1]?.over.focus();
  else if (!state.label?.key(event)) everywhere(event);
}

const labels = new Labelling({ busy, dialog, table, open, isOpen: title => byId("dialog").open && byId("dialog-title").textContent === title });

function toggleLabels() {
  state.label = state.label ? null : labels;
  byId("label").setAttribute("aria-pressed", String(Boolean(state.label)));
  byId("panel").hidden = !state.label;
  if (state.label) busy(() => labels.study());
  place();
}

wire();
globalThis.crossray = { state, called };                          // for tests and the curious
busy(() => listStudies());
