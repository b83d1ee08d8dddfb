// The page: an archive's sample laid out so that what looks alike lies together.

import "../style.css";
import "./projection.css";

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";

import { stats as fetchStats } from "../api";
import { count, percent, plural, sentence } from "../format";
import { Header } from "../shell/header";
import { Legend } from "./legend";
import type { Loaded, Waiting } from "./load";
import { Selection } from "./selection";
import { StageView } from "./stage-view";
import { grouped, hidden, load, loaded, projection, selected, stats } from "./state";

const METHODS = { umap: "UMAP", pca: "principal components" } as const;

function Page() {
  const ready = loaded.value.status === "ready" && loaded.value.projection.tileIds.length > 0;
  return (
    <>
      <a class="skip" href="#panel">
        Skip to labels and selection
      </a>
      <Header page="map" stats={stats.value} />
      <main class={ready ? "projection" : "projection is-waiting"}>
        <h1 class="visually-hidden">Map of likeness</h1>
        {ready ? (
          <>
            <StageView />
            <aside class="panel" id="panel" tabIndex={-1} aria-label="Labels and selection">
              <About />
              <Selection />
              <Legend />
            </aside>
          </>
        ) : (
          <Instead loaded={loaded.value} />
        )}
      </main>
      <p class="visually-hidden" role="status" id="status">
        {statusText()}
      </p>
    </>
  );
}

function About() {
  const data = projection.value;
  if (!data) return null;
  const all = stats.value?.rows ?? 0;
  const sampled = all > data.tileIds.length ? `A sample of ${count(data.tileIds.length)} of ${plural(all, "picture")}` : `All ${plural(data.tileIds.length, "picture")}`;
  return (
    <section class="about">
      <h2>Map of likeness</h2>
      <p class="meta">
        {sampled}, laid out by {data.method ? METHODS[data.method] : "likeness"}: near each other, they look
        alike. Directions and far distances mean nothing.
      </p>
    </section>
  );
}

function Instead({ loaded: now }: { loaded: Loaded }) {
  if (now.status === "ready") {
    return (
      <section class="notice">
        <h2>Nothing to lay out</h2>
        <p>This archive holds no pictures yet. Once it does, their map is here.</p>
      </section>
    );
  }
  if (now.status === "failed") {
    return (
      <section class="notice" role="alert">
        <h2>{now.title}</h2>
        <p>{now.signIn ? "Its pictures are shown to those who sign in with an API key." : sentence(now.detail)}</p>
        <div class="buttons">
          <button class={now.signIn ? "button" : "button primary"} type="button" onClick={load}>
            Try again
          </button>
          <a class={now.signIn ? "button primary" : "button"} href="/">
            {now.signIn ? "Sign in on the search page" : "To the search page"}
          </a>
        </div>
      </section>
    );
  }
  return <Progress waiting={now} />;
}

const REASONS = {
  asking: ["Fetching the map", "One moment."],
  computing: [
    "The map is being laid out",
    "A sample of the archive is compared, picture with picture. This takes from seconds to a few minutes, once for each generation of the archive; you can search meanwhile.",
  ],
  "not ready": ["The archive is still loading", "The server has started and reads the index. The map follows by itself."],
} as const;

function Progress({ waiting: { reason, since, stage, progress } }: { waiting: Waiting }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const [title, text] = REASONS[reason];
  const seconds = Math.max(0, Math.round((now - since) / 1000));
  return (
    <section class="notice waiting" aria-busy="true">
      <div class="scattering" aria-hidden="true">
        {Array.from({ length: 9 }, (_, i) => (
          <span key={i} />
        ))}
      </div>
      <h2>{title}</h2>
      <p>{text}</p>
      {progress !== null && <progress value={progress} max={1} aria-label={title} />}
      {seconds > 1 && (
        <p class="meta">
          {[stage, progress !== null && percent(progress), `${seconds} s`].filter(Boolean).join(" · ")}
        </p>
      )}
    </section>
  );
}

function statusText(): string {
  const now = loaded.value;
  if (now.status === "waiting") return REASONS[now.reason][0];
  if (now.status === "failed") return now.title;
  const shown = grouped.value.groups.reduce((sum, group, i) => (hidden.value.has(i) ? sum : sum + group.count), 0);
  return `${plural(shown, "picture")} shown, ${count(selected.value.size)} selected.`;
}

async function loadStats(): Promise<void> {
  try {
    stats.value = await fetchStats();
    document.title = `Map of ${stats.value.name} · Worldsift`;
  } catch {
    // The header does without its facts; what is wrong is said where the map would be.
  }
}

const root = document.getElementById("app");
if (root) {
  render(<Page />, root);
  load();
  void loadStats();
}
