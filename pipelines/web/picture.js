// Pictures as the browser sees them: loading, reducing, comparing.

import { Problem } from "./api.js";

export const LONGEST = 1600; // what the page reduces large pictures to, unless told otherwise

export async function load(blob) {
  try {
    return await createImageBitmap(blob);
  } catch {
    return null; // the browser can't show it (TIFF, say), but the service may read it
  }
}

// The picture as it should be uploaded: as it is, or reduced without loss of anything but size.
export async function prepare(file, whole) {
  const bitmap = await load(file);
  if (!bitmap) return { body: file, bitmap: null, reduced: null };
  const scale = LONGEST / Math.max(bitmap.width, bitmap.height);
  if (whole || scale >= 1) return { body: file, bitmap, reduced: null };
  const from = `${bitmap.width}×${bitmap.height}`;
  const small = await createImageBitmap(bitmap, {
    resizeWidth: Math.round(bitmap.width * scale),
    resizeHeight: Math.round(bitmap.height * scale),
    resizeQuality: "high",
  });
  bitmap.close();
  const canvas = document.createElement("canvas");
  paint(canvas, small);
  const body = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!body) throw new Problem("Too large", "This picture is too large for the browser to reduce.");
  return { body, bitmap: small, reduced: { from, to: `${small.width}×${small.height}` } };
}

export function paint(canvas, bitmap) {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(bitmap, 0, 0);
}

function pixels(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height).data;
}

// Peak signal-to-noise ratio over RGB, dB; null if the pictures differ in size.
export function psnr(first, second) {
  if (!first || !second || first.width !== second.width || first.height !== second.height) return null;
  const a = pixels(first);
  const b = pixels(second);
  let sum = 0;
  for (let i = 0; i < a.length; i += 4) {
    const red = a[i] - b[i];
    const green = a[i + 1] - b[i + 1];
    const blue = a[i + 2] - b[i + 2];
    sum += red * red + green * green + blue * blue;
  }
  return sum === 0 ? Infinity : 10 * Math.log10((255 * 255 * a.length * 0.75) / sum);
}

// A gray map as an overlay: nothing where it is black, glowing orange to white where it is bright.
export function paintHeat(canvas, bitmap, width, height) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const data = context.getImageData(0, 0, width, height);
  for (let i = 0; i < data.data.length; i += 4) {
    const heat = data.data[i] / 255;
    data.data[i] = 255 * Math.min(1, 0.05 + 1.6 * heat);
    data.data[i + 1] = 255 * Math.max(0.02, 1.25 * heat - 0.28);
    data.data[i + 2] = 255 * Math.max(0.06 * (1 - heat), 2.2 * heat - 1.5);
    data.data[i + 3] = 255 * (0.55 + 0.22 * heat - 0.25 * heat * heat);
  }
  context.putImageData(data, 0, 0);
}
