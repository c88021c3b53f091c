// A row a method: its number, how that spreads, and which rows cannot be told apart.
"use strict";

adbench.kinds.differences = ({ rows, groups, axis }, width) => {
  const measure = { ...axis, higher: axis.higher_is_better };
  // On a phone a name stands above its row, not beside it.
  const narrow = width < 600;
  const letters = narrow ? Math.floor(width / 7) : width < 1000 ? 48 : 64;
  const names = rows.map(({ label }) => adbench.folded(label, letters));
  const longest = Math.max(...names.flat().map((line) => line.length));
  const more = 14 * (Math.max(...names.map((lines) => lines.length)) - 1);
  const bars = Math.min(groups.length, 12);
  const dots = rows.flatMap((row) =>
    Object.entries(row.values).map(([category, value]) => ({ ...row, category, value })),
  );
  const several = dots.length > rows.length;
  const reach = rows.flatMap(({ interval }) => interval ?? []);
  const values = [...dots.map(({ value }) => value), ...reach];
  const show = (value) => adbench.show(value, axis.unit);
  const range = ({ interval }) => (interval ? `\n95%: ${show(interval[0])} to ${show(interval[1])}` : "");
  const mean = (row) => `${row.label}\n${several ? "mean " : ""}${axis.title}: ${show(row.mean)}${range(row)}`;
  const tips = [
    ...rows.map((row) => ({ ...row, at: row.mean, text: mean(row) })),
    ...(several ? dots : []).map((dot) => ({
      ...dot, at: dot.value, text: `${dot.label}\n${dot.category}: ${show(dot.value)}`,
    })),
  ];
  const plot = Plot.plot({
    width,
    height: 72 + ((narrow ? 44 : 26) + more) * rows.length,
    marginLeft: narrow ? 12 : 16 + 7 * longest,
    marginRight: 20 + 14 * bars,
    marginTop: 8,
    marginBottom: 44,
    x: { ...adbench.scale(measure, values), type: "linear", labelAnchor: "center", ticks: narrow ? 3 : 8 },
    y: {
      domain: rows.map(({ index }) => index), label: null, tickSize: 0, axis: narrow ? null : "left",
      tickFormat: (index) => names[rows.findIndex((row) => row.index === index)].join("\n"),
    },
    marks: [
      narrow
        ? Plot.text(rows, {
            frameAnchor: "left", lineAnchor: "bottom", y: "index", dy: -9, text: (row) => names[rows.indexOf(row)].join("\n"),
          })
        : null,
      several ? Plot.dot(dots, { x: "value", y: "index", r: 3, fill: "var(--soft)", fillOpacity: 0.55 }) : null,
      Plot.ruleY(rows.filter(({ interval }) => interval), {
        x1: (row) => row.interval[0], x2: (row) => row.interval[1], y: "index", stroke: "var(--c1)", strokeWidth: 2,
      }),
      Plot.dot(rows, { x: "mean", y: "index", r: 5.5, fill: "var(--c1)" }),
      adbench.tip(tips, ({ text }) => text, width, { x: "at", y: "index", maxRadius: 40 }),
    ],
  });
  const y = plot.scale("y");
  groups.slice(0, bars).forEach(([first, last], place) => {
    d3.select(plot).append("line").attr("class", "group")
      .attr("x1", width - 14 * (bars - place)).attr("x2", width - 14 * (bars - place))
      .attr("y1", y.apply(rows[first].index) + 4).attr("y2", y.apply(rows[last].index) + y.bandwidth - 4);
  });
  return plot;
};
