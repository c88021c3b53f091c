// DataTables sorts and searches; this script adds the filters by axis and the choice of two rows.
"use strict";

for (const table of document.querySelectorAll("table.board")) {
  const form = table.closest("section").querySelector("form.tools");
  const board = new DataTable(table, {
    autoWidth: false,
    info: false,
    order: [],
    paging: false,
    language: { zeroRecords: "No row matches" },
    layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
  });
  const selects = [...form.querySelectorAll("select")];
  const search = form.querySelector("input[type=search]");
  const axes = board.rows().nodes().toArray().map((row) => JSON.parse(row.dataset.axes));
  board.search.fixed("axes", (text, data, index) =>
    selects.every(({ name, value }) => value === "" || axes[index][name] === value),
  );
  const draw = () => {
    board.search(search.value).draw();
    const { recordsDisplay, recordsTotal } = board.page.info();
    const left = recordsDisplay < recordsTotal ? `${recordsDisplay} of ${recordsTotal}` : recordsTotal;
    form.querySelector("output").textContent = `Rows: ${left}`;
  };
  form.addEventListener("input", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  draw();
}

const tray = document.querySelector(".tray");
if (tray) {
  const boxes = [...document.querySelectorAll("table.board input[type=checkbox]")];
  let chosen = [];
  const show = () => {
    for (const box of boxes) box.checked = chosen.includes(box);
    tray.hidden = chosen.length === 0;
    document.body.classList.toggle("choosing", chosen.length > 0);
    const names = chosen.map((box) => box.nextElementSibling.textContent);
    tray.querySelector("p").textContent =
      names.length === 2 ? names.join("  vs.  ") : `${names[0]}: choose a second row`;
    const link = tray.querySelector("a");
    link.hidden = chosen.length < 2;
    const [a, b] = chosen.map((box) => box.value);
    link.href = `compare.html#${new URLSearchParams({ a: a ?? "", b: b ?? "" })}`;
  };
  for (const box of boxes) {
    box.hidden = false;
    box.addEventListener("change", () => {
      // A third row takes the place of the first.
      chosen = box.checked ? [...chosen, box].slice(-2) : chosen.filter((other) => other !== box);
      show();
    });
  }
  tray.querySelector("button").addEventListener("click", () => {
    chosen = [];
    show();
    boxes[0].focus({ preventScroll: true });
  });
}
