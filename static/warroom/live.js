/* Live pages: a socket says "look again", the page fetches its own fragment and swaps it in.
 *
 * <main data-live="orders shops" data-live-src="/board/?fragment=1">…</main>
 *   is fetched again on a nudge of one of its topics, on every (re)connect, when the page is
 *   shown again and every 30 s (10 s without a socket); at most twice a second, or once in
 *   data-live-gap milliseconds. Focus and typed text stay.
 * [data-live-badge]   says whether the socket is connected; whose role gets no socket polls.
 * [data-live-outage]  says since when there is no fresh data.
 * orderCenterLive.onNudge(topic, callback)  for everything else; "*" hears all topics.
 */
(() => {
  "use strict";

  const EVERY = 30_000;
  const EVERY_WITHOUT_SOCKET = 10_000;
  const GAP = 500;
  const RETRY = 4_000;
  const PATIENCE = 15_000;
  const FIRST_WAIT = 500;
  const LONGEST_WAIT = 30_000;
  const STEADY = 10_000;
  const UNKNOWN_USER = 4401;
  const NO_RIGHT = 4403;

  const listeners = new Map();

  function onNudge(topic, callback) {
    if (!listeners.has(topic)) listeners.set(topic, new Set());
    listeners.get(topic).add(callback);
    return () => listeners.get(topic).delete(callback);
  }

  function nudge(topic) {
    for (const name of [topic, "*"]) {
      for (const callback of listeners.get(name) || []) callback(topic);
    }
  }

  function nudgeAll() {
    const every = new Set();
    for (const callbacks of listeners.values()) callbacks.forEach((call) => every.add(call));
    every.forEach((call) => call("*"));
  }

  function show(selector, text, state) {
    for (const place of document.querySelectorAll(selector)) {
      if (place.textContent !== text) place.textContent = text;
      place.hidden = text === "";
      if (state) place.dataset.state = state;
    }
  }

  /* ---- the socket ---- */

  let seq = 0;
  let failures = 0;
  let socket = null;
  let connected = false;

  function connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(`${scheme}//${location.host}/ws/live/`);
    let openedAt = 0;
    seq = 0;
    socket.addEventListener("open", () => {
      openedAt = Date.now();
      connected = true;
      show("[data-live-badge]", "已连接", "live");
      nudgeAll(); // whatever happened while nobody listened
    });
    socket.addEventListener("message", (event) => {
      const told = JSON.parse(event.data);
      if (told.seq !== seq + 1) nudgeAll();
      else nudge(told.topic);
      seq = told.seq;
    });
    socket.addEventListener("close", (event) => {
      connected = false;
      if (openedAt && Date.now() - openedAt > STEADY) failures = 0;
      lost(event.code);
    });
  }

  function lost(code) {
    if (code === NO_RIGHT) {
      show("[data-live-badge]", "每 10 秒刷新", "polled");
      return;
    }
    let wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures);
    failures += 1;
    if (code === UNKNOWN_USER) {
      show("[data-live-badge]", "登录已失效", "out");
      wait = LONGEST_WAIT;
      nudgeAll();
    } else {
      show("[data-live-badge]", "正在重连", "cut");
    }
    setTimeout(connect, wait * (0.5 + Math.random()));
  }

  /* ---- fragments ---- */

  const clock = (moment) => moment.toLocaleTimeString("zh-CN", { hour12: false });

  // A press has two ends, and then its form goes out. A button that is redrawn in between is
  // another one, and the press is lost.
  const AFTER_PRESS = 400;
  const LONGEST_PRESS = 3000;
  let pressedAt = 0;
  let releasedAt = 0;
  const release = () => {
    pressedAt = 0;
    releasedAt = Date.now();
  };
  addEventListener("pointerdown", () => (pressedAt = Date.now()), true);
  addEventListener("pointerup", release, true);
  addEventListener("pointercancel", release, true);

  async function handsOff() {
    const until = Date.now() + LONGEST_PRESS;
    while (Date.now() < until && (pressedAt || Date.now() - releasedAt < AFTER_PRESS)) {
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  class Fragment {
    constructor(place) {
      this.place = place;
      this.text = "";
      this.freshAt = place.hasAttribute("data-live-empty") ? null : new Date();
      this.outSince = this.freshAt || new Date();
      this.busy = false;
      this.again = false;
      this.startedAt = 0;
      this.gap = Number(place.dataset.liveGap) || GAP;
      this.timer = 0;
      for (const topic of (place.dataset.live || "").split(/\s+/).filter(Boolean)) {
        onNudge(topic, () => this.soon());
      }
      this.later(EVERY);
    }

    later(wait) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.soon(), wait * (0.9 + Math.random() / 5));
    }

    soon() {
      if (this.busy) {
        this.again = true;
        return;
      }
      this.busy = true;
      const wait = Math.max(0, this.startedAt + this.gap - Date.now());
      setTimeout(() => this.fetch(), wait);
    }

    async fetch() {
      this.startedAt = Date.now();
      this.again = false;
      let next = connected ? EVERY : EVERY_WITHOUT_SOCKET;
      try {
        await this.load();
      } catch (error) {
        next = RETRY;
        this.missed(error);
      }
      this.busy = false;
      if (this.again) this.soon();
      else this.later(next);
    }

    async load() {
      const asked = new Date();
      const answer = await fetch(this.place.dataset.liveSrc || `${location.pathname}?fragment=1`, {
        credentials: "same-origin",
        headers: { "X-Requested-With": "fetch" },
        signal: AbortSignal.timeout(PATIENCE),
      });
      if (answer.redirected || answer.status === 401) throw new Error("signed-out");
      if (answer.status === 403 || answer.status === 404) throw new Error("refused");
      if (!answer.ok) throw new Error("unavailable");
      const text = await answer.text();
      await handsOff();
      this.swap(text);
      this.freshAt = this.outSince = asked;
      this.place.classList.remove("is-stale");
      show("[data-live-outage]", "");
    }

    missed(error) {
      const since = clock(this.outSince);
      this.place.classList.add("is-stale");
      if (error.message === "signed-out") {
        show("[data-live-outage]", `登录已失效，数据停在 ${since}，请刷新页面重新登录`);
      } else if (error.message === "refused") {
        show("[data-live-outage]", `您已无权查看此页，数据停在 ${since}`);
      } else {
        show("[data-live-outage]", `暂无数据，自 ${since} 起`);
      }
    }

    swap(text) {
      if (text === this.text) return;
      this.text = text;
      const kept = keep(this.place);
      // Drawn by the server's templates, which escape; a parsed document runs no script.
      const drawn = new DOMParser().parseFromString(text, "text/html");
      this.place.replaceChildren(...document.adoptNode(drawn.body).childNodes);
      this.place.removeAttribute("data-live-empty");
      restore(this.place, kept);
      this.place.dispatchEvent(new CustomEvent("live:drawn", { bubbles: true }));
    }
  }

  /* ---- what a person was doing stays ---- */

  const FIELDS = "input:not([type=hidden]), textarea, select";

  function nameOf(element) {
    if (element.id) return `#${element.id}`;
    const form = element.form;
    const where = form ? form.id || form.getAttribute("action") || "" : "";
    const choice = ["checkbox", "radio"].includes(element.type) ? element.value : "";
    return element.name ? `${where}|${element.name}|${choice}` : "";
  }

  function isTouched(field) {
    if (field.type === "checkbox" || field.type === "radio") {
      return field.checked !== field.defaultChecked;
    }
    if (field.tagName === "SELECT") {
      return [...field.options].some((option) => option.selected !== option.defaultSelected);
    }
    return field.type !== "file" && field.value !== field.defaultValue;
  }

  function keep(place) {
    const typed = new Map();
    for (const field of place.querySelectorAll(FIELDS)) {
      const name = nameOf(field);
      if (name && isTouched(field)) typed.set(name, [field.value, field.checked]);
    }
    const opened = new Set();
    for (const details of place.querySelectorAll("details[id][open]")) opened.add(details.id);
    const active = place.contains(document.activeElement) ? document.activeElement : null;
    const caret = active && "selectionStart" in active ? caretOf(active) : null;
    return { typed, opened, focus: active ? nameOf(active) : "", caret };
  }

  function caretOf(field) {
    try {
      return [field.selectionStart, field.selectionEnd];
    } catch {
      return null; // not every input type has one
    }
  }

  function restore(place, kept) {
    for (const details of place.querySelectorAll("details[id]")) {
      if (kept.opened.has(details.id)) details.open = true;
    }
    for (const field of place.querySelectorAll(FIELDS)) {
      const was = kept.typed.get(nameOf(field));
      if (!was) continue;
      if (field.type === "checkbox" || field.type === "radio") field.checked = was[1];
      else field.value = was[0];
    }
    if (!kept.focus) return;
    const focusable = `${FIELDS}, button, a[id], summary[id]`;
    for (const element of place.querySelectorAll(focusable)) {
      if (nameOf(element) !== kept.focus) continue;
      element.focus({ preventScroll: true });
      if (kept.caret && kept.caret[0] !== null && element.setSelectionRange) {
        element.setSelectionRange(...kept.caret);
      }
      return;
    }
  }

  for (const place of document.querySelectorAll("[data-live]")) new Fragment(place);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) nudgeAll();
  });
  window.orderCenterLive = { onNudge };
  connect();
})();
