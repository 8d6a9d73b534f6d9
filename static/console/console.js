// Small helps for the pages of the console. Everything works without them, only slower.
"use strict";
(() => {
  const SOON = 10 * 60;

  const on = (name, selector, act) =>
    document.addEventListener(name, (event) => {
      const hit = event.target instanceof Element && event.target.closest(selector);
      if (hit) act(hit, event);
    });

  // A form goes out once. The pressed button must still be in the post, so it is disabled a
  // moment later; a page that comes back from the browser's cache is usable again.
  on("submit", "form[data-once]", (form, event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
    setTimeout(() => form.querySelectorAll("button").forEach((b) => (b.disabled = true)), 0);
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    document.querySelectorAll("form[data-once]").forEach((form) => {
      delete form.dataset.sent;
      form.querySelectorAll("button").forEach((b) => (b.disabled = false));
    });
  });

  // A quick reason fills the field and marks the button it belongs to.
  const mark = (form, verb) =>
    form.querySelectorAll("button[name=verb]").forEach((b) =>
      b.classList.toggle("chosen", b.value === verb));
  on("click", "[data-fill]", (chip) => {
    const form = chip.closest("form");
    const field = form.querySelector("[data-reason]");
    field.value = chip.dataset.fill;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    form.querySelectorAll("[data-fill]").forEach((c) => c.classList.toggle("on", c === chip));
    mark(form, chip.dataset.verb);
    const button = form.querySelector(`button[name=verb][value="${chip.dataset.verb}"]`);
    if (button) button.focus({ preventScroll: true });
  });

  // Clocks: drawn by the server, counted down here.
  const two = (n) => String(n).padStart(2, "0");
  const tick = () => {
    const now = Date.now();
    document.querySelectorAll("[data-due]").forEach((clock) => {
      const left = Math.floor((Date.parse(clock.dataset.due) - now) / 1000);
      const span = Math.abs(left);
      const hours = Math.floor(span / 3600);
      const text = `${hours ? hours + ":" : ""}${two(Math.floor(span / 60) % 60)}:${two(span % 60)}`;
      clock.textContent = (left < 0 ? clock.dataset.late : clock.dataset.left) + " " + text;
      clock.classList.toggle("late", left < 0);
      clock.classList.toggle("soon", left >= 0 && left < SOON);
      const task = clock.closest(".task");
      if (task) task.classList.toggle("late", left < 0);
    });
  };
  tick();
  document.addEventListener("live:drawn", tick);
  setInterval(tick, 1000);

  // Wall by keyboard.
  const cards = () => [...document.querySelectorAll("[data-card]")];
  const current = () => document.querySelector("[data-card].current");
  let currentId = "";
  document.addEventListener("live:drawn", () => {
    if (currentId) document.getElementById(currentId)?.classList.add("current");
  });
  const go = (card) => {
    if (!card) return;
    currentId = card.id;
    cards().forEach((c) => c.classList.toggle("current", c === card));
    card.scrollIntoView({ block: "nearest" });
    card.focus({ preventScroll: true });
  };
  const keys = {
    j: () => { const all = cards(); go(all[all.indexOf(current()) + 1] || all[0]); },
    k: () => { const all = cards(); go(all[Math.max(0, all.indexOf(current()) - 1)]); },
    r: () => { const c = current() || cards()[0]; go(c); c && c.querySelector("[data-reason]")?.focus(); },
    o: () => current()?.querySelector("[data-open]")?.click(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select");
    if (event.key === "Escape" && typing) typing.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  if (location.hash.startsWith("#order-")) {
    const card = document.getElementById(location.hash.slice(1));
    if (card?.matches("[data-card]")) card.classList.add("current");
  }

  // A scanner gun types and presses Enter; its field is always the one that listens.
  const scanner = document.querySelector("[data-scanner]");
  if (scanner) {
    scanner.focus();
    document.addEventListener("keydown", (event) => {
      const busy = event.target.closest?.("input, textarea, select, button, a");
      if (!busy && event.key.length === 1 && !event.ctrlKey && !event.metaKey) scanner.focus();
    });
  }

  // A stop is heard as well as seen.
  if (document.querySelector("[data-stop]")) {
    const beep = () => {
      const Audio = window.AudioContext || window.webkitAudioContext;
      if (!Audio) return;
      const context = new Audio();
      [0, 0.35, 0.7].forEach((at) => {
        const tone = context.createOscillator();
        const loud = context.createGain();
        tone.type = "square";
        tone.frequency.value = 880;
        loud.gain.value = 0.25;
        tone.connect(loud).connect(context.destination);
        tone.start(context.currentTime + at);
        tone.stop(context.currentTime + at + 0.25);
      });
      document.documentElement.dataset.beeped = "1";
    };
    beep();
    document.addEventListener("pointerdown", beep, { once: true }); // where sound waits for a touch
    navigator.vibrate?.([300, 150, 300]);
  }

  const offline = document.querySelector("[data-offline]");
  const tell = () => { if (offline) offline.hidden = navigator.onLine; };
  addEventListener("online", tell);
  addEventListener("offline", tell);
  tell();
})();
