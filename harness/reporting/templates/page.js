"use strict";
// What can't work without a script is made by it, so that a page without scripts has no dead buttons.
for (const root of document.querySelectorAll(".table")) {
  const table = root.querySelector("table");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const tools = root.querySelector(".tools");
  const status = tools.querySelector("[role=status]");
  tools.hidden = false;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(body, heads, column));
  });
  tools.querySelector("input").addEventListener("input", (event) => {
    const count = filter(body, event.target.value);
    status.textContent = event.target.value.trim() ? `${count} of ${body.rows.length} rows` : "";
  });
  for (const button of tools.querySelectorAll("button")) {
    button.addEventListener("click", async () => {
      const rows = [table.tHead.rows[0], ...[...body.rows].filter((row) => !row.hidden)];
      const copied = await copy(text(rows, button.dataset.separator));
      status.textContent = copied ? `${rows.length - 1} rows copied` : "The browser refused to copy";
    });
  }
}

function sort(body, heads, column) {
  const head = heads[column];
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
}

function compare(a, b) {
  const [x, y] = [a.dataset.key, b.dataset.key];
  if (x !== undefined && y !== undefined) return Number(x) - Number(y);
  return a.textContent.localeCompare(b.textContent);
}

function filter(body, wanted) {
  const heads = [...body.parentElement.tHead.rows[0].cells].map((head) => head.textContent.toLowerCase());
  const rows = [...body.rows].map((row) => [row, [...row.cells].map((cell) => cell.textContent.toLowerCase())]);
  const tests = terms(wanted.toLowerCase().split(/\s+/).filter(Boolean), heads, rows);
  let count = 0;
  for (const [row, cells] of rows) {
    row.hidden = !tests.every((test) => test(cells));
    count += row.hidden ? 0 : 1;
  }
  return count;
}

function terms(words, heads, rows) {
  // "lr 3" is the learning rate 3 and not 0.3 or 30, where a column or a grid point is called so; else each word counts.
  const tests = [];
  for (let i = 0; i < words.length; i += 1) {
    const [name, value] = [words[i], words[i + 1]];
    const pair = (cells) => cells.some((cell, j) => (heads[j] === name && cell === value) || cell.split(/[,;] /).includes(`${name} ${value}`));
    if (value !== undefined && rows.some(([, cells]) => pair(cells))) {
      tests.push(pair);
      i += 1;
    } else {
      tests.push((cells) => cells.some((cell) => cell.includes(name)));
    }
  }
  return tests;
}

function text(rows, separator) {
  return rows.map((row) => [...row.cells].map((cell) => field(cell.textContent, separator)).join(separator) + "\n").join("");
}

function field(shown, separator) {
  // Spreadsheets know no other minus than the hyphen, and take what starts like a formula for one.
  let plain = shown.replaceAll("\u2212", "-").replace(/\s+/g, " ");
  if (/^[=+@]/.test(plain) || /^-(?![\d.])/.test(plain)) plain = "'" + plain;
  return separator === "," && /[",]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

async function copy(words) {
  try {
    await navigator.clipboard.writeText(words);
    return true;
  } catch {
    // Where a page from a file has no clipboard, what is selected can be copied all the same.
    const area = document.createElement("textarea");
    const before = document.activeElement;
    area.value = words;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    before.focus();
    return copied;
  }
}

// Escape leaves an enlarged figure, as it leaves a dialog.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const zoom of document.querySelectorAll(".zoom:checked")) zoom.checked = false;
});
