// The search page.

import { render } from "preact";
import "../style.css";
import "./search.css";
import "./results.css";
import { followFilters } from "../state/facets";
import { followAddress } from "../state/searching";
import { followBrowser } from "../state/store";
import { App } from "./app";

followBrowser();
followAddress();
followFilters();
const root = document.getElementById("app");
if (root) render(<App />, root);
