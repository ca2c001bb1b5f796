"use strict";
// The candidates of a search: what hover says of one, the budget, and the table of the front.

const { explore } = DATA;
const costs = explore ? explore.objectives.filter((one) => one.name !== "error") : [];

function percent(share) { return known(share) ? `${(100 * share).toFixed(1)} %` : "–"; }

// Rows of choice indices, from text of one character a gene or with commas.
for (const group of explore ? [explore.found, explore.random].filter(Boolean) : []) {
  const read = explore.commas ? (text) => text.split(",").map(Number) : (text) => [...text].map((digit) => parseInt(digit, 36));
  group.genomes = group.genomes.split(" ").map(read);
}

// Values of all genes, grouped by the last part of their names.
function inWords(genome) {
  const groups = new Map();
  explore.genes.forEach(({ name, choices }, i) => {
    const kind = name.slice(name.lastIndexOf("_") + 1);
    groups.set(kind, [...(groups.get(kind) || []), choices ? choices[genome[i]] : genome[i]]);
  });
  return [...groups].map(([kind, values]) => `${kind}${values.length > 1 ? "s" : ""} ${values.join(" ")}`).join(" | ");
}

function origin(group, row) {
  if (group === explore.random) return "random sampling";
  const parents = group.parents[row].filter((one) => one >= 0);
  const generation = `generation ${group.generation[row] + 1}`;
  if (!parents.length) return `${generation}, ${explore.begun}`;
  return `${generation}, from candidate${parents.length > 1 && parents[0] !== parents[1] ? "s" : ""} ${[...new Set(parents)].join(" and ")}`;
}

function figuresOf(group, row) {
  return [["accuracy", `${percent(1 - group.error[row])} of the search images`],
    ...costs.map((cost) => [cost.label, significant(group.costs[cost.name][row])])];
}

function describe(group, row) {
  const measured = group.measured?.[row];
  return [`${group === explore.random ? "Random candidate" : "Candidate"} ${row}`, [
    ...figuresOf(group, row),
    ...(known(measured) ? [["measured (ms)", significant(measured)]] : []),
    ["origin", origin(group, row)], ["genome", inWords(group.genomes[row])]]];
}

function describeChosen(one) {
  const rows = [["test accuracy", `${percent(one.accuracy)} (95 %: ${percent(one.low)} to ${percent(one.high)})`]];
  if (known(one.ms)) rows.push([`${explore.said} (ms)`, `${significant(one.ms)} (80 % of runs: ${significant(one.p10)} to ${significant(one.p90)})`]);
  rows.push(...costs.map((cost) => [cost.label, significant(one.costs[cost.name])]), ["chosen as", one.role], ["genome", one.words]);
  return [`${one.letter}: ${one.name}`, rows];
}

function described(mark, i) {
  if (mark.rows === "chosen") return describeChosen(explore.chosen[i]);
  return describe(explore[mark.rows], mark.index ? mark.index[i] : i);
}

const fronts = Object.entries(charts).filter(([name]) => name.startsWith("pareto-"));
for (const [, chart] of fronts) chart.describe = described;

const table = document.getElementById("front");
const lines = new Map();

function highlight(row, scroll) {
  for (const [at, line] of lines) line.classList.toggle("marked", at === row);
  if (scroll && lines.has(row)) lines.get(row).scrollIntoView({ block: "nearest" });
}

for (const [, chart] of fronts) {
  chart.hovered = (best) => highlight(best?.mark.rows === "found" ? (best.mark.index ? best.mark.index[best.i] : best.i) : -1);
  chart.click = (best) => best?.mark.rows === "found" && highlight(best.mark.index ? best.mark.index[best.i] : best.i, true);
}

// The front and the chosen networks, with a margin.
function toFront(chart) {
  const near = chart.spec.marks.filter((mark) => mark.name?.startsWith("chosen") || mark.name === "front of the search" && mark.type === "dots");
  const wide = (values) => {
    const some = values.filter(known);
    const [low, high] = [Math.min(...some), Math.max(...some)];
    const margin = 0.12 * (high - low) || 0.05 * Math.abs(high) || 1;
    return [low - margin, high + margin];
  };
  chart.show(wide(near.flatMap((mark) => [...mark.x, ...(mark.xhigh || [])])), wide(near.flatMap((mark) => [...mark.y, ...(mark.yhigh || []), ...(mark.ylow || [])])));
}

for (const [, chart] of fronts) {
  const button = html("button", "", null, "Zoom to the front");
  button.type = "button";
  button.addEventListener("click", () => toFront(chart));
  chart.back.before(button);
}

function spotted(row) {
  for (const [name, chart] of fronts) {
    const cost = name.slice("pareto-".length);
    const px = chart.x.at(explore.found.costs[cost][row]), py = chart.y.at(100 * (1 - explore.found.error[row]));
    chart.point(row < 0 ? null : { px, py });
  }
}

// The table of the front

const columns = explore ? [
  { name: "network", value: (row) => row, text: (row) => `${row}` },
  { name: "search accuracy", value: (row) => 1 - explore.found.error[row], text: (row) => percent(1 - explore.found.error[row]) },
  ...costs.map((cost) => ({ name: cost.label, value: (row) => explore.found.costs[cost.name][row], text: (row) => significant(explore.found.costs[cost.name][row]) })),
  ...(explore.found.macs ? [{ name: "MMACs", value: (row) => explore.found.macs[row] / 1e6, text: (row) => significant(explore.found.macs[row] / 1e6) },
    { name: "parameters", value: (row) => explore.found.params[row], text: (row) => explore.found.params[row].toLocaleString("en") }] : []),
  { name: "generation", value: (row) => explore.found.generation[row] + 1, text: (row) => `${explore.found.generation[row] + 1}` },
] : [];

function cells(row) {
  const line = html("tr", "");
  line.tabIndex = 0;
  const head = html("th", "", line);
  head.scope = "row";
  for (const one of explore.chosen) if (one.row === row) html("span", "letter", head, one.letter);
  head.append(String(row));
  for (const column of columns.slice(1)) html("td", "number", line, column.text(row));
  html("td", "genome", line, inWords(explore.found.genomes[row]));
  for (const [event, at] of [["pointerenter", row], ["focus", row], ["pointerleave", -1], ["blur", -1]]) line.addEventListener(event, () => spotted(at));
  return line;
}

function sortBy(index, descending) {
  const head = table.tHead.rows[0].cells;
  for (let i = 0; i < head.length; i++) head[i].removeAttribute("aria-sort");
  head[index].setAttribute("aria-sort", descending ? "descending" : "ascending");
  const { value } = columns[index];
  const rows = [...explore.found.front].sort((a, b) => (descending ? -1 : 1) * (value(a) - value(b)) || a - b);
  table.tBodies[0].replaceChildren(...rows.map((row) => lines.get(row)));
}

function csv(rows) {
  const quoted = (text) => (/[",\n]/.test(text) ? `"${String(text).replaceAll('"', '""')}"` : text);
  const head = ["candidate", "accuracy", ...costs.map((cost) => cost.name), "generation", "parents", ...explore.genes.map(({ name }) => name)];
  const { found } = explore;
  const all = rows.map((row) => [row, +(1 - found.error[row]).toFixed(6), ...costs.map((cost) => found.costs[cost.name][row] ?? ""), found.generation[row] + 1,
    found.parents[row].filter((one) => one >= 0).join(" "), ...found.genomes[row].map((choice, i) => explore.genes[i].choices?.[choice] ?? choice)]);
  return [head, ...all].map((line) => line.map((cell) => quoted(cell ?? "")).join(",")).join("\r\n") + "\r\n";
}

function fillTable() {
  const head = html("tr", "", table.tHead);
  columns.forEach((column, i) => {
    const cell = html("th", i ? "number" : "", head);
    cell.scope = "col";
    const button = html("button", "sorts", cell, column.name);
    button.addEventListener("click", () => sortBy(i, cell.getAttribute("aria-sort") === "ascending"));
  });
  html("th", "genome", head, "genome").scope = "col";
  for (const row of explore.found.front) lines.set(row, cells(row));
  sortBy(costs.length ? 2 : 1, false);
  const every = explore.found.error.map((_, row) => row).filter((row) => known(explore.found.error[row]));
  for (const [id, rows] of [["csv-front", explore.found.front], ["csv-all", every]])
    document.getElementById(id).addEventListener("click", () => saved(csv(rows), `${explore.name}-${id.slice(4)}.csv`, "text/csv"));
}

// The budget

const slider = document.getElementById("budget");

function within(most) {
  const { name } = explore.budget;
  const cost = explore.found.costs[name];
  if (!cost) return null;
  const rows = explore.found.front.filter((row) => cost[row] <= most);
  return rows.reduce((best, row) => (best === null || explore.found.error[row] < explore.found.error[best] ? row : best), null);
}

function ofMeasured(most) {
  const { steps, below } = explore.budget;
  const step = steps.filter((one) => one.from <= most).at(-1);
  return step ? step.text : below;
}

function ofFront(most) {
  const { name, unit, label, pick } = explore.budget;
  if (!explore.found.costs[name]) return "";
  const row = within(most);
  const said = known(most) ? ` within ${significant(most)} ${unit}` : "";
  if (row === null) return `No candidate of the search has ${label} of at most ${significant(most)} ${unit}.`;
  const cost = explore.found.costs[name][row];
  const text = `Of all that was searched, candidate ${row} is the most accurate${said}: ${percent(1 - explore.found.error[row])} of the search images ` +
    `before its own training, ${significant(cost)} ${unit}${name === "latency_ms" ? " predicted" : ""}.`;
  const one = explore.chosen.find((each) => each.row === row);
  if (one) return `${text} That is ${one.letter}.`;
  if (!explore.random) return text; // the search goes on
  const budget = significant(known(most) ? most : cost * 1.001, 4).replaceAll(",", "");
  return `${text} To train, export and measure it: jaxnas pick RUN --under ${pick.replace("X", budget)} -n 1`;
}

// The most that may be spent; infinity where the slider is at its end.
function spent() {
  const { low, high, log } = explore.budget;
  const share = slider.value / slider.max;
  if (share === 1) return Infinity;
  return log ? low * (high / low) ** share : low + (high - low) * share;
}

function spend(moved) {
  const { unit, limit } = explore.budget;
  const most = !moved && known(limit) ? limit : spent();
  document.getElementById("budget-value").textContent = known(most) ? `${significant(most)} ${unit}` : "any";
  const measured = moved && ofMeasured(most);
  if (measured) document.getElementById("recommendation").textContent = known(most) ? measured : explore.budget.text;
  document.getElementById("of-front").textContent = ofFront(most);
  const cost = explore.found.costs[explore.budget.name];
  if (cost) for (const [row, line] of lines) line.classList.toggle("over", cost[row] > most);
  shade(most);
}

// What lies beyond the budget is grey.
function shade(most) {
  const chart = charts[`pareto-${explore.budget.name}`];
  if (!chart) return;
  chart.after = () => {
    if (!known(most)) return;
    const at = Math.min(Math.max(chart.x.at(most), chart.box.left), chart.box.right);
    made("rect", { x: at, y: chart.box.top, width: chart.box.right - at, height: chart.box.bottom - chart.box.top, fill: "var(--soft)", "fill-opacity": 0.12 }, chart.inside);
    made("line", { x1: at, x2: at, y1: chart.box.top, y2: chart.box.bottom, stroke: "var(--ink)", "stroke-width": 1.5 }, chart.inside);
  };
  chart.draw();
}

if (explore) {
  if (table) fillTable();
  if (slider) {
    const { low, high, log, limit } = explore.budget;
    const at = known(limit) ? Math.min(Math.max(limit, low), high) : high;
    slider.value = slider.max * (log ? Math.log(at / low) / Math.log(high / low) : (at - low) / (high - low));
    slider.addEventListener("input", () => spend(true));
    spend(false);
  }
}
