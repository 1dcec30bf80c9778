"use strict";
// Sorting and filtering. Without scripts the page is whole, only not sortable.
for (const box of document.querySelectorAll("[data-table]")) {
  const table = box.querySelector("table"), body = table.tBodies[0], rows = [...body.rows];
  const key = (row, n) => row.cells[n].dataset.value ?? row.cells[n].textContent.trim();
  for (const [n, head] of [...table.tHead.rows[0].cells].entries()) {
    head.querySelector("button")?.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending", numbers = head.classList.contains("num");
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const compare = (a, b) => {
        const x = key(a, n), y = key(b, n);
        if (x === "" || y === "") return (x === "") - (y === "");  // unknown values stay at the end
        const order = numbers ? x - y : x.localeCompare(y, "en", { numeric: true });
        return down ? -order : order;
      };
      body.append(...rows.sort(compare));
    });
  }
  const input = box.querySelector("input[type=search]"), shown = box.querySelector("output");
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => word[0] === "-" && word.length > 1 ? !text.includes(word.slice(1)) : text.includes(word));
      count += !row.hidden;
    }
    shown.textContent = count === rows.length ? `${count} rows` : `${count} of ${rows.length} rows`;
  };
  if (input) { input.addEventListener("input", filter); filter(); }
}
document.addEventListener("click", (event) => {
  const fold = event.target.closest(".fold");
  if (fold && !String(getSelection())) fold.classList.toggle("open");
});
