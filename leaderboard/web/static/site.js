// Everything on this site works without this file. It makes tables sortable, times local, and commands copyable.
"use strict";

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function compare(kind, descending) {
  return (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === ""); // what is missing comes last, whichever way
    const order = kind === "number" ? Number(a) - Number(b) : collator.compare(a, b);
    return descending ? -order : order;
  };
}

function makeSortable(table) {
  const bodies = [...table.tBodies];
  const rows = bodies.flatMap((body) => [...body.rows].filter((row) => !row.classList.contains("group-row")));
  const homes = rows.map((row) => row.parentElement);
  const flat = document.createElement("tbody");
  flat.setAttribute("role", "rowgroup");
  const headers = [...table.tHead.rows[0].cells].filter((cell) => cell.dataset.sort);
  const choice = phoneChoice(headers, sortBy);

  function byRank() {
    rows.forEach((row, index) => homes[index].append(row));
    flat.replaceWith(...bodies);
  }

  function byColumn(header, descending) {
    const key = (row) => row.cells[header.cellIndex].dataset.value ?? "";
    const order = compare(header.dataset.sort, descending);
    flat.append(...rows.slice().sort((a, b) => order(key(a), key(b))));
    if (flat.isConnected) return;
    bodies[0].before(flat);
    bodies.forEach((body) => body.remove());
  }

  function sortBy(header) {
    const current = header.getAttribute("aria-sort");
    const first = header.dataset.first ?? "descending";
    const next = !current ? first : current === "ascending" ? "descending" : "ascending";
    headers.forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", next);
    if (header === headers[0] && next === "ascending") {
      if (flat.isConnected) byRank();
    } else byColumn(header, next === "descending");
    choice.value = String(headers.indexOf(header));
  }

  headers.forEach((header) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortBy(header));
    header.append(button);
  });
  table.closest(".table-scroll").before(choice.closest("label"));
}

function phoneChoice(headers, sortBy) {
  const label = document.createElement("label");
  label.className = "sort-choice";
  const select = document.createElement("select");
  headers.forEach((header, index) => select.add(new Option(header.textContent.trim(), String(index))));
  select.addEventListener("change", () => {
    const header = headers[Number(select.value)];
    header.removeAttribute("aria-sort");
    sortBy(header);
  });
  label.append("Sort by ", select);
  return select;
}

function makeLocal(time) {
  const moment = new Date(time.dateTime);
  if (Number.isNaN(moment.getTime())) return;
  const styles = {
    day: { dateStyle: "medium" },
    instant: { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short" },
    exact: { dateStyle: "medium", timeStyle: "long" },
  };
  time.title = time.textContent;
  time.textContent = new Intl.DateTimeFormat("en-GB", styles[time.dataset.form]).format(moment);
}

function makeCopyable(block) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(block.querySelector("code").textContent);
      button.textContent = "Copied";
    } catch {
      window.getSelection().selectAllChildren(block.querySelector("code"));
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  block.append(button);
}

document.querySelectorAll("table[data-sortable]").forEach(makeSortable);
document.querySelectorAll("time[data-form]").forEach(makeLocal);
if (window.isSecureContext) document.querySelectorAll(".command").forEach(makeCopyable);
