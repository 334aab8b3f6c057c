// The utterance browser: reads the page's JSON (layout: browser.py), filters, sorts, shows 25 rows at a time.
// Every text goes in as textContent, never as markup. Nothing is loaded.
"use strict";
(() => {
  const PAGE = 25, LONG = 150, CONTEXT = 6;
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("browser-data").textContent);
  const keys = new Map([...document.querySelectorAll("#browser-legend li")].map((li) => [+li.dataset.system, li.querySelector("svg")]));
  const number = (value, digits = 0) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

  function make(tag, className = "", text = "") {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text) node.textContent = text;
    return node;
  }

  // ---- one object for each utterance ----
  const count = (text) => (text.trim() ? text.trim().split(/\s+/).length : 0);
  const utterances = data.rows.map(([id, condition, speaker, domain, language, seconds, reference, normalised, hypotheses], place) => {
    const words = normalised === 0 ? reference : normalised, n = count(words);
    const systems = hypotheses.map((one) => one && {
      hypothesis: one[0], s: one[1], d: one[2], i: one[3], alignment: one[4], latency: one[5], error: one[6], loop: one[7], spoken: one[8],
      errors: one[1] + one[2] + one[3], wer: n ? (one[1] + one[2] + one[3]) / n : one[3] ? Infinity : 0,
    });
    return { place, id, condition, speaker, domain, language, seconds, reference, words, n, systems, text: null };
  });
  const searchable = (one) => (one.text ??= [one.id, one.reference, ...one.systems.map((s) => (s ? s.hypothesis : ""))].join("\n").toLowerCase());

  // ---- controls ----
  const controls = Object.fromEntries(["search", "by-condition", "by-system", "by-error", "by-speaker", "by-domain", "sort"].map((id) => [id, byId(id)]));
  const option = (select, value, text) => { const node = make("option", "", text); node.value = value; select.append(node); };
  function choices(id, all, names) {
    option(controls[id], "", all);
    names.forEach((name, at) => option(controls[id], String(at), name.length > 60 ? name.slice(0, 59) + "…" : name));
    if (names.length < 2) controls[id].parentNode.hidden = true;
  }
  choices("by-condition", "all conditions", data.conditions);
  choices("by-system", "any system", data.systems);
  choices("by-speaker", "all speakers", data.speakers);
  choices("by-domain", "all domains", data.domains);
  const KINDS = {
    "": ["all", () => true],
    wrong: ["with errors", (s) => s.errors > 0],
    s: ["substitutions", (s) => s.s > 0],
    d: ["deletions", (s) => s.d > 0],
    i: ["insertions", (s) => s.i > 0],
    right: ["no errors", (s) => s.errors === 0 && s.error === null],
    loop: ["repetition loops", (s) => s.loop === 1],
    failed: ["failed", (s) => s.error !== null],
  };
  for (const [value, [text]] of Object.entries(KINDS)) option(controls["by-error"], value, text);
  const latencies = utterances.some((one) => one.systems.some((s) => s && s.latency !== null));
  const SORTS = {
    errors: ["most errors", (one, own) => Math.max(-1, ...own.map((s) => s.errors))],
    wer: [`highest ${data.metric}`, (one, own) => Math.max(-1, ...own.map((s) => s.wer))],
    ...(data.systems.length > 1 && { difference: ["difference between systems", (one) => { const e = one.systems.filter((s) => s && s.error === null).map((s) => s.errors); return e.length > 1 ? Math.max(...e) - Math.min(...e) : -1; }] }),
    longest: ["longest", (one) => one.seconds],
    shortest: ["shortest", (one) => -one.seconds],
    ...(latencies && { latency: ["slowest", (one, own) => Math.max(-1, ...own.map((s) => s.latency ?? -1))] }),
    corpus: ["as in the corpus", (one) => -one.place],
  };
  for (const [value, [text]] of Object.entries(SORTS)) option(controls.sort, value, text);

  // ---- state ----
  let found = [], page = 0;
  function select() {
    const needle = controls.search.value.trim().toLowerCase(), system = controls["by-system"].value;
    const place = (id) => (controls[id].value === "" ? null : +controls[id].value);
    const condition = place("by-condition"), speaker = place("by-speaker"), domain = place("by-domain");
    const kind = KINDS[controls["by-error"].value][1], any = controls["by-error"].value === "";
    const own = (one) => (system === "" ? one.systems : [one.systems[+system]]).filter(Boolean);
    const rank = SORTS[controls.sort.value][1];
    found = utterances.filter((one) =>
      (condition === null || one.condition === condition) && (speaker === null || one.speaker === speaker) &&
      (domain === null || one.domain === domain) && (any ? own(one).length > 0 : own(one).some(kind)) && (!needle || searchable(one).includes(needle)));
    const ranks = new Map(found.map((one) => [one, rank(one, own(one))]));
    found.sort((a, b) => { const x = ranks.get(a), y = ranks.get(b); return x === y ? a.place - b.place : y > x ? 1 : -1; });
    page = 0;
    show();
  }

  // ---- the list ----
  const rows = byId("rows");
  function show() {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    rows.replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(row));
    rows.start = page * PAGE + 1;
    byId("matches").textContent = found.length === utterances.length ? `${number(found.length)} utterances` : `${number(found.length)} of ${number(utterances.length)} utterances`;
    byId("page").textContent = `Page ${number(page + 1)} of ${number(pages)}`;
    document.querySelector(".pager").hidden = pages === 1;
    byId("previous").disabled = page === 0;
    byId("next").disabled = page >= pages - 1;
  }
  const rate = (s, n) => (s.error !== null ? "failed" : n ? `${number(100 * s.wer)} %` : s.i ? `+${number(s.i)}` : "0 %");
  function row(one) {
    const item = make("li"), button = make("button", "row");
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    const head = make("span", "about"), id = make("bdi", "id", one.id);
    head.append(id, make("span", "length", `${number(one.seconds, 1)} s`));
    if (data.conditions[one.condition] !== "clean") head.append(make("bdi", "tag", data.conditions[one.condition]));
    if (data.clips[one.place]) { const ear = make("span", "tag ear", "♪"); ear.title = "can be played"; head.append(ear); }
    const text = make("span", "preview", one.reference.trim().slice(0, 240) || "no speech");
    text.dir = "auto";
    if (!one.reference.trim()) text.classList.add("none");
    const rates = make("span", "rates");
    one.systems.forEach((s, at) => {
      if (!keys.has(at)) return;
      const cell = make("span", s && (s.errors || s.error !== null) ? "rate wrong" : "rate");
      cell.append(keys.get(at).cloneNode(true), make("span", "hidden", `${data.systems[at]}: `), s ? rate(s, one.n) : "–");
      rates.append(cell);
    });
    button.append(head, text, rates);
    button.addEventListener("click", () => toggle(item, button, one));
    item.append(button);
    return item;
  }
  function toggle(item, button, one) {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) item.lastChild.remove();
    else { const panel = make("div", "opened"); item.append(panel); fill(panel, one); }
  }

  // ---- an opened utterance ----
  function fill(panel, one) {
    const facts = [`${number(one.seconds, 2)} s`, one.speaker >= 0 && `speaker ${data.speakers[one.speaker]}`, one.domain >= 0 && data.domains[one.domain],
      data.languages.length > 1 && one.language >= 0 && data.languages[one.language], data.conditions[one.condition] !== "clean" && data.conditions[one.condition]].filter(Boolean);
    const line = make("p", "facts");
    facts.forEach((fact, at) => { if (at) line.append(" · "); line.append(make("bdi", "", fact)); });
    panel.append(line);
    if (data.clips[one.place]) panel.append(player(data.clips[one.place], one));
    const reference = make("p", "raw", one.reference.trim() || "no speech");
    reference.dir = "auto";
    if (one.n <= LONG) panel.append(reference);
    panel.append(alignment(one, panel));
    one.systems.forEach((s, at) => {
      if (!s || s.error === null) return;
      const line = make("p", "failure");
      line.append(make("bdi", "", data.systems[at]), " failed: ", make("bdi", "", s.error));
      panel.append(line);
    });
    const raw = make("details"), summary = make("summary", "", "Texts before normalisation"), list = make("dl", "texts");
    raw.append(summary, list);
    const entry = (name, text) => { const dt = make("dt", "", name), dd = make("dd", "", text || "–"); dd.dir = "auto"; list.append(dt, dd); };
    entry("Reference", one.reference);
    one.systems.forEach((s, at) => s && entry(data.systems[at], s.hypothesis));
    panel.append(raw);
  }
  function player([audio, image, seconds], one) {
    const box = make("div", "player"), sound = make("audio"), plot = make("div", "mel"), picture = make("img"), line = make("span", "playhead");
    sound.controls = true; sound.preload = "metadata"; sound.src = audio;
    sound.setAttribute("aria-label", `Recording of ${one.id}`);
    picture.src = image; picture.alt = "Log-mel spectrogram: time to the right, pitch upwards, louder is darker";
    const follow = () => { line.style.left = `${100 * Math.min(1, sound.currentTime / seconds)}%`; if (!sound.paused) requestAnimationFrame(follow); };
    sound.addEventListener("play", follow);
    sound.addEventListener("seeked", follow);
    plot.addEventListener("click", (event) => { const at = plot.getBoundingClientRect(); sound.currentTime = (seconds * (event.clientX - at.left)) / at.width; });
    plot.append(picture, line);
    box.append(plot, sound);
    if (data.conditions[one.condition] !== "clean") box.append(make("p", "facts", "This is the original recording, without the condition's noise or distortion."));
    return box;
  }

  // ---- words side by side ----
  // A column is [reference word, cells]; "" where words are inserted, null for equal words left out. A cell is
  // [kind, word, start in seconds, confidence in percent], both -1 where they are not known.
  function columns(one) {
    const reference = one.n ? one.words.trim().split(/\s+/) : [];
    const hypotheses = one.systems.map((s) => {
      if (!s || s.error !== null) return null;
      const at = reference.map(() => null), between = reference.concat([0]).map(() => []);
      let place = 0, nth = 0;
      const known = () => { const own = s.spoken ? s.spoken.slice(2 * nth, 2 * nth + 2) : [-1, -1]; nth++; return own; };
      for (const piece of s.alignment) {
        if (typeof piece === "string") for (const word of piece.split(" ")) between[place].push(["inserted", word, ...known()]);
        else if (Array.isArray(piece)) for (const word of piece[0].split(" ")) at[place++] = ["substituted", word, ...known()];
        else if (piece > 0) for (let left = piece; left; left--) at[place] = ["equal", reference[place++], ...known()];
        else for (let left = piece; left; left++) at[place++] = ["deleted", "", -1, -1];
      }
      return { at, between };
    });
    const found = [];
    for (let place = 0; place <= reference.length; place++) {
      const inserted = Math.max(0, ...hypotheses.map((h) => (h ? h.between[place].length : 0)));
      for (let n = 0; n < inserted; n++) found.push(["", hypotheses.map((h) => (h && n < h.between[place].length ? h.between[place][n] : null))]);
      if (place < reference.length) found.push([reference[place], hypotheses.map((h) => h && h.at[place])]);
    }
    return found.length > LONG ? folded(found) : found;
  }
  const allEqual = ([, cells]) => cells.every((cell) => !cell || cell[0] === "equal");
  function folded(all) {
    const kept = [];
    for (let at = 0; at < all.length;) {
      let end = at;
      while (end < all.length && allEqual(all[end])) end++;
      if (end - at > 4 * CONTEXT) kept.push(...all.slice(at, at + CONTEXT), [null, end - at - 2 * CONTEXT], ...all.slice(end - CONTEXT, end));
      else kept.push(...all.slice(at, Math.max(end, at)));
      if (end < all.length) kept.push(all[end]);
      at = end + 1;
    }
    return kept;
  }
  const ruler = document.createElement("canvas").getContext("2d");
  const RTL = /^[^A-Za-z\u00c0-\u02b8]*[\u0591-\u08ff\ufb1d-\ufdfd\ufe70-\ufefc]/;
  function alignment(one, panel) {
    const box = make("div", "aligned");
    const all = columns(one), shown = one.systems.map((s, at) => at).filter((at) => one.systems[at] && one.systems[at].error === null);
    if (!all.length) { box.append(make("p", "none", "No words to compare: reference and hypotheses are empty.")); return box; }
    ruler.font = `15px ${getComputedStyle(document.body).fontFamily}`;
    const wide = panel.clientWidth > 560, room = panel.clientWidth - (wide ? 176 : 52);
    const measure = (word) => ruler.measureText(word.length > 40 ? word.slice(0, 40) : word).width + 15;
    const width = ([word, cells]) => (word === null ? 140 : Math.max(22, measure(word), ...cells.map((cell) => (cell ? measure(cell[1]) + 12 + (isWritten(cell[3]) ? 28 : 0) : 0))));
    const LIMIT = 1500, sound = panel.querySelector("audio");
    const draw = (from, to) => {
      let line = [], used = 0;
      const end = () => { if (line.length) box.append(table(line, shown, one, wide, sound)); line = []; used = 0; };
      for (const column of all.slice(from, to)) {
        const needs = width(column);
        if (used + needs > room) end();
        line.push(column);
        used += needs;
      }
      end();
      if (to >= all.length) return;
      const more = make("button", "more", `Show ${number(Math.min(LIMIT, all.length - to))} more of ${number(all.length)} ${data.unit}s`);
      more.type = "button";
      more.addEventListener("click", () => { more.remove(); draw(to, to + LIMIT); });
      box.append(more);
    };
    draw(0, LIMIT);
    return box;
  }
  const SIGNS = { deleted: "−", inserted: "+" };
  const isWritten = (percent) => percent >= 0 && percent < data.writtenBelow;
  function spoken([, word, start, percent], sound) {
    if (start < 0) return make("bdi", "", word);
    const isSure = percent >= 0, plays = sound !== null;
    const node = make(plays ? "button" : "span", isSure ? `sure sure-${data.levels.filter((bound) => percent >= bound).length}` : "");
    node.append(make("bdi", "", word));
    if (isWritten(percent)) node.append(make("small", "", `${percent}%`));
    else if (isSure) node.append(make("span", "hidden", ` ${percent} %`));
    node.title = `${isSure ? `confidence ${percent}\u00a0%, ` : ""}at ${number(start, 2)}\u00a0s${plays ? ": play from here" : ""}`;
    if (plays) {
      node.type = "button";
      node.addEventListener("click", () => { sound.currentTime = start; sound.play().catch(() => {}); });
    }
    return node;
  }
  function table(line, shown, one, wide, sound) {
    const node = make("table", "words"), body = make("tbody");
    node.setAttribute("aria-label", "Reference and hypotheses, word under word");
    if (RTL.test(one.words)) node.dir = "rtl";
    const heading = (name, mark) => {
      const th = make("th"), box = make("span", "system");
      th.scope = "row";
      if (mark) box.append(mark.cloneNode(true));
      box.append(make("bdi", wide || !mark ? "" : "hidden", mark || wide ? name : "Ref."));
      th.append(box);
      th.title = name;
      return th;
    };
    const header = make("tr", "reference-row");
    header.append(heading("Reference", null));
    for (const [word, cells] of line) {
      const td = make("td", word === null ? "gap" : "");
      if (word === null) td.textContent = `… ${number(cells)} equal ${data.unit}s …`;
      else td.append(make("bdi", "", word));
      header.append(td);
    }
    body.append(header);
    for (const at of shown) {
      const tr = make("tr");
      tr.append(heading(data.systems[at], keys.get(at)));
      for (const [word, cells] of line) {
        const cell = word === null ? null : cells[at], td = make("td", cell && cell[0] === "equal" ? "equal" : "");
        if (cell && cell[0] === "equal") td.append(spoken(cell, sound));
        else if (cell) {
          const mark = make("span", `mark ${cell[0]}`);
          mark.append(make("span", "hidden", `${cell[0]}: `));
          if (SIGNS[cell[0]]) { const sign = make("span", "sign", SIGNS[cell[0]]); sign.setAttribute("aria-hidden", "true"); mark.append(sign); }
          mark.append(cell[0] === "deleted" ? make("del", "", word) : spoken(cell, sound));
          td.append(mark);
        }
        tr.append(td);
      }
      body.append(tr);
    }
    node.append(body);
    return node;
  }

  // ---- keyboard ----
  function turn(by) {
    const last = Math.ceil(found.length / PAGE) - 1;
    if (page + by < 0 || page + by > last) return false;
    page += by;
    show();
    return true;
  }
  byId("previous").addEventListener("click", () => { if (turn(-1)) byId("rows").scrollIntoView({ block: "nearest" }); });
  byId("next").addEventListener("click", () => { if (turn(1)) byId("browser").querySelector(".listhead").scrollIntoView(); });
  const buttons = () => [...rows.querySelectorAll("button.row")];
  rows.addEventListener("keydown", (event) => {
    if (!event.target.matches("button.row")) return;
    const all = buttons(), at = all.indexOf(event.target);
    let next = null;
    if (event.key === "ArrowDown") next = at + 1 < all.length ? all[at + 1] : turn(1) && buttons()[0];
    else if (event.key === "ArrowUp") next = at > 0 ? all[at - 1] : turn(-1) ? buttons().at(-1) : controls.search;
    else if (event.key === "Home") next = all[0];
    else if (event.key === "End") next = all.at(-1);
    else return;
    event.preventDefault();
    if (next) next.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    event.preventDefault();
    controls.search.focus();
    controls.search.select();
  });
  controls.search.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && controls.search.value) { controls.search.value = ""; select(); event.preventDefault(); }
    else if (event.key === "ArrowDown" || event.key === "Enter") { event.preventDefault(); clearTimeout(waiting); select(); buttons()[0]?.focus(); }
  });
  let waiting = 0;
  controls.search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(select, 120); });
  for (const [id, control] of Object.entries(controls)) if (id !== "search") control.addEventListener("change", select);
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());

  if (!utterances.length) return;
  document.documentElement.classList.add("live");
  byId("browser").hidden = false;
  select();
})();
