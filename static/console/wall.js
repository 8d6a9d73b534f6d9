// The wall by keyboard, and the claim of a card kept while somebody works on it. Without it every
// button still does what it says.
"use strict";
(() => {
  const RENEW = 60_000;
  const BY_KEY = { a: "release", e: "return", s: "after_sales" };
  const isTyping = (target) => target.closest?.("input, textarea, select");

  const cookie = (name) =>
    document.cookie.split("; ").find((one) => one.startsWith(`${name}=`))?.split("=")[1] || "";
  const token = (card) =>
    (card.querySelector("[name=csrfmiddlewaretoken]") ||
      document.querySelector("[name=csrfmiddlewaretoken]"))?.value || cookie("csrftoken");

  const current = () =>
    document.querySelector("[data-card].current") || document.querySelector("[data-card]");

  // --- claims ---

  const asked = new Map();
  const claim = async (card) => {
    const address = card.dataset.claim;
    if (!address || Date.now() - (asked.get(address) || 0) < RENEW / 2) return;
    asked.set(address, Date.now());
    try {
      const answer = await fetch(address, {
        method: "POST",
        credentials: "same-origin",
        headers: { "X-CSRFToken": token(card), "X-Requested-With": "fetch" },
      });
      if (answer.status === 409) say(card, await answer.text());
      else if (!answer.ok) asked.delete(address);
      else card.dataset.mine = "";
    } catch {
      asked.delete(address); // the network is away: the next key tries again
    }
  };
  const say = (card, words) => {
    let note = card.querySelector("[data-taken]");
    if (!note) {
      note = document.createElement("p");
      note.className = "banner bad";
      note.dataset.taken = "";
      card.querySelector("header").after(note);
    }
    note.textContent = words;
  };
  document.addEventListener("input", (event) => {
    const card = event.target.closest?.("[data-card]");
    if (card && event.target.closest("form:not(#bulk)") && event.target.type !== "checkbox") claim(card);
  });

  // The card whose page is open stays with whoever has it, as long as somebody sees the page.
  const open = document.querySelector(".card-page [data-card]");
  if (open?.hasAttribute("data-mine")) asked.set(open.dataset.claim, Date.now());
  if (open) setInterval(() => {
    if (!document.hidden && open.hasAttribute("data-mine")) claim(open);
  }, RENEW);

  // --- keys ---

  const choose = (verb) => {
    const card = current();
    const form = card?.querySelector("form[data-decide]");
    const button = form?.querySelector(`button[name=verb][value="${verb}"]`);
    if (!button) return;
    form.querySelectorAll("button[name=verb]").forEach((b) => b.classList.toggle("chosen", b === button));
    form.querySelector("[data-reason]").focus();
  };
  const unfold = (key) => {
    const fold = current()?.querySelector(`[data-fold="${key}"]`);
    if (!fold) {
      current()?.querySelector("[data-open]")?.click();
      return;
    }
    fold.open = true;
    fold.querySelector("input:not([type=hidden]), select")?.focus();
  };
  const help = () => {
    const keys = document.querySelector("[data-keys]");
    if (keys) keys.open = !keys.open;
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches?.("[data-reason]")) {
      const form = event.target.form;
      const chosen = form.querySelector("button[name=verb].chosen");
      if (chosen && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit(chosen);
      }
      return;
    }
    if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = BY_KEY[event.key] ? () => choose(BY_KEY[event.key])
      : event.key === "f" || event.key === "z" ? () => unfold(event.key)
      : event.key === "?" ? help
      : event.key === "/" ? () => {
        const search = document.querySelector("[data-search]");
        if (search) search.focus();
        else document.querySelector("[data-back]")?.click();
      } : null;
    if (!act) return;
    event.preventDefault();
    act();
  });

  // --- how many are ticked ---

  const count = () => {
    const place = document.querySelector("[data-ticked]");
    if (!place) return;
    const ticked = document.querySelectorAll("input[form=bulk][name=pick]:checked").length;
    place.textContent = ticked ? `（${ticked}）` : "";
  };
  document.addEventListener("change", count);
  document.addEventListener("live:drawn", count);

  // A template fills the field, to be changed before it goes out.
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-template]")) return;
    const words = event.target.selectedOptions[0]?.textContent || "";
    event.target.form.querySelector("[data-question]").value = words;
  });
})();
