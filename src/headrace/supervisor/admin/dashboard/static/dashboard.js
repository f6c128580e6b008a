// Starts what a page has: it is live, its lists and charts can be asked, requests tried, changes made.
import { startCharts } from "./charts.js";
import { startDialogs } from "./dialogs.js";
import { startListing } from "./listing.js";
import { listen } from "./live.js";
import { startTrying } from "./try.js";

const live = document.getElementById("live");
startListing(live);
startCharts();
startDialogs();
startTrying(live);
listen();
