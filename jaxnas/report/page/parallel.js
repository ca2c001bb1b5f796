"use strict";
// Parallel coordinates: an axis for accuracy, each cost and the genes that count most; drag along an axis to keep a part.

class Parallel {
  constructor(root, axes, rows, front) {
    Object.assign(this, { root, axes, rows, front: new Set(front) });
    this.kept = new Map();
    this.holder = html("div", "scroll", root);
    this.said = html("div", "bar-tools", root);
    this.count = html("span", "soft", this.said);
    this.back = html("button", "", html("span", "end", this.said), "Reset");
    this.back.addEventListener("click", () => { this.kept.clear(); this.draw(); });
    new ResizeObserver(() => root.clientWidth !== this.wide && this.draw()).observe(root);
    this.draw();
  }

  draw() {
    this.wide = this.root.clientWidth;
    const width = Math.max(this.wide - 24, 62 * this.axes.length), height = 300;
    this.svg = made("svg", { viewBox: `0 0 ${width} ${height}`, width, height });
    this.svg.style.width = `${width}px`;
    this.svg.style.maxWidth = "none";
    this.holder.replaceChildren(this.svg);
    const top = 44, bottom = height - 16, step = (width - 84) / Math.max(1, this.axes.length - 1);
    this.axes.forEach((axis, i) => { axis.at = 42 + i * step; axis.scale = new Scale(axis.domain); axis.scale.range = [bottom, top]; });
    this.lines = made("g", {}, this.svg);
    this.axes.forEach((axis) => this.axis(axis, top, bottom, step));
    this.update();
  }

  axis(axis, top, bottom, step) {
    const group = made("g", {}, this.svg);
    made("line", { x1: axis.at, x2: axis.at, y1: top, y2: bottom, stroke: "var(--soft)" }, group);
    const words = axis.name.split("_");
    const middle = Math.ceil(words.length / 2);
    [words.slice(0, middle).join("_"), words.slice(middle).join("_")].filter(Boolean).forEach((text, i) =>
      made("text", { class: "title", x: axis.at, y: 12 + 14 * i, "text-anchor": "middle" }, group, text.slice(0, Math.floor(step / 6.4))));
    for (const [value, text] of axis.ticks) {
      const label = made("text", { x: axis.at + 5, y: axis.scale.at(value) + 4, stroke: "var(--card)", "stroke-width": 3, "paint-order": "stroke" }, group, text);
      label.style.fontSize = "11px";
    }
    const pad = made("rect", { x: axis.at - 12, y: top - 6, width: 24, height: bottom - top + 12, fill: "transparent", class: "plot" }, group);
    const band = made("rect", { x: axis.at - 6, width: 12, fill: "var(--accent)", "fill-opacity": 0.3 }, group);
    const shown = () => {
      const kept = this.kept.get(axis);
      const [a, b] = kept ? kept.map((value) => axis.scale.at(value)) : [0, 0];
      band.setAttribute("y", Math.min(a, b));
      band.setAttribute("height", Math.abs(a - b));
      band.setAttribute("pointer-events", "none");
    };
    shown();
    this.drag(pad, axis, shown);
  }

  drag(pad, axis, shown) {
    let from = null;
    const value = (event) => {
      const box = this.svg.getBoundingClientRect();
      return axis.scale.value((event.clientY - box.top) * (this.svg.viewBox.baseVal.height / box.height));
    };
    pad.addEventListener("pointerdown", (event) => { from = value(event); pad.setPointerCapture(event.pointerId); });
    pad.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const to = value(event);
      this.kept.set(axis, [Math.min(from, to), Math.max(from, to)]);
      shown();
      this.update();
    });
    pad.addEventListener("pointerup", (event) => {
      const [low, high] = this.kept.get(axis) || [0, 0];
      if (Math.abs(axis.scale.at(low) - axis.scale.at(high)) < 4) this.kept.delete(axis);
      from = null;
      shown();
      this.update();
    });
  }

  update() {
    const inside = (row) => [...this.kept].every(([axis, [low, high]]) => axis.values[row] >= low && axis.values[row] <= high);
    // Lines through one choice are spread a little, so that their number shows.
    const spread = (axis, row, i) => (axis.spread ? 13 * (((row * 0.618034 + i * 0.37) % 1) - 0.5) : 0);
    const path = (row) => this.axes.map((axis, i) =>
      `${i ? "L" : "M"}${axis.at.toFixed(1)} ${(axis.scale.at(axis.values[row]) + spread(axis, row, i)).toFixed(1)}`).join("");
    const kept = this.rows.filter(inside);
    const few = (rows) => rows.filter((_, i) => i % Math.ceil(rows.length / 500 || 1) === 0);
    const draw = (rows, stroke, width, opacity) =>
      made("path", { d: rows.map(path).join(""), fill: "none", stroke, "stroke-width": width, "stroke-opacity": opacity }, this.lines);
    this.lines.replaceChildren();
    if (this.kept.size) draw(few(this.rows), "var(--soft)", 0.6, 0.12);
    draw(few(kept.filter((row) => !this.front.has(row))), "var(--s0)", 0.8, 0.22);
    const best = kept.filter((row) => this.front.has(row));
    draw(best, "var(--s1)", 1.5, Math.min(0.9, Math.max(0.25, 25 / best.length)));
    const front = best.length;
    this.count.textContent = this.kept.size ? `${kept.length} of ${this.rows.length} candidates kept, ${front} of them on the front` : "Drag along an axis to keep the candidates that pass there.";
    this.back.hidden = !this.kept.size;
  }
}

const parallel = document.getElementById("parallel");
if (explore && parallel) {
  const { found } = explore;
  const rows = found.error.map((_, row) => row).filter((row) => known(found.error[row]));
  const ofFigure = (name, values) => {
    const some = rows.map((row) => values[row]);
    const domain = [Math.min(...some), Math.max(...some)];
    if (domain[0] === domain[1]) domain[1] += 1;
    return { name, values, domain, ticks: linearTicks(...domain, 5) };
  };
  const ofGene = (at) => {
    const { name, choices } = explore.genes[at];
    const most = Math.max(1, choices ? choices.length - 1 : Math.max(...found.genomes.map((genome) => genome[at])));
    const labels = choices || Array.from({ length: most + 1 }, (_, i) => i);
    const every = Math.ceil(labels.length / 12);
    return { name, spread: true, values: found.genomes.map((genome) => genome[at]), domain: [0, most], ticks: [...labels.entries()].filter(([i]) => i % every === 0).map(([i, label]) => [i, String(label)]) };
  };
  new Parallel(parallel, [
    ofFigure("accuracy_(%)", found.error.map((error) => 100 * (1 - error))),
    ...costs.map((cost) => ofFigure(cost.short.replaceAll(" ", "_"), found.costs[cost.name])),
    ...explore.axes.map(ofGene),
  ], rows, found.front);
}
