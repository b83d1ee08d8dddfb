// Asks for an API key where the server wants one; it is kept in a cookie that no script can read.

import { useState } from "preact/hooks";
import * as api from "../api";
import { sentence } from "../format";
import { keyAsked, signedIn } from "../state/searching";
import { Modal } from "./modal";

export function SignInDialog() {
  if (!keyAsked.value) return null;
  return (
    <Modal
      id="sign-in"
      title="This archive asks for a key"
      onClose={() => (keyAsked.value = false)}
    >
      <Form />
    </Modal>
  );
}

function Form() {
  const [key, setKey] = useState("");
  const [trouble, setTrouble] = useState("");
  const [busy, setBusy] = useState(false);
  const send = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await api.signIn(key.trim());
      signedIn();
    } catch (error) {
      if (!(error instanceof api.Problem)) throw error;
      setTrouble(sentence(error.message));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form class="sign-in" onSubmit={(event) => void send(event)}>
      <p class="meta">Whoever runs this server gives out API keys; they begin with “ws_”.</p>
      <label class="field">
        <span class="name">API key</span>
        <input
          type="password"
          id="key"
          autocomplete="current-password"
          required
          autoFocus
          value={key}
          onInput={(event) => setKey(event.currentTarget.value)}
        />
      </label>
      {trouble && (
        <p class="trouble" role="alert">
          {trouble}
        </p>
      )}
      <div class="dialog-foot">
        <button class="button primary" type="submit" disabled={busy || !key.trim()}>
          Sign in
        </button>
      </div>
    </form>
  );
}
