// Shows one group of a table's columns at a time; the style sheet hides the others.
"use strict";

for (const group of document.querySelectorAll("fieldset.segments")) {
  const form = group.closest("form");
  const table = form.nextElementSibling.querySelector("table[data-columns]");
  const show = () => {
    table.dataset.shown = group.querySelector("input:checked").value;
  };
  group.addEventListener("change", show);
  group.hidden = form.hidden = false;
  show();
}
