"use strict";
// A page that `evolve watch` serves asks its server twice a second for the parts that are new, and puts them in place.
(() => {
  const EVERY = 500, PATIENCE = 15000;  // milliseconds
  const said = document.getElementById("live"), main = document.getElementById("main");
  let { begun, version, scored } = page.data.live;
  const waiting = new Map();  // parts that came while somebody was marking text in those that stand there

  const parsed = (markup) => {
    const holder = document.createElement("template");
    holder.innerHTML = markup;  // the server's own markup, escaped like the page's; no script in it runs
    return holder.content;
  };
  const marking = (place) => {
    const chosen = getSelection();
    return chosen && !chosen.isCollapsed && place.contains(chosen.anchorNode);
  };

  // What stood in a part, as it was: opened, scrolled, focused.
  const kept = (place) => {
    const open = [...place.querySelectorAll("details")].map((one) => one.open);
    const moved = [...place.querySelectorAll("[tabindex]")].map((one) => [one.scrollLeft, one.scrollTop]);
    const focused = place.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    return () => {
      place.querySelectorAll("details").forEach((one, at) => { one.open = open[at] ?? false; });
      place.querySelectorAll("[tabindex]").forEach((one, at) => { if (moved[at]) [one.scrollLeft, one.scrollTop] = moved[at]; });
      if (focused) place.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    };
  };
  const put = (name, markup) => {
    const place = document.getElementById(name);
    if (!place || marking(place)) return false;
    const restore = kept(place);
    place.replaceChildren(parsed(markup));
    page.dress(place);
    restore();
    return true;
  };

  // Sections that had nothing to say before have a place of their own now.
  const arrange = (order) => {
    let last = null;
    for (const name of order) {
      let place = document.getElementById(name);
      if (!place) {
        place = document.createElement("section");
        place.id = name;
        place.setAttribute("aria-labelledby", `${name}-title`);
        last ? last.after(place) : main.prepend(place);
      }
      last = place;
    }
  };

  const take = (update) => {
    if (update.begun !== begun) return location.reload();  // another run stands in the folder
    ({ version, scored } = update);
    arrange(update.order);
    page.add(update.rows);
    for (const [name, markup] of Object.entries(update.parts)) waiting.set(name, markup);
    return undefined;
  };
  const say = (text, kind) => {
    if (said.textContent !== text) said.textContent = text;
    said.dataset.kind = kind;
  };

  const ask = async () => {
    try {
      const answer = await fetch(`updates?begun=${begun}&version=${version}&scored=${scored}`,
        { cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(PATIENCE) });
      if (answer.status === 200) take(await answer.json());
      if (answer.ok) say("Live", "on");
      else say((await answer.text()).trim(), "off");
    } catch {
      say("No answer from evolve watch; asking again", "off");
    }
    for (const [name, markup] of waiting) if (put(name, markup)) waiting.delete(name);
    document.documentElement.dataset.version = version;
    if (document.hidden) document.addEventListener("visibilitychange", ask, { once: true });
    else setTimeout(ask, EVERY);
  };
  page.ready.then(ask);
})();
