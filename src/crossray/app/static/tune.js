/* Fine-tuning on the labels, started and watched from the page. */

import * as api from "./api.js";
import { called, listLayers, state, use } from "./viewer.js";

const WATCH = 1500;                      // ms between two looks at the run
let timer;
const node = (tag, words, does) => {
  const made = Object.assign(document.createElement(tag), { textContent: words });
  if (does) { made.type = "button"; made.addEventListener("click", does); }
  return made;
};

export function fineTune(page) {
  const title = "Fine-tune on the labels";
  const start = () => {
    const steps = Object.assign(document.createElement("input"), { type: "number", value: 300, min: 1, max: 20000 });
    const label = node("label", "Steps at most ");
    label.append(steps);
    page.dialog(title, node("p", "Learns from the labels of 60 % of the persons, chooses by 10 %, and is scored before and after on the rest. "
      + "On two cores 100 steps take about a minute, and the scores another few."), label, node("p", ""),
      node("button", "Begin", () => page.busy(async () => watch(await api.startTuning(Number(steps.value))))));
  };
  const watch = run => {
    if (run.state === "none") return start();
    const log = node("pre", run.printed || "Starting ..."), content = [node("p", `${words[run.state]} ${run.out}`), log];
    if (run.state === "running") content.push(node("button", "Stop", () => page.busy(async () => watch(await api.stopTuning()))));
    else content.push(node("button", "Again", start));
    if (run.state === "done") content.splice(1, 1, scores(page, run), node("p", ""),
      node("button", `Show ${called(run.weights)} beside ${called(state.study.layers[0])}`, () => page.busy(() => compare(run.weights))));
    page.dialog(title, ...content);
    log.scrollTop = log.scrollHeight;
    clearTimeout(timer);
    if (run.state === "running") timer = setTimeout(() => page.busy(look), WATCH);
  };
  const look = async () => {
    const run = page.isOpen(title) && await api.tuning();
    if (run && page.isOpen(title)) watch(run);                  // closed meanwhile, or another dialog opened
  };
  return page.busy(async () => watch(await api.tuning()));
}

const words = { running: "Learning in", done: "Done:", failed: "It ended without weights:", stopped: "Stopped:" };

function scores(page, run) {
  const number = value => value === null || value === undefined ? "" : value.toFixed(3);
  const row = moment => { const { matching, band_hits: hits } = run.report[moment]; return [moment, number(matching.ap), number(matching.precision), number(matching.recall), number(hits?.matcher)]; };
  const { gain } = run.report;
  return page.table([row("before"), row("after"), ["gain", number(gain.ap) + (gain.low === null ? "" : ` (${number(gain.low)} to ${number(gain.high)})`), "", "", ""]],
    ["", "AP of labelled pairs", "precision", "recall", "band hit rate"]);

}

async function compare(weights) {
  document.getElementById("dialog").close();
  state.study = await api.study(state.study.id);
  listLayers();
  await use(weights, state.study.layers[0]);
}
