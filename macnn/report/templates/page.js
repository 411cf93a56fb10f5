// Sort a table by the column whose heading is pressed; pressing again turns the order around.
for (const table of document.querySelectorAll("table.sortable")) {
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
  for (const button of table.tHead.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const heading = button.parentElement;
      const column = heading.cellIndex;
      const sign = heading.ariaSort === "ascending" ? -1 : 1;
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => sign * compare(key(a, column), key(b, column)));
      for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
      heading.ariaSort = sign > 0 ? "ascending" : "descending";
      body.append(...rows);
    });
  }
}
