"use strict";
(function () {
  const form = document.getElementById("filters");
  const rows = Array.from(document.querySelectorAll("#verdict-table tbody tr"));
  const said = document.getElementById("filtered");
  if (!form) return;
  form.hidden = false;
  function apply() {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = ["verdict", "setting", "kind"].every(function (name) {
        const wanted = form.elements[name].value;
        return !wanted || row.dataset[name] === wanted;
      });
      row.hidden = !(fits && words.every((word) => text.includes(word)));
      left += row.hidden ? 0 : 1;
    }
    said.textContent = left + " of " + rows.length + " shown";
  }
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  apply();
})();
