// What stands over both pages: the name, the two pages, the archive's facts, light or dark.

import favicon from "../../favicon.svg";
import type { StatsOut } from "../wire";
import { count } from "../format";
import { Icon } from "./icons";
import { theme, toggleTheme } from "./theme";

interface HeaderProps {
  page: "search" | "map";
  stats: StatsOut | null;
  /** A plain click on "Search": the page it stands on may go to its start without loading anew. */
  onHome?: () => void;
  onSignOut?: (() => void) | null;
}

export function Header({ page, stats, onHome, onSignOut }: HeaderProps) {
  const home = (event: MouseEvent) => {
    if (!onHome || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    onHome();
  };
  const dark = theme.value === "dark";
  return (
    <header class="top">
      <a class="brand" id="home" href="/" onClick={home}>
        <img src={favicon} width={28} height={28} alt="" />
        <span>Worldsift</span>
      </a>
      <nav aria-label="Pages">
        <a href="/" aria-current={page === "search" ? "page" : undefined} onClick={home}>
          Search
        </a>
        <a href="/map" aria-current={page === "map" ? "page" : undefined}>
          <span class="wide">Map of likeness</span>
          <span class="slim">Likeness</span>
        </a>
      </nav>
      <p class="facts" id="facts">
        {stats && <Facts stats={stats} />}
      </p>
      <div class="end">
        {onSignOut && (
          <button
            class="icon-button"
            type="button"
            aria-label="Sign out"
            title="Sign out"
            onClick={onSignOut}
          >
            <Icon name="key" />
          </button>
        )}
        <button
          class="icon-button"
          type="button"
          aria-label={dark ? "Switch to light" : "Switch to dark"}
          title={dark ? "Switch to light" : "Switch to dark"}
          onClick={toggleTheme}
        >
          <Icon name={dark ? "sun" : "moon"} />
        </button>
      </div>
    </header>
  );
}

function Facts({ stats }: { stats: StatsOut }) {
  const recall = recallOf(stats);
  return (
    <>
      <span>
        <b>{count(stats.rows)}</b> {stats.rows === 1 ? "picture" : "pictures"}
      </span>
      <span>
        {stats.featurizer.backbone} <b>{stats.featurizer.dim}-d</b>
      </span>
      {recall !== null && (
        <span title="Share of the true ten nearest that a search finds">
          recall@10 <b>{recall.toFixed(3)}</b>
        </span>
      )}
    </>
  );
}

// What this server has seen of itself tells more than what was measured before publication.
function recallOf({ live_recall, evaluation }: StatsOut): number | null {
  if (live_recall) return live_recall.recall_at_10;
  const measured = evaluation?.["recall_at_10"] ?? evaluation?.["recall@10"];
  return typeof measured === "number" ? measured : null;
}
