"use strict";
// What comes from a run is only ever set as text: no string of the data becomes markup.
const page = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = data.rows || [];
  const [N, KEY, STATUS, VALUE, PARAMS, FLOPS, SECONDS, OPERATOR, PARENTS, ERROR, CURVE, TEXT] = [...Array(12).keys()];
  const byNumber = new Map(rows.map((row) => [row[N], row]));
  document.body.classList.add("scripted");

  const make = (name, text, kind) => {
    const found = document.createElement(name);
    if (text !== undefined) found.textContent = text;
    if (kind) found.className = kind;
    return found;
  };
  const exact = (value) => value === null || value === undefined ? "–"
    : Number.isInteger(value) ? value.toLocaleString("en")
    : Math.abs(value) >= 1e-3 && Math.abs(value) < 1e3 ? value.toFixed(4) : Number(value.toPrecision(4)).toString();
  const short = (value) => value === null || value === undefined ? "–"
    : value >= 1e9 ? `${Number((value / 1e9).toPrecision(3))} G` : value >= 1e6 ? `${Number((value / 1e6).toPrecision(3))} M`
    : value >= 1e4 ? `${Number((value / 1e3).toPrecision(3))} k` : Math.round(value).toLocaleString("en");
  const time = (value) => value === null || value === undefined ? "–" : `${Number(value.toPrecision(3))} s`;
  const link = (number, text) => {
    const found = make("a", text || `#${number}`, "candidate");
    if (byNumber.has(number)) found.href = `#c${number}`;
    return found;
  };
  const outcome = (row) => row[VALUE] !== null ? `${data.metric} ${exact(row[VALUE])}` : data.statuses[row[STATUS]];

  // The texts are packed: 5,000 of them would be most of the page.
  let texts = null;
  const unpack = async () => {
    if (!data.texts) return [];
    const bytes = Uint8Array.from(atob(data.texts), (character) => character.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
  };
  const textOf = (row) => (texts && row[TEXT] >= 0 ? texts[row[TEXT]] : null);

  // More candidates, as a live page gets them: their words themselves in place of places in lists.
  const placed_in = (names, name) => { const at = names.indexOf(name); return at >= 0 ? at : names.push(name) - 1; };
  const add = (more) => {
    texts ||= [];
    for (const row of more) {
      row[STATUS] = placed_in(data.statuses, row[STATUS]);
      row[OPERATOR] = placed_in(data.operators, row[OPERATOR]);
      row[ERROR] = row[ERROR] ? placed_in(data.errors, row[ERROR]) : -1;
      row[TEXT] = texts.push(row[TEXT]) - 1;
      rows.push(row);
      byNumber.set(row[N], row);
    }
    fill();
  };

  // --- one candidate, in a dialog

  const dialog = document.getElementById("candidate");
  const describe = (row) => {
    const body = document.createDocumentFragment();
    const facts = make("dl", undefined, "facts");
    const fact = (name, value) => {
      const pair = make("div");
      const shown = make("dd");
      shown.append(...(Array.isArray(value) ? value : [value]));
      pair.append(make("dt", name), shown);
      facts.append(pair);
    };
    fact(data.metric, row[VALUE] !== null ? exact(row[VALUE]) : data.statuses[row[STATUS]]);
    if (row[PARAMS] !== null) fact("parameters", row[PARAMS].toLocaleString("en"));
    if (row[FLOPS] !== null) fact("FLOPs", row[FLOPS].toLocaleString("en"));
    if (row[SECONDS] !== null) fact("evaluation", time(row[SECONDS]));
    fact("made by", data.operators[row[OPERATOR]]);
    if (row[PARENTS].length) {
      const links = row[PARENTS].flatMap((parent) => {
        const known = byNumber.get(parent);
        return [link(parent), known ? ` (${outcome(known)}) ` : " "];
      });
      fact(row[PARENTS].length > 1 ? "parents" : "parent", links);
    }
    fact("key", row[KEY]);
    body.append(facts);
    if (row[ERROR] >= 0) body.append(make("h3", "What went wrong"), make("pre", data.errors[row[ERROR]]));
    if (row[CURVE].length > 1) body.append(make("h3", "While it trained"), curve(row[CURVE]));
    const text = textOf(row);
    body.append(make("h3", "Architecture"));
    if (text === null) {
      body.append(make("p", `Its text is not on this page: evolve show ${data.run} ${row[KEY].slice(0, 12)}`));
    } else {
      body.append(marked(row, text));
    }
    const drawing = document.getElementById(`d${row[N]}`);
    if (drawing) {
      const place = make("div", undefined, "drawn");
      place.tabIndex = 0;
      place.setAttribute("role", "region");
      place.setAttribute("aria-label", "Drawing of the architecture");
      place.append(drawing.content ? drawing.content.cloneNode(true) : drawing.cloneNode(true));
      body.append(place);
    }
    return body;
  };

  // What changed from the first parent: the words they begin and end with alike are plain, the rest is marked.
  const marked = (row, text) => {
    const shown = make("pre", undefined, "long");
    shown.tabIndex = 0;
    shown.setAttribute("role", "region");
    shown.setAttribute("aria-label", "Text of the architecture");
    const parent = byNumber.get(row[PARENTS][0]);
    const before = parent ? textOf(parent) : null;
    if (before === null) {
      shown.textContent = text;
      return shown;
    }
    const words = /\w+|\s+|./gsu;
    const a = before.match(words) || [], b = text.match(words) || [];
    let start = 0, end = 0;
    while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
    while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
    const gone = a.slice(start, a.length - end).join(""), made = b.slice(start, b.length - end).join("");
    shown.append(b.slice(0, start).join(""));
    if (gone) shown.append(make("del", gone));
    if (made) shown.append(make("ins", made));
    shown.append(b.slice(b.length - end).join(""));
    return shown;
  };

  const SVG = "http://www.w3.org/2000/svg";
  const curve = (values) => {
    const known = values.filter((value) => value !== null);
    const low = Math.min(...known), high = Math.max(...known);
    const at = (value, index) => [10 + (index * 300) / (values.length - 1), 66 - (high > low ? ((value - low) / (high - low)) * 52 : 26)];
    const picture = document.createElementNS(SVG, "svg");
    picture.setAttribute("viewBox", "0 0 420 76");
    picture.setAttribute("width", "420");
    picture.setAttribute("class", "curve");
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", `${data.metric} after each epoch, from ${exact(values[0])} to ${exact(values[values.length - 1])}`);
    picture.style.maxWidth = "100%";
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("class", "best");
    line.setAttribute("d", values.map((value, index) => (value === null ? "" : `${index ? "L" : "M"}${at(value, index).join(" ")}`)).join("").replace(/^L/, "M"));
    picture.append(line);
    for (const [value, y] of high > low ? [[high, 20], [low, 70]] : [[high, 44]]) {
      const label = document.createElementNS(SVG, "text");
      label.setAttribute("x", "318");
      label.setAttribute("y", String(y));
      label.setAttribute("class", "tick");
      label.textContent = exact(value);
      picture.append(label);
    }
    return picture;
  };

  let came = null;
  const show = () => {
    const asked = /^#c(\d+)$/.exec(location.hash);
    const row = asked && byNumber.get(Number(asked[1]));
    if (!row || !dialog) return;
    document.getElementById("candidate-title").textContent = `Candidate ${row[N]}`;
    const body = document.getElementById("candidate-body");
    body.replaceChildren(describe(row));
    body.scrollTop = 0;
    if (!dialog.open) {
      came = document.activeElement;
      dialog.showModal();
    }
    document.getElementById("candidate-close").focus({ preventScroll: true });
  };
  if (dialog) {
    document.getElementById("candidate-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => {
      history.replaceState(null, "", location.pathname + location.search);
      if (came && came.isConnected) came.focus({ preventScroll: true });
    });
    addEventListener("hashchange", show);
  }

  // --- points: the nearest one answers to the pointer

  const bent = { linear: (v) => v, log: Math.log10, error: (v) => -Math.log10(1 - v) };
  const placed = ([kind, low, high, start, end]) => (value) => {
    const f = bent[kind], a = f(low), b = f(high);
    return start + ((f(Math.min(Math.max(value, low), high)) - a) / (b - a)) * (end - start);
  };
  const tip = document.getElementById("tip");
  const NAMES = { number: N, params: PARAMS, flops: FLOPS, seconds: SECONDS };
  const answering = (picture) => {
    const column = NAMES[picture.dataset.against];
    let points = null, ring = null;
    const locate = (event) => {
      if (!points) {
        const x = placed(JSON.parse(picture.dataset.x)), y = placed(JSON.parse(picture.dataset.y));
        points = rows.filter((row) => row[VALUE] !== null && row[column] !== null)
          .map((row) => [x(column === N ? row[N] + 1 : row[column]), y(row[VALUE]), row]);
        ring = document.createElementNS(SVG, "circle");
        ring.setAttribute("r", "7");
        ring.setAttribute("class", "ring");
      }
      const box = picture.getBoundingClientRect();
      const ratio = picture.viewBox.baseVal.width / box.width;
      const px = (event.clientX - box.left) * ratio, py = (event.clientY - box.top) * ratio;
      let best = null, least = 18 * 18;
      for (const point of points) {
        const away = (point[0] - px) ** 2 + (point[1] - py) ** 2;
        if (away < least) { least = away; best = point; }
      }
      return best;
    };
    const leave = () => { tip.style.display = "none"; if (ring) ring.remove(); picture.style.cursor = ""; };
    picture.addEventListener("pointermove", (event) => {
      const found = locate(event);
      if (!found) return leave();
      const [x, y, row] = found;
      ring.setAttribute("cx", x);
      ring.setAttribute("cy", y);
      picture.append(ring);
      picture.style.cursor = "pointer";
      tip.textContent = `#${row[N]}: ${outcome(row)}, ${row[PARAMS] === null ? "" : `${short(row[PARAMS])} parameters, `}${data.operators[row[OPERATOR]]}`;
      tip.style.display = "block";
      tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8))}px`;
      tip.style.top = `${event.clientY + 18 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 18}px`;
    });
    picture.addEventListener("pointerleave", leave);
    picture.addEventListener("click", (event) => {
      if (event.target.closest("a")) return;
      const found = locate(event);
      if (found) location.hash = `#c${found[2][N]}`;
    });
  };

  // --- the table of all candidates

  let fill = () => {};
  const table = document.getElementById("candidates");
  if (table) {
    const body = table.tBodies[0];
    const find = document.getElementById("find"), order = document.getElementById("order"), more = document.getElementById("more");
    const better = (row) => (row[VALUE] === null ? Infinity : -data.sign * row[VALUE]);
    const size = (column) => (row) => (row[column] === null ? Infinity : row[column]);
    const orders = { best: better, number: size(N), params: size(PARAMS), flops: size(FLOPS), seconds: (row) => -(row[SECONDS] ?? -1), failed: (row) => (row[VALUE] === null ? row[N] : Infinity) };
    let shown = 20;
    let numbers = "";
    fill = () => {
      const asked = find.value.trim().toLowerCase();
      const by = orders[order.value];
      const matching = asked ? rows.filter((row) => `#${row[N]}` === asked || String(row[N]) === asked || row[KEY].startsWith(asked)
        || data.operators[row[OPERATOR]].toLowerCase().includes(asked) || data.statuses[row[STATUS]] === asked
        || (asked.length > 2 && (textOf(row) || "").toLowerCase().includes(asked))) : [...rows];
      matching.sort((a, b) => { const [x, y] = [by(a), by(b)]; return x === y ? a[N] - b[N] : x < y ? -1 : 1; });
      more.hidden = matching.length <= shown;
      document.getElementById("found").textContent = `${matching.length.toLocaleString("en")} found`;
      const listed = matching.slice(0, shown), before = numbers;
      numbers = listed.map((row) => row[N]).join();
      if (numbers === before) return;  // who is about to click on one finds it where it was
      const focused = body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      body.replaceChildren(...listed.map((row) => {
        const line = make("tr"), name = make("th");
        name.scope = "row";
        name.append(link(row[N]));
        line.append(name, make("td", row[VALUE] !== null ? exact(row[VALUE]) : data.statuses[row[STATUS]]), make("td", short(row[PARAMS])),
          make("td", short(row[FLOPS])), make("td", time(row[SECONDS])), make("td", data.operators[row[OPERATOR]], "left"), make("td", row[KEY].slice(0, 8), "left"));
        return line;
      }));
      if (focused) body.querySelector(`a[href="${focused}"]`)?.focus({ preventScroll: true });
    };
    find.addEventListener("input", () => { shown = 20; fill(); });
    order.addEventListener("change", () => { shown = 20; fill(); });
    more.addEventListener("click", () => { shown += 100; fill(); });
    fill();
  }

  // What answers to the pointer in a part of the page: in all of it at first, later in what took a part's place.
  const dress = (part) => {
    part.querySelectorAll("svg[data-x]").forEach(answering);
    for (const button of part.querySelectorAll("button[data-copy]")) {
      const text = document.getElementById(button.dataset.copy).textContent;
      button.hidden = !navigator.clipboard;
      button.addEventListener("click", () => navigator.clipboard.writeText(text).then(() => { button.textContent = "Copied"; }));
    }
  };
  dress(document);
  // Without its texts (a browser that cannot unpack them) the page still tells the rest.
  const lost = (error) => {
    console.warn(`The texts cannot be unpacked: ${error.message}`);
    for (const row of rows) row[TEXT] = -1;
  };
  const ready = unpack().then((found) => { texts = found; }, lost).finally(() => {
    show();
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  });
  return { data, add, dress, ready };
})();
