// The bench learns of a stop while the parcel lies on it: the page is drawn anew as the stop.
"use strict";
document.addEventListener("live:drawn", () => {
  if (document.querySelector("[data-halt]")) location.reload();
});
