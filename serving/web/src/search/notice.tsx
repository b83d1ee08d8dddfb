// What went wrong and what to do; or that one must wait.

import { sentence } from "../format";
import { keyAsked, phase, results, trouble } from "../state/searching";
import { address, clearFilters, filterCount, go, stats } from "../state/store";
import { START } from "../state/address";
import { choosePicture } from "./intake";

export function Notice() {
  const what = trouble.value;
  if (what && phase.value === "waiting") {
    const loading = what.problem.slug === "not-ready";
    return (
      <section class="notice waiting" id="notice" role="alert">
        <h2>{loading ? "One moment" : "The server is busy"}</h2>
        <p>The server says: {sentence(what.problem.message)} This page tries again by itself.</p>
      </section>
    );
  }
  if (what?.problem.status === 401) return <SignedOut />;
  if (what)
    return (
      <Trouble
        title={what.problem.title}
        text={what.problem.message}
        mine={[404, 413, 422].includes(what.problem.status)}
        again={what.again}
      />
    );
  if (phase.value === "done" && results.value?.tiles.length === 0) return <Empty />;
  return null;
}

const SignedOut = () => (
  <section class="notice" id="notice">
    <h2>This archive asks for a key</h2>
    <p>Its pictures are shown to those who sign in with an API key.</p>
    <div class="buttons">
      <button class="button primary" type="button" onClick={() => (keyAsked.value = true)}>
        Sign in
      </button>
    </div>
  </section>
);

function Trouble({
  title,
  text,
  mine,
  again,
}: {
  title: string;
  text: string;
  mine: boolean;
  again: () => void;
}) {
  const close = () => (trouble.value = null);
  return (
    <section class="notice" id="notice" role="alert">
      <h2>{title}</h2>
      <p>{sentence(text)}</p>
      <div class="buttons">
        {mine ? (
          <button class="button" type="button" onClick={() => choosePicture("file")}>
            Choose another picture
          </button>
        ) : (
          <button class="button" type="button" onClick={() => (close(), again())}>
            Try again
          </button>
        )}
        {results.value ? (
          <button class="button quiet" type="button" onClick={close}>
            Dismiss
          </button>
        ) : (
          <button class="button quiet" type="button" onClick={() => go(START)}>
            To the start page
          </button>
        )}
      </div>
    </section>
  );
}

function Empty() {
  if (stats.value?.rows === 0) {
    return (
      <section class="notice" id="notice">
        <h2>This archive is empty</h2>
        <p>
          Index some imagery into it (python -m pipeline index SOURCE ROOT), then load this page
          again.
        </p>
      </section>
    );
  }
  const { minScore, quality } = address.value;
  return (
    <section class="notice" id="notice">
      <h2>Nothing found</h2>
      <p>
        {filterCount.value
          ? "No picture passes all filters together. Widen one, or clear them."
          : minScore !== null
            ? `No picture is ${minScore.toFixed(2)} alike or more. Move the similarity slider down.`
            : "The archive gave no neighbour."}
      </p>
      <div class="buttons">
        {filterCount.value > 0 && (
          <button class="button" type="button" onClick={clearFilters}>
            Clear the filters
          </button>
        )}
        {minScore !== null && (
          <button class="button" type="button" onClick={() => go({ minScore: null })}>
            Any similarity
          </button>
        )}
        {quality !== "exact" && !filterCount.value && minScore === null && (
          <button class="button" type="button" onClick={() => go({ quality: "exact" })}>
            Compare with every picture
          </button>
        )}
      </div>
    </section>
  );
}
