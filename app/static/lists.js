// What a list does by itself: choosing rows, changing a cell in its place, keys.
// Without it rows are chosen by their boxes and changed by their forms.
"use strict";

const choosing = document.querySelector("[data-choosing]");
if (choosing) {
  const boxes = () => [...document.querySelectorAll("input[name=row]")];
  const count = choosing.querySelector("[data-count]");
  const some = choosing.querySelector("[data-some]");
  const tell = () => {
    const chosen = boxes().filter((box) => box.checked).length;
    count.textContent = chosen ? count.dataset.count.replace("#", chosen) : "";
    some.disabled = !chosen;
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches("input[name=row], [data-choose]")) tell();
  });
  window.addEventListener("pageshow", tell);
  tell();
}

const cells = document.querySelector("[data-cells]");

function openCell(cell) {
  if (!cells || cell.querySelector("[data-editing]")) return;
  const field = cells.querySelector(`template[data-for="${cell.dataset.cell}"]`).content
    .firstElementChild.cloneNode(true);
  field.value = cell.dataset.was;
  field.dataset.editing = "1";
  const shown = cell.querySelector("[data-shown]");
  shown.hidden = true;
  cell.append(field);
  field.focus();
  const close = () => { field.remove(); shown.hidden = false; cell.querySelector("[data-edit-cell]").focus(); };
  let busy = false;
  const save = async () => {
    if (busy) return;
    if (field.value === cell.dataset.was) { close(); return; }
    busy = true;
    const form = new FormData(choosing);
    const sent = new URLSearchParams({
      csrf_token: form.get("csrf_token"), row: cell.closest("[data-row]").dataset.row,
      column: cell.dataset.cell, was: cell.dataset.was, to: field.value,
    });
    let said = cells.dataset.failed;
    try {
      const answer = await fetch(cells.dataset.cells, { method: "POST", body: sent });
      if (answer.redirected || answer.status === 400) said = cells.dataset.expired;
      const found = await answer.json();
      if (answer.ok) {
        shown.innerHTML = found.html;
        cell.dataset.was = found.value;
        cell.classList.add("cell-saved");
        said = "";
      } else {
        said = found.error;
        if ("value" in found) {  // somebody else was faster: theirs stands beside what was typed
          shown.innerHTML = found.html;
          cell.dataset.was = found.value;
          shown.hidden = false;
        }
      }
    } catch {
      // The server is away, or said something that is no answer to this.
    }
    cells.querySelector(".cell-said").textContent = said;
    busy = false;
    if (said) field.focus(); else close();
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); save(); }
    if (event.key === "Escape") { event.stopPropagation(); cells.querySelector(".cell-said").textContent = ""; close(); }
  });
  if (field.matches("select")) field.addEventListener("change", save);
  else field.addEventListener("blur", () => { if (field.isConnected) save(); });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-edit-cell]");
  if (button) openCell(button.closest("[data-cell]"));
});

// Keys: j and k go from row to row, o opens, x chooses, e changes; n and p turn the page.
const rows = [...document.querySelectorAll("[data-rows] tbody tr")];
let here = -1;

function go(step) {
  if (!rows.length) return;
  here = Math.max(0, Math.min(rows.length - 1, here + step));
  rows.forEach((row, at) => row.classList.toggle("at", at === here));
  rows[here].querySelector("a, input, button")?.focus({ preventScroll: true });
  rows[here].scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), select, textarea, dialog")) return;
  const row = rows[here];
  const does = {
    j: () => go(1),
    k: () => go(-1),
    o: () => row?.querySelector("[data-open]")?.click(),
    x: () => row?.querySelector("input[name=row]")?.click(),
    e: () => { const cell = row?.querySelector("[data-cell]"); if (cell) openCell(cell); },
    n: () => document.querySelector("a[rel=next]")?.click(),
    p: () => document.querySelector("a[rel=prev]")?.click(),
  }[event.key];
  if (does) { event.preventDefault(); does(); }
});
