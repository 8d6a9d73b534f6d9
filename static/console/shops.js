// A shop's pages: copying an address, saying that a slow button works, a progress bar.
"use strict";
(() => {
  const SAID = 2_000;

  const copied = (button) => {
    button.dataset.words = button.dataset.words || button.textContent;
    button.textContent = button.dataset.copied || "已复制";
    setTimeout(() => (button.textContent = button.dataset.words), SAID);
  };

  // Without https there is no clipboard of the modern kind: select the text and copy that.
  const copySelected = (source) => {
    const range = document.createRange();
    range.selectNodeContents(source);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    const source = document.querySelector(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      copied(button);
    } catch {
      if (copySelected(source)) copied(button);
    }
  });

  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (button?.dataset.busy && !event.defaultPrevented) button.textContent = button.dataset.busy;
  });

  // A place that is drawn again every so many milliseconds while something in it runs.
  const drawAgain = async (place) => {
    const answer = await fetch(place.dataset.pollSrc, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    const text = await answer.text();
    // Drawn by the server's templates, which escape; a parsed document runs no script.
    const drawn = new DOMParser().parseFromString(text, "text/html");
    place.replaceChildren(...document.adoptNode(drawn.body).childNodes);
  };

  for (const place of document.querySelectorAll("[data-poll]")) {
    let busy = false;
    setInterval(async () => {
      const runs = place.querySelector("[data-running]");
      const pressed = place.querySelector("form[data-sent]");
      if (busy || document.hidden || !runs || pressed) return;
      busy = true;
      try {
        await drawAgain(place);
      } catch {
        // The network is away: the next tick tries again.
      } finally {
        busy = false;
      }
    }, Number(place.dataset.poll));
  }
})();
