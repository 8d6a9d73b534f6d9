// The queue of unmapped codes: how many are ticked, and a bar to press above the thumb.
"use strict";
(() => {
  const bar = document.querySelector("[data-ticked]");
  if (!bar) return;
  const words = bar.querySelector("[data-ticked-count]");
  const count = () => {
    const ticked = document.querySelectorAll("input[name=pick]:checked").length;
    bar.hidden = ticked === 0;
    words.textContent = words.dataset.words.replace("#", ticked);
  };
  document.addEventListener("change", count);
  addEventListener("pageshow", count);
  count();
})();
