"use strict";
// Charts of dots, lines, bands and bars, drawn as SVG from data alone: hover, zoom, a legend that hides.

const SVG = "http://www.w3.org/2000/svg";

function made(name, attributes, parent, text) {
  const element = document.createElementNS(SVG, name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

function html(name, className, parent, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

const known = Number.isFinite;

function significant(value, digits = 3) {
  if (!known(value)) return "–";
  const size = Math.abs(value);
  if (size >= 10 ** digits - 0.5) return value.toLocaleString("en", { maximumFractionDigits: 0 });
  return size === 0 ? "0" : size < 1e-4 ? value.toExponential(digits - 1) : value.toPrecision(digits);
}

function linearTicks(low, high, count, least = 0) {
  const raw = Math.max((high - low) / Math.max(count, 1) || 1, least);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((m) => m * power >= raw * 0.999) * power;
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++)
    ticks.push([k * step, (k * step).toFixed(Math.min(decimals, 12))]);
  return ticks;
}

function logTicks(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high) + 1; power++)
    for (const m of high / low > 1000 ? [1] : [1, 2, 5])
      if (m * 10 ** power >= low * 0.999 && m * 10 ** power <= high * 1.001)
        ticks.push([m * 10 ** power, String(Number((m * 10 ** power).toPrecision(2)))]);
  return ticks.length > 1 ? ticks : [[low, significant(low)], [high, significant(high)]];
}

class Scale {
  constructor(domain, { log, integer } = {}) { Object.assign(this, { domain, log, least: integer ? 1 : 0, range: [0, 1] }); }
  part(value) {
    const [a, b] = this.domain;
    return this.log ? Math.log(value / a) / Math.log(b / a) : (value - a) / (b - a);
  }
  at(value) { return this.range[0] + this.part(value) * (this.range[1] - this.range[0]); }
  value(pixel) {
    const part = (pixel - this.range[0]) / (this.range[1] - this.range[0]);
    const [a, b] = this.domain;
    return this.log ? a * (b / a) ** part : a + part * (b - a);
  }
  ticks(count) {
    return this.log ? logTicks(...this.domain) : linearTicks(...this.domain, count, this.least);
  }
}

const tip = {
  show(event, title, rows) {
    if (!this.box) this.box = html("div", "tip", document.body);
    this.box.replaceChildren();
    this.box.hidden = false;
    html("b", "", this.box, title);
    const list = html("dl", "", this.box);
    for (const [name, value] of rows) { html("dt", "", list, name); html("dd", "", list, value); }
    const { width, height } = this.box.getBoundingClientRect();
    const left = event.clientX + 16 + width > innerWidth ? event.clientX - width - 16 : event.clientX + 16;
    const top = Math.min(event.clientY + 12, innerHeight - height - 8);
    this.box.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
  },
  hide() { if (this.box) this.box.hidden = true; },
};

class Chart {
  constructor(root, spec) {
    this.root = root;
    this.spec = spec;
    this.hidden = new Set(spec.hidden || []);
    this.extent = { x: this.found("x"), y: this.found("y") };
    this.shown = { ...this.extent };
    this.holder = html("div", "", root);
    this.tools = html("div", "bar-tools", root);
    this.legend();
    new ResizeObserver(() => root.clientWidth !== this.wide && this.draw()).observe(root);
    this.draw();
  }

  // The range of all data on an axis, with a margin.
  found(axis) {
    const { log, zero, domain, end } = this.spec[axis];
    if (domain) return domain;
    let low = Infinity, high = -Infinity;
    const names = axis === "x" ? ["x", "xlow", "xhigh"] : ["y", "low", "high", "ylow", "yhigh"];
    for (const mark of this.spec.marks)
      for (const name of names)
        for (const value of mark.free ? [] : [].concat(mark[name] ?? []))
          if (known(value) && (!log || value > 0)) { low = Math.min(low, value); high = Math.max(high, value); }
    if (low === Infinity) return log ? [0.1, 1] : [0, 1];
    if (log) return low === high ? [low / 2, high * 2] : [low / (high / low) ** 0.04, high * (high / low) ** 0.04];
    const margin = 0.04 * (high - low) || Math.abs(high) * 0.05 || 1;
    return [zero ? Math.min(0, low) : low - margin, Math.min(high + margin, end ?? Infinity)];
  }

  draw() {
    const wide = (this.wide = this.root.clientWidth);
    const style = getComputedStyle(this.root);
    const width = Math.max(240, wide - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
    const share = this.spec.share || 0.52;
    const height = Math.round(Math.min(Math.max(width * share, 290), this.spec.tallest || 480));
    const svg = made("svg", { viewBox: `0 0 ${width} ${height}`, width, height });
    this.holder.replaceChildren(svg);
    this.svg = svg;
    const { x, y } = this.spec;
    this.x = new Scale(this.shown.x, x);
    this.y = new Scale(this.shown.y, y);
    const down = this.y.ticks(Math.max(3, height / 60));
    const left = Math.max(34, 12 + 7 * Math.max(...down.map(([, text]) => text.length)));
    this.box = { left, right: width - 10, top: 26, bottom: height - 40 };
    this.x.range = [left, this.box.right];
    this.y.range = [this.box.bottom, this.box.top];
    this.axes(svg, down, width, height);
    const id = `clip-${this.root.dataset.chart}`;
    made("rect", { x: left, y: this.box.top - 4, width: Math.max(1, width - left - 4), height: this.box.bottom - this.box.top + 4 },
      made("clipPath", { id }, made("defs", {}, svg)));
    this.inside = made("g", { "clip-path": `url(#${id})` }, svg);
    for (const mark of this.spec.marks) if (!this.hidden.has(mark.name)) this.mark(mark, this.inside);
    this.over = made("g", {}, svg);
    const pad = made("rect", { class: "plot", x: left, y: this.box.top, width: this.box.right - left,
      height: this.box.bottom - this.box.top, fill: "transparent" }, svg);
    this.listen(pad);
    this.after?.();
  }

  axes(svg, down, width, height) {
    const { left, right, top, bottom } = this.box;
    for (const [value, text] of down) {
      const at = this.y.at(value);
      made("line", { x1: left, x2: right, y1: at, y2: at, stroke: "var(--grid)" }, svg);
      made("text", { x: left - 7, y: at + 4, "text-anchor": "end" }, svg, text);
    }
    let last = -Infinity;
    for (const [value, text] of this.x.ticks(Math.max(2, width / 90))) {
      const at = this.x.at(value);
      if (at - last < 7 * text.length + 6) continue;
      last = at;
      made("line", { x1: at, x2: at, y1: top, y2: bottom, stroke: "var(--grid)" }, svg);
      made("text", { x: at, y: bottom + 17, "text-anchor": "middle" }, svg, text);
    }
    made("line", { x1: left, x2: right, y1: bottom, y2: bottom, stroke: "var(--soft)" }, svg);
    made("text", { class: "title", x: right, y: height - 6, "text-anchor": "end" }, svg, this.spec.x.label);
    made("text", { class: "title", x: 2, y: 13 }, svg, this.spec.y.label);
  }

  points(mark, xs = mark.x, ys = mark.y) {
    const found = [];
    for (let i = 0; i < xs.length; i++)
      if (known(xs[i]) && known(ys[i]) && (!this.spec.x.log || xs[i] > 0))
        found.push([this.x.at(xs[i]), this.y.at(this.spec.y.log ? Math.max(ys[i], this.y.domain[0] / 10) : ys[i]), i]);
    return found;
  }

  path(points, step) {
    const text = (n) => n.toFixed(1);
    return points.map(([px, py], i) => (i === 0 ? `M${text(px)} ${text(py)}`
      : step ? `H${text(px)}V${text(py)}` : `L${text(px)} ${text(py)}`)).join("");
  }

  mark(mark, parent) {
    const stroke = mark.color === undefined ? "var(--ink)" : `var(--s${mark.color})`;
    const group = made("g", { "data-name": mark.name || "" }, parent);
    if (mark.type === "dots") {
      const d = this.points(mark).map(([px, py]) => `M${px.toFixed(1)} ${py.toFixed(1)}h0`).join("");
      made("path", { d, stroke, fill: "none", "stroke-width": mark.size || 5, "stroke-opacity": mark.alpha ?? 0.55,
        "stroke-linecap": mark.square ? "square" : "round" }, group);
    } else if (mark.type === "line") {
      made("path", { d: this.path(this.points(mark), mark.step), stroke, fill: "none", "stroke-width": mark.width || 2,
        "stroke-dasharray": mark.dash || "none", "stroke-linejoin": "round" }, group);
      if (mark.markers) this.mark({ ...mark, type: "dots", size: 6, alpha: 1, square: mark.square }, parent);
    } else if (mark.type === "band") {
      const upper = this.points(mark, mark.x, mark.high), lower = this.points(mark, mark.x, mark.low).reverse();
      // The way back along a step is up or down first.
      const back = lower.map(([px, py]) => (mark.step ? `V${py.toFixed(1)}H${px.toFixed(1)}` : `L${px.toFixed(1)} ${py.toFixed(1)}`)).join("");
      made("path", { d: upper.length ? `${this.path(upper, mark.step)}${back}Z` : "", fill: stroke, "fill-opacity": mark.alpha ?? 0.16 }, group);
    } else if (mark.type === "rule") {
      const at = this.x.at(mark.x);
      made("line", { x1: at, x2: at, y1: this.box.top, y2: this.box.bottom, stroke, "stroke-width": 1.5, "stroke-dasharray": mark.dash || "3 4" }, group);
    } else if (mark.type === "rings") {
      for (const [px, py] of this.points(mark)) made("circle", { cx: px, cy: py, r: mark.size || 5.5, fill: "none", stroke, "stroke-width": 1.6 }, group);
    } else if (mark.type === "spans") {
      for (let i = 0; i < mark.x.length; i++) this.span(mark, i, stroke, group);
    } else if (mark.type === "discs") this.discs(mark, group);
  }

  // An error bar, in one direction or both.
  span(mark, i, stroke, group) {
    const line = (x1, y1, x2, y2) => [x1, y1, x2, y2].every(known) && made("line", { x1, y1, x2, y2, stroke, "stroke-width": mark.width || 1.4,
      "stroke-opacity": mark.alpha ?? 1 }, group);
    const px = this.x.at(mark.x[i]), py = this.y.at(mark.y[i]);
    if (mark.xlow) line(this.x.at(mark.xlow[i]), py, this.x.at(mark.xhigh[i]), py);
    if (mark.ylow) line(px, this.y.at(mark.ylow[i]), px, this.y.at(mark.yhigh[i]));
    if (mark.xto) line(px, py, this.x.at(mark.xto[i]), this.y.at(mark.yto[i]));
  }

  discs(mark, group) {
    const placed = new Map();
    for (const [px, py, i] of this.points(mark)) {
      const near = [...placed.values()].find((one) => Math.hypot(one.px - px, one.py - py) < 9);
      if (near) near.text += mark.letters[i];
      else placed.set(i, { px, py, text: mark.letters[i] });
    }
    for (const { px, py, text } of placed.values()) {
      const half = 5 + 4.2 * text.length;
      made("rect", { x: px - half, y: py - 9, width: 2 * half, height: 18, rx: 9, fill: "var(--ink)", stroke: "var(--card)", "stroke-width": 1.5 }, group);
      made("text", { class: "disc", x: px, y: py + 4, "text-anchor": "middle" }, group, text);
    }
  }

  // The nearest thing that has something to say.
  nearest(px, py) {
    let best = null, least = 26 ** 2;
    for (const mark of this.spec.marks) {
      if (!mark.x?.length || !mark.y || mark.mute || this.hidden.has(mark.name)) continue;
      for (const [ax, ay, i] of this.points(mark)) {
        const apart = (ax - px) ** 2 + (ay - py) ** 2 - (mark.type === "discs" ? 60 : 0);
        if (apart < least) { least = apart; best = { mark, i, px: ax, py: ay }; }
      }
    }
    return best;
  }

  told({ mark, i }) {
    if (mark.rows) return this.describe(mark, i);
    const rows = [[this.spec.x.short || this.spec.x.label, significant(mark.x[i], 4)], [this.spec.y.short || this.spec.y.label, significant(mark.y[i], 4)]];
    if (mark.low) rows.push(["95 %", `${significant(mark.low[i])} to ${significant(mark.high[i])}`]);
    return [mark.name || "", rows];
  }

  where(event) {
    const box = this.svg.getBoundingClientRect();
    const share = this.svg.viewBox.baseVal.width / box.width;
    return [(event.clientX - box.left) * share, (event.clientY - box.top) * share];
  }

  listen(pad) {
    let from = null, frame = null;
    pad.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch" || event.button !== 0) return;
      from = this.where(event);
      pad.setPointerCapture(event.pointerId);
    });
    pad.addEventListener("pointermove", (event) => {
      const [px, py] = this.where(event);
      if (!from) return this.hover(event, px, py);
      tip.hide();
      frame ??= made("rect", { fill: "var(--accent)", "fill-opacity": 0.15, stroke: "var(--accent)" }, this.over);
      const [x, y] = [Math.min(px, from[0]), Math.min(py, from[1])];
      for (const [key, value] of Object.entries({ x, y, width: Math.abs(px - from[0]), height: Math.abs(py - from[1]) })) frame.setAttribute(key, value);
    });
    pad.addEventListener("pointerup", (event) => {
      const to = this.where(event);
      frame?.remove();
      frame = null;
      if (from && Math.hypot(to[0] - from[0], to[1] - from[1]) > 10) this.zoom(from, to);
      else if (from) this.click?.(this.nearest(...to));
      from = null;
    });
    pad.addEventListener("pointerleave", () => { tip.hide(); this.point(null); });
    pad.addEventListener("dblclick", () => this.reset());
    pad.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  hover(event, px, py) {
    const best = this.nearest(px, py);
    this.point(best);
    this.hovered?.(best);
    if (best) tip.show(event, ...this.told(best));
    else tip.hide();
  }

  point(best) {
    this.spot?.remove();
    this.spot = best && made("circle", { cx: best.px, cy: best.py, r: 7, fill: "none", stroke: "var(--ink)", "stroke-width": 2 }, this.over);
  }

  zoom(a, b) {
    const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
    const { left, right, top, bottom } = this.box;
    const xs = [a[0], b[0]].map((p) => this.x.value(clamp(p, left, right))).sort((p, q) => p - q);
    const ys = [a[1], b[1]].map((p) => this.y.value(clamp(p, top, bottom))).sort((p, q) => p - q);
    if (xs[0] < xs[1] && ys[0] < ys[1]) this.show(xs, ys);
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const [px, py] = this.where(event);
    const share = event.deltaY < 0 ? 0.8 : 1.25;
    const around = (scale, at) => scale.range.map((end) => scale.value(at + (end - at) * share));
    this.show(around(this.x, px), around(this.y, py));
  }

  show(x, y) {
    this.shown = { x, y };
    this.back.hidden = false;
    this.draw();
  }

  reset() {
    this.shown = { ...this.extent };
    this.back.hidden = true;
    this.draw();
  }

  legend() {
    const names = [...new Set(this.spec.marks.map((mark) => mark.name).filter(Boolean))];
    for (const name of names) {
      const marks = this.spec.marks.filter((one) => one.name === name);
      const mark = marks.find((one) => ["discs", "rings", "line"].includes(one.type)) || marks[0];
      const button = html("button", "series", this.tools);
      button.type = "button";
      button.setAttribute("aria-pressed", String(!this.hidden.has(name)));
      this.swatch(mark, button);
      html("span", "", button, name);
      button.addEventListener("click", () => {
        this.hidden.has(name) ? this.hidden.delete(name) : this.hidden.add(name);
        button.setAttribute("aria-pressed", String(!this.hidden.has(name)));
        this.draw();
      });
    }
    const end = html("span", "end", this.tools);
    this.back = html("button", "", end, "Reset zoom");
    this.back.hidden = true;
    this.back.addEventListener("click", () => this.reset());
    html("button", "save", end, "Save SVG").addEventListener("click", () => this.save());
  }

  swatch(mark, parent) {
    const stroke = mark.color === undefined ? "var(--ink)" : `var(--s${mark.color})`;
    const svg = made("svg", { viewBox: "0 0 22 12", "aria-hidden": "true" }, parent);
    if (mark.type === "dots") made("path", { d: "M11 6h0", stroke, "stroke-width": 8, "stroke-linecap": mark.square ? "square" : "round" }, svg);
    else if (mark.type === "rings") made("circle", { cx: 11, cy: 6, r: 4.5, fill: "none", stroke, "stroke-width": 1.6 }, svg);
    else if (mark.type === "discs") made("circle", { cx: 11, cy: 6, r: 6, fill: stroke }, svg);
    else if (mark.type === "band") made("rect", { width: 22, height: 12, fill: stroke, "fill-opacity": 0.25 }, svg);
    else made("path", { d: "M0 6h22", stroke, "stroke-width": mark.width || 2, "stroke-dasharray": mark.dash || (mark.type === "rule" ? "3 4" : "none") }, svg);
  }

  // The figure as it is seen, with the colours in place of their names.
  save() {
    const style = getComputedStyle(document.documentElement);
    const text = new XMLSerializer().serializeToString(this.svg).replace(/var\((--[\w]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
    const rules = `text{font:12px sans-serif;fill:${style.getPropertyValue("--soft")}}.disc{fill:${style.getPropertyValue("--ground")};font-weight:700;font-size:11px}`;
    saved(text.replace(/^(<svg[^>]*>)/, `$1<style>${rules}</style>`), `${this.root.dataset.chart}.svg`, "image/svg+xml");
  }
}

function saved(text, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const DATA = JSON.parse(document.getElementById("data").textContent);
const charts = {};
for (const root of document.querySelectorAll("[data-chart]")) charts[root.dataset.chart] = new Chart(root, DATA.charts[root.dataset.chart]);
