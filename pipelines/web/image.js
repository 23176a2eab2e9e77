// Images as the browser sees them: loading, painting, turning what only the browser can read into PNG.

export async function load(blob) {
  try {
    return await createImageBitmap(blob);
  } catch {
    return null; // the browser can't show it (TIFF, say), but the service may read it
  }
}

// An image that the service can't read and the browser can (HEIC on some), as PNG; null if it can't.
export async function asPng(file) {
  const bitmap = await load(file);
  if (!bitmap) return null;
  const canvas = document.createElement("canvas");
  paint(canvas, bitmap);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

export function paint(canvas, bitmap, width = bitmap.width, height = bitmap.height) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
}

export function clear(canvas) {
  canvas.width = canvas.height = 1;
}

// A gray map as an overlay: nothing where it is black, glowing orange to white where it is bright.
export function paintHeat(canvas, bitmap, width, height) {
  paint(canvas, bitmap, width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
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
