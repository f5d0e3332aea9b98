"use strict";
// The page is complete without this script: it adds a filter and the theme switch.
(() => {
  const heat = document.getElementById("heat");
  const filters = document.getElementById("filters");
  function filter() {
    const text = filters.elements.text.value.trim().toLowerCase();
    const set = filters.elements.set.value;
    for (const group of heat.tBodies) {
      let any = false;
      for (const row of group.querySelectorAll("tr[data-op]")) {
        row.hidden = !(row.dataset.op.toLowerCase().includes(text) && (set === "" || set in row.dataset));
        any ||= !row.hidden;
      }
      group.hidden = !any;
    }
  }
  filters.addEventListener("input", filter);
  filters.addEventListener("reset", () => setTimeout(filter));
  filters.addEventListener("submit", (event) => event.preventDefault());

  const root = document.documentElement;
  const toggle = document.getElementById("theme");
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  toggle.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    toggle.setAttribute("aria-pressed", String(dark()));
  });
  toggle.setAttribute("aria-pressed", String(dark()));
  for (const part of document.querySelectorAll(".script")) part.hidden = false;
})();
