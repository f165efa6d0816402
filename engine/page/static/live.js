// What moves on a page. Text of the site comes only as HTML that the server has escaped.
"use strict";
const $ = (id) => document.getElementById(id);
let saidTimer = 0;

function say(text, bad = false) {
  const box = $("said");
  box.textContent = text;
  box.hidden = !text;
  box.classList.toggle("bad", bad);
  clearTimeout(saidTimer);
  if (text && !bad) saidTimer = setTimeout(() => { box.hidden = true; }, 8000);
}

// ---- what the server tells, each second ----
function listen(show) {
  const events = new EventSource("/events");
  let lost = false;
  events.onmessage = (event) => {
    if (lost) say("");
    lost = false;
    const told = JSON.parse(event.data);
    for (const [id, html] of Object.entries(told.parts)) {
      const place = $(id);
      if (place && !place.contains(document.activeElement)) place.innerHTML = html;
    }
    if (told.controls) show(told.controls);
  };
  events.onerror = () => {
    lost = true;
    say("no word from the page's server; trying again. After a restart, open the address that it prints.", true);
    if (events.readyState === EventSource.CLOSED) setTimeout(() => listen(show), 3000);
  };
}
