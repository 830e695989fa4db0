/* Bands: the row of the matrix that belongs to a point, what it is worth, and how it is drawn. Knows no page. */

const RASTER = 160;                      // longer side of the raster bands are painted on
const LINE = 0.2;                        // above it a true pair counts as a match

export class Layer {
  /* What one set of weights, or the truth, says of a study; `about` and `values` as the API gives them. */
  constructor(name, about, values) {
    Object.assign(this, { name, values, grid: about.grid, related: about.related, calibration: about.calibration });
    this.limits = { unrelated: about.unrelated_below, unsure: about.unsure_below };
    this.patches = about.grid[0] * about.grid[1];
    this.views = about.views.map(view => this.#view(view.image_size, view.field));
    if (this.calibration) this.worth = worthOf(this.calibration.match);
  }

  #view([rows, columns], [r0, c0, r1, c1]) {
    const [gridRows, gridColumns] = this.grid;
    const down = onFilm(rows, r0, r1, gridRows), across = onFilm(columns, c0, c1, gridColumns);
    const scale = RASTER / Math.max(rows, columns), height = Math.round(rows * scale), width = Math.round(columns * scale);
    return {
      rows, columns, field: [r0, c0, r1, c1], first: [down[0], across[0]], last: [down[1], across[1]],
      taps: { down: cubic(rows, height, r0, r1, gridRows, down), across: cubic(columns, width, c0, c1, gridColumns, across) },
    };
  }

  patchAt(v, row, column) {                                     // row and column with pixel centres at whole numbers
    const view = this.views[v], [r0, c0, r1, c1] = view.field;
    const i = Math.floor((row + 0.5 - r0) / (r1 - r0) * this.grid[0]);
    const j = Math.floor((column + 0.5 - c0) / (c1 - c0) * this.grid[1]);
    const bound = (k, n) => Math.min(view.last[k], Math.max(view.first[k], n));
    return bound(0, i) * this.grid[1] + bound(1, j);
  }

  boxOf(v, patch) {                                             // first row and column, end row and column; edges, clipped
    const { rows, columns, field: [r0, c0, r1, c1] } = this.views[v];
    const i = Math.floor(patch / this.grid[1]), j = patch % this.grid[1];
    const row = n => Math.min(rows, Math.max(0, r0 + (r1 - r0) * n / this.grid[0]));
    const column = n => Math.min(columns, Math.max(0, c0 + (c1 - c0) * n / this.grid[1]));
    return [row(i), column(j), row(i + 1), column(j + 1)];
  }

  middleOf(v, patch) {
    const [top, left, bottom, right] = this.boxOf(v, patch);
    return [(top + bottom - 1) / 2, (left + right - 1) / 2];
  }

  band(from, patch, to, coverage) {                             // as the API's bands, with every patch's probability
    const n = this.views.length, start = ((from * n + to) * this.patches + patch) * this.patches;
    const raw = this.values.subarray(start, start + this.patches), row = new Float32Array(this.patches);
    for (let q = 0; q < row.length; q++) row[q] = this.worth ? this.worth[raw[q]] : raw[q] / 65535;
    const best = row.reduce((most, value, q) => value > row[most] ? q : most, 0), related = this.related?.[from][to];
    const band = { row, best, probability: row[best], related, found: false, reason: "", region: [], share: 0, line: LINE };
    if (related !== undefined && related < this.limits.unrelated) band.reason = "different limbs";
    else if (row[best] < this.limits.unsure) band.reason = "no confident match";
    else Object.assign(band, { found: true }, this.#region(row, coverage, to));
    return band;
  }

  #region(row, coverage, to) {
    const order = [...row.keys()].filter(q => row[q] > 0).sort((a, b) => row[b] - row[a]);
    let region = order.filter(q => row[q] > (this.calibration ? 0 : this.limits.unsure));
    if (this.calibration) {
      const share = between(this.calibration.region, coverage), total = row.reduce((sum, value) => sum + value, 0);
      let before = 0;
      region = order.filter(q => { const held = before / total < share; before += row[q]; return held; });
    }
    const { first, last } = this.views[to], onIt = (last[0] - first[0] + 1) * (last[1] - first[1] + 1);
    return { region, share: region.length / onIt, line: region.length ? row[region[region.length - 1]] * 0.999 : LINE };
  }

  smooth(v, row) {                                              // patch values on the view's raster
    const { down, across } = this.views[v].taps, { length: width } = across, { length: height } = down, columns = this.grid[1];
    const half = new Float32Array(this.grid[0] * width), values = new Float32Array(height * width);
    for (let i = 0, n = 0; i < this.grid[0]; i++) for (let x = 0, t = 0; x < width; x++, n++) {
      let sum = 0;
      for (let k = 0; k < 4; k++, t++) sum += across.weight[t] * row[i * columns + across.cell[t]];
      half[n] = sum;
    }
    for (let y = 0; y < height; y++) for (let t = 4 * y; t < 4 * y + 4; t++) {
      const weight = down.weight[t], from = down.cell[t] * width, to = y * width;
      for (let x = 0; x < width; x++) values[to + x] += weight * half[from + x];
    }
    return { values, width, height };
  }
}

function worthOf([a, b, c]) {                                   // beta calibration of every 16-bit value
  const tiny = Math.exp(-14), worth = new Float32Array(65536);
  for (let n = 1; n < 65536; n++) {
    const s = Math.min(1 - 1e-6, Math.max(tiny, n / 65535));
    worth[n] = 1 / (1 + Math.exp(-(a * Math.log(s) - b * Math.log1p(-s) + c)));
  }
  return worth;
}

function between(points, x) {                                   // linear between (coverage, share)
  const k = Math.max(1, points.findIndex(([known]) => x <= known)), [x0, y0] = points[k - 1], [x1, y1] = points[k];
  return y0 + (y1 - y0) * (x - x0) / (x1 - x0);
}

function onFilm(length, from, to, cells) {                      // first and last cell that touch the film
  const cell = (to - from) / cells;
  return [Math.max(0, Math.floor(-from / cell + 1e-6)), Math.min(cells - 1, cells - 1 - Math.floor((to - length) / cell + 1e-6))];
}

function cubic(length, pixels, from, to, cells, [start, stop]) { // Catmull-Rom: four cells and their weights for every raster point
  const taps = { length: pixels, cell: new Int32Array(4 * pixels), weight: new Float32Array(4 * pixels) };
  for (let n = 0; n < pixels; n++) {
    const at = ((n + 0.5) / pixels * length - from) / (to - from) * cells - 0.5;
    const place = Math.min(stop, Math.max(start, at)), base = Math.floor(place), t = place - base;
    taps.weight.set([t * (t * (2 - t) - 1) / 2, (t * t * (3 * t - 5) + 2) / 2, t * (t * (4 - 3 * t) + 1) / 2, t * t * (t - 1) / 2], 4 * n);
    for (let k = 0; k < 4; k++) taps.cell[4 * n + k] = Math.min(stop, Math.max(start, base - 1 + k));
  }
  return taps;
}

export function outline({ values, width, height }, line) {      // marching squares: segments x0, y0, x1, y1 in raster points
  const cut = (a, b) => (line - a) / (b - a), segments = [];
  for (let y = 0; y + 1 < height; y++) for (let x = 0; x + 1 < width; x++) {
    const n = y * width + x, a = values[n] > line, b = values[n + 1] > line, c = values[n + width + 1] > line, d = values[n + width] > line;
    if (a === b && b === c && c === d) continue;
    const ends = [];
    if (a !== b) ends.push([x + cut(values[n], values[n + 1]), y]);
    if (b !== c) ends.push([x + 1, y + cut(values[n + 1], values[n + width + 1])]);
    if (d !== c) ends.push([x + cut(values[n + width], values[n + width + 1]), y + 1]);
    if (a !== d) ends.push([x, y + cut(values[n], values[n + width])]);
    for (let e = 0; e + 1 < ends.length; e += 2) segments.push([...ends[e], ...ends[e + 1]]);
  }
  return segments;
}

const EMBER = [[0, [150, 20, 20]], [0.3, [226, 62, 20]], [0.6, [255, 112, 10]], [0.85, [255, 158, 20]], [1, [255, 205, 70]]];

export function ember(v) {                                      // colours of the band under the pointer
  let k = 1;
  while (k < EMBER.length - 1 && v > EMBER[k][0]) k++;
  const [a, from] = EMBER[k - 1], [b, to] = EMBER[k], t = Math.min(1, Math.max(0, (v - a) / (b - a)));
  return from.map((c, n) => c + (to[n] - c) * t);
}

const EMBERS = Array.from({ length: 256 }, (_, n) => ember(n / 255));

export function glow({ values, width, height }, colour) {       // a raster as picture, one colour or ember
  const picture = new ImageData(width, height), bytes = picture.data;
  for (let n = 0, to = 0; n < values.length; n++) {
    const v = Math.min(1, Math.max(0, values[n])), rgb = colour || EMBERS[v * 255 | 0];
    bytes[to++] = rgb[0]; bytes[to++] = rgb[1]; bytes[to++] = rgb[2]; bytes[to++] = 140 * Math.pow(v, 0.85);
  }
  return picture;
}
