// DataTables sorts and searches; this script adds the filters by axis.
"use strict";

for (const table of document.querySelectorAll("table.board")) {
  const form = table.closest("section").querySelector("form.filters");
  const board = new DataTable(table, {
    autoWidth: false,
    info: true,
    order: [],
    paging: false,
    language: {
      search: "Search",
      info: "Rows: _TOTAL_",
      infoEmpty: "Rows: 0",
      infoFiltered: "of _MAX_",
      zeroRecords: "No row matches",
    },
    layout: { topStart: "search", topEnd: "info", bottomStart: null, bottomEnd: null },
  });
  const selects = [...form.querySelectorAll("select")];
  const axes = board.rows().nodes().toArray().map((row) => JSON.parse(row.dataset.axes));
  board.search.fixed("axes", (text, data, index) =>
    selects.every(({ name, value }) => value === "" || axes[index][name] === value),
  );
  form.addEventListener("change", () => board.draw());
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = selects.length === 0;
}
