// The plots of one trial: curves of rates, scores by defect type, and what its training logged.
"use strict";

const TALL = (width) => Math.round(Math.min(320, Math.max(240, width * 0.75)));

// The height of a curve at x; where it rises straight up, the upper end.
const height = (line, x) => {
  const after = d3.bisectRight(line.x, x);
  if (after >= line.x.length) return line.y[line.y.length - 1];
  const [x0, x1, y0, y1] = [line.x[after - 1], line.x[after], line.y[after - 1], line.y[after]];
  return y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
};

adbench.kinds.rates = ({ lines, y, limit }, width) => {
  const points = lines.flatMap(({ name, x, y: heights }) =>
    x.map((rate, index) => ({ name, x: rate, y: heights[index] })),
  );
  const names = lines.map(({ name }) => name);
  const percent = (value) => `${(100 * value).toFixed(1)}%`;
  const steps = d3.range(0, 1.001, 0.01).map((share) => share * limit);
  const told = (x) =>
    [`false positive rate: ${percent(x)}`, ...lines.map((line) =>
      `${names.length > 1 ? `${line.name}: ` : `${y}: `}${percent(height(line, x))}`)].join("\n");
  const first = (x) => height(lines[0], x);
  return Plot.plot({
    width,
    height: TALL(width),
    marginLeft: 46,
    marginTop: 28,
    marginBottom: 42,
    x: { domain: [0, limit], label: "false positive rate", labelArrow: "none", grid: true, ticks: 5, labelAnchor: "center" },
    y: { domain: [0, 1], label: y, labelArrow: "none", grid: true, ticks: 5 },
    color: { domain: names, range: ["var(--c1)", "var(--c2)"], legend: false },
    marks: [
      limit === 1 ? Plot.line([[0, 0], [1, 1]], { stroke: "var(--soft)", strokeOpacity: 0.5, strokeDasharray: "3 4" }) : null,
      Plot.line(points, { x: "x", y: "y", stroke: "name", strokeWidth: 2, clip: false }),
      names.length > 1
        ? Plot.text(names, { x: limit, y: (name) => 0.08 + 0.09 * names.indexOf(name), text: (name) => `— ${name}`, fill: (name) => name, textAnchor: "end", dx: -6, fontSize: 13 })
        : null,
      Plot.ruleX(steps, Plot.pointerX({ x: (x) => x, stroke: "var(--edge)" })),
      adbench.tip(steps, told, width, { x: (x) => x, y: first }, Plot.pointerX),
    ],
  });
};

adbench.kinds.scores = ({ groups }, width) => {
  // Spread over a row's height in a fixed pattern, so that equal scores are not one dot.
  const dots = groups.flatMap(({ name, scores }, row) =>
    scores.map((score, index) => ({ name, score, y: row + 0.5 + 0.62 * (((index * 0.618034) % 1) - 0.5) })),
  );
  const letters = Math.min(16, Math.max(...groups.map(({ name, count }) => `${name} (${count})`.length)));
  const colour = ({ name }) => `var(${name === "good" ? "--c1" : name === "unlabelled" ? "--soft" : "--c2"})`;
  return Plot.plot({
    width,
    height: Math.max(150, 64 + 40 * groups.length),
    marginLeft: 14 + 7 * letters,
    marginBottom: 42,
    x: { label: "score", labelArrow: "none", grid: true, ticks: 5, nice: true, labelAnchor: "center" },
    y: {
      domain: [groups.length, 0], label: null, tickSize: 0, ticks: groups.map((_, row) => row + 0.5),
      tickFormat: (value) => {
        const { name, count } = groups[Math.floor(value)] ?? { name: "", count: 0 };
        return `${adbench.short(name, Math.max(6, 16 - `${count}`.length - 3))} (${count})`;
      },
    },
    marks: [
      Plot.dot(dots, { x: "score", y: "y", r: 2.5, fill: colour, fillOpacity: 0.75 }),
      adbench.tip(dots, (d) => `${d.name}\nscore: ${d.score}`, width, { x: "score", y: "y", maxRadius: 25 }),
    ],
  });
};

adbench.kinds.training = ({ name, log, x, y }, width) => {
  const points = x.map((step, index) => ({ step, value: y[index] })).filter(({ value }) => value !== null);
  const title = (p) => `step ${p.step}\n${name}: ${p.value}`;
  return Plot.plot({
    width,
    height: TALL(width),
    marginLeft: 56,
    marginTop: 28,
    marginBottom: 42,
    x: { label: "step", labelArrow: "none", grid: true, ticks: 5, labelAnchor: "center" },
    y: { type: log ? "log" : "linear", label: name, labelArrow: "none", grid: true, ticks: 5, tickFormat: "~g" },
    marks: [
      Plot.line(points, { x: "step", y: "value", stroke: "var(--c1)", strokeWidth: 1.75 }),
      adbench.tip(points, title, width, { x: "step", y: "value" }, Plot.pointerX),
    ],
  });
};
