// Values under the pointer.
import { clock } from "./live.js";

function pointed(event) {
  const figure = event.target.closest && event.target.closest(".chart");
  for (const other of document.querySelectorAll(".chart")) if (other !== figure) clear(other);
  if (!figure) return;
  const box = figure.querySelector(".plot").getBoundingClientRect();
  const data = JSON.parse(figure.dataset.chart);
  const x = (event.clientX - box.left) / box.width;
  let best = -1;
  data.at.forEach((at, i) => {
    if (best < 0 || Math.abs(at - x) < Math.abs(data.at[best] - x)) best = i;
  });
  if (best < 0) return;
  const cursor = figure.querySelector(".cursor");
  cursor.setAttribute("x1", `${data.at[best] * 100}%`);
  cursor.setAttribute("x2", `${data.at[best] * 100}%`);
  cursor.setAttribute("visibility", "visible");
  figure.querySelector(".readout").textContent = clock(Date.now() - data.when[best] * 1000);
  figure.querySelectorAll(".key b").forEach((value, i) => {
    const found = data.series[i] && data.series[i][best];
    value.textContent = found === null ? "–" : found;
  });
}

function clear(figure) {
  for (const text of figure.querySelectorAll(".readout, .key b")) text.textContent = "";
  figure.querySelector(".cursor").setAttribute("visibility", "hidden");
}

export function startCharts() {
  document.addEventListener("pointermove", pointed);
}
