/* What is laid over a film: bands, regions, rings, points. Colours are given as [red, green, blue] or null for ember. */

import { glow, outline } from "./bands.js";

const ink = (colour, alpha = 1) => colour ? `rgba(${colour.join(",")},${alpha})` : `rgba(255,210,125,${alpha})`;
const sheet = document.createElement("canvas");

export function band(film, layer, found, colour) {              // glow and the outline of the region
  const raster = layer.smooth(film.number, found.row), picture = glow(raster, colour), pen = film.pen;
  sheet.width = raster.width; sheet.height = raster.height;
  sheet.getContext("2d").putImageData(picture, 0, 0);
  pen.save();
  pen.transform(...parts(film.matrix));
  pen.imageSmoothingQuality = "high";
  pen.drawImage(sheet, 0, 0, film.columns, film.rows);
  pen.restore();
  contour(film, raster, found.line, ink(colour, 0.9));
}

export function beside(film, layer, found, style) {             // another's region, as a line only
  contour(film, layer.smooth(film.number, found.row), found.line, style, [6, 4]);
}

const parts = m => [m.a, m.b, m.c, m.d, m.e, m.f];

function contour(film, raster, line, style, dashes = []) {
  const pen = film.pen, sx = film.columns / raster.width, sy = film.rows / raster.height;
  const at = film.matrix, [a, b, c, d, e, f] = parts(at);
  const to = (x, y) => { const u = (x + 0.5) * sx, v = (y + 0.5) * sy; return [a * u + c * v + e, b * u + d * v + f]; };
  const path = joined(outline(raster, line)).map(points => points.map(([x, y]) => to(x, y)));
  pen.lineJoin = "round"; pen.setLineDash(dashes);
  for (const [width, colour] of [[3.4, "rgba(0,0,0,.5)"], [1.6, style]]) {
    pen.beginPath();
    for (const points of path) points.forEach(([x, y], n) => n ? pen.lineTo(x, y) : pen.moveTo(x, y));
    pen.lineWidth = width; pen.strokeStyle = colour; pen.stroke();
  }
  pen.setLineDash([]);
}

function joined(segments) {                                     // segments end to end, so that dashes run on
  const ends = new Map(), key = (x, y) => `${x},${y}`, lines = [];
  const note = (place, n) => ends.set(place, [...(ends.get(place) ?? []), n]);
  segments.forEach(([x0, y0, x1, y1], n) => { note(key(x0, y0), n); note(key(x1, y1), n); });
  const done = new Uint8Array(segments.length);
  const follow = (line, place) => {
    for (let n; (n = ends.get(place)?.find(k => !done[k])) !== undefined;) {
      done[n] = 1;
      const [x0, y0, x1, y1] = segments[n], on = key(x0, y0) === place ? [x1, y1] : [x0, y0];
      line.push(on);
      place = key(...on);
    }
  };
  segments.forEach(([x0, y0, x1, y1], n) => {
    if (done[n]) return;
    done[n] = 1;
    const line = [[x0, y0], [x1, y1]];
    follow(line, key(x1, y1));
    line.reverse();
    follow(line, key(x0, y0));
    lines.push(line);
  });
  return lines;
}

export function cross(film, [row, column], colour, held) {      // a point somebody pointed at
  const [x, y] = film.toScreen(row, column), pen = film.pen, arm = held ? 9 : 7, gap = 3;
  for (const [width, style] of [[4, "rgba(0,0,0,.65)"], [1.8, ink(colour)]]) {
    pen.beginPath();
    for (const [u, v] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { pen.moveTo(x + u * gap, y + v * gap); pen.lineTo(x + u * arm, y + v * arm); }
    pen.lineWidth = width; pen.strokeStyle = style; pen.stroke();
  }
  if (held) ring(film, [row, column], colour, 12);
}

export function ring(film, [row, column], colour, radius = 5) {
  const [x, y] = film.toScreen(row, column), pen = film.pen;
  for (const [width, style] of [[4, "rgba(0,0,0,.6)"], [1.8, ink(colour)]]) {
    pen.beginPath(); pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.lineWidth = width; pen.strokeStyle = style; pen.stroke();
  }
}

export function tag(film, [row, column], text, colour, taken = []) { // words beside a place, kept off each other
  const [x, y] = film.toScreen(row, column), pen = film.pen, { clientWidth: width, clientHeight: height } = film.box;
  pen.font = "600 12px system-ui, 'DejaVu Sans', sans-serif";
  const w = pen.measureText(text).width + 10, h = 18, left = x + 10 + w < width ? x + 10 : x - 10 - w;
  let top = Math.min(height - h, Math.max(0, y - h / 2));
  while (taken.some(box => Math.abs(box[0] - left) < w && Math.abs(box[1] - top) < h) && top + 2 * h < height) top += h;
  taken.push([left, top]);
  pen.fillStyle = "rgba(8,9,11,.78)"; pen.beginPath(); pen.roundRect(left, top, w, h, 4); pen.fill();
  pen.fillStyle = ink(colour); pen.textBaseline = "middle"; pen.fillText(text, left + 5, top + h / 2 + 1);
}

export function boxes(film, list, colour) {                     // brushed patches: first row, first column, last row, last column
  const pen = film.pen;
  pen.save();
  pen.transform(...parts(film.matrix));
  pen.fillStyle = ink(colour, 0.28); pen.strokeStyle = ink(colour, 0.7); pen.lineWidth = 1 / film.scale;
  for (const [r0, c0, r1, c1] of list) {
    pen.fillRect(c0 - 0.0, r0, c1 - c0 + 1, r1 - r0 + 1);
    pen.strokeRect(c0, r0, c1 - c0 + 1, r1 - r0 + 1);
  }
  pen.restore();
}
