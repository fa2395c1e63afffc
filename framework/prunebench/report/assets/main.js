// The page wakes: choices first, then what shows them.

startPanels();
startLegend();
startTheme();
startHeadline();
startCharts();
startFirstTables();
startPrint();
change("theme", state.theme);

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(byId(button.dataset.copy).textContent, button));
}

if (page.refreshes) {
  const at = Number(memory.get("scroll") || 0);
  if (at) requestAnimationFrame(() => scrollTo(0, at));
  addEventListener("pagehide", () => memory.set("scroll", String(scrollY)));
}
document.documentElement.dataset.ready = "yes";
