// From pixel values to colours.

export const STEPS = 2048;

const STRETCHES = {
  linear: (t) => t,
  sqrt: (t) => Math.sqrt(t),
  log: (t) => Math.log1p(1000 * t) / Math.log1p(1000),
  asinh: (t) => Math.asinh(10 * t) / Math.asinh(10),
};

// Colours by step, as a canvas stores them; `colours` holds 256 times red, green, blue.
export function table(colours, stretch) {
  const found = new Uint32Array(STEPS);
  for (let step = 0; step < STEPS; step++) {
    const at = 3 * Math.round(255 * STRETCHES[stretch](step / (STEPS - 1)));
    found[step] = 0xff000000 | (colours[at + 2] << 16) | (colours[at + 1] << 8) | colours[at];
  }
  return found;
}

// Paint values, first line at the bottom, onto a canvas of their size; what is no number stays transparent.
export function paint(canvas, values, width, height, low, high, lut) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const out = new Uint32Array(image.data.buffer);
  const factor = (STEPS - 1) / (high - low || 1);
  for (let line = 0; line < height; line++) {
    const from = line * width, to = (height - 1 - line) * width;
    for (let column = 0; column < width; column++) {
      const value = values[from + column];
      if (value !== value) continue;
      const step = (value - low) * factor;
      out[to + column] = lut[step <= 0 ? 0 : step >= STEPS - 1 ? STEPS - 1 : step | 0];
    }
  }
  context.putImageData(image, 0, 0);
}
