// The little that pages do by themselves. Everything works without it, except live progress.
"use strict";

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.confirm && !window.confirm(form.dataset.confirm)) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "1";
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) {
    const { form, dataset } = event.target;
    form.requestSubmit(dataset.submit ? form.querySelector(`button[value="${dataset.submit}"]`) : null);
  }
  const choice = event.target.dataset.choose;
  if (choice) {
    for (const box of document.querySelectorAll(`input[type=checkbox][name="${choice}"]`))
      box.checked = event.target.checked;
  }
});

// A value that is entered is meant: the box beside it is ticked.
document.addEventListener("input", (event) => {
  const { ticks } = event.target.dataset;
  if (ticks) document.getElementById(ticks).checked = true;
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-theme-toggle]")) {
    const root = document.documentElement;
    const next = root.dataset.bsTheme === "dark" ? "light" : "dark";
    root.dataset.bsTheme = next;
    localStorage.setItem("theme", next);
  }
  const remove = event.target.closest("[data-remove-row]");
  if (remove) remove.closest("[data-row]").remove();
  if (event.target.closest("[data-print]")) window.print();
  const add = event.target.closest("[data-add-row]");
  if (add) addRow(document.getElementById(add.dataset.addRow));
});

// Paper is white: light text on it could not be read.
let themeBefore = "";
window.addEventListener("beforeprint", () => {
  themeBefore = document.documentElement.dataset.bsTheme;
  document.documentElement.dataset.bsTheme = "light";
});
window.addEventListener("afterprint", () => { document.documentElement.dataset.bsTheme = themeBefore; });

// Rows of the contract's field table: a copy of the template with the next number.
function addRow(body) {
  const template = document.getElementById(body.id + "-template");
  const number = Number(body.dataset.next);
  body.dataset.next = number + 1;
  body.insertAdjacentHTML("beforeend", template.innerHTML.replaceAll("__n__", number));
  body.lastElementChild.querySelector("input, select").focus();
}

// A form with changes asks before it is left.
for (const form of document.querySelectorAll("form[data-guard]")) {
  let changed = false;
  form.addEventListener("input", () => { changed = true; });
  window.addEventListener("beforeunload", (event) => {
    if (changed && !form.dataset.sent) event.preventDefault();
  });
}

// Shows only the settings that belong to the chosen way of signing in and paging.
for (const select of document.querySelectorAll("[data-shows]")) {
  const show = () => {
    for (const part of document.querySelectorAll(`[data-when^="${select.name}="]`)) {
      part.hidden = !part.dataset.when.split("=")[1].split(" ").includes(select.value);
    }
  };
  select.addEventListener("change", show);
  show();
}

// A part of a page that was answered by the log-in's page: that page is shown whole.
function isLoggedOut(answer) {
  if (answer.redirected) location.reload();
  return answer.redirected;
}

// Parts that look again by themselves until the server says that they are settled.
for (const part of document.querySelectorAll("[data-refresh]")) {
  const again = async () => {
    if (document.hidden) { setTimeout(again, 1500); return; }
    try {
      const answer = await fetch(part.dataset.refresh, { headers: { "X-Part": "1" } });
      if (isLoggedOut(answer)) return;
      if (answer.ok) {
        part.innerHTML = await answer.text();
        if (answer.headers.get("X-Settled") === "1") {
          document.dispatchEvent(new CustomEvent("settled", { detail: part }));
          if (part.dataset.whenSettled === "reload") location.reload();
          return;
        }
      }
    } catch {
      // The server is away for a moment; look again.
    }
    setTimeout(again, 1500);
  };
  if (part.dataset.settled !== "1") setTimeout(again, 1000);
}

// The palette: "/" or Ctrl-K from anywhere, arrows and Enter; without it the form finds.
const palette = document.querySelector("[data-palette]");
if (palette) {
  const field = palette.querySelector("input");
  const found = palette.querySelector("#palette-found");
  const links = () => [...found.querySelectorAll("a")];
  let at = 0;
  let asked = 0;
  let answered = null;  // the words that what stands there was found by
  const mark = () => links().forEach((link, n) => {
    link.classList.toggle("at", n === at);
    link.id = `found-${n}`;
    if (n === at) { field.setAttribute("aria-activedescendant", link.id); link.scrollIntoView({ block: "nearest" }); }
  });
  const ask = async () => {
    const mine = ++asked;
    const words = field.value;
    try {
      const answer = await fetch(`${palette.dataset.palette}?q=${encodeURIComponent(words)}`);
      if (isLoggedOut(answer) || !answer.ok || mine !== asked) return;
      found.innerHTML = await answer.text();
      answered = words;
      at = 0;
      mark();
    } catch {
      // The server is away for a moment; the next letter asks again.
    }
  };
  const open = (text = "") => { palette.showModal(); field.value = text; field.focus(); ask(); };
  let wait = 0;
  // Who is faster than the answer opens what they typed, not what still stands there.
  const enter = async () => {
    clearTimeout(wait);
    if (answered !== field.value) await ask();
    if (answered === field.value) links()[at]?.click();
  };
  field.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(ask, 150); });
  field.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && links().length) { event.preventDefault(); at = (at + step + links().length) % links().length; mark(); }
    if (event.key === "Enter") { event.preventDefault(); enter(); }
  });
  palette.addEventListener("click", (event) => { if (event.target === palette) palette.close(); });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, [contenteditable]");
    const asks = (event.key === "k" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && !typing);
    if (asks && !palette.open) { event.preventDefault(); open(); }
  });
  document.querySelector("[data-palette-open]").addEventListener("click", (event) => open(event.target.value));
}

// A menu closes when one turns elsewhere.
document.addEventListener("click", (event) => {
  for (const tool of document.querySelectorAll("details.tool[open]"))
    if (!tool.contains(event.target) && (tool.matches(".person-menu") || matchMedia("(min-width: 641px)").matches)) tool.open = false;
  if (location.hash === "#menu" && !event.target.closest("#menu, .menu-button")) location.hash = "#isi";
});
document.addEventListener("keydown", (event) => {
  const tool = event.key === "Escape" && event.target.closest("details.tool[open]");
  if (tool) { tool.open = false; tool.querySelector("summary").focus(); }
  if (event.key === "Escape" && location.hash === "#menu") location.hash = "#isi";
});

// A table that is wider than its place is moved by keys as well.
for (const wrap of document.querySelectorAll(".table-wrap:not([tabindex])")) {
  if (wrap.scrollWidth <= wrap.clientWidth) continue;
  wrap.tabIndex = 0;
  wrap.setAttribute("role", "region");
  wrap.setAttribute("aria-label", wrap.querySelector("caption")?.textContent || document.title);
}

// A file may be dropped instead of chosen; how far it is on its way is shown.
function sendFiles(form) {
  const drop = form.querySelector("[data-drop]");
  const file = drop.querySelector("input[type=file]");
  const bar = form.querySelector("[data-progress]");
  for (const name of ["dragover", "dragleave", "drop"]) drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) file.files = event.dataTransfer.files;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    bar.hidden = false;
    form.querySelector("button").disabled = true;
    const there = form.action.split("#")[0];
    const sending = new XMLHttpRequest();
    sending.open("POST", there);
    // Where it leads to is opened by the page itself: whatever that says is said there.
    sending.setRequestHeader("X-Only-Where", "1");
    sending.upload.addEventListener("progress", (event) => { if (event.lengthComputable) bar.value = event.loaded / event.total; });
    sending.addEventListener("load", () => {
      if (sending.responseURL !== there) { location.assign(sending.responseURL); return; }
      // The answer stands here: why the file was refused, or what it says. It is not asked for twice.
      const said = new DOMParser().parseFromString(sending.responseText, "text/html").querySelector("main");
      document.querySelector("main").replaceChildren(...said.children);
      document.querySelectorAll("main [data-upload]").forEach(sendFiles);
      scrollTo(0, 0);
    });
    sending.addEventListener("error", () => form.submit());
    sending.send(new FormData(form));
  });
}
document.querySelectorAll("[data-upload]").forEach(sendFiles);

// A field is looked at when one leaves it, and while it is being mended; the server looks again.
function wrongOf({ validity }) {
  const say = document.body.dataset;
  if (validity.valueMissing) return say.sayMissing;
  if (validity.tooLong) return say.sayLong;
  if (validity.rangeUnderflow || validity.rangeOverflow || validity.stepMismatch) return say.sayRange;
  return validity.valid ? "" : say.sayType;
}

function tellWrong(field) {
  const text = wrongOf(field);
  const id = `${field.id}-error`;
  let said = document.getElementById(id);
  if (!said && text) {
    said = document.createElement("div");
    said.id = id;
    said.className = "invalid-feedback";
    field.after(said);
  }
  if (said) said.textContent = text;
  field.classList.toggle("is-invalid", text !== "");
  field.setAttribute("aria-invalid", String(text !== ""));
  if (said) field.setAttribute("aria-describedby", text ? id : `${field.id}-help`);
  return text === "";
}

for (const form of document.querySelectorAll("form.form-card, form[data-guard]")) {
  const fields = [...form.elements].filter((each) => each.willValidate && each.id && each.type !== "checkbox");
  form.noValidate = true;
  for (const field of fields) {
    field.addEventListener("blur", () => { if (field.value || field.classList.contains("is-invalid")) tellWrong(field); });
    field.addEventListener("input", () => { if (field.classList.contains("is-invalid")) tellWrong(field); });
  }
  form.addEventListener("submit", (event) => {
    const wrong = fields.filter((field) => !tellWrong(field));
    if (!wrong.length) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    delete form.dataset.sent;
    wrong[0].focus();
  }, true);
}
