// The rule builder: shape changes and counts without leaving the page. Without this script each
// of them is a button and a page.
"use strict";
(() => {
  const QUIET = 700; // milliseconds without typing before a rule is counted
  const form = document.querySelector("form[data-builder]");
  if (!form) return;
  document.documentElement.classList.add("scripted");
  const shape = form.querySelector("[data-shape]");
  const aside = document.querySelector("[data-aside]");
  const counting = document.querySelector("[data-counting]");
  const lost = document.querySelector("[data-lost]");
  const brief = form.querySelector("output.brief");
  let waiting = 0;
  let asked = null;

  const post = async (url, more, signal) => {
    const body = new FormData(form);
    Object.entries(more).forEach(([name, value]) => body.set(name, value));
    const answer = await fetch(url, { method: "POST", body, signal, credentials: "same-origin" });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    // Drawn by the server's templates, which escape; a parsed document runs no script.
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };

  const fill = (place, from) => place.replaceChildren(...document.adoptNode(from).childNodes);
  const say = (isCounting, isLost) => {
    counting.hidden = !isCounting;
    lost.hidden = !isLost;
  };

  const look = async (verb) => {
    clearTimeout(waiting);
    asked?.abort();
    const mine = (asked = new AbortController());
    say(true, false);
    try {
      const drawn = await post(form.dataset.look, { verb }, mine.signal);
      fill(aside, drawn.body);
      brief.textContent = aside.querySelector("[data-brief]")?.textContent.trim() || "";
      say(false, false);
      if (aside.querySelector("[data-again]")) soon();
    } catch (error) {
      if (mine === asked && error.name !== "AbortError") say(false, true);
    }
  };
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => look("count"), QUIET);
  };

  // What is drawn anew keeps the focus: on the same field, or on the row that was added.
  const focusAfter = (step, name) => {
    const added = step.startsWith("add:") || step.startsWith("group:");
    const rows = [...shape.querySelectorAll("[data-condition]")];
    const above = step.slice(step.indexOf(":") + 1);
    const row = added && rows.filter((one) => one.dataset.condition.startsWith(`${above}.`)).pop();
    const field = row ? row.querySelector("select") : name && shape.querySelector(`[name="${CSS.escape(name)}"]`);
    (field || shape.querySelector("button"))?.focus({ preventScroll: !row });
  };
  // One change of shape after the other, each of what the last one drew. What is typed while
  // one is on its way is put back into what comes.
  let turn = Promise.resolve();
  let typed = null;
  const putBack = () => {
    for (const [name, value, checked] of typed.values()) {
      const ticks = checked === undefined ? "" : `[value="${CSS.escape(value)}"]`;
      const field = shape.querySelector(`[name="${CSS.escape(name)}"]${ticks}`);
      if (!field) continue;
      if (checked === undefined) field.value = value;
      else field.checked = checked;
    }
  };
  const folds = () => [...shape.querySelectorAll("details")];
  const heading = (fold) => fold.querySelector("summary").textContent;
  const change = async (step, name) => {
    typed = new Map();
    try {
      const drawn = await post(form.action, { step });
      const focused = document.activeElement?.name;
      const opened = new Set(folds().filter((one) => one.open).map(heading));
      fill(shape, drawn.querySelector("[data-shape]"));
      folds().forEach((one) => (one.open ||= opened.has(heading(one))));
      lost.hidden = true;
      putBack();
      focusAfter(step, typed.size ? focused : name);
      soon();
    } catch {
      say(false, true);
    } finally {
      typed = null;
    }
  };
  const redraw = (step, name) => (turn = turn.then(() => change(step, name)));
  shape.addEventListener("input", ({ target }) => {
    const ticks = target.type === "checkbox";
    typed?.set(ticks ? `${target.name}=${target.value}` : target.name,
      [target.name, target.value, ticks ? target.checked : undefined]);
  });

  form.addEventListener("click", (event) => {
    const button = event.target.closest?.("button[name=step]");
    if (!button) return;
    event.preventDefault();
    redraw(button.value, "");
  });
  form.addEventListener("change", (event) => {
    if (event.target.matches("[data-redraw]")) redraw("draw", event.target.name);
  });
  shape.addEventListener("input", soon);
  for (const [mark, verb] of [["[data-count]", "count"], ["[data-try]", "try"]]) {
    document.querySelector(mark).addEventListener("click", (event) => {
      event.preventDefault();
      look(verb);
    });
  }
  document.querySelector("input[name=order]").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    look("try");
  });
})();
