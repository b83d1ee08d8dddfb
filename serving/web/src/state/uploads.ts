// Pictures from outside: sent once for their embedding text, which stands for them from then on.

import { signal } from "@preact/signals";
import * as api from "../api";
import { bytes } from "../format";
import type { Example } from "./address";
import { addExamples, replaceExample, type Side } from "./examples";
import { report } from "./searching";
import { stats } from "./store";

const PREVIEW_PX = 160;
const KEPT = "worldsift.preview.";

interface Given {
  file: File;
  url: string; // of the file itself, for as long as the page lives
}

export interface Pending {
  key: number;
  name: string;
  url: string;
  side: Side;
}

const given = new Map<string, Given>();
/** Pictures that are being sent. */
export const pending = signal<Pending[]>([]);
let sent = 0;

/** The file behind an embedding text, where this page was given it. */
export const fileOf = (embedding: string): File | null => given.get(embedding)?.file ?? null;

/** A picture of an upload, or null in a link that came from elsewhere. */
export function previewOf(embedding: string): string | null {
  const url = given.get(embedding)?.url;
  if (url) return url;
  try {
    return sessionStorage.getItem(KEPT + embedding.slice(-64));
  } catch {
    return null;
  }
}

function refusal(files: File[]): api.Problem | null {
  const limits = stats.value?.limits;
  const fat = limits && files.find((file) => file.size > limits.max_upload_bytes);
  if (limits && fat) {
    return new api.Problem(
      "That picture is too large",
      `${fat.name} has ${bytes(fat.size)}; this server takes ${bytes(limits.max_upload_bytes)}. ` +
        "Scale it down, or cut out the part to search by.",
    );
  }
  if (limits && files.length > limits.max_images) {
    return new api.Problem(
      "Too many pictures at once",
      `${files.length} were given; this server takes ${limits.max_images} at a time.`,
    );
  }
  return null;
}

/** Sends ``files`` and asks by them; with ``instead``, in place of that example. */
export async function addPictures(files: File[], side: Side, instead?: string): Promise<void> {
  if (!files.length) return;
  const refused = refusal(files);
  if (refused) return report(refused);
  const here = files.map((file) => ({
    key: ++sent,
    name: file.name || "Pasted picture",
    url: URL.createObjectURL(file),
    side,
  }));
  pending.value = [...pending.value, ...here];
  try {
    const answer = await api.embed(files);
    const examples = answer.embeddings.map(({ embedding }, i): Example => {
      const [file, shown] = [files[i], here[i]];
      if (file && shown) keep(embedding, file, shown.url);
      return { kind: "upload", id: embedding, weight: 1, name: shown?.name ?? "" };
    });
    const [first] = examples;
    if (instead && first) replaceExample(instead, first);
    else addExamples(examples, side);
  } catch (error) {
    for (const one of here) URL.revokeObjectURL(one.url);
    report(error, () => void addPictures(files, side, instead));
  } finally {
    const keys = new Set(here.map((one) => one.key));
    pending.value = pending.value.filter((one) => !keys.has(one.key));
  }
}

function keep(embedding: string, file: File, url: string): void {
  given.set(embedding, { file, url });
  void smaller(file).then((data) => {
    try {
      if (data) sessionStorage.setItem(KEPT + embedding.slice(-64), data);
    } catch {
      // Storage is full or switched off: after a reload a placeholder is shown.
    }
  });
}

/** A small JPEG of a picture as a data: address; null where the browser cannot show it (TIFF). */
async function smaller(file: File): Promise<string | null> {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) return null;
  const scale = Math.min(1, PREVIEW_PX / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.toDataURL("image/jpeg", 0.8);
}
