/* Pointer, wheel, fingers and keys on the films. */

import { bandFor, clear, pin, point, redraw, state } from "./viewer.js";

const CLICK = 5;                         // CSS pixels a pointer may move and still have clicked

export function listen(film) {
  const canvas = film.over, fingers = new Map();
  let press = null;
  const place = event => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const look = event => { const at = film.toFilm(...place(event)); if (at) point(film.number, at); };

  canvas.addEventListener("pointerdown", event => {
    state.active = film.number;
    canvas.focus({ focusVisible: false });
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    const doing = event.button === 2 ? "window" : event.button === 1 ? "pan" : state.drag;
    press = { doing: fingers.size > 1 ? "pinch" : doing, from: place(event), last: place(event), moved: false, button: event.button };
    if (doing === "point") {
      look(event);
      press.brush = state.label?.brushing(event) ?? false;
    }
  });

  canvas.addEventListener("pointermove", event => {
    const now = place(event);
    if (!press) return look(event);
    if (press.doing === "pinch") { if (fingers.size > 1) pinch(film, fingers, event.pointerId, now); return; }
    const [dx, dy] = [now[0] - press.last[0], now[1] - press.last[1]];
    press.moved ||= Math.hypot(now[0] - press.from[0], now[1] - press.from[1]) > CLICK;
    press.last = now;
    if (press.doing === "pan") film.move(dx, dy);
    else if (press.doing === "window") film.adjust(dx / 180, -dy / 400);
    else {
      look(event);
      const at = film.toFilm(...now);
      if (press.brush && press.moved && at) state.label.brush(film.number, at);
    }
  });

  const end = event => {
    fingers.delete(event.pointerId);
    const was = press, at = film.toFilm(...place(event));
    if (!fingers.size) press = null;
    if (!was || was.doing === "pinch" || was.moved || was.button !== 0 || event.type === "pointercancel" || !at || !state.layer) return;
    if (was.doing === "point") choose(film.number, at);
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", event => {
    if (event.pointerType === "mouse" && !press) { state.cursor = null; state.label?.task(); redraw(); }
  });
  canvas.addEventListener("contextmenu", event => event.preventDefault());
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    film.magnify(Math.exp(-event.deltaY / (event.deltaMode ? 12 : 400)), ...place(event));
    look(event);
  }, { passive: false });
  canvas.addEventListener("keydown", event => { if (keys(film, event)) event.preventDefault(); });
  canvas.addEventListener("focus", () => {
    state.active = film.number;
    if (canvas.matches(":focus-visible") && state.cursor?.view !== film.number && state.layer) point(film.number, middle(film));
  });
}

function pinch(film, fingers, id, now) {
  const before = [...fingers.values()];
  fingers.set(id, now);
  const after = [...fingers.values()], far = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
  const mid = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], from = mid(before), to = mid(after);
  film.magnify(far(after) / far(before), ...to);
  if (film.zoom > 1) film.move(to[0] - from[0], to[1] - from[1]);
}

export function choose(view, at) {
  if (state.label) state.label.click(view, at);
  else pin(view, at);
}

const middle = film => [(film.rows - 1) / 2, (film.columns - 1) / 2];

function keys(film, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !state.layer) return false;
  const arrow = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
  const here = state.cursor?.view === film.number ? state.cursor.at : middle(film);
  if (arrow) {                                                   // along the screen, a patch; with Shift an eighth
    const [top, , bottom] = state.layer.boxOf(film.number, state.layer.patchAt(film.number, ...here));
    const step = (bottom - top) * film.scale * (event.shiftKey ? 0.125 : 1), [x, y] = film.toScreen(...here);
    const at = film.toFilm(x + arrow[0] * step, y + arrow[1] * step);
    if (at) point(film.number, at);
    return true;
  }
  if (event.key !== "Enter" && event.key !== " ") return false;
  if (!event.repeat) choose(film.number, here);
  return true;
}

export function everywhere(event) {                              // keys that need no film to be focused
  if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) return;
  if (!state.layer || document.querySelector("dialog[open]")) return;
  const film = state.films[state.active], does = {
    i: () => film.invert(), r: () => film.rotate(), h: () => film.flip(), 0: () => film.fit(),
    "+": () => film.magnify(1.25), "=": () => film.magnify(1.25), "-": () => film.magnify(0.8),
    "[": () => film.adjust(0, 0.04), "]": () => film.adjust(0, -0.04), "{": () => film.adjust(0.1, 0), "}": () => film.adjust(-0.1, 0),
    Escape: () => state.label?.started() ? state.label.drop() : clear(),
  }[event.key];
  if (!does) return;
  does();
  event.preventDefault();
}

export const proposal = (mark, to) => { const band = bandFor(mark, to); return band.found ? state.layer.middleOf(to, band.best) : null; };
