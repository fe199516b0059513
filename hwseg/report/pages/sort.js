"use strict";
// Tables of class "sorts": a button in every head, the state in aria-sort; numbers begin with the largest.
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells], said = table.querySelector(".said");
  const value = (row, column) => {
    const cell = row.cells[column];
    const held = [...cell.querySelectorAll("data")].find((d) => getComputedStyle(d).display !== "none");
    const text = held ? held.value : cell.textContent.trim();
    return text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text);
  };
  const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  heads.forEach((head, column) => {
    const name = head.textContent.trim(), button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      const numbers = rows.some(([v]) => typeof v === "number");
      const first = numbers && column > 0 ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const now = head.getAttribute("aria-sort") === first ? other : first;
      for (const each of heads) each.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", now);
      const sign = now === "ascending" ? 1 : -1;
      rows.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : sign * order(a, b));
      body.append(...rows.map(([, row]) => row));
      if (said) said.textContent = `sorted by ${name}, ${now}`;
    });
  });
}
