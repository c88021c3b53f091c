// Two rows image by image. A category's data are a script of their own, loaded when it is chosen.
"use strict";

(() => {
  const PAGE = 12;
  const comparable = JSON.parse(document.getElementById("comparable").textContent);
  const choose = document.querySelector("form.choose");
  const { category, a, b, swap } = choose.elements;
  const versus = document.querySelector(".versus");
  const show = versus.querySelector("select[name=show]");
  const more = versus.querySelector("button[name=more]");
  const figure = versus.querySelector("figure.chart");
  const loaded = new Map();
  let shown = PAGE;

  const made = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const current = () => comparable[category.value];
  const label = (select) => current().rows[select.value];

  adbench.receive = (content) => {
    loaded.set(content.file, content);
    draw();
  };

  const options = (select, rows, wanted) => {
    select.replaceChildren(...Object.entries(rows).map(([page, name]) => made("option", { value: page }, name)));
    if (wanted in rows) select.value = wanted;
  };

  const fill = (wantedA, wantedB) => {
    const { rows } = current();
    options(a, rows, wantedA);
    options(b, rows, wantedB);
    if (a.value === b.value) {
      const other = Object.keys(rows).find((page) => page !== a.value);
      (wantedB in rows && !(wantedA in rows) ? a : b).value = other;
    }
  };

  const pairs = () => {
    const content = loaded.get(current().file);
    const [first, second] = [a, b].map((select) => content.rows[select.value].images);
    return content.images
      .map((image, index) => ({ ...image, index, a: first[index], b: second[index] }))
      .filter((pair) => pair.a && pair.b)
      .map((pair) => ({ ...pair, gap: gap(pair) }));
  };
  // Images without a verdict differ by how far apart the rows place them.
  const gap = ({ a: one, b: two }) =>
    Math.max(Math.abs(one.wrong - two.wrong), one.mistaken === null ? Math.abs((one.standing ?? 0) - (two.standing ?? 0)) : 0);

  const filters = {
    differ: () => true,
    a: (pair) => pair.a.mistaken && !pair.b.mistaken,
    b: (pair) => pair.b.mistaken && !pair.a.mistaken,
    both: (pair) => pair.a.mistaken && pair.b.mistaken,
  };

  const verdict = (name, side, judged) => {
    const state = judged.mistaken === null ? "unjudged" : judged.mistaken ? "wrong" : "right";
    const mark = { unjudged: "", wrong: "✗ ", right: "✓ " }[state];
    const picture = judged.heat
      ? made("img", { src: judged.heat, alt: `Anomaly map of row ${side}`, loading: "lazy" })
      : made("p", { class: "blank" }, "no map");
    return made("figure", { class: state }, picture,
      made("figcaption", {}, made("span", { class: "row" }, made("span", { class: `key ${side.toLowerCase()}`, "aria-hidden": "true" }), `${side} `),
        made("strong", {}, mark + judged.words), made("span", {}, judged.score ? `score ${judged.score}` : "")));
  };

  const duel = (pair) => {
    const kind = pair.defect;
    const picture = pair.image
      ? made("img", { src: pair.image, alt: pair.path, loading: "lazy" })
      : made("p", { class: "blank" }, "no picture");
    return made("li", { id: `image-${pair.index}`, tabindex: "-1" },
      made("figure", {}, picture, made("figcaption", {},
        made("strong", {}, kind), made("span", { class: "path" }, pair.path))),
      verdict(label(a), "A", pair.a), verdict(label(b), "B", pair.b));
  };

  const list = (all) => {
    const found = d3.sort(
      all.filter(filters[show.value]),
      (p, q) =>
        d3.descending(p.gap, q.gap) ||
        d3.descending(p.a.wrong + p.b.wrong, q.a.wrong + q.b.wrong) ||
        d3.descending(!!p.image, !!q.image),
    );
    versus.querySelector(".duels").replaceChildren(...found.slice(0, shown).map(duel));
    versus.querySelector("output").textContent = `Images: ${Math.min(shown, found.length)} of ${found.length}`;
    more.hidden = shown >= found.length;
    return found;
  };

  const draw = () => {
    const content = loaded.get(current().file);
    if (!content) {
      document.head.append(made("script", { src: current().file }));
      return;
    }
    const all = pairs();
    const count = (name) => all.filter(filters[name]).length;
    const judged = all.some((pair) => pair.a.mistaken !== null && pair.b.mistaken !== null);
    const wrong = [["only A is wrong", count("a")], ["only B is wrong", count("b")], ["both are wrong", count("both")]];
    const told = [["test images", all.length], ...(judged ? wrong : [])];
    versus.querySelector(".said").replaceChildren(
      ...told.map(([name, value]) => made("div", {}, made("dt", {}, name), made("dd", {}, `${value}`))),
    );
    show.closest("label").hidden = !judged;
    if (!judged) show.value = "differ";
    const found = list(all);
    figure.content = { pairs: all, found };
    versus.hidden = choose.hidden = false;
    figure.redraw();
    const state = new URLSearchParams({ category: current().file, a: a.value, b: b.value });
    history.replaceState(null, "", `#${state}`);
  };

  adbench.kinds.standings = ({ pairs: all }, width) => {
    const points = all.filter((pair) => pair.a.standing !== null && pair.b.standing !== null);
    if (!points.length) return made("p", { class: "note" }, "One of the rows has no image scores.");
    const side = Math.min(width, 560);
    const colour = (pair) => `var(${pair.label < 0 ? "--soft" : pair.label ? "--c2" : "--c1"})`;
    const percent = (value) => `${(100 * value).toFixed(0)}%`;
    const title = (p) => `${p.path}\n${p.defect}\nA: ${percent(p.a.standing)}, B: ${percent(p.b.standing)}`;
    const axis = { domain: [-0.03, 1.03], labelArrow: "none", grid: true, ticks: 5, tickFormat: percent, labelAnchor: "center" };
    const titled = (key, name) => (name.length < side / 8 - 10 ? `${key}: ${name}` : `Row ${key}`);
    const plot = Plot.plot({
      width: side, height: side, marginLeft: 56, marginBottom: 46, marginRight: 20,
      x: { ...axis, label: titled("A", label(a)) },
      y: { ...axis, label: titled("B", label(b)) },
      marks: [
        Plot.line([[0, 0], [1, 1]], { stroke: "var(--soft)", strokeOpacity: 0.5, strokeDasharray: "3 4" }),
        Plot.dot(points, { x: (p) => p.a.standing, y: (p) => p.b.standing, r: 4.5, fill: colour, fillOpacity: 0.65, stroke: colour, href: (p) => `#image-${p.index}` }),
        adbench.tip(points, title, side, { x: (p) => p.a.standing, y: (p) => p.b.standing, maxRadius: 40 }),
      ],
    });
    adbench.links(plot, points, title);
    // The address keeps the choice, so a point moves the view by itself.
    plot.addEventListener("click", (event) => {
      const link = event.target.closest("a");
      if (!link) return;
      event.preventDefault();
      open(link.point.index);
    });
    const box = made("div", { class: "plotted" }, plot);
    const kinds = [[0, "normal", "--c1"], [1, "defective", "--c2"], [-1, "unlabelled", "--soft"]];
    const keys = kinds.filter(([value]) => points.some((pair) => pair.label === value)).map(([, name, key]) => {
      const item = made("li", {}, name);
      item.style.setProperty("--key", `var(${key})`);
      return item;
    });
    box.append(made("ul", { class: "legend" }, ...keys));
    return box;
  };

  const open = (index) => {
    let place = figure.content.found.findIndex((pair) => pair.index === index);
    if (place < 0) {
      show.value = "differ";
      figure.content.found = list(figure.content.pairs);
      place = figure.content.found.findIndex((pair) => pair.index === index);
    }
    shown = Math.max(shown, Math.ceil((place + 1) / PAGE) * PAGE);
    list(figure.content.pairs);
    const item = document.getElementById(`image-${index}`);
    item.scrollIntoView({ block: "center" });
    item.focus({ preventScroll: true });
  };

  const groups = d3.group(comparable.map((one, index) => ({ ...one, index })), ({ dataset }) => dataset);
  category.replaceChildren(...[...groups].map(([dataset, found]) => made("optgroup", { label: dataset },
    ...found.map((one) => made("option", { value: one.index }, one.category)))));

  const start = () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    const [one, two] = [asked.get("a"), asked.get("b")];
    const fits = (place) => [one, two].filter((page) => page && !(page in place.rows)).length === 0;
    const named = comparable.findIndex(({ file }) => file === asked.get("category"));
    category.value = Math.max(0, named >= 0 ? named : comparable.findIndex(fits));
    fill(one, two);
    draw();
  };
  choose.addEventListener("change", (event) => {
    shown = PAGE;
    if (event.target === category) fill(a.value, b.value);
    else if (a.value === b.value) fill(a.value, "");
    draw();
  });
  choose.addEventListener("submit", (event) => event.preventDefault());
  swap.addEventListener("click", () => {
    [a.value, b.value] = [b.value, a.value];
    draw();
  });
  show.addEventListener("change", () => {
    shown = PAGE;
    figure.content.found = list(figure.content.pairs);
  });
  more.addEventListener("click", () => {
    shown += PAGE;
    list(figure.content.pairs);
  });
  addEventListener("hashchange", start);
  figure.dataset.kind = "standings";
  adbench.watch(figure);
  start();
})();
