// Any metric against any other, with the Pareto front of the two.
"use strict";

// Points that no other is as good as on both axes and better than on one.
adbench.front = (points, x, y) => {
  const better = (p, q, axis, key) => (axis.higher ? p[key] > q[key] : p[key] < q[key]);
  const beats = (p, q) =>
    (better(p, q, x, "x") && !better(q, p, y, "y")) || (better(p, q, y, "y") && !better(q, p, x, "x"));
  return points.filter((point) => !points.some((other) => beats(other, point)));
};

adbench.kinds.tradeoff = (data, width, figure) => {
  const form = figure.querySelector("form");
  const [x, y] = ["x", "y"].map((axis) => {
    const select = form.elements[axis];
    return data.axes.find(({ name }) => name === select.value);
  });
  if (form.hidden) {
    form.hidden = false;
    form.addEventListener("change", figure.redraw);
    form.addEventListener("submit", (event) => event.preventDefault());
  }
  const points = data.rows
    .map((row) => ({ ...row, x: row.values[x.name], y: row.values[y.name] }))
    .filter((point) => point.x !== null && point.y !== null);
  const said = figure.querySelector(".front");
  const out = data.rows.length - points.length;
  const without = out ? ` Not shown: ${out} of ${data.rows.length} rows, which lack one of the two numbers in some category or used the test images for a choice.` : "";
  if (!points.length) {
    said.textContent = "";
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = "No row has both numbers in every category.";
    return note;
  }
  const front = adbench.front(points, x, y);
  said.textContent = `On the Pareto front: ${front.map(({ label }) => label).join("; ")}.${without}`;

  const models = [...new Set(data.rows.map(({ model }) => model))];
  const coloured = models.length > 1 && models.length <= 8;
  const colour = ({ model }) => `var(--c${coloured ? models.indexOf(model) + 1 : 1})`;
  const name = (point) =>
    `${point.label}\n${y.title}: ${adbench.show(point.y, y.unit)}\n${x.title}: ${adbench.show(point.x, x.unit)}`;
  // Rows with the same two numbers are one point to the eye.
  const same = d3.group(points, (point) => `${point.x} ${point.y}`);
  const title = (point) =>
    [...same.get(`${point.x} ${point.y}`).map(({ label }) => label), ...name(point).split("\n").slice(1)].join("\n");
  const isFront = new Set(front);
  const ordered = [...points].sort((p, q) => isFront.has(p) - isFront.has(q));
  const horizontal = adbench.scale(x, points.map((point) => point.x));
  const plot = Plot.plot({
    width,
    height: Math.max(320, Math.min(520, width * 0.55)),
    marginLeft: 56,
    marginBottom: 48,
    marginTop: 32,
    marginRight: 24,
    r: { type: "identity" },
    x: { ...horizontal, ticks: width < 600 ? 4 : 8 },
    y: { ...adbench.scale(y, points.map((point) => point.y)), ticks: 6 },
    marks: [
      Plot.line(d3.sort(front, (p) => p.x), {
        x: "x", y: "y", stroke: "var(--front)", strokeWidth: 2, strokeOpacity: 0.7,
        curve: x.higher ? "step-before" : "step-after",
      }),
      Plot.dot(ordered, {
        x: "x", y: "y", r: (p) => (isFront.has(p) ? 6.5 : 5),
        stroke: colour, fill: (p) => (isFront.has(p) ? colour(p) : "var(--paper)"), strokeWidth: 2, href: "page", sort: null,
      }),
      adbench.tip(ordered, title, width, { x: "x", y: "y", maxRadius: 60 }),
    ],
  });
  adbench.links(plot, ordered, name);
  adbench.label(plot, front, width);
  const legend = document.createElement("div");
  legend.className = "plotted";
  legend.append(plot);
  if (coloured) {
    const keys = document.createElement("ul");
    keys.className = "legend";
    models.forEach((model, index) => {
      const key = document.createElement("li");
      key.style.setProperty("--key", `var(--c${index + 1})`);
      key.textContent = model;
      keys.append(key);
    });
    legend.append(keys);
  }
  return legend;
};

// Names beside the points of the front, as far as they do not cover each other.
adbench.label = (plot, points, width) => {
  const [x, y] = ["x", "y"].map((axis) => plot.scale(axis));
  const taken = points.map((point) => [x.apply(point.x) - 7, x.apply(point.x) + 7, y.apply(point.y), y.apply(point.y)]);
  for (const point of points) {
    const lines = adbench.folded(point.label, width < 600 ? 22 : 44);
    const at = [x.apply(point.x), y.apply(point.y)];
    const length = 7 * Math.max(...lines.map((line) => line.length));
    const left = at[0] + 12 + length > width - 8;
    const [from, to] = left ? [at[0] - 12 - length, at[0] - 12] : [at[0] + 12, at[0] + 12 + length];
    const rest = 15 * (lines.length - 1);
    const top = Math.max(28, at[1] - 9 - rest);
    const free = ([low, high, above, below]) => to < low || from > high || above - top - rest > 15 || top - below > 15;
    if (from < 50 || !taken.every(free)) continue;
    taken.push([from, to, top, top + rest]);
    const text = d3.select(plot).insert("text", "[aria-label=tip]").attr("class", "label").attr("text-anchor", left ? "end" : "start")
      .attr("aria-hidden", "true");
    text.selectAll().data(lines).join("tspan").attr("x", left ? to : from).attr("y", (_, place) => top + 15 * place)
      .text((line) => line);
  }
};
