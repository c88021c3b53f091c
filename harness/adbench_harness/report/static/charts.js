// What all plots share: they are drawn when they come into view, and again when their width changes.
// The library is Observable Plot; colours are variables of the style sheet.
"use strict";

const adbench = {
  // Draws a kind of plot into a node: (data, width, figure) => svg.
  kinds: {},

  watch(figure) {
    const canvas = figure.querySelector(".canvas");
    let width = 0;
    figure.redraw = () => {
      if (!width || !figure.seen) return;
      const plot = adbench.kinds[figure.dataset.kind](figure.content, width, figure);
      const focused = [...canvas.querySelectorAll("a")].indexOf(document.activeElement);
      canvas.replaceChildren(plot);
      // The canvas has the role and the name; as an image, a plot would hide its links.
      canvas.querySelector("svg")?.setAttribute("role", "presentation");
      if (focused >= 0) canvas.querySelectorAll("a")[focused]?.focus();
    };
    new ResizeObserver(([entry]) => {
      const now = Math.floor(entry.contentRect.width);
      if (now === width) return;
      width = now;
      figure.redraw();
    }).observe(canvas);
    const near = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        near.disconnect();
        figure.seen = true;
        figure.redraw();
      },
      { rootMargin: "600px" },
    );
    near.observe(figure);
  },

  // A number with its unit's usual digits, as in the tables.
  show(value, unit) {
    if (unit === "%") return (100 * value).toFixed(1);
    if (unit === "count") {
      for (const [size, suffix] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]])
        if (value >= size) return +(value / size).toFixed(1) + suffix;
      return value.toFixed(0);
    }
    if (unit) return value.toFixed(Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0);
    return +value.toFixed(3) + "";
  },

  // An axis of a metric: on a logarithmic scale where a cost spans more than a factor of 4.
  scale({ title, unit, higher }, values) {
    const [low, high] = d3.extent(values);
    const log = unit !== "%" && unit !== "" && low > 0 && high > 4 * low;
    const label = `${title}${unit === "%" ? " (%)" : ""}, ${higher ? "higher" : "lower"} is better`;
    const pad = log ? 1.15 : 0.06 * (high - low || Math.abs(high) || 1);
    const domain = log ? [low / pad, high * pad] : [low - pad, high + pad];
    if (unit === "%") {
      domain[0] = Math.max(domain[0], -0.005);
      domain[1] = Math.min(domain[1], 1.005);
    }
    const tick = (value) =>
      unit === "%" ? +(100 * value).toFixed(2) + "" : adbench.ticked(value, unit);
    return { type: log ? "log" : "linear", domain, label, labelArrow: "none", grid: true, tickFormat: tick };
  },

  // A tick's number: as few digits as it has.
  ticked(value, unit) {
    const shown = adbench.show(value, unit);
    return shown.includes(".") ? shown.replace(/\.?0+(?=$| )/, "") : shown;
  },

  // Shortened in the middle, since names that begin alike often end differently.
  short(name, length) {
    const end = Math.floor(length / 2);
    return name.length <= length ? name : `${name.slice(0, length - end - 1)}…${name.slice(-end)}`;
  },

  // A name in lines of at most so many letters, which end after a space, a comma or a bracket.
  folded(name, length) {
    const lines = [""];
    for (const piece of name.split(/(?<=[,+])(?=.)|(?<=\S[([])|(?<= )(?!·)/)) {
      if (lines.at(-1) && (lines.at(-1) + piece.trimEnd()).length > length) lines.push("");
      lines.push(lines.pop() + piece);
      while (lines.at(-1).trimEnd().length > length) {
        const long = lines.pop();
        lines.push(long.slice(0, length), long.slice(length));
      }
    }
    return lines.map((line) => line.trimEnd());
  },

  // What is shown at the pointer: a title, in lines that fit on either side of it.
  tip(data, title, width, options, pointer = Plot.pointer) {
    const letters = Math.max(12, Math.min(46, Math.floor((width / 2 - 24) / 7)));
    const folded = (d) => title(d).split("\n").flatMap((line) => adbench.folded(line, letters)).join("\n");
    const style = { fill: "var(--raised)", stroke: "var(--line)", textPadding: 8, fontSize: 13, lineHeight: 1.3 };
    return Plot.tip(data, pointer({ ...options, ...style, title: folded, lineWidth: Infinity }));
  },

  // What the pointer shows is shown to the keyboard too: a point is a link, with its name.
  links(plot, points, name) {
    for (const link of plot.querySelectorAll("a")) {
      // The library binds to a mark the index of its datum, whatever the order of drawing.
      link.point = points[link.firstChild.__data__];
      link.setAttribute("aria-label", name(link.point));
      link.addEventListener("focus", () => {
        const box = link.getBoundingClientRect();
        const at = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
        plot.dispatchEvent(new PointerEvent("pointermove", { ...at, pointerType: "mouse" }));
      });
      link.addEventListener("blur", () => plot.dispatchEvent(new PointerEvent("pointerleave")));
    }
  },
};

document.addEventListener("DOMContentLoaded", () => {
  for (const figure of document.querySelectorAll("figure.chart:has(> script)")) {
    figure.content = JSON.parse(figure.querySelector("script").textContent);
    adbench.watch(figure);
  }
});
