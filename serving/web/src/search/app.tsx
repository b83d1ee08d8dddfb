// The search page as a whole.

import { effect } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { fileName } from "../format";
import { Header } from "../shell/header";
import { START, type Address } from "../state/address";
import { keyAsked, report, results, searches } from "../state/searching";
import { address, go, hasQuery, hint, inspected, said, stats } from "../state/store";
import { pending } from "../state/uploads";
import { Bar, keysShown, viewShown } from "./bar";
import { Details } from "./details";
import { ExportDialog } from "./export-dialog";
import { Grid } from "./grid";
import { Hero } from "./hero";
import { Intake } from "./intake";
import { KeysDialog } from "./keys-dialog";
import { MapPane } from "./map-pane";
import { Notice } from "./notice";
import { Rail } from "./rail";
import { SelectionBar } from "./selection-bar";
import { SignInDialog } from "./sign-in-dialog";
import { SnipDialog } from "./snip-dialog";
import { Tray } from "./tray";

export function App() {
  useEffect(
    () => effect(() => void (document.title = titleOf(address.value, stats.value?.name))),
    [],
  );
  useEffect(listenForHelp, []);
  const view = viewShown();
  const signOut = useSignOut();
  const begin = !hasQuery.value && !pending.value.length && view !== "map";
  return (
    <>
      <a class="skip" href="#results" onClick={(event) => (event.preventDefault(), focusResults())}>
        Skip to the pictures
      </a>
      <Header page="search" stats={stats.value} onHome={() => go(START)} onSignOut={signOut} />
      <main class="shell">
        <Tray />
        <div class="workspace" data-view={view} data-details={inspected.value ? "" : undefined}>
          <Rail />
          <div class="results">
            {begin ? <Hero /> : <h1 class="visually-hidden">Search of the archive</h1>}
            <Bar />
            <Notice />
            {view !== "map" && <Grid />}
            {view !== "map" && <About />}
          </div>
          {view !== "grid" && <MapPane />}
          <Details />
        </div>
      </main>
      <SelectionBar />
      {hint.value && (
        <p class="toast" aria-hidden="true">
          {hint.value}
        </p>
      )}
      <p class="visually-hidden" id="said" role="status" aria-live="polite">
        {said.value}
      </p>
      <Intake />
      <ExportDialog />
      <SnipDialog />
      <SignInDialog />
      <KeysDialog />
    </>
  );
}

function focusResults(): void {
  document.querySelector<HTMLElement>(".card-main[tabindex='0'], .card-main")?.focus();
}

function titleOf({ positive }: Address, archive: string | undefined): string {
  const [first] = positive;
  if (!first) return archive ? `${archive} · Worldsift` : "Worldsift";
  const name = first.kind === "tile" ? fileName(first.id) : first.name || "a picture";
  const more = positive.length > 1 ? ` and ${positive.length - 1} more` : "";
  return `Like ${name}${more} · Worldsift`;
}

function About() {
  const known = stats.value;
  if (!known || !results.value) return null;
  return (
    <footer class="about">
      <p id="about">
        Archive “{known.name}”, generation {known.generation}, {known.index.factory},{" "}
        {known.featurizer.metric} distance
      </p>
      <p>
        <a href="/openapi.json">HTTP API (OpenAPI)</a>
      </p>
    </footer>
  );
}

function listenForHelp(): () => void {
  const heard = (event: KeyboardEvent) => {
    const typing =
      event.target instanceof Element && event.target.closest("input, select, textarea, dialog");
    if (event.key === "?" && !typing) keysShown.value = true;
  };
  document.addEventListener("keydown", heard);
  return () => document.removeEventListener("keydown", heard);
}

/** How to sign out; null where nobody has signed in. */
function useSignOut(): (() => void) | null {
  const [signed, setSigned] = useState(false);
  const answered = searches.value > 0;
  useEffect(() => {
    if (!answered) return;
    api.session().then(
      ({ required, scopes }) => setSigned(required && scopes.length > 0),
      () => setSigned(false),
    );
  }, [answered, keyAsked.value]);
  if (!signed) return null;
  return () => {
    // Loaded anew, the page holds nothing of what the key had opened.
    api.signOut().then(() => location.reload(), report);
  };
}
