// Before anything is drawn, so that a page that was chosen dark does not flash light.
"use strict";
const chosen = localStorage.getItem("theme");
if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
