// The command box reads along: at once what is understood, a moment later what it would stop.
// Without this the button asks the same question of the server.
"use strict";
(() => {
  const LIGHT = 180;
  const FULL = 600;
  const box = document.querySelector("[data-command]");
  const place = document.getElementById("parsed");
  if (!box || !place) return;

  let asked = box.value.trim();
  let running = null;
  let timers = [];

  const ask = async (text, light) => {
    running?.abort();
    const mine = (running = new AbortController());
    const query = new URLSearchParams({ q: text });
    if (light) query.set("light", "1");
    place.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(`${box.dataset.parse}?${query}`, {
        signal: mine.signal,
        credentials: "same-origin",
      });
      if (answer.redirected || !answer.ok) throw new Error(String(answer.status));
      const drawn = await answer.text();
      if (mine !== running) return;
      place.innerHTML = drawn; // made and escaped by our own templates
    } catch (error) {
      if (error.name === "AbortError") return;
      place.textContent = "暂时读不到，按“预览”重试";
    } finally {
      if (mine === running) place.removeAttribute("aria-busy");
    }
  };

  const soon = () => {
    const text = box.value.trim();
    if (text === asked) return;
    asked = text;
    timers.forEach(clearTimeout);
    timers = [setTimeout(ask, LIGHT, text, true), setTimeout(ask, FULL, text, false)];
  };
  box.addEventListener("input", (event) => {
    if (!event.isComposing) soon();
  });
  box.addEventListener("compositionend", soon);
  box.form.addEventListener("submit", (event) => {
    event.preventDefault();
    timers.forEach(clearTimeout);
    asked = box.value.trim();
    history.replaceState(null, "", `${box.form.action}?${new URLSearchParams({ q: asked })}`);
    ask(asked, false);
  });

  // A choice or an example becomes the command.
  document.addEventListener("click", (event) => {
    const chip = event.target.closest?.("[data-say]");
    if (!chip || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    box.value = chip.dataset.say;
    asked = box.value.trim();
    timers.forEach(clearTimeout);
    ask(asked, false);
    box.focus();
  });

  // The count has to be the one that was shown.
  document.addEventListener("input", (event) => {
    const field = event.target.closest?.("[data-count]");
    if (!field) return;
    const wanted = field.form.dataset.confirm;
    const typed = field.value.replace(/[,，\s]/g, "");
    field.setCustomValidity(typed === wanted ? "" : `请输入 ${wanted}`);
  });
})();
