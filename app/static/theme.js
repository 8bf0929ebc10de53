// Sets light or dark before the page is drawn: as chosen here, else as the system says.
"use strict";
(() => {
  const chosen = localStorage.getItem("theme");
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.classList.add("js");
  document.documentElement.dataset.bsTheme = chosen || system;
})();
