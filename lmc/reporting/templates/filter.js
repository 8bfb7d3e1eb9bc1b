"use strict";
(function () {
  const form = document.getElementById("filters");
  const rows = Array.from(document.querySelectorAll("#verdict-table tbody tr"));
  const blocks = Array.from(document.querySelectorAll("#matrix tbody"));
  const said = document.getElementById("filtered");
  if (!form) return;
  form.hidden = false;
  function apply() {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    const claims = new Set();
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = ["verdict", "setting", "kind"].every(function (name) {
        const wanted = form.elements[name].value;
        return !wanted || row.dataset[name] === wanted;
      });
      row.hidden = !(fits && words.every((word) => text.includes(word)));
      if (row.hidden) continue;
      left += 1;
      claims.add(row.dataset.claim);
    }
    for (const block of blocks) {
      const mine = Array.from(block.querySelectorAll("tr[data-claim]"));
      for (const row of mine) row.hidden = !claims.has(row.dataset.claim);
      block.hidden = mine.every((row) => row.hidden);
    }
    said.textContent = left + " of " + rows.length + " shown";
  }
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  apply();
})();
