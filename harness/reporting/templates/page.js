"use strict";
const table = document.getElementById("table");
const body = table.tBodies[0];
const heads = [...table.tHead.rows[0].cells];
const shown = document.getElementById("shown");

function compare(a, b) {
  const [x, y] = [a.dataset.key, b.dataset.key];
  if (x !== undefined && y !== undefined) return Number(x) - Number(y);
  return a.textContent.localeCompare(b.textContent);
}

heads.forEach((head, column) => {
  head.firstElementChild.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const empty = (row) => row.cells[column].textContent === "";
    const rows = [...body.rows].sort((a, b) => {
      // A missing value is never the best: it stays at the end, whichever way the others are sorted.
      if (empty(a) || empty(b)) return empty(a) - empty(b);
      return compare(a.cells[column], b.cells[column]) * (up ? 1 : -1);
    });
    body.append(...rows);
  });
});

document.getElementById("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of body.rows) {
    const cells = [...row.cells].map((cell) => cell.textContent.toLowerCase());
    row.hidden = !words.every((word) => cells.some((cell) => cell.includes(word)));
    count += row.hidden ? 0 : 1;
  }
  shown.textContent = words.length ? `${count} of ${body.rows.length} rows` : "";
});
