/* One film on the stage: its pixels under a window, how it hangs and is zoomed, and places between film and screen. */

const NICE = [1, 2, 5, 10, 20, 50, 100, 200];                    // lengths of the scale bar, mm
const KINDS = { detector: "at the detector", corrected: "corrected", unknown: "of unknown kind" };

const make = (tag, parent, name) => {
  const node = parent.appendChild(document.createElement(tag));
  if (name) node.className = name;
  return node;
};

export class FilmView {
  constructor(stage, facts, number, count) {
    Object.assign(this, { facts, number, rows: facts.size[0], columns: facts.size[1] });
    this.figure = make("figure", stage);
    const caption = make("figcaption", this.figure);
    make("span", caption, "name").textContent = facts.view;
    if (facts.projection) make("span", caption).textContent = facts.projection;
    if (facts.laterality) make("span", caption, "side").textContent = facts.laterality;
    this.says = make("span", caption, "says");
    this.box = make("div", this.figure, "film");
    this.image = make("canvas", this.box, "image");
    this.over = make("canvas", this.box, "over");
    this.corner = make("span", this.box, "corner");
    this.over.tabIndex = 0;
    this.over.setAttribute("role", "application");
    this.over.setAttribute("aria-label", `${facts.view}, view ${number + 1} of ${count}. Arrow keys move the point, Enter pins it.`);
    this.sheet = document.createElement("canvas");
    this.sheet.width = this.columns; this.sheet.height = this.rows;
    this.pen = this.over.getContext("2d");
  }

  load(pixels) {                                                // 16-bit grey values, row-major
    this.pixels = pixels;
    const counts = new Uint32Array(65536);
    for (const value of pixels) counts[value]++;
    const at = share => { let sum = 0, n = 0; while ((sum += counts[n]) < share * pixels.length && n < 65535) n++; return n; };
    this.own = [at(0.005), Math.max(at(0.998), at(0.005) + 1)];
    this.fit();
  }

  /* ---- Window and hanging --------------------------------------------------------------------------------- */

  fit() {
    Object.assign(this, { window: [...this.own], inverted: false, turns: 0, flipped: false, zoom: 1, pan: [0, 0] });
    this.develop();
    this.paint();
  }

  adjust(width, level) {                                        // both as shares of the own window
    const span = this.own[1] - this.own[0], [low, high] = this.window;
    const middle = (low + high) / 2 + level * span, half = Math.max(0.004 * span, (high - low) * Math.exp(width) / 2);
    this.window = [middle - half, middle + half];
    this.later();
  }

  invert() { this.inverted = !this.inverted; this.later(); }
  rotate() { this.turns = (this.turns + (this.flipped ? 3 : 1)) % 4; this.pan = [0, 0]; this.paint(); }
  flip() { this.flipped = !this.flipped; this.paint(); }

  later() {                                                     // once a frame, however often it is asked for
    this.pending ??= requestAnimationFrame(() => { this.pending = undefined; this.develop(); this.paint(); });
  }

  develop() {                                                   // from 16 bits to what a screen shows
    const [low, high] = this.window, table = new Uint32Array(65536);
    for (let n = 0; n < 65536; n++) {
      const grey = Math.round(255 * Math.min(1, Math.max(0, (n - low) / (high - low))));
      table[n] = 0xff000000 | (this.inverted ? 255 - grey : grey) * 0x010101;
    }
    const picture = new ImageData(this.columns, this.rows), words = new Uint32Array(picture.data.buffer);
    for (let n = 0; n < words.length; n++) words[n] = table[this.pixels[n]];
    this.sheet.getContext("2d").putImageData(picture, 0, 0);
  }

  /* ---- Places: film (x, y from its top left corner, in pixels) and screen (CSS pixels of the box) ---------- */

  get scale() {                                                 // CSS pixels of a film pixel
    const [wide, high] = this.turns % 2 ? [this.rows, this.columns] : [this.columns, this.rows];
    return Math.min(this.box.clientWidth / wide, this.box.clientHeight / high) * this.zoom;
  }

  get matrix() {
    return new DOMMatrix()
      .translate(this.box.clientWidth / 2 + this.pan[0], this.box.clientHeight / 2 + this.pan[1])
      .scale(this.flipped ? -this.scale : this.scale, this.scale)
      .rotate(90 * this.turns).translate(-this.columns / 2, -this.rows / 2);
  }

  toScreen(row, column) {                                       // pixel centres at whole numbers
    const { x, y } = this.matrix.transformPoint({ x: column + 0.5, y: row + 0.5 });
    return [x, y];
  }

  toFilm(x, y) {                                                // row and column; null beside the film
    const at = this.matrix.inverse().transformPoint({ x, y });
    return at.x < 0 || at.y < 0 || at.x >= this.columns || at.y >= this.rows ? null : [at.y - 0.5, at.x - 0.5];
  }

  magnify(factor, x = this.box.clientWidth / 2, y = this.box.clientHeight / 2) { // about a place of the screen
    const zoom = Math.min(40, Math.max(1, this.zoom * factor)), by = zoom / this.zoom;
    const from = [x - this.box.clientWidth / 2, y - this.box.clientHeight / 2];
    this.pan = zoom === 1 ? [0, 0] : this.pan.map((p, k) => from[k] - (from[k] - p) * by);
    this.zoom = zoom;
    this.paint();
  }

  move(dx, dy) { this.pan = [this.pan[0] + dx, this.pan[1] + dy]; this.paint(); }

  /* ---- Paint ----------------------------------------------------------------------------------------------- */

  resize() {
    this.dots = window.devicePixelRatio || 1;
    for (const canvas of [this.image, this.over]) {
      canvas.width = Math.round(this.box.clientWidth * this.dots);
      canvas.height = Math.round(this.box.clientHeight * this.dots);
    }
    this.paint();
  }

  paint() {
    if (!this.pixels || !this.dots) return;
    const pen = this.image.getContext("2d");
    pen.resetTransform();
    pen.clearRect(0, 0, this.image.width, this.image.height);
    pen.setTransform(new DOMMatrix().scale(this.dots).multiply(this.matrix));
    pen.imageSmoothingEnabled = this.scale * this.dots < 4;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(this.sheet, 0, 0);
    const span = this.own[1] - this.own[0], [low, high] = this.window, share = v => Math.round(100 * v);
    this.corner.textContent = `W ${share((high - low) / span)} L ${share(((low + high) / 2 - this.own[0]) / span)}`
      + (this.zoom > 1 ? `  ×${this.zoom.toFixed(1)}` : "") + (this.inverted ? "  inverted" : "") + (this.flipped ? "  flipped" : "");
    this.onpaint?.();
  }

  clear() {
    this.pen.resetTransform();
    this.pen.clearRect(0, 0, this.over.width, this.over.height);
    this.pen.setTransform(this.dots, 0, 0, this.dots, 0, 0);
    this.#ruler();
  }

  #ruler() {                                                    // millimetres only where they are known, and which
    const { pixel_mm: mm, pixel_mm_kind: kind } = this.facts, pen = this.pen, bottom = this.box.clientHeight - 11;
    let text = "mm unknown", length = 0;
    if (mm) {
      const perMm = this.scale / mm[this.turns % 2 ? 0 : 1], nice = NICE.filter(n => n * perMm <= 130).at(-1) ?? NICE[0];
      length = nice * perMm;
      text = `${nice} mm ${KINDS[kind]}`;
      for (const [width, colour] of [[4, "rgba(0,0,0,.7)"], [2, "#c3ccd6"]]) {
        pen.beginPath(); pen.moveTo(9, bottom - 5); pen.lineTo(9, bottom); pen.lineTo(9 + length, bottom); pen.lineTo(9 + length, bottom - 5);
        pen.lineWidth = width; pen.strokeStyle = colour; pen.stroke();
      }
    }
    pen.font = "12px system-ui, 'DejaVu Sans', sans-serif"; pen.textBaseline = "alphabetic";
    pen.lineWidth = 3; pen.strokeStyle = "rgba(0,0,0,.8)"; pen.fillStyle = "#c3ccd6";
    const place = [9, length ? bottom - 10 : bottom + 2];
    pen.strokeText(text, ...place); pen.fillText(text, ...place);
  }
}
