// The bench learns of a stop while the parcel lies on it: the page is drawn anew as the stop. A
// scanner types its number and Enter: drawn anew in the middle, the page would take half of it for
// a number. When the scan is through, the server answers with the stop by itself.
"use strict";
(() => {
  const BETWEEN_KEYS = 400;
  let typedAt = 0;
  addEventListener("keydown", () => (typedAt = Date.now()), true);
  const turn = () => {
    const wait = typedAt + BETWEEN_KEYS - Date.now();
    if (wait > 0) setTimeout(turn, wait);
    else location.reload();
  };
  document.addEventListener("live:drawn", () => {
    if (document.querySelector("[data-halt]")) turn();
  });
})();
